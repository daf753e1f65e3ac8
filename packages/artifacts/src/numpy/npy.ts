import { writeAtomically } from "../file/atomic-file.js";
import { allocate, ByteSource } from "../file/byte-source.js";
import type { FormatError } from "../format-error.js";
import {
  bytesOf,
  dtypeBytes,
  dtypeOf,
  elementCount,
  elementsOf,
  formatShape,
  isDataOf,
  isDType,
  swapBytes,
  type DType,
  type TensorData,
  type TensorValue,
} from "../tensor/dtype.js";
import { gather } from "../tensor/strided.js";
import { formatNpyHeader, parseNpyHeader, unreadable, type NpyHeader } from "./npy-header.js";

/** An array of a `.npy` or `.npz` file: little-endian and row-major, whatever the file was. */
export type NpyArray = TensorValue;

/** An array to write. Without `dtype` it is that of the class of `data`. */
export interface NpyInput {
  readonly dtype?: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** numpy writes about 100 bytes; 64 axes of 19 digits take 1.3 kB. */
export const MAX_HEADER_BYTES = 65536;

/** Where the header ends: what it says, and how many bytes of data follow. */
export interface NpyLayout extends NpyHeader {
  readonly dataOffset: number;
  readonly dataBytes: number;
}

/**
 * Reads the header of a `.npy` file.
 *
 * @param start The first bytes: up to `MAX_HEADER_BYTES` and 12 more.
 * @param sizeBytes Of the whole file: the data of a type that is not read here is all that follows the header.
 * @throws {FormatError} If they are no header that is supported.
 */
export function readNpyLayout(start: Uint8Array, sizeBytes: number, source: ByteSource, what: string): NpyLayout {
  const fail = (problem: string): Error => source.error(what ? `${what}: ${problem}` : problem);
  if (start.length < 12 || Buffer.from(start.subarray(0, 6)).toString("latin1") !== "\x93NUMPY")
    throw fail("it does not start as a .npy file does");
  const [major, minor] = [start[6] ?? 0, start[7] ?? 0];
  if (major < 1 || major > 3 || minor !== 0) throw fail(`its version is ${major}.${minor}, expected 1.0, 2.0 or 3.0`);
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const textOffset = major === 1 ? 10 : 12;
  const textBytes = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (textBytes > MAX_HEADER_BYTES) throw fail(`its header takes ${textBytes} bytes, more than ${MAX_HEADER_BYTES}`);
  const dataOffset = textOffset + textBytes;
  if (dataOffset > start.length) throw fail(`its header ends at byte ${dataOffset}, but it holds ${start.length}`);
  const text = Buffer.from(start.subarray(textOffset, dataOffset)).toString(major === 3 ? "utf8" : "latin1");
  const header = parseNpyHeader(text, fail);
  const { dtype, shape } = header;
  const dataBytes = isDType(dtype) ? elementCount(shape) * dtypeBytes(dtype) : sizeBytes - dataOffset;
  return { ...header, dataOffset, dataBytes };
}

/** Data as it is in a file, made little-endian and row-major. `bytes` is used up: swapped in place, or returned. */
export function decodeNpy(layout: NpyLayout, bytes: Uint8Array, source: ByteSource, what = ""): NpyArray {
  const { dtype, bigEndian, fortranOrder, shape } = layout;
  if (!isDType(dtype)) throw source.error(what ? `${what}: ${unreadable(dtype)}` : unreadable(dtype));
  const size = dtypeBytes(dtype);
  if (bigEndian) swapBytes(bytes, size);
  const rowMajor = fortranOrder && shape.length > 1 ? transposed(bytes, shape, size, source) : bytes;
  return { dtype, shape, data: elementsOf(dtype, rowMajor) };
}

/** Column-major bytes in row-major order. */
function transposed(bytes: Uint8Array, shape: readonly number[], size: number, source: ByteSource): Uint8Array {
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((a, b) => a * b, 1));
  const result = allocate(bytes.length, source, "it");
  gather(bytes, shape, strides, size, result);
  return result;
}

/**
 * Reads a `.npy` file: float64/32/16, int and uint of 8 to 64 bits, bool; either byte order, either element order.
 *
 * @throws {FormatError} If it is damaged, or holds anything else (objects, strings, structures).
 */
export async function readNpy(path: string): Promise<NpyArray> {
  await using source = await ByteSource.open(path);
  return await readNpyFrom(source); // awaited: the file is closed at the end of this function
}

/** The same from an open source. Borrowed. */
export async function readNpyFrom(source: ByteSource): Promise<NpyArray> {
  return (await NpyFile.from(source)).read();
}

/** An open `.npy` file: its header was read, its data was not. */
export class NpyFile implements AsyncDisposable {
  private constructor(
    private readonly source: ByteSource,
    readonly layout: NpyLayout,
  ) {}

  /** @param source Owned from now on: closed with the file. */
  static async from(source: ByteSource): Promise<NpyFile> {
    const layout = readNpyLayout(
      await source.read(0, Math.min(source.size, MAX_HEADER_BYTES + 12)),
      source.size,
      source,
      "",
    );
    const { dataOffset, dataBytes } = layout;
    if (dataOffset + dataBytes !== source.size)
      throw source.error(`its data ends at byte ${dataOffset + dataBytes}, but the file holds ${source.size}`);
    return new NpyFile(source, layout);
  }

  /** Reads the array. Each call reads it again; it is yours. */
  async read(): Promise<NpyArray> {
    const { dataOffset, dataBytes } = this.layout;
    return decodeNpy(this.layout, await this.source.read(dataOffset, dataBytes, "its data"), this.source);
  }

  /** The error to throw about this file. */
  error(problem: string): FormatError {
    return this.source.error(problem);
  }

  async close(): Promise<void> {
    await this.source.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Writes a `.npy` file with the bytes that `numpy.save` writes.
 *
 * @throws {RangeError} If `data` has not as many elements as `shape`. {TypeError} If `data` is not what holds `dtype`.
 */
export async function writeNpy(path: string, array: NpyInput): Promise<void> {
  const parts = encodeNpy(array, path);
  await writeAtomically(path, async (file) => {
    for (const part of parts) await file.append(part);
  });
}

/** Header and data of a `.npy` file. The data is a view of the caller's. */
export function encodeNpy({ shape, data, dtype = dtypeOf(data) }: NpyInput, name: string): [Uint8Array, Uint8Array] {
  if (!isDataOf(dtype, data))
    throw new TypeError(`Cannot write ${JSON.stringify(name)}: ${dtype} is not held in a ${data.constructor.name}`);
  if (elementCount(shape) !== data.length)
    throw new RangeError(
      `Cannot write ${JSON.stringify(name)}: ${data.length} elements do not have the shape ${formatShape(shape)}`,
    );
  return [formatNpyHeader(dtype, shape), bytesOf(data)];
}
