import { open, stat } from "node:fs/promises";
import { DataError, notFinite, reasonOf, writeAtomically, type FileWriter } from "@madformer/artifacts";

/** Bytes before the data: what numpy writes for a matrix of any size here. */
const HEADER_BYTES = 128;

/** A file that `writeFeatures` writes. */
export interface FeatureOutput {
  readonly path: string;
  readonly dims: number;
}

/**
 * Writes features as `.npy` files, (rows, dims) float32, as they come: their number is known at the end alone.
 *
 * @param outputs One or more.
 * @param parts For each of the outputs (n, dims), row-major. Borrowed until the next are asked for.
 * @returns How many rows there were.
 */
export async function writeFeatures(
  outputs: readonly FeatureOutput[],
  parts: AsyncIterable<readonly Float32Array[]> | Iterable<readonly Float32Array[]>,
): Promise<number> {
  let rows = 0;
  /** Opens one file within another: none of them is there before all are whole. */
  const within = async (files: readonly FileWriter[]): Promise<void> => {
    const next = outputs[files.length];
    if (next) {
      await writeAtomically(next.path, async (file) => {
        await file.append(headerOf(0, next.dims));
        await within([...files, file]);
        await file.patch(headerOf(rows, next.dims), 0);
      });
      return;
    }
    for await (const some of parts) {
      rows += some[0]!.length / outputs[0]!.dims;
      for (const [i, part] of some.entries())
        await files[i]!.append(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    }
  };
  await within([]);
  return rows;
}

/** Features in some order, read row by row. */
export interface FeatureRows {
  readonly rows: number;
  /** Channels of a feature. */
  readonly dims: number;
  /** All features, some rows at a time: (n, dims), row-major. */
  parts(rows?: number): AsyncGenerator<Float32Array, void, undefined>;
  /** @param indices Ascending. @returns (n, dims), row-major. New. */
  select(indices: readonly number[] | Uint32Array): Promise<Float32Array>;
}

/** Some rows of features, as if they were all. */
export class SomeRows implements FeatureRows {
  /** @param indices Ascending. */
  constructor(
    private readonly all: FeatureRows,
    private readonly indices: Uint32Array,
  ) {}

  get rows(): number {
    return this.indices.length;
  }

  get dims(): number {
    return this.all.dims;
  }

  async *parts(rows = PART_ROWS): AsyncGenerator<Float32Array, void, undefined> {
    for (let from = 0; from < this.rows; from += rows)
      yield await this.all.select(this.indices.subarray(from, from + rows));
  }

  select(indices: readonly number[] | Uint32Array): Promise<Float32Array> {
    return this.all.select(Uint32Array.from(indices, (index) => this.indices[index]!));
  }
}

/** Rows that are read at a time. */
const PART_ROWS = 1024;

/** Features of a file, read row by row: never more in memory than was asked for. */
export class FeatureFile implements FeatureRows, AsyncDisposable {
  private constructor(
    private readonly path: string,
    private readonly file: Awaited<ReturnType<typeof open>>,
    /** Features in the file. */
    readonly rows: number,
    /** Channels of a feature. */
    readonly dims: number,
  ) {}

  /**
   * Opens a file that `writeFeatures` wrote.
   *
   * @throws {DataError} If it is not (rows, dims) float32 with the header that is written here.
   */
  static async open(path: string, rows: number, dims: number): Promise<FeatureFile> {
    const expected = headerOf(rows, dims);
    let file: Awaited<ReturnType<typeof open>>;
    try {
      file = await open(path, "r");
    } catch (cause) {
      throw new DataError(`Cannot read features ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
    }
    try {
      const found = Buffer.alloc(HEADER_BYTES);
      await file.read(found, 0, HEADER_BYTES, 0);
      const { size } = await file.stat();
      if (!found.equals(expected) || size !== HEADER_BYTES + rows * dims * 4)
        throw new DataError(
          `Cannot read features ${JSON.stringify(path)}: ${size} bytes are no .npy file of (${rows}, ${dims}) float32`,
        );
      return new FeatureFile(path, file, rows, dims);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * Rows [from, to), new.
   *
   * @throws {DataError} If one is not finite, or the file became shorter.
   */
  async read(from: number, to: number): Promise<Float32Array> {
    const values = new Float32Array((to - from) * this.dims);
    const bytes = new Uint8Array(values.buffer);
    let done = 0;
    while (done < bytes.length) {
      const position = HEADER_BYTES + from * this.dims * 4 + done;
      const { bytesRead } = await this.file.read(bytes, done, Math.min(bytes.length - done, 2 ** 30), position);
      if (bytesRead === 0)
        throw new DataError(`Cannot read features ${JSON.stringify(this.path)}: the file became shorter`);
      done += bytesRead;
    }
    const bad = notFinite(values);
    if (bad)
      throw new DataError(
        `Cannot read features ${JSON.stringify(this.path)}: rows ${from} to ${to - 1} are not finite: ${bad}`,
      );
    return values;
  }

  /** All features, some rows at a time. */
  async *parts(rows = PART_ROWS): AsyncGenerator<Float32Array, void, undefined> {
    for (let from = 0; from < this.rows; from += rows) yield await this.read(from, Math.min(from + rows, this.rows));
  }

  /** @param indices Ascending. */
  async select(indices: readonly number[] | Uint32Array): Promise<Float32Array> {
    const selected = new Float32Array(indices.length * this.dims);
    let at = 0;
    let next = 0;
    for (let from = 0; from < this.rows && next < indices.length; from += PART_ROWS) {
      const to = Math.min(from + PART_ROWS, this.rows);
      if (indices[next]! >= to) continue;
      const part = await this.read(from, to);
      for (; next < indices.length && indices[next]! < to; next++, at += this.dims) {
        const row = (indices[next]! - from) * this.dims;
        selected.set(part.subarray(row, row + this.dims), at);
      }
    }
    return selected;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file.close();
  }
}

/**
 * How many features a file of `writeFeatures` holds.
 *
 * @throws {DataError} If it is none.
 */
export async function featureRows(path: string, dims: number): Promise<number> {
  const { size } = await stat(path);
  await using file = await FeatureFile.open(path, Math.floor((size - HEADER_BYTES) / (dims * 4)), dims);
  return file.rows;
}

/** The bytes with which `numpy.save` starts such a file; sizes of any length fit. */
function headerOf(rows: number, dims: number): Buffer {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${dims}), }`;
  const header = Buffer.alloc(HEADER_BYTES, " ");
  header.write("\x93NUMPY\x01\x00", "latin1");
  header.writeUInt16LE(HEADER_BYTES - 10, 8);
  header.write(text, 10, "latin1");
  header.write("\n", HEADER_BYTES - 1, "latin1");
  return header;
}
