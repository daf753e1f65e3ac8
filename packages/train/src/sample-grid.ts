import { normal, randomKey } from "@madformer/engine";
import { imageGrid, type RgbImage } from "@madformer/artifacts";
import { dpmSolver, fromBlocks, geometryOf, type MadformerConfig, type NameOf, Sampler } from "@madformer/model";
import type { Weights } from "./checkpoint.js";

/** Turns latents (n, h, w, C), normalized, into n images; an error calls them by `nameOf`. */
export type Decode = (latents: Float32Array, images: number, nameOf: NameOf) => Promise<readonly RgbImage[]>;

export interface GridOptions {
  readonly step: number;
  readonly seed: number;
  readonly images: number;
  /** Of the solver. */
  readonly steps: number;
  readonly signal: AbortSignal;
}

/**
 * A grid of samples. Its noise is a function of the seed and the image's number, so that grids of several steps show the same
 * images getting better.
 *
 * @param weights Borrowed.
 * @param step Of training, for errors.
 * @param signal Stops between two steps of the solver.
 * @throws {RangeError} If latents or pixels are not finite: with the image and the step of training.
 */
export async function sampleGrid(
  model: MadformerConfig,
  weights: Weights,
  decode: Decode,
  { step, seed, images, steps, signal }: GridOptions,
): Promise<RgbImage> {
  const { T, P } = geometryOf(model);
  const size = T * P * model.latentChannels;
  const noise = new Float32Array(images * size);
  for (let i = 0; i < images; i++)
    normal(randomKey(seed, "sample", [i]), { into: noise.subarray(i * size, (i + 1) * size) });
  // One program for all blocks: it takes longer to run and, used once, much less to compile.
  await using sampler = await Sampler.create(model, weights, { batchImages: images, programs: "shared" });
  const nameOf = (image: number): string => `image ${image} of the samples at training step ${step}`;
  const blocks = await sampler.sample(dpmSolver(steps), noise, { signal, nameOf });
  const latents = new Float32Array(blocks.length);
  for (let i = 0; i < images; i++) {
    const part = [i * size, (i + 1) * size] as const;
    fromBlocks(model, blocks.subarray(...part), latents.subarray(...part));
  }
  return imageGrid(await decode(latents, images, nameOf), Math.ceil(Math.sqrt(images)));
}
