import { ArrowFile } from "./file.js";
import type { Column } from "./columns.js";
import { ArrowWriter } from "./write.js";

/** How an image's bytes are written: plain pixels, rows of RGB, or an image file. */
export type ImageFormat = "rgb8" | "png" | "webp" | "jpeg";
const FORMATS: readonly string[] = ["rgb8", "png", "webp", "jpeg"] satisfies readonly ImageFormat[];

/** An image as shards hold it. */
export interface ShardImage {
  /** Its name in the data set, such as `00000012`. */
  readonly key: string;
  /** Its class, if it has one. */
  readonly label: number | null;
  readonly width: number;
  readonly height: number;
  readonly format: ImageFormat;
  /** Of `rgb8`: (height, width, 3) uint8. */
  readonly image: Uint8Array;
  /** SHA-256 of the file it was made from. */
  readonly source: string;
  /** What else the data set says about it, as JSON. */
  readonly json: string | null;
}

/** In file order. `width` and `height` are pixels. */
const COLUMNS: readonly Column[] = [
  { name: "key", type: "utf8" },
  { name: "label", type: "int32", nullable: true },
  { name: "width", type: "int32" },
  { name: "height", type: "int32" },
  { name: "format", type: "utf8" },
  { name: "image", type: "binary" },
  { name: "source", type: "utf8" },
  { name: "json", type: "utf8", nullable: true },
];

/** A record batch ends when its images, with what is said about them, reach this. */
const BATCH_BYTES = 1 << 20;
/** The largest side, a limit of most formats. */
const MAX_SIDE = 65_535;

/**
 * Writes a shard of images: an Arrow IPC file with one row per image, in record batches of about a megabyte. Equal
 * images give equal bytes.
 *
 * @example await using writer = await ImageShardWriter.create("images-00000.arrow"); await writer.add({ key: "0",
 * label: 3, width: 1, height: 1, format: "rgb8", image, source: sha256(file), json: null }); await writer.finish();
 */
export class ImageShardWriter implements AsyncDisposable {
  private pendingBytes = 0;
  private rows = 0;

  private constructor(
    private readonly path: string,
    private readonly writer: ArrowWriter,
  ) {}

  /** @param path Appears when `finish` is reached, and replaces what is there. */
  static async create(path: string): Promise<ImageShardWriter> {
    return new ImageShardWriter(path, await ArrowWriter.create(path, COLUMNS));
  }

  /** Images added so far. */
  get images(): number {
    return this.rows;
  }

  /**
   * @param image Borrowed until the writer is finished: its bytes must not change.
   * @throws {RangeError} If its fields contradict each other.
   */
  async add(image: ShardImage): Promise<void> {
    const problem = problemOf(image);
    if (problem)
      throw new RangeError(
        `Cannot write image ${JSON.stringify(image.key)} to ${JSON.stringify(this.path)}: ${problem}`,
      );
    const { key, label, width, height, format, source, json } = image;
    this.writer.add([key, label, width, height, format, image.image, source, json]);
    this.rows++;
    this.pendingBytes += image.image.length + (json?.length ?? 0);
    if (this.pendingBytes < BATCH_BYTES) return;
    this.pendingBytes = 0;
    await this.writer.flush();
  }

  /** Gives the file its name. */
  async finish(): Promise<void> {
    await this.writer.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.writer[Symbol.asyncDispose]();
  }
}

/**
 * The images of shards, in order, one record batch in memory at a time.
 *
 * @param paths Of files that `ImageShardWriter` wrote.
 * @throws {FormatError} If a shard is damaged. {unknown} `signal.reason`, when it is aborted.
 */
export async function* readImageShards(
  paths: readonly string[],
  { signal }: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<ShardImage, void, undefined> {
  for (const path of paths) {
    await using file = await ArrowFile.open(path, COLUMNS);
    for (let i = 0; i < file.batches; i++) {
      signal?.throwIfAborted();
      const batch = await file.readBatch(i);
      for (let row = 0; row < batch.rows; row++) {
        const [key, label, width, height, format, bytes, source, json] = COLUMNS.map((_, c) => batch.cell(row, c));
        const image = { key, label, width, height, format, image: bytes, source, json } as ShardImage;
        const problem = problemOf(image);
        if (problem) throw file.error(`row ${row} of record batch ${i}: ${problem}`);
        yield image;
      }
    }
  }
}

/** What is wrong with an image, if anything. */
function problemOf({ key, label, width, height, format, image, source }: ShardImage): string | undefined {
  if (key === "") return "its key is empty";
  if (label !== null && !(Number.isInteger(label) && Math.abs(label) < 2 ** 31)) return `its label is ${label}`;
  for (const side of [width, height])
    if (!(Number.isInteger(side) && side > 0 && side <= MAX_SIDE))
      return `it is ${width} x ${height} pixels, expected 1 to ${MAX_SIDE} each way`;
  if (!FORMATS.includes(format))
    return `its format is ${JSON.stringify(format)}, expected one of ${FORMATS.join(", ")}`;
  if (format === "rgb8" && image.length !== width * height * 3)
    return `${image.length} bytes are not ${width} x ${height} pixels of 3`;
  if (!/^[0-9a-f]{64}$/.test(source)) return `its source is ${JSON.stringify(source)}, expected a SHA-256`;
  return undefined;
}
