import { writeAtomically } from "../file/atomic-file.js";
import { ByteSource } from "../file/byte-source.js";
import { quote } from "../format-error.js";
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

export interface ReadNpzOptions {
  /** Bytes that all arrays may inflate to, against zip bombs. Default 1 GiB, or the file's own size if that is more. */
  readonly maxBytes?: number;
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
    arrays[arrayName(entry, source)] = decodeNpy(layout, bytes.subarray(layout.dataOffset), source);
  }
  return arrays;
}

/** An array of a `.npz` file that was not read yet. */
export interface NpzItem {
  readonly name: string;
  readonly layout: NpyLayout;
  /** Bytes it takes in the file. */
  readonly storedBytes: number;
  readonly entry: ZipEntry;
}

/** Names and headers of the arrays, without their data. */
export async function readNpzHeadersFrom(source: ByteSource): Promise<NpzItem[]> {
  const items: NpzItem[] = [];
  for (const entry of await readZipDirectory(source)) {
    const start = await readZipEntryStart(source, entry, MAX_HEADER_BYTES + 12);
    const layout = layoutOf(start, entry, source);
    items.push({ name: arrayName(entry, source), layout, storedBytes: entry.storedBytes, entry });
  }
  return items;
}

function arrayName({ name }: ZipEntry, source: ByteSource): string {
  if (!name.endsWith(".npy")) throw source.error(`entry ${quote(name)} is no array: its name does not end in .npy`);
  return name.slice(0, -4);
}

function layoutOf(start: Uint8Array, entry: ZipEntry, source: ByteSource): NpyLayout {
  const layout = readNpyLayout(start, source, `array ${quote(entry.name)}`);
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
  arrays: Readonly<Record<string, NpyInput>>,
  { compress = true }: WriteNpzOptions = {},
): Promise<void> {
  await writeAtomically(path, async (file) => {
    const zip = new ZipWriter(file);
    for (const [name, array] of Object.entries(arrays)) {
      const [header, data] = encodeNpy(array, name);
      if (compress) await zip.add(`${name}.npy`, Buffer.concat([header, data]), { compress });
      else await zip.addStream(`${name}.npy`, header.length + data.length, chunks(header, data));
    }
    await zip.end();
  });
}

async function* chunks(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}
