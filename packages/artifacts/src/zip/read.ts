import { promisify } from "node:util";
import { crc32, inflateRaw, inflateRawSync, constants } from "node:zlib";
import type { ByteSource } from "../file/byte-source.js";
import { quote } from "../format-error.js";

/** One file of an archive. */
export interface ZipEntry {
  readonly name: string;
  /** Bytes in the archive. */
  readonly storedBytes: number;
  /** Bytes once inflated, as declared. */
  readonly sizeBytes: number;
  readonly deflated: boolean;
  readonly crc: number;
  /** Where its local header starts. */
  readonly headerOffset: number;
  /** Where the next entry or the central directory starts: its data ends there or before. */
  readonly limit: number;
}

const SIGNATURE = { local: 0x04034b50, central: 0x02014b50, end: 0x06054b50, locator64: 0x07064b50, end64: 0x06064b50 };
const END_BYTES = 22;
const LOCATOR64_BYTES = 20;
const END64_BYTES = 56;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
const ENCRYPTED = 0x0001 | 0x0040 | 0x2000;

/** The central directory of 500,000 files with names of 80 bytes. A checkpoint has thousands. */
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20;

/** Deflate's best: 258 bytes for two bits. What claims to be denser is damaged. */
const MAX_RATIO = 1032;

/**
 * The list of files of a zip archive, zip64 included. Strict, because the sizes and places in it decide what is read
 * and allocated later: entries may not overlap (the "better zip bomb" is made of one kernel that every entry quotes),
 * names are unique and relative, sizes fit the file.
 *
 * Why not `yauzl` (3.4.0): one number in a hostile file (an offset of the zip64 directory past 2⁵³) makes it throw
 * inside a callback, where nobody can catch it, and the process dies; and it does not look for overlaps or repeated
 * names.
 *
 * Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.6 to 4.5.3.
 *
 * @throws {FormatError} If it is no archive, or one that breaks a rule above, or is encrypted or in several parts.
 */
export async function readZipDirectory(source: ByteSource): Promise<ZipEntry[]> {
  const { offset, size, count } = await findDirectory(source);
  if (size > MAX_DIRECTORY_BYTES)
    throw source.error(`its zip directory takes ${size} bytes, more than ${MAX_DIRECTORY_BYTES}`);
  const directory = await source.read(offset, size, "its zip directory");
  const view = viewOf(directory);
  const entries: (Omit<ZipEntry, "limit"> & { limit: number })[] = [];
  const names = new Set<string>();
  let at = 0;
  while (at < size) {
    if (at + CENTRAL_BYTES > size || view.getUint32(at, true) !== SIGNATURE.central)
      throw source.error(`its zip directory has no entry at byte ${offset + at}`);
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((k) => view.getUint16(at + k, true)) as [
      number,
      number,
      number,
    ];
    const end = at + CENTRAL_BYTES + nameBytes + extraBytes + commentBytes;
    if (end > size) throw source.error(`its zip directory is cut short at byte ${offset + at}`);
    const nameEnd = at + CENTRAL_BYTES + nameBytes;
    const name = decodeName(directory.subarray(at + CENTRAL_BYTES, nameEnd), source);
    if (names.has(name)) throw source.error(`it has two entries ${quote(name)}`);
    names.add(name);
    if (flags & ENCRYPTED) throw source.error(`entry ${quote(name)} is encrypted`);
    if (method !== 0 && method !== 8)
      throw source.error(`entry ${quote(name)} is compressed by method ${method}, expected 0 (stored) or 8 (deflated)`);

    const sizes = readSizes(view, at, directory.subarray(nameEnd, nameEnd + extraBytes), () =>
      source.error(`entry ${quote(name)} has no valid zip64 sizes`),
    );
    const { storedBytes, sizeBytes, headerOffset } = sizes;
    const deflated = method === 8;
    if (!deflated && storedBytes !== sizeBytes)
      throw source.error(`entry ${quote(name)} is stored in ${storedBytes} bytes, but says it has ${sizeBytes}`);
    if (deflated && sizeBytes > storedBytes * MAX_RATIO)
      throw source.error(`entry ${quote(name)} says that ${storedBytes} bytes inflate to ${sizeBytes}: impossible`);
    if (headerOffset + LOCAL_BYTES + nameBytes + storedBytes > offset)
      throw source.error(
        `entry ${quote(name)} ends at byte ${headerOffset + LOCAL_BYTES + nameBytes + storedBytes}, but the entries end at ${offset}`,
      );
    const crc = view.getUint32(at + 16, true);
    entries.push({ name, storedBytes, sizeBytes, deflated, crc, headerOffset, limit: offset });
    at = end;
  }
  if (entries.length !== count) throw source.error(`it has ${entries.length} zip entries, but says ${count}`);

  const inOrder = [...entries].sort((a, b) => a.headerOffset - b.headerOffset);
  for (const [i, entry] of inOrder.entries()) {
    const next = inOrder[i + 1];
    if (next) entry.limit = next.headerOffset;
    if (entry.headerOffset + LOCAL_BYTES + entry.storedBytes > entry.limit)
      throw source.error(`entries ${quote(entry.name)} and ${quote(next?.name ?? "")} overlap`);
  }
  return entries;
}

/** Where the central directory is: by the end record, and by that of zip64 if there is one. */
async function findDirectory(source: ByteSource): Promise<{ offset: number; size: number; count: number }> {
  const tailBytes = Math.min(source.size, END_BYTES + 0xffff + LOCATOR64_BYTES);
  const tailStart = source.size - tailBytes;
  const view = viewOf(await source.read(tailStart, tailBytes));
  // The record ends with a comment that ends the file: any other place is a signature inside something else.
  let at = tailBytes - END_BYTES;
  while (
    at >= 0 &&
    !(view.getUint32(at, true) === SIGNATURE.end && at + END_BYTES + view.getUint16(at + 20, true) === tailBytes)
  )
    at--;
  if (at < 0) throw source.error("it has no zip directory: no zip archive, or cut short");
  const end = tailStart + at;

  let [count, size, offset, stop] = [
    view.getUint16(at + 10, true),
    view.getUint32(at + 12, true),
    view.getUint32(at + 16, true),
    end,
  ];
  const split = (disk: number, start: number, here: number, total: number): boolean =>
    disk !== 0 || start !== 0 || here !== total;
  let parts = split(view.getUint16(at + 4, true), view.getUint16(at + 6, true), view.getUint16(at + 8, true), count);

  const locator = at - LOCATOR64_BYTES;
  if (locator >= 0 && view.getUint32(locator, true) === SIGNATURE.locator64) {
    const end64 = uint64(view, locator + 8);
    if (!(end64 + END64_BYTES <= end - LOCATOR64_BYTES))
      throw source.error(`its zip64 directory record is said to be at byte ${end64} of ${source.size}`);
    const record = viewOf(await source.read(end64, END64_BYTES, "its zip64 directory record"));
    if (record.getUint32(0, true) !== SIGNATURE.end64)
      throw source.error(`it has no zip64 directory record at byte ${end64}`);
    [count, size, offset, stop] = [uint64(record, 32), uint64(record, 40), uint64(record, 48), end64];
    parts = split(record.getUint32(16, true), record.getUint32(20, true), uint64(record, 24), count);
  }
  if (parts) throw source.error("it is one part of a zip archive of several");
  if (!(offset + size <= stop))
    throw source.error(`its zip directory ends at byte ${offset + size}, but what follows it starts at ${stop}`);
  return { offset, size, count };
}

/** Sizes and place of an entry. Fields of all ones are in the zip64 extra field (id 1), in this order. */
function readSizes(
  view: DataView,
  at: number,
  extra: Uint8Array,
  invalid: () => Error,
): { storedBytes: number; sizeBytes: number; headerOffset: number } {
  const fields = [24, 20, 42].map((k) => view.getUint32(at + k, true)); // inflated, stored, offset
  if (fields.includes(0xffffffff)) {
    const extraView = viewOf(extra);
    let [start, end] = [0, 0];
    while (end + 4 <= extra.length) {
      start = end + 4;
      end = start + extraView.getUint16(start - 2, true);
      if (end > extra.length) throw invalid();
      if (extraView.getUint16(start - 4, true) === 1) break;
      start = end;
    }
    for (const [i, field] of fields.entries()) {
      if (field !== 0xffffffff) continue;
      if (start + 8 > end) throw invalid();
      fields[i] = uint64(extraView, start);
      start += 8;
    }
    if (!fields.every(Number.isSafeInteger)) throw invalid();
  }
  const [sizeBytes, storedBytes, headerOffset] = fields as [number, number, number];
  return { storedBytes, sizeBytes, headerOffset };
}

function decodeName(bytes: Uint8Array, source: ByteSource): string {
  let name: string;
  try {
    name = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw source.error("a zip entry's name is no UTF-8", cause);
  }
  // Names are never used as paths here; whoever lists them may.
  // eslint-disable-next-line no-control-regex -- control characters are what it looks for
  if (name === "" || /^\/|^[A-Za-z]:|\\|[\x00-\x1f]/.test(name) || name.split("/").includes(".."))
    throw source.error(`a zip entry is named ${quote(name)}, which is no relative path`);
  return name;
}

/**
 * Where an entry's bytes start in the file.
 *
 * @throws {FormatError} If the entry's local header is not where the directory says, or is another's.
 */
export async function entryDataOffset(source: ByteSource, entry: ZipEntry): Promise<number> {
  const what = `entry ${quote(entry.name)}`;
  const header = viewOf(await source.read(entry.headerOffset, LOCAL_BYTES, what));
  if (header.getUint32(0, true) !== SIGNATURE.local)
    throw source.error(`${what} has no header at byte ${entry.headerOffset}`);
  const [nameBytes, extraBytes] = [header.getUint16(26, true), header.getUint16(28, true)];
  const name = await source.read(entry.headerOffset + LOCAL_BYTES, nameBytes, what);
  if (Buffer.from(name).toString("utf8") !== entry.name)
    throw source.error(`${what} has another name in its own header`);
  const start = entry.headerOffset + LOCAL_BYTES + nameBytes + extraBytes;
  if (start + entry.storedBytes > entry.limit)
    throw source.error(
      `${what} ends at byte ${start + entry.storedBytes}, but what follows it starts at ${entry.limit}`,
    );
  return start;
}

const inflate = promisify(inflateRaw);

/**
 * All bytes of an entry, inflated and checked against their CRC.
 *
 * @param maxBytes No more than this is inflated.
 * @throws {FormatError} If they are more, or not as many as declared, or do not match their CRC.
 */
export async function readZipEntry(
  source: ByteSource,
  entry: ZipEntry,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const what = `entry ${quote(entry.name)}`;
  if (entry.sizeBytes > maxBytes) throw source.error(`${what} has ${entry.sizeBytes} bytes, more than ${maxBytes}`);
  let bytes = await source.read(await entryDataOffset(source, entry), entry.storedBytes, what);
  if (entry.deflated) {
    try {
      // One byte more than declared would show that there is more.
      bytes = ownBytes(await inflate(bytes, { maxOutputLength: entry.sizeBytes + 1 }));
    } catch (cause) {
      throw source.error(`${what} does not inflate to ${entry.sizeBytes} bytes: ${(cause as Error).message}`, cause);
    }
    if (bytes.length !== entry.sizeBytes)
      throw source.error(`${what} inflates to ${bytes.length} bytes or more, but says ${entry.sizeBytes}`);
  }
  checkCrc(bytes, entry, source);
  return bytes;
}

/**
 * Checks all bytes of an entry. A CRC of 0 is no CRC: PyTorch writes it when told to compute none.
 *
 * @throws {FormatError} If they do not match their CRC.
 */
export function checkCrc(bytes: Uint8Array, entry: ZipEntry, source: ByteSource): void {
  if (entry.crc !== 0 && crc32(bytes) !== entry.crc)
    throw source.error(`entry ${quote(entry.name)} is damaged: its CRC-32 does not match`);
}

/**
 * The first bytes of an entry, or all if it is shorter: enough for a header. No CRC is checked.
 *
 * @param length At most as many are returned.
 */
export async function readZipEntryStart(
  source: ByteSource,
  entry: ZipEntry,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const start = await entryDataOffset(source, entry);
  // What hardly shrinks may grow by a few bytes.
  const needed = entry.deflated ? length + 1024 : length;
  const stored = await source.read(start, Math.min(entry.storedBytes, needed), `entry ${quote(entry.name)}`);
  if (!entry.deflated) return stored;
  try {
    const maxOutputLength = Math.min(stored.length * MAX_RATIO + 1, entry.sizeBytes + 1);
    // No end is needed.
    const inflated = inflateRawSync(stored, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength });
    return ownBytes(inflated).subarray(0, length);
  } catch (cause) {
    throw source.error(`entry ${quote(entry.name)} does not inflate: ${(cause as Error).message}`, cause);
  }
}

/** zlib's results as an array at the start of a buffer of its own. */
function ownBytes(buffer: Buffer): Uint8Array<ArrayBuffer> {
  if (buffer.byteOffset === 0 && buffer.buffer instanceof ArrayBuffer && buffer.buffer.byteLength === buffer.length)
    return new Uint8Array(buffer.buffer);
  return Uint8Array.from(buffer);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** As a double: past 2⁵³ it is rounded, and past any file's size either way. */
function uint64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}
