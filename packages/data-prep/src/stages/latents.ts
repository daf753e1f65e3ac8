import { join } from "node:path";
import {
  DataError,
  LatentShardWriter,
  pixelsOfImage,
  readImageShards,
  type Artifact,
  type ShardImage,
} from "@madformer/artifacts";
import { computing } from "@madformer/engine";
import { compileCodecEncoder, floatsOfPixels, PatchPcaFit, type CodecEncoder } from "@madformer/model";
import { defineStage, type StageContext } from "@madformer/stage";
import { z } from "zod";
import { copyClassNames } from "../dataset/class-names.js";
import { CODEC_FILES, copyCodec, finishCodec, hasCodec, readCodec, type Codec } from "../codec/files.js";
import { checkSide, imageShardsOf, imagesInShards, someImages } from "../codec/images.js";

/** How images become latents. */
export const LatentsConfig = z.strictObject({
  codec: z
    .enum(["autoencoder-kl", "patch-pca"])
    .default("autoencoder-kl")
    .describe("What makes latents: the autoencoder of stage vae, or principal components of patches, fitted here"),
  patch: z.int().min(1).max(16).default(4).describe("patch-pca: side of a patch, pixels"),
  channels: z.int().positive().default(12).describe("patch-pca: components kept of a patch, at most 3 · patch²"),
  whiten: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe("patch-pca: how much channels' variances are made equal; 0 keeps their ratios, 1 makes each 1"),
  spread: z
    .number()
    .positive()
    .default(1)
    .describe(
      "patch-pca: standard deviation of all channels together; less leaves more of the noise schedule to the whole",
    ),
  fitImages: z.int().positive().default(2048).describe("patch-pca: the most images it is fitted to, images"),
  batchImages: z.int().positive().default(32).describe("Images encoded at a time, images"),
  flip: z.boolean().default(false).describe("Also make the latents of each image's mirror image, right after it"),
});
export type LatentsConfig = z.infer<typeof LatentsConfig>;

/**
 * Stage `latents`: images in, latents out, with the codec that leads back.
 *
 * Reads   <shards>/images-*.arrow; <vae>/codec.json, <vae>/codec.safetensors with the codec autoencoder-kl
 * Writes  <out>/latents-00000.arrow, ..., one for each shard of images and in their order; <out>/codec.json,
 *         <out>/codec.safetensors; <out>/classes.json, if the shards have names of their classes
 *
 * Latents are normalized: about mean 0 and variance 1 by channel (over all channels, where `whiten` is less than 1).
 * What is kept are moments: whoever trains on them draws. Mirror images, whose latents are not mirrored latents, have
 * rows of their own, with keys that end in ":flipped". Finished shards are not made again.
 *
 * @throws {DataError} If an image has another size than the others, or the autoencoder is missing.
 */
export const stage = defineStage({
  name: "latents",
  summary: "Encode images with an autoencoder, or as principal components of their patches",
  config: LatentsConfig,
  computing,
  inputs: {
    shards: { summary: "Image shards (stage shards)", stages: ["shards"] },
    vae: { summary: "An autoencoder (stage vae), for the codec autoencoder-kl", optional: true, stages: ["vae"] },
  },
  idle({ codec }): Record<string, string> {
    const why = `with the codec "${codec}"`;
    if (codec === "patch-pca") return { vae: why };
    return { patch: why, channels: why, whiten: why, spread: why, fitImages: why };
  },
  notes: CODEC_FILES,
  run: runLatents,
});

async function runLatents(
  config: LatentsConfig,
  { shards, vae }: { readonly shards: Artifact; readonly vae: Artifact | undefined },
  context: StageContext,
) {
  const { out, files, signal } = context;
  const names = imageShardsOf(shards);
  if (!hasCodec(files)) await makeCodec(config, shards, vae, context);
  const { codec, weights } = await readCodec((file) => files.path(file));
  const side = await sideOf(shards, signal);
  await using encoder = await compileCodecEncoder(codec, weights, { batchImages: config.batchImages, side });

  const counter = new Counter(config, shards, context);
  let classes = 0;
  for (const name of names) {
    const file = name.replace("images-", "latents-");
    const temporary = join(out, "tmp", file);
    const finished = files.has(file) ? Encoded.safeParse(files.note(file)).data : undefined;
    const made =
      finished ?? (await encodeShard(await shards.path(name), temporary, side, encoder, config, counter, signal));
    if (finished) counter.add(finished.latents);
    else await files.add(temporary, file, made);
    classes = Math.max(classes, made.classes);
  }
  await copyClassNames(shards, files);
  if (counter.done === 0) throw new DataError("Cannot make latents: the shards hold no image");
  return {
    images: counter.done,
    side: encoder.latents.side,
    channels: encoder.latents.channels,
    codec: codec.kind,
    imageSide: side,
    classes: numberOf(shards, "classes") ?? classes,
    flip: config.flip,
  };
}

/** What a shard of latents holds: noted with it, so that nobody opens the images again. */
const Encoded = z.object({
  latents: z.int().nonnegative(),
  classes: z.int().nonnegative().describe("One more than the highest label"),
});
type Encoded = z.infer<typeof Encoded>;

/** Latents made so far. */
class Counter {
  done = 0;
  private readonly total: number;

  constructor(
    { flip }: LatentsConfig,
    { manifest }: Artifact,
    private readonly context: StageContext,
  ) {
    this.total = (numberOf({ manifest }, "images") ?? 0) * (flip ? 2 : 1);
  }

  add(latents: number): void {
    this.done += latents;
    this.context.log.progress("latents", this.done, Math.max(this.done, this.total));
  }
}

async function makeCodec(
  { codec, patch, channels, whiten, spread, fitImages }: LatentsConfig,
  shards: Artifact,
  vae: Artifact | undefined,
  context: StageContext,
): Promise<void> {
  const { files, signal, log } = context;
  if (codec === "autoencoder-kl") {
    if (vae === undefined)
      throw new DataError(
        'Cannot encode with the codec "autoencoder-kl": there is no input "vae", expected one; "patch-pca" needs none',
      );
    return copyCodec(vae, files, "autoencoder-kl");
  }
  let fit: PatchPcaFit | undefined;
  for await (const image of someImages(shards, fitImages, signal)) {
    fit ??= new PatchPcaFit(patch, image.width);
    fit.add(floatsOfPixels(await pixelsOfImage(image)));
    log.progress("fitted", fit.patches / (image.width / patch) ** 2, fitImages);
  }
  if (fit === undefined) throw new DataError("Cannot fit patches: the shards hold no image");
  const fitted = fit.finish(channels, whiten, spread);
  log.info(`${channels} channels keep ${(100 * fitted.keptVariance).toFixed(1)} % of the patches' variance`);
  await finishCodec(context, fitted satisfies Codec);
}

async function encodeShard(
  from: string,
  to: string,
  side: number,
  encoder: CodecEncoder,
  { flip }: LatentsConfig,
  counter: Counter,
  signal: AbortSignal,
): Promise<Encoded> {
  const { side: h, channels } = encoder.latents;
  await using writer = await LatentShardWriter.create(to, { height: h, width: h, channels });
  let rows: Row[] = [];
  let [latents, classes] = [0, 0];
  const encode = async (): Promise<void> => {
    if (rows.length === 0) return;
    const size = side ** 2 * 3;
    const images = new Float32Array(rows.length * size);
    rows.forEach(({ pixels }, i) => images.set(floatsOfPixels(pixels), i * size));
    const { mean, logvar } = await encoder.encode(images, (i) => `image ${JSON.stringify(rows[i]?.key)}`);
    const each = h * h * channels;
    for (const [i, { key, label }] of rows.entries()) {
      const part = (values: Float32Array): Float32Array => values.slice(i * each, (i + 1) * each);
      await writer.add({ key, label, mean: part(mean), logvar: logvar && part(logvar) });
    }
    counter.add(rows.length);
    latents += rows.length;
    rows = [];
  };
  for await (const image of readImageShards([from], { signal }))
    for (const row of await rowsOf(image, side, flip)) {
      classes = Math.max(classes, (row.label ?? -1) + 1);
      rows.push(row);
      if (rows.length === encoder.batchImages) await encode();
    }
  await encode();
  signal.throwIfAborted();
  await writer.finish();
  return { latents, classes };
}

interface Row {
  readonly key: string;
  readonly label: number | null;
  readonly pixels: Uint8Array;
}

/** An image, and its mirror image if wanted. */
async function rowsOf(image: ShardImage, side: number, flip: boolean): Promise<Row[]> {
  checkSide(image, side);
  const { key, label } = image;
  const pixels = await pixelsOfImage(image);
  const row = { key, label, pixels };
  return flip ? [row, { key: `${key}:flipped`, label, pixels: mirrored(pixels, side) }] : [row];
}

/** Left and right changed. */
function mirrored(pixels: Uint8Array, side: number): Uint8Array {
  const result = new Uint8Array(pixels.length);
  for (let i = 0; i < side * side; i++) {
    const [y, x] = [Math.floor(i / side), i % side];
    const from = (y * side + (side - 1 - x)) * 3;
    result.set(pixels.subarray(from, from + 3), i * 3);
  }
  return result;
}

/** The side of all images: as their stage says, or else that of the first. */
async function sideOf(shards: Artifact, signal: AbortSignal): Promise<number> {
  const side = numberOf(shards, "side");
  if (side !== undefined) return side;
  for await (const { width } of imagesInShards(shards, signal)) return width;
  throw new DataError("Cannot make latents: the shards hold no image");
}

/** A number that the stage before says of what it made; nothing of a folder that no stage made. */
function numberOf({ manifest }: Pick<Artifact, "manifest">, fact: string): number | undefined {
  const value = manifest.facts[fact];
  return typeof value === "number" ? value : undefined;
}
