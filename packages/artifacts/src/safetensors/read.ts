import { ByteSource } from "../file/byte-source.js";
import { quote, type FormatError } from "../format-error.js";
import { toFloat32 } from "../tensor/convert.js";
import { dtypeBytes, elementsOf, isDType, type DType, type StoredDType, type TensorValue } from "../tensor/dtype.js";
import { notFinite } from "../tensor/finite.js";
import { DTYPE_NAMES, parseSafetensorsHeader, type SafetensorsEntry, type SafetensorsHeader } from "./header.js";

/** A piece of a tensor: stays in a processor's cache on its way from one file to another. */
const PIECE_BYTES = 2 ** 22;

/** The limit of the format's own reader. */
const MAX_HEADER_BYTES = 100_000_000;

/**
 * Opens a `.safetensors` file. Only its header is read; a tensor is read when it is asked for.
 *
 * @returns Yours to close: `await using file = await openSafetensors(path)`.
 * @throws {FormatError} If the header is damaged, or does not fit the file.
 *
 * @example
 * await using file = await openSafetensors("weights.safetensors");
 * for (const name of file.names) console.log(name, file.tensor(name).shape);
 * const weight = await file.readFloat32("blocks.0.weight");
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const source = await ByteSource.open(path);
  try {
    return await SafetensorsFile.from(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** An open `.safetensors` file. */
export class SafetensorsFile implements AsyncDisposable {
  /** Tensors in the order of their data. */
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;

  /** Where pieces are read into, while nobody reads any: fresh memory for each tensor costs as much as reading it. */
  private spare: Uint8Array<ArrayBuffer> | undefined;

  private constructor(
    private readonly source: ByteSource,
    private readonly header: SafetensorsHeader,
    private readonly dataOffset: number,
  ) {
    this.names = [...header.tensors.keys()];
    this.metadata = header.metadata;
  }

  /** @param source Owned from now on: closed with the file. */
  static async from(source: ByteSource): Promise<SafetensorsFile> {
    if (source.size < 8) throw source.error(`it holds ${source.size} bytes, too few for a safetensors file`);
    const length = new DataView((await source.read(0, 8)).buffer).getBigUint64(0, true);
    if (length > MAX_HEADER_BYTES)
      throw source.error(`its header takes ${length} bytes, more than ${MAX_HEADER_BYTES}`);
    const bytes = await source.read(8, Number(length), "its header");
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw source.error("its header is no UTF-8", cause);
    }
    const dataOffset = 8 + bytes.length;
    const header = parseSafetensorsHeader(text, source.size - dataOffset, (problem) => source.error(problem));
    return new SafetensorsFile(source, header, dataOffset);
  }

  has(name: string): boolean {
    return this.header.tensors.has(name);
  }

  /**
   * What a tensor is, without reading it.
   *
   * @throws {FormatError} If the file has no such tensor.
   */
  tensor(name: string): { readonly dtype: StoredDType; readonly shape: readonly number[]; readonly sizeBytes: number } {
    const { dtype, shape, start, end } = this.entry(name);
    return { dtype, shape, sizeBytes: end - start };
  }

  /**
   * Reads a tensor. Each call reads it again; the array is yours.
   *
   * @throws {FormatError} If the file has no such tensor, or it is of a type that is not read here.
   */
  async read(name: string): Promise<TensorValue> {
    const { dtype, shape, start, end } = this.readable(name);
    const bytes = await this.source.read(this.dataOffset + start, end - start, `tensor ${quote(name)}`);
    return { dtype, shape, data: elementsOf(dtype, bytes) };
  }

  /**
   * Reads a tensor in pieces of a few MiB, in row-major order, into one buffer: a piece is what was read until the next
   * one is asked for.
   */
  async *readPieces(name: string): AsyncGenerator<TensorValue> {
    const { dtype, start, end } = this.readable(name);
    const buffer = this.spare ?? new Uint8Array(PIECE_BYTES);
    this.spare = undefined; // two tensors may be read at a time
    try {
      for (let at = start; at < end; at += buffer.length) {
        const piece = buffer.subarray(0, Math.min(buffer.length, end - at));
        await this.source.fill(piece, this.dataOffset + at, `tensor ${quote(name)}`);
        const data = elementsOf(dtype, piece);
        yield { dtype, shape: [data.length], data };
      }
    } finally {
      this.spare = buffer;
    }
  }

  /**
   * Reads rows [from, to) of a tensor: a slice of its first axis.
   *
   * @throws {RangeError} If they are not all there, or the tensor is a scalar.
   */
  async readRows(name: string, from: number, to: number): Promise<TensorValue> {
    const { dtype, shape, start } = this.readable(name);
    const [rows, ...rest] = shape;
    if (
      rows === undefined ||
      !(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to <= rows)
    )
      throw new RangeError(`Cannot read rows ${from} to ${to} of tensor ${quote(name)}: it has ${rows ?? "no"} rows`);
    const rowBytes = rest.reduce((a, b) => a * b, dtypeBytes(dtype));
    const at = this.dataOffset + start + from * rowBytes;
    const bytes = await this.source.read(at, (to - from) * rowBytes, `tensor ${quote(name)}`);
    return { dtype, shape: [to - from, ...rest], data: elementsOf(dtype, bytes) };
  }

  /** Reads a tensor as float32, whatever it is. float16 and bfloat16 are exact; wider types are rounded. */
  async readFloat32(name: string): Promise<Float32Array> {
    return toFloat32(await this.read(name));
  }

  /**
   * Reads weights: as `readFloat32`, and every element is a finite number.
   *
   * @throws {FormatError} If one is NaN or infinite, or too large for float32: with the tensor's name, and where.
   */
  async readWeights(name: string): Promise<Float32Array> {
    const weights = await this.readFloat32(name);
    const problem = notFinite(weights);
    if (problem === undefined) return weights;
    const { dtype } = this.tensor(name);
    throw this.source.error(
      `tensor ${quote(name)} is not finite${dtype === "float64" ? " in float32" : ""}: ${problem}`,
    );
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

  private readable(name: string): SafetensorsEntry & { readonly dtype: DType } {
    const { dtype, ...entry } = this.entry(name);
    if (isDType(dtype)) return { dtype, ...entry };
    throw this.source.error(
      `tensor ${quote(name)} has the dtype ${quote(dtype)}, expected one of ${Object.keys(DTYPE_NAMES).join(", ")}`,
    );
  }

  private entry(name: string): SafetensorsEntry {
    const entry = this.header.tensors.get(name);
    if (!entry) throw this.source.error(`it has no tensor ${quote(name)}`);
    return entry;
  }
}
