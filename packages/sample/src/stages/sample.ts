import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { imageGrid, readRgb, writeNpz, writePng } from "@madformer/artifacts";
import { defineStage, type StageContext } from "@madformer/stage";
import { openCheckpoint, type Checkpoint, type KeptWeights } from "../checkpoint.js";
import { SampleConfig } from "../config.js";
import { orderPicture } from "../order.js";
import { imageSide, ImageSampler, planOf, type SampledImage } from "../sample.js";
import { parseSeeds } from "../seeds.js";

/**
 * Stage `sample`: a checkpoint in, images out.
 *
 * Reads   checkpoint: config.json, {ema,weights}.safetensors, codec.json, codec.safetensors, checkpoints/
 * Writes  images/<seed>.png, one per seed; grid.png; order.png (blocks in their order); samples.npz (ADM's layout);
 *         with checkpoints: all, steps/step-<n>/images/<seed>.png for each earlier checkpoint
 *
 * A seed fixes its image, whatever the batch size. A second run makes only the images that are missing.
 */
export const stage = defineStage({
  name: "sample",
  summary: "sample images from a checkpoint",
  config: SampleConfig,
  inputs: { checkpoint: { summary: "what export made: weights, config and codec" } },
  async run(config, inputs, context) {
    const checkpoint = await openCheckpoint(inputs.checkpoint);
    const seeds = parseSeeds(config.seeds);
    const chosen = config.checkpoints === "all" ? checkpoint.kept : [checkpoint.final];
    const groups = [];
    for (const kept of chosen) {
      const folder = kept === checkpoint.final ? "images" : `steps/${kept.name}/images`;
      await makeImages(checkpoint, kept, seeds, folder, config, context);
      groups.push({ name: kept.name, step: kept.step, folder, images: seeds.length, weights: config.weights });
    }
    const side = imageSide(checkpoint);
    if (config.npz) await writeSamples(join(context.out, "samples.npz"), context.out, seeds, side);
    const { solver, steps } = config;
    return {
      groups,
      solver,
      steps,
      nfe: steps * checkpoint.model.blocks,
      seeds: config.seeds,
      images: seeds.length,
      side,
    };
  },
});

const fileOf = (folder: string, seed: number): string => join(folder, `${String(seed).padStart(8, "0")}.png`);

/** Makes those images of a checkpoint that are not there yet; of the final one the overviews too. */
async function makeImages(
  checkpoint: Checkpoint,
  kept: KeptWeights,
  seeds: readonly number[],
  folder: string,
  config: SampleConfig,
  { out, signal, log }: StageContext,
): Promise<void> {
  await mkdir(join(out, folder), { recursive: true });
  const have = await Promise.all(seeds.map((seed) => isThere(fileOf(join(out, folder), seed))));
  const missing = seeds.filter((_, i) => !have[i]);
  const overviews = ["grid.png", ...(config.orderImages > 0 ? ["order.png"] : [])];
  const complete = (await Promise.all(overviews.map((file) => isThere(join(out, file))))).every(Boolean);
  const needsOverviews = kept === checkpoint.final && !complete;
  if (missing.length === 0 && !needsOverviews) return;

  const weights = await kept.load(config.weights);
  const batchImages = Math.min(config.batchImages, Math.max(seeds.length, 1));
  await using sampler = await ImageSampler.create(checkpoint, weights, planOf(config), batchImages);
  const side = imageSide(checkpoint);
  let done = seeds.length - missing.length;
  log.progress("images", done, seeds.length, { checkpoint: kept.name });
  for await (const { seed, pixels } of sampler.images(missing, signal)) {
    signal.throwIfAborted();
    await writePng(fileOf(join(out, folder), seed), pixels, side, side);
    log.progress("images", ++done, seeds.length, { checkpoint: kept.name });
  }
  if (!needsOverviews) return;

  const shown = seeds.slice(0, config.gridImages);
  const images = await Promise.all(shown.map((seed) => readRgb(fileOf(join(out, folder), seed))));
  const grid = imageGrid(images, Math.ceil(Math.sqrt(shown.length)), 2);
  await writePng(join(out, "grid.png"), grid.pixels, grid.width, grid.height);
  if (config.orderImages === 0) return;
  const ordered: SampledImage[] = [];
  for await (const image of sampler.images(seeds.slice(0, config.orderImages), signal)) ordered.push(image);
  const order = await orderPicture(sampler, checkpoint, ordered);
  await writePng(join(out, "order.png"), order.pixels, order.width, order.height);
}

/** `samples.npz`: arr_0, (images, side, side, 3) uint8, in the order of the seeds; one image in memory at a time. */
async function writeSamples(path: string, out: string, seeds: readonly number[], side: number): Promise<void> {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const seed of seeds) yield (await readRgb(fileOf(join(out, "images"), seed))).pixels;
  }
  await writeNpz(path, { arr_0: { dtype: "uint8", shape: [seeds.length, side, side, 3], pieces } });
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
