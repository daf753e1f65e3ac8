import { FormatError, quote } from "../format-error.js";
import { notFinite } from "../tensor/finite.js";
import { ArrowFile } from "./file.js";
import type { Batch } from "./batch.js";
import type { Column } from "./columns.js";
import { ArrowWriter } from "./write.js";

/** A latent: a Gaussian per element, or a point where `logvar` is null. */
export interface Latent {
  readonly key: string;
  readonly label: number | null;
  /** (height, width, channels) float32. */
  readonly mean: Float32Array;
  /** The same shape: logarithm of the variance. */
  readonly logvar: Float32Array | null;
}

/** What all latents of a set share. */
export interface LatentShape {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** Record batches take about this, whole rows. A training step reads rows anywhere: small batches waste little. */
const BATCH_BYTES = 1 << 16;
/** Elements of one latent: 1,024 x 1,024 x 16. */
const MAX_ELEMENTS = 2 ** 24;

const columnsOf = ({ height, width, channels }: LatentShape): readonly Column[] => [
  { name: "key", type: "utf8" },
  { name: "label", type: "int32", nullable: true },
  { name: "mean", type: { float32: height * width * channels } },
  { name: "logvar", type: { float32: height * width * channels }, nullable: true },
];

/**
 * Writes a shard of latents: an Arrow IPC file with one row per image. All record batches but the last have the same
 * number of rows, which stands in the schema's metadata beside height, width and channels, so that a row is found
 * without looking for it. Equal latents give equal bytes.
 *
 * @example
 * await using writer = await LatentShardWriter.create("latents-00000.arrow", { height: 8, width: 8, channels: 4 });
 * await writer.add({ key: "0", label: null, mean, logvar: null });
 * await writer.finish();
 */
export class LatentShardWriter implements AsyncDisposable {
  private rows = 0;

  private constructor(
    private readonly path: string,
    private readonly writer: ArrowWriter,
    private readonly elements: number,
    private readonly rowsPerBatch: number,
  ) {}

  /**
   * @param path Appears when `finish` is reached, and replaces what is there.
   * @throws {RangeError} If the shape is none.
   */
  static async create(path: string, { height, width, channels }: LatentShape): Promise<LatentShardWriter> {
    const elements = height * width * channels;
    if (![height, width, channels].every((n) => Number.isInteger(n) && n > 0) || elements > MAX_ELEMENTS)
      throw new RangeError(
        `Cannot write ${JSON.stringify(path)}: (${height}, ${width}, ${channels}) is no shape of at most ${MAX_ELEMENTS} elements`,
      );
    const rowsPerBatch = Math.max(1, Math.floor(BATCH_BYTES / (elements * 8)));
    const metadata = { height, width, channels, rowsPerBatch };
    const texts = Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, String(value)]));
    const writer = await ArrowWriter.create(path, columnsOf({ height, width, channels }), texts);
    return new LatentShardWriter(path, writer, elements, rowsPerBatch);
  }

  /** Latents added so far. */
  get latents(): number {
    return this.rows;
  }

  /**
   * @param latent Borrowed until the writer is finished: its values must not change.
   * @throws {RangeError} If it has another shape, or a value that is not finite.
   */
  async add({ key, label, mean, logvar }: Latent): Promise<void> {
    for (const [name, values] of Object.entries({ mean, logvar })) {
      if (values === null) continue;
      const bad = notFinite(values);
      const problem =
        values.length !== this.elements
          ? `it has ${values.length} elements, expected ${this.elements}`
          : bad && `it is not finite: ${bad}`;
      if (problem)
        throw new RangeError(
          `Cannot write the ${name} of ${JSON.stringify(key)} to ${JSON.stringify(this.path)}: ${problem}`,
        );
    }
    this.writer.add([key, label, mean, logvar]);
    this.rows++;
    if (this.writer.pendingRows === this.rowsPerBatch) await this.writer.flush();
  }

  /** Gives the file its name. */
  async finish(): Promise<void> {
    await this.writer.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.writer[Symbol.asyncDispose]();
  }
}

interface Shard {
  readonly file: ArrowFile;
  readonly rowsPerBatch: number;
  /** Rows of all shards before it. */
  readonly first: number;
  readonly rows: number;
}

export interface LatentShardsOptions {
  /** Bytes of record batches that are kept in memory, those used last. Default 256 MiB. */
  readonly cacheBytes?: number;
}

/**
 * Shards of latents, open for random access: a row is read when it is asked for, in one read of its record batch.
 *
 * @example
 * await using latents = await LatentShards.open(["latents-00000.arrow", "latents-00001.arrow"]);
 * const { mean, logvar } = await latents.read(latents.length - 1);
 */
export class LatentShards implements LatentShape, AsyncDisposable {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Latents in all shards. */
  readonly length: number;
  /** Batches in the order of their last use. */
  private readonly cache = new Map<string, Promise<Batch>>();
  private readonly cachedBatches: number;

  private constructor(
    private readonly shards: readonly Shard[],
    shape: LatentShape,
    { cacheBytes = 2 ** 28 }: LatentShardsOptions,
  ) {
    this.height = shape.height;
    this.width = shape.width;
    this.channels = shape.channels;
    this.length = shards.reduce((sum, shard) => sum + shard.rows, 0);
    const rowsPerBatch = Math.max(1, ...shards.map((shard) => shard.rowsPerBatch));
    this.cachedBatches = Math.floor(cacheBytes / (rowsPerBatch * shape.height * shape.width * shape.channels * 8));
  }

  /**
   * @param paths Of files that `LatentShardWriter` wrote, all of one shape. At least one.
   * @returns Yours to close.
   * @throws {FormatError} If a shard is damaged, or of another shape than the first. {RangeError} If there is no path.
   */
  static async open(paths: readonly string[], options: LatentShardsOptions = {}): Promise<LatentShards> {
    if (paths.length === 0) throw new RangeError("Cannot open latents: no shard was given");
    const shards: Shard[] = [];
    let shape: LatentShape | undefined;
    try {
      for (const path of paths) {
        const file = await ArrowFile.open(path, (metadata) => columnsOf(shapeOf(path, metadata)));
        const rowsPerBatch = countOf(path, file.metadata, "rowsPerBatch");
        const previous = shards.at(-1);
        shards.push({ file, rowsPerBatch, first: previous ? previous.first + previous.rows : 0, rows: 0 });
        const found = shapeOf(path, file.metadata);
        shape ??= found;
        if (formatted(found) !== formatted(shape))
          throw file.error(
            `its latents are ${formatted(found)}, those of ${JSON.stringify(paths[0])} ${formatted(shape)}`,
          );
        const last = file.batches === 0 ? 0 : (await file.readBatch(file.batches - 1)).rows;
        if (last > rowsPerBatch) throw file.error(`its last record batch has ${last} rows, more than ${rowsPerBatch}`);
        const rows = Math.max(0, file.batches - 1) * rowsPerBatch + last;
        shards[shards.length - 1] = { ...shards.at(-1)!, rows };
      }
      return new LatentShards(shards, shape!, options);
    } catch (error) {
      for (const { file } of shards) await file.close();
      throw error;
    }
  }

  /**
   * Latent `index` of all shards, in their order.
   *
   * @returns Yours: a copy.
   * @throws {RangeError} If there is no such latent. {FormatError} If its record batch is damaged, or it is not finite.
   */
  async read(index: number): Promise<Latent> {
    if (!(Number.isInteger(index) && index >= 0 && index < this.length))
      throw new RangeError(`Cannot read latent ${index}: there are ${this.length}`);
    const shard = this.shards[this.shardOf(index)]!;
    const row = index - shard.first;
    const number = Math.floor(row / shard.rowsPerBatch);
    const batch = await this.batch(shard, number);
    const cells = [0, 1, 2, 3].map((column) => batch.cell(row % shard.rowsPerBatch, column));
    const [key, label, mean, logvar] = cells as [string, number | null, Float32Array, Float32Array | null];
    for (const [name, values] of Object.entries({ mean, logvar })) {
      const bad = values && notFinite(values);
      if (bad) throw shard.file.error(`the ${name} of latent ${quote(key)} is not finite: ${bad}`);
    }
    return { key, label, mean, logvar };
  }

  async close(): Promise<void> {
    this.cache.clear();
    for (const { file } of this.shards) await file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The last shard that starts at or before a row and is not empty. */
  private shardOf(index: number): number {
    let [low, high] = [0, this.shards.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.shards[middle]!.first <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  private batch(shard: Shard, number: number): Promise<Batch> {
    const name = `${shard.first} ${number}`;
    const batch = this.cache.get(name) ?? readWholeBatch(shard, number);
    this.cache.delete(name);
    this.cache.set(name, batch);
    batch.catch(() => this.cache.delete(name)); // a read that failed may work the next time
    if (this.cache.size > this.cachedBatches) this.cache.delete(this.cache.keys().next().value!);
    return batch;
  }
}

/** A batch of the rows that its place promises. */
async function readWholeBatch({ file, rowsPerBatch, rows }: Shard, number: number): Promise<Batch> {
  const batch = await file.readBatch(number);
  const expected = Math.min(rowsPerBatch, rows - number * rowsPerBatch);
  if (batch.rows !== expected) throw file.error(`record batch ${number} has ${batch.rows} rows, expected ${expected}`);
  return batch;
}

function shapeOf(path: string, metadata: ReadonlyMap<string, string>): LatentShape {
  const [height, width, channels] = (["height", "width", "channels"] as const).map((name) =>
    countOf(path, metadata, name),
  );
  if (height! * width! * channels! > MAX_ELEMENTS)
    throw new FormatError(
      path,
      `its latents are (${height}, ${width}, ${channels}), more than ${MAX_ELEMENTS} elements`,
    );
  return { height: height!, width: width!, channels: channels! };
}

function countOf(path: string, metadata: ReadonlyMap<string, string>, name: string): number {
  const text = metadata.get(name);
  if (text === undefined || !/^[1-9]\d{0,8}$/.test(text))
    throw new FormatError(
      path,
      `its metadata says ${name} is ${JSON.stringify(text) ?? "nothing"}, expected a positive number`,
    );
  return Number(text);
}

const formatted = ({ height, width, channels }: LatentShape): string => `(${height}, ${width}, ${channels})`;
