/**
 * The element types of all formats here, by one set of names: PyTorch's.
 *
 * JavaScript has no 16-bit floats before Node 24, so `float16` and `bfloat16` are held as their bits; `bool` as 0 or 1.
 * All typed arrays are little-endian, as Node's machines and the files are.
 */
const DTYPES = {
  float64: { bytes: 8, array: Float64Array },
  float32: { bytes: 4, array: Float32Array },
  float16: { bytes: 2, array: Uint16Array },
  bfloat16: { bytes: 2, array: Uint16Array },
  int64: { bytes: 8, array: BigInt64Array },
  int32: { bytes: 4, array: Int32Array },
  int16: { bytes: 2, array: Int16Array },
  int8: { bytes: 1, array: Int8Array },
  uint64: { bytes: 8, array: BigUint64Array },
  uint32: { bytes: 4, array: Uint32Array },
  uint16: { bytes: 2, array: Uint16Array },
  uint8: { bytes: 1, array: Uint8Array },
  bool: { bytes: 1, array: Uint8Array },
} as const;

export type DType = keyof typeof DTYPES;

/**
 * What a file says its elements are: a `DType`, or the name of a type that can be listed and not read (`isDType` tells
 * them apart), such as `complex64`, safetensors' `F8_E4M3`, numpy's `<U5`.
 */
export type StoredDType = string;

/** Whether elements of this type can be read. */
export function isDType(dtype: StoredDType): dtype is DType {
  return Object.hasOwn(DTYPES, dtype);
}

/** Elements of a tensor, row-major. */
export type TensorData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** A tensor in memory. */
export interface TensorValue {
  readonly dtype: DType;
  /** Empty for a scalar. */
  readonly shape: readonly number[];
  /** Row-major. float16 and bfloat16 as bits in a Uint16Array, bool as 0 or 1 in a Uint8Array. */
  readonly data: TensorData;
}

if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1)
  throw new Error("@madformer/artifacts needs a little-endian machine");

/** Bytes of one element. */
export function dtypeBytes(dtype: DType): number {
  return DTYPES[dtype].bytes;
}

/** Whether elements are held as this kind of array. */
export function isDataOf(dtype: DType, data: TensorData): boolean {
  return data instanceof DTYPES[dtype].array;
}

/** The dtype that an array holds when nothing else is said: what its class is called. */
export function dtypeOf(data: TensorData): DType {
  if (data instanceof Float64Array) return "float64";
  if (data instanceof Float32Array) return "float32";
  if (data instanceof BigInt64Array) return "int64";
  if (data instanceof BigUint64Array) return "uint64";
  if (data instanceof Int32Array) return "int32";
  if (data instanceof Uint32Array) return "uint32";
  if (data instanceof Int16Array) return "int16";
  if (data instanceof Uint16Array) return "uint16";
  if (data instanceof Int8Array) return "int8";
  return "uint8";
}

/**
 * Bytes as elements, without a copy where they are aligned.
 *
 * @param bytes A whole number of elements, little-endian.
 */
export function elementsOf(dtype: DType, bytes: Uint8Array): TensorData {
  const { bytes: size, array } = DTYPES[dtype];
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.length / size);
}

/** The bytes of elements, without a copy. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Turns big-endian elements into little-endian ones, and back, in place. */
export function swapBytes(bytes: Uint8Array, size: number): void {
  for (let i = 0; i + size <= bytes.length; i += size) bytes.subarray(i, i + size).reverse();
}

/**
 * How many elements a shape has.
 *
 * @returns NaN if a size is negative or no integer, or if the product is past 2⁵³.
 */
export function elementCount(shape: readonly number[]): number {
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return NaN;
  if (shape.includes(0)) return 0;
  const product = shape.reduce((a, b) => a * b, 1);
  return Number.isSafeInteger(product) ? product : NaN;
}

/** A shape as Python prints it: `(2, 3)`, `(2,)`, `()`. */
export function formatShape(shape: readonly number[]): string {
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
}
