import { normal, randomKey } from "@madformer/engine";
import { imageGrid, type RgbImage } from "@madformer/artifacts";
import { dpmSolver, fromBlocks, geometryOf, type MadformerConfig, Sampler } from "@madformer/model";
import type { Weights } from "./checkpoint.js";

/** Turns latents (n, h, w, C), normalized, into n images. */
export type Decode = (latents: Float32Array, images: number) => Promise<readonly RgbImage[]>;

/**
 * A grid of samples. Its noise is a function of the seed and the image's number, so that grids of several steps show the same
 * images getting better.
 *
 * @param weights Borrowed.
 * @param signal Stops between two steps of the solver.
 */
export async function sampleGrid(
  model: MadformerConfig,
  weights: Weights,
  decode: Decode,
  { seed, images, steps, signal }: { seed: number; images: number; steps: number; signal: AbortSignal },
): Promise<RgbImage> {
  const { T, P } = geometryOf(model);
  const size = T * P * model.latentChannels;
  const noise = new Float32Array(images * size);
  for (let i = 0; i < images; i++)
    normal(randomKey(seed, "sample", [i]), { into: noise.subarray(i * size, (i + 1) * size) });
  // One program for all blocks: it takes longer to run and, used once, much less to compile.
  await using sampler = await Sampler.create(model, weights, { batchImages: images, programs: "shared" });
  const blocks = await sampler.sample(dpmSolver(steps), noise, { signal });
  const latents = new Float32Array(blocks.length);
  for (let i = 0; i < images; i++) {
    const part = [i * size, (i + 1) * size] as const;
    fromBlocks(model, blocks.subarray(...part), latents.subarray(...part));
  }
  return imageGrid(await decode(latents, images), Math.ceil(Math.sqrt(images)));
}
