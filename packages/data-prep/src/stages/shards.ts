import { availableParallelism } from "node:os";
import { join } from "node:path";
import { DataError, ImageShardWriter, type Artifact } from "@madformer/artifacts";
import { defineStage, type StageContext, type StageFiles } from "@madformer/stage";
import { z } from "zod";
import { imageExtension } from "../dataset/pack.js";
import { Memory } from "../shards/memory.js";
import { mapOrdered } from "../shards/ordered.js";
import { copyClassNames } from "../dataset/class-names.js";
import { IMAGE_FILES, imagesOf } from "../shards/image-kinds.js";
import { MAX_JSON_BYTES, SHARD_FORMATS, shardImage, type Skipped } from "../shards/sample.js";
import { RESIZES } from "../shards/square.js";
import { Oddities } from "../webdataset/oddities.js";
import { readWebDataset } from "../webdataset/read.js";
import type { WebDatasetSample } from "../webdataset/sample.js";

/** Which images become shards, and how. */
export const ShardsConfig = z.strictObject({
  side: z.int().min(1).max(16_384).default(256).describe("Side of the square images, pixels"),
  crop: z
    .enum(["center", "top-left", "none"])
    .default("center")
    .describe(
      "Take the largest square in the middle; at the top left, as the released code does for ImageNet; or stretch all of the " +
        "image, as it does else",
    ),
  resize: z
    .enum(RESIZES)
    .default("pil-bilinear")
    .describe(
      "Kernel; pil-bilinear is that of the reference, bit for bit, and imagenet that of its branch (Lanczos to 256 pixels, then " +
        "bilinear); pil-lanczos is PIL's too, the others are sharp's",
    ),
  background: z.enum(["black", "white"]).default("white").describe("What shows where an image is transparent"),
  format: z.enum(SHARD_FORMATS).default("rgb8").describe("How shards hold images: pixels, or compressed without loss"),
  image: z
    .string()
    .regex(
      /^([a-z0-9_-]+(\.[a-z0-9_-]+)*(,(?!$)|$))*$/,
      "expected extensions in lower case, such as jpg or left.png,jpg",
    )
    .default("")
    .describe(
      "Which file of a key is its image, where there are several: jpg, or jpg,webp (the first that is there); empty: the first " +
        "of webp, png, jpg, ...",
    ),
  imagesPerShard: z.int().positive().default(1024).describe("Samples of the data set in one shard, images"),
  limit: z.int().nonnegative().default(0).describe("Take only the first this many samples; 0 takes all, images"),
  maxMegapixels: z.number().positive().max(1000).default(100).describe("Larger images are refused, 2^20 pixels"),
  strict: z.boolean().default(false).describe("Stop at an image that cannot be used, instead of skipping it"),
});
export type ShardsConfig = z.infer<typeof ShardsConfig>;

/** Decoded images in memory at the same time. */
const MEMORY_BYTES = 2 ** 31;
/** A json that is looked into for a path: one with a path of the longest kind takes less. */
const MAX_PATH_JSON_BYTES = 65_536;

/** What became of one shard's samples: the note about the shard, which is not there if none of them could be used. */
const Done = z.strictObject({
  images: z.int().nonnegative(),
  skipped: z.array(
    z.strictObject({ tar: z.string(), key: z.string(), path: z.string().exactOptional(), reason: z.string() }),
  ),
  classes: z.int().nonnegative(),
  /** Images without the JSON beside them, and the first of them. */
  lostJson: z.strictObject({ count: z.int().positive(), first: z.string() }).exactOptional(),
});
type Done = z.infer<typeof Done>;

interface Sample extends WebDatasetSample {
  readonly tar: string;
}

/**
 * Stage `shards`: images of any size in, squares of one size out.
 *
 * Reads <dataset>/*.tar (WebDataset: an image file, and optionally cls and json, per key), <dataset>/classes.json if
 * there Writes <out>/images-00000.arrow, ...; <out>/classes.json, if the data set has names of its classes;
 * <out>/skipped.jsonl (tar, key, reason and, if known, the path it came from, of each image
 *         that could not be used)
 *
 * Shard i holds samples [i n, (i + 1) n) of the data set, n = `imagesPerShard`, without those that were skipped: what
 * is in one does not depend on another, so finished shards are not made again. The bytes do not depend on how many
 * images are decoded at a time.
 *
 * @throws {DataError} If no image can be used; with `strict`, if one cannot. {FormatError} If a tar is damaged.
 */
export const stage = defineStage({
  name: "shards",
  summary: "Decode, crop and resize images into Arrow shards",
  config: ShardsConfig,
  inputs: { dataset: { summary: "A data set of WebDataset tars", stages: ["dataset"] } },
  async run(config, { dataset }, context) {
    return runShards(config, dataset, context);
  },
});

/** @param atOnce Images that are decoded at the same time; changes no bytes. */
export async function runShards(
  config: ShardsConfig,
  dataset: Artifact,
  context: StageContext,
  atOnce = 2 * availableParallelism(),
) {
  const { files, log } = context;
  const total = totalOf(config, dataset);
  const blocks: Done[] = [];
  let seen = 0;
  await using samples = new Samples(samplesOf(dataset, config, context));
  for (let block = 0; await samples.more(); block++) {
    const finished = finishedBlock(files, block);
    if (finished) {
      seen += await samples.pass(config.imagesPerShard);
      blocks.push(finished);
    } else {
      const onImage = (): void => log.progress("images", ++seen, Math.max(seen, total));
      blocks.push(await makeBlock(block, samples.take(config.imagesPerShard), config, context, atOnce, onImage));
    }
    log.progress("images", seen, Math.max(seen, total));
  }
  const images = blocks.reduce((sum, { images }) => sum + images, 0);
  const skipped = blocks.flatMap((block) => block.skipped);
  if (images === 0) throw new DataError(`Cannot make shards: ${whyNone(seen, skipped, dataset)}`);
  sayLostJson(blocks, log);
  if (skipped.length > 0) log.warn(`${skipped.length} of ${seen} images were skipped; skipped.jsonl says why`);
  await files.write("skipped.jsonl", skipped.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const classes = (await copyClassNames(dataset, files))?.length ?? Math.max(...blocks.map((block) => block.classes));
  return { images, side: config.side, skipped: skipped.length, classes, format: config.format };
}

const shardFile = (block: number): string => `images-${String(block).padStart(5, "0")}.arrow`;

/** What became of a shard that an earlier attempt finished. */
function finishedBlock(files: StageFiles, block: number): Done | undefined {
  const done = Done.safeParse(files.note(shardFile(block)));
  return done.success && (done.data.images === 0 || files.has(shardFile(block))) ? done.data : undefined;
}

async function makeBlock(
  block: number,
  samples: AsyncGenerator<Sample>,
  config: ShardsConfig,
  { out, files, signal, log }: StageContext,
  atOnce: number,
  onImage: () => void,
): Promise<Done> {
  const options = { ...config, maxPixels: config.maxMegapixels * 2 ** 20, memory: new Memory(MEMORY_BYTES) };
  const temporary = join(out, "tmp", shardFile(block));
  await using writer = await ImageShardWriter.create(temporary);
  const skipped: Done["skipped"] = [];
  const choice = choiceOf(config);
  let classes = 0;
  let lostJson: Done["lostJson"];
  const results = mapOrdered(samples, atOnce, async (sample) => ({
    sample,
    result: await shardImage(sample, config.format, options, choice),
  }));
  for await (const { sample, result } of results) {
    signal.throwIfAborted();
    if ("reason" in result) {
      skipped.push(skip(sample, result, config, log));
    } else {
      const { image } = result;
      await writer.add(image);
      if (image.label !== null) classes = Math.max(classes, image.label + 1);
      if (result.lostJson !== undefined) {
        const first =
          lostJson?.first ?? `${JSON.stringify(image.key)} of ${JSON.stringify(sample.tar)}: ${result.lostJson}`;
        lostJson = { count: (lostJson?.count ?? 0) + 1, first };
      }
    }
    onImage();
  }
  const done: Done = { images: writer.images, skipped, classes, ...(lostJson && { lostJson }) };
  if (done.images === 0) await files.remember(shardFile(block), done);
  else {
    await writer.finish();
    await files.add(temporary, shardFile(block), done);
  }
  return done;
}

function skip(sample: Sample, { key, reason }: Skipped, { strict }: ShardsConfig, log: StageContext["log"]) {
  const { tar } = sample;
  const path = pathOf(sample);
  const from = path === undefined ? "" : ` (${JSON.stringify(path)})`;
  const message = `image ${JSON.stringify(key)} of ${JSON.stringify(tar)}${from}: ${reason}`;
  if (strict) throw new DataError(`Cannot use ${message}`);
  log.warn(`skipped ${message}`);
  return { tar, key, ...(path === undefined ? {} : { path }), reason };
}

/** Where an image came from, if its json says it: the stage dataset notes it for images of a folder or bucket. */
function pathOf({ files }: Sample): string | undefined {
  const json = files.get("json");
  if (json === undefined || json.length > MAX_PATH_JSON_BYTES) return undefined;
  try {
    return z.object({ path: z.string().min(1) }).parse(JSON.parse(Buffer.from(json).toString("utf8"))).path;
  } catch {
    return undefined; // it is somebody else's json
  }
}

function sayLostJson(blocks: readonly Done[], log: StageContext["log"]): void {
  const lost = blocks.flatMap(({ lostJson }) => lostJson ?? []);
  if (lost.length === 0) return;
  const count = lost.reduce((sum, { count }) => sum + count, 0);
  log.warn(`left out the JSON of ${count} images, such as that of ${lost[0]!.first}`);
}

const choiceOf = ({ image }: ShardsConfig): string[] => (image === "" ? [] : image.split(","));

async function* samplesOf(
  dataset: Artifact,
  config: ShardsConfig,
  { signal, log }: StageContext,
): AsyncGenerator<Sample> {
  const choice = choiceOf(config);
  const options = {
    extensions: [...IMAGE_FILES.extensions, ...choice, "cls", "json"],
    sniff: IMAGE_FILES.sniff,
    maxFileBytes: { json: MAX_JSON_BYTES },
    signal,
  };
  const several = new Several();
  let count = 0;
  for (const tar of tarsOf(dataset)) {
    const odd = new Oddities();
    for await (const sample of readWebDataset(await dataset.path(tar), { ...options, onOdd: odd.add })) {
      if (choice.length === 0) several.see(sample, tar);
      yield { ...sample, tar };
      if (++count === config.limit) break;
    }
    for (const sentence of odd.sentences(tar)) log.warn(sentence);
    if (count === config.limit && count > 0) break;
  }
  several.say(log);
}

/** Keys with several images. */
class Several {
  private count = 0;
  private first = "";

  see({ key, files }: WebDatasetSample, tar: string): void {
    const images = imagesOf(files);
    if (images.length < 2 || this.count++ > 0) return;
    this.first = `${JSON.stringify(key)} of ${JSON.stringify(tar)}, where ${images[0]!} is taken before ${images.slice(1).join(", ")}`;
  }

  say(log: StageContext["log"]): void {
    if (this.count === 0) return;
    log.warn(`${this.count} keys have several images, of which one is taken: ${this.first}; the field "image" chooses`);
  }
}

const tarsOf = (dataset: Artifact): string[] => dataset.files.filter((file) => file.endsWith(".tar"));

/** Samples taken a number at a time. */
class Samples implements AsyncDisposable {
  private next: Promise<IteratorResult<Sample>> | undefined;

  constructor(private readonly source: AsyncGenerator<Sample>) {}

  async more(): Promise<boolean> {
    this.next ??= this.source.next();
    return !(await this.next).done;
  }

  async *take(count: number): AsyncGenerator<Sample, void, undefined> {
    for (let i = 0; i < count && (await this.more()); i++) {
      const { value } = (await this.next) as IteratorYieldResult<Sample>;
      this.next = undefined;
      yield value;
    }
  }

  /** @returns How many were passed over: fewer than `count` at the end. */
  async pass(count: number): Promise<number> {
    let passed = 0;
    for await (const _ of this.take(count)) passed++;
    return passed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source.return(undefined);
  }
}

/** How many images there will be, where the data set says so; for progress alone. */
function totalOf({ limit }: ShardsConfig, { manifest }: Artifact): number {
  const images = manifest.facts["images"];
  const known = typeof images === "number" ? images : 0;
  return limit > 0 ? Math.min(limit, known) : known;
}

function whyNone(seen: number, skipped: Done["skipped"], { files }: Artifact): string {
  const loose = files.filter((file) => imageExtension(file) !== undefined).length;
  const hint =
    loose === 0 ? "" : `; it holds ${loose} image files, of which the stage dataset makes tars (source folder)`;
  if (seen === 0) return `the data set has no samples, expected tars of images${hint}`;
  const first = skipped[0]!;
  return `none of ${seen} images can be used; of the first, ${JSON.stringify(first.key)}: ${first.reason}`;
}
