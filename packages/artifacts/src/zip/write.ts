import { promisify } from "node:util";
import { crc32, deflateRaw } from "node:zlib";
import type { FileWriter } from "../file/atomic-file.js";

export interface ZipWriterOptions {
  /** Each entry's data starts at a multiple of this many bytes. A power of two; default 1. */
  readonly alignBytes?: number;
  /** The zip64 form even where the short one would do. For tests: a real need starts at 4 GiB. */
  readonly zip64?: boolean;
}

interface Written {
  readonly name: Uint8Array;
  readonly method: number;
  readonly crc: number;
  readonly storedBytes: number;
  readonly sizeBytes: number;
  readonly headerOffset: number;
}

const MAX32 = 0xffffffff;
const [DATE, TIME] = [0x0021, 0]; // 1980-01-01 00:00, the first date there is: equal input gives equal bytes
const UTF8 = 0x0800;

/** The id and the filling that PyTorch uses for its padding. */
const PADDING_ID = 0x4246;
const PADDING = "Z".charCodeAt(0);

const deflate = promisify(deflateRaw);

/**
 * Writes a zip archive, entry by entry, each with its sizes in front of it (no data descriptors).
 *
 * Why not `yazl` (3.3.1): it has no way to align an entry's data, which PyTorch's memory mapping wants at 64 bytes.
 */
export class ZipWriter {
  private readonly entries: Written[] = [];
  private readonly align: number;
  private readonly zip64: boolean;

  /** @param file Borrowed. */
  constructor(
    private readonly file: FileWriter,
    options: ZipWriterOptions = {},
  ) {
    this.align = options.alignBytes ?? 1;
    this.zip64 = options.zip64 ?? false;
  }

  /** Adds an entry that is in memory. */
  async add(name: string, bytes: Uint8Array, { compress = false } = {}): Promise<void> {
    const stored = compress ? await deflate(bytes) : bytes;
    const header = await this.begin(name, stored.length, bytes.length, compress ? 8 : 0, crc32(bytes));
    await this.file.append(stored);
    this.entries.push(header);
  }

  /**
   * Adds an entry, not compressed, whose bytes come in pieces.
   *
   * @param sizeBytes All of them together.
   * @throws {RangeError} If the pieces are more or less than `sizeBytes`.
   */
  async addStream(name: string, sizeBytes: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const header = await this.begin(name, sizeBytes, sizeBytes, 0, 0);
    let [crc, done] = [0, 0];
    for await (const chunk of chunks) {
      done += chunk.length;
      if (done > sizeBytes) break;
      if (chunk.length > 0) crc = crc32(chunk, crc); // of no bytes, Node's crc32 forgets what was before
      await this.file.append(chunk);
    }
    if (done !== sizeBytes)
      throw new RangeError(
        `Cannot write ${JSON.stringify(name)}: given ${done > sizeBytes ? "more than " : ""}${Math.min(done, sizeBytes)} bytes, expected ${sizeBytes}`,
      );
    await this.file.patch(uint32(crc), header.headerOffset + 14);
    this.entries.push({ ...header, crc });
  }

  /** Writes the local header, padded so that the data after it is aligned. */
  private async begin(
    name: string,
    storedBytes: number,
    sizeBytes: number,
    method: number,
    crc: number,
  ): Promise<Written> {
    const encoded = new TextEncoder().encode(name);
    const headerOffset = this.file.position;
    const large = this.zip64 || sizeBytes >= MAX32 || storedBytes >= MAX32;
    const sizes = large ? extraField(1, concat([uint64(sizeBytes), uint64(storedBytes)])) : new Uint8Array(0);
    const dataOffset = headerOffset + 30 + encoded.length + sizes.length;
    // A field's own id and length take 4 bytes, so padding is 0 or at least 4.
    const gap = -dataOffset & (this.align - 1) || 0;
    const padded = gap === 0 ? 0 : gap < 4 ? gap + this.align : gap;
    const padding = padded ? extraField(PADDING_ID, new Uint8Array(padded - 4).fill(PADDING)) : new Uint8Array(0);
    await this.file.append(
      concat([
        uint32(0x04034b50),
        uint16(large ? 45 : 20, UTF8, method, TIME, DATE),
        uint32(crc, large ? MAX32 : storedBytes, large ? MAX32 : sizeBytes),
        uint16(encoded.length, sizes.length + padding.length),
        encoded,
        sizes,
        padding,
      ]),
    );
    return { name: encoded, method, crc, storedBytes, sizeBytes, headerOffset };
  }

  /** Writes the directory. Nothing can be added after it. */
  async end(): Promise<void> {
    const start = this.file.position;
    for (const { name, method, crc, storedBytes, sizeBytes, headerOffset } of this.entries) {
      const wide = [sizeBytes, storedBytes, headerOffset].map((value) => this.zip64 || value >= MAX32);
      const [size, stored, offset] = [sizeBytes, storedBytes, headerOffset].map((v, i) => (wide[i] ? MAX32 : v)) as [
        number,
        number,
        number,
      ];
      const values = [sizeBytes, storedBytes, headerOffset].filter((_, i) => wide[i]).map(uint64);
      const extra = values.length ? extraField(1, concat(values)) : new Uint8Array(0);
      const version = values.length ? 45 : 20;
      await this.file.append(
        concat([
          uint32(0x02014b50),
          uint16(version, version, UTF8, method, TIME, DATE),
          uint32(crc, stored, size),
          uint16(name.length, extra.length, 0, 0, 0),
          uint32(0, offset),
          name,
          extra,
        ]),
      );
    }
    const end = this.file.position;
    const [count, size] = [this.entries.length, end - start];
    const large = this.zip64 || count >= 0xffff || size >= MAX32 || start >= MAX32;
    if (large)
      await this.file.append(
        concat([
          uint32(0x06064b50),
          uint64(44),
          uint16(45, 45),
          uint32(0, 0),
          ...[count, count, size, start].map(uint64),
          uint32(0x07064b50, 0),
          uint64(end),
          uint32(1),
        ]),
      );
    const short = large ? 0xffff : count;
    await this.file.append(
      concat([
        uint32(0x06054b50),
        uint16(0, 0, short, short),
        uint32(large ? MAX32 : size, large ? MAX32 : start),
        uint16(0),
      ]),
    );
  }
}

function extraField(id: number, data: Uint8Array): Uint8Array {
  return concat([uint16(id, data.length), data]);
}

const uint16 = (...values: number[]): Uint8Array => new Uint8Array(Uint16Array.from(values).buffer);
const uint32 = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
const uint64 = (value: number): Uint8Array => new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
const concat = (parts: Uint8Array[]): Uint8Array => Buffer.concat(parts);
