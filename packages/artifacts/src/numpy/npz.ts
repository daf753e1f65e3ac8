import { writeAtomically } from "../file/atomic-file.js";
import { ByteSource } from "../file/byte-source.js";
import { quote, type FormatError } from "../format-error.js";
import { dtypeBytes, elementCount, type DType } from "../tensor/dtype.js";
import { readZipDirectory, readZipEntry, readZipEntryStart, type ZipEntry } from "../zip/read.js";
import { ZipWriter } from "../zip/write.js";
import {
  decodeNpy,
  encodeNpy,
  MAX_HEADER_BYTES,
  readNpyLayout,
  type NpyArray,
  type NpyInput,
  type NpyLayout,
} from "./npy.js";
import { formatNpyHeader } from "./npy-header.js";

export interface ReadNpzOptions {
  /** Bytes that all arrays may inflate to, against zip bombs. Default 1 GiB, or the file's own size if that is more. */
  readonly maxBytes?: number;
}

/**
 * An array whose bytes come in pieces, so that it need not be in memory: little-endian, C order. Stored, not deflated.
 */
export interface NpyStream {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly pieces: () => AsyncIterable<Uint8Array>;
}

export interface WriteNpzOptions {
  /** Deflate, as `numpy.savez_compressed` does. Default true. */
  readonly compress?: boolean;
}

/**
 * Reads all arrays of a `.npz` file, stored or deflated.
 *
 * @returns By name, without `.npy`.
 * @throws {FormatError} If the archive or an array in it is damaged, not supported, or larger than `maxBytes`.
 */
export async function readNpz(path: string, options?: ReadNpzOptions): Promise<Record<string, NpyArray>> {
  await using source = await ByteSource.open(path);
  return await readNpzFrom(source, options); // awaited: the file is closed at the end of this function
}

/** The same from an open source. Borrowed. */
export async function readNpzFrom(source: ByteSource, options: ReadNpzOptions = {}): Promise<Record<string, NpyArray>> {
  let left = options.maxBytes ?? Math.max(2 ** 30, source.size);
  const arrays = Object.create(null) as Record<string, NpyArray>; // no prototype: any name is a name
  for (const entry of await readZipDirectory(source)) {
    const bytes = await readZipEntry(source, entry, left);
    left -= bytes.length;
    const layout = layoutOf(bytes, entry, source);
    arrays[arrayName(entry, source)] = decoded(layout, bytes, entry, source);
  }
  return arrays;
}

/**
 * Opens a `.npz` file. Only the headers of its arrays are read; an array is read when it is asked for.
 *
 * @returns Yours to close.
 * @throws {FormatError} If the archive or a header in it is damaged or not supported.
 */
export async function openNpz(path: string): Promise<NpzFile> {
  const source = await ByteSource.open(path);
  try {
    return await NpzFile.from(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** An open `.npz` file. */
export class NpzFile implements AsyncDisposable {
  readonly names: readonly string[];

  private constructor(
    private readonly source: ByteSource,
    private readonly arrays: ReadonlyMap<string, { readonly entry: ZipEntry; readonly layout: NpyLayout }>,
  ) {
    this.names = [...arrays.keys()];
  }

  /** @param source Owned from now on: closed with the file. */
  static async from(source: ByteSource): Promise<NpzFile> {
    const arrays = new Map<string, { entry: ZipEntry; layout: NpyLayout }>();
    for (const entry of await readZipDirectory(source)) {
      const layout = layoutOf(await readZipEntryStart(source, entry, MAX_HEADER_BYTES + 12), entry, source);
      arrays.set(arrayName(entry, source), { entry, layout });
    }
    return new NpzFile(source, arrays);
  }

  /** What an array is, without reading it. */
  array(name: string): NpyLayout {
    return this.find(name).layout;
  }

  /**
   * Reads an array. Each call reads it again; it is yours.
   *
   * @param maxBytes No more than this is inflated.
   */
  async read(name: string, maxBytes = Math.max(2 ** 30, this.source.size)): Promise<NpyArray> {
    const { entry } = this.find(name);
    const bytes = await readZipEntry(this.source, entry, maxBytes);
    const layout = layoutOf(bytes, entry, this.source);
    return decoded(layout, bytes, entry, this.source);
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

  private find(name: string): { readonly entry: ZipEntry; readonly layout: NpyLayout } {
    const found = this.arrays.get(name);
    if (!found) throw this.source.error(`it has no array ${quote(name)}`);
    return found;
  }
}

function arrayName({ name }: ZipEntry, source: ByteSource): string {
  if (!name.endsWith(".npy")) throw source.error(`entry ${quote(name)} is no array: its name does not end in .npy`);
  return name.slice(0, -4);
}

function decoded(layout: NpyLayout, bytes: Uint8Array, entry: ZipEntry, source: ByteSource): NpyArray {
  return decodeNpy(layout, bytes.subarray(layout.dataOffset), source, `array ${quote(entry.name)}`);
}

function layoutOf(start: Uint8Array, entry: ZipEntry, source: ByteSource): NpyLayout {
  const layout = readNpyLayout(start, entry.sizeBytes, source, `array ${quote(entry.name)}`);
  const end = layout.dataOffset + layout.dataBytes;
  if (end !== entry.sizeBytes)
    throw source.error(`array ${quote(entry.name)} ends at byte ${end}, but its entry holds ${entry.sizeBytes}`);
  return layout;
}

/**
 * Writes a `.npz` file that `numpy.load` reads. Equal arrays give equal bytes: the dates in it are fixed.
 *
 * @param arrays By name, without `.npy`. Borrowed.
 * @throws {RangeError} If an array has not as many elements as its shape. {TypeError} If numpy has no such dtype.
 */
export async function writeNpz(
  path: string,
  arrays: Readonly<Record<string, NpyInput | NpyStream>>,
  { compress = true }: WriteNpzOptions = {},
): Promise<void> {
  await writeAtomically(path, async (file) => {
    const zip = new ZipWriter(file);
    for (const [name, array] of Object.entries(arrays)) {
      if ("pieces" in array) {
        const header = formatNpyHeader(array.dtype, array.shape);
        const sizeBytes = header.length + elementCount(array.shape) * dtypeBytes(array.dtype);
        await zip.addStream(`${name}.npy`, sizeBytes, streamed(header, array.pieces()));
        continue;
      }
      const [header, data] = encodeNpy(array, name);
      if (compress) await zip.add(`${name}.npy`, Buffer.concat([header, data]), { compress });
      else await zip.addStream(`${name}.npy`, header.length + data.length, chunks(header, data));
    }
    await zip.end();
  });
}

async function* streamed(header: Uint8Array, pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield header;
  yield* pieces;
}

async function* chunks(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}
