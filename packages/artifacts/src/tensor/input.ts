import {
  bytesOf,
  dtypeBytes,
  dtypeOf,
  elementCount,
  formatShape,
  isDataOf,
  type DType,
  type TensorData,
} from "./dtype.js";

/** What a function that makes a tensor returns: all of it, or pieces in row-major order. */
export type TensorPieces = TensorData | Promise<TensorData> | Iterable<TensorData> | AsyncIterable<TensorData>;

/**
 * A tensor to write. `data` is an array, or a function that is called once, when its turn comes, so that not all
 * tensors of a file need be in memory at once. `dtype` may be left out where the array's class says it (a Uint16Array
 * may hold uint16, float16 or bfloat16: uint16 is assumed).
 */
export interface TensorInput {
  readonly dtype?: DType;
  readonly shape: readonly number[];
  readonly data: TensorData | (() => TensorPieces);
}

/** A tensor to write whose description was checked. */
export interface CheckedInput {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly sizeBytes: number;
  readonly data: TensorInput["data"];
}

/**
 * Checks what can be known before any data is made.
 *
 * @throws {RangeError} If an array does not fit its shape. {TypeError} If it does not fit its dtype, or a function has
 *   none.
 */
export function checkInput(name: string, { dtype, shape, data }: TensorInput): CheckedInput {
  const cannot = `Cannot write tensor ${JSON.stringify(name)}:`;
  const elements = elementCount(shape);
  if (Number.isNaN(elements)) throw new RangeError(`${cannot} its shape is ${formatShape(shape)}`);
  if (typeof data === "function") {
    if (dtype === undefined) throw new TypeError(`${cannot} data that a function makes needs a dtype`);
    return { name, dtype, shape, data, sizeBytes: elements * dtypeBytes(dtype) };
  }
  const known = dtype ?? dtypeOf(data);
  if (!isDataOf(known, data)) throw new TypeError(`${cannot} ${known} is not held in a ${data.constructor.name}`);
  if (data.length !== elements)
    throw new RangeError(`${cannot} ${data.length} elements do not have the shape ${formatShape(shape)}`);
  return { name, dtype: known, shape, data, sizeBytes: data.byteLength };
}

/**
 * The bytes of a tensor, piece by piece.
 *
 * @throws {RangeError} If the pieces are more or less than the shape. {TypeError} If a piece does not hold the dtype.
 */
export async function* bytesOfInput({ name, dtype, shape, data, sizeBytes }: CheckedInput): AsyncGenerator<Uint8Array> {
  const made = typeof data === "function" ? await data() : data;
  const pieces = ArrayBuffer.isView(made) ? [made] : made;
  let done = 0;
  for await (const piece of pieces) {
    if (!isDataOf(dtype, piece))
      throw new TypeError(
        `Cannot write tensor ${JSON.stringify(name)}: ${dtype} is not held in a ${piece.constructor.name}`,
      );
    done += piece.byteLength;
    if (done > sizeBytes) break;
    yield bytesOf(piece);
  }
  if (done !== sizeBytes)
    throw new RangeError(
      `Cannot write tensor ${JSON.stringify(name)}: its data has ${done > sizeBytes ? "more" : "fewer"} elements than ${formatShape(shape)}`,
    );
}
