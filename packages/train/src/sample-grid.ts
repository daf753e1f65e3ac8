import { imageGrid, type RgbImage } from "@madformer/artifacts";
import {
  fromBlocks,
  geometryOf,
  noiseOfSeeds,
  Sampler,
  solverPlan,
  type MadformerConfig,
  type NameOf,
  type SolverName,
} from "@madformer/model";
import type { Weights } from "@madformer/optim";

/** Turns latents (n, h, w, C), normalized, into n images; an error calls them by `nameOf`. */
export type Decode = (latents: Float32Array, images: number, nameOf: NameOf) => Promise<readonly RgbImage[]>;

export interface GridOptions {
  readonly step: number;
  readonly images: number;
  readonly solver: SolverName;
  /** Of the solver. */
  readonly steps: number;
  readonly signal: AbortSignal;
}

/**
 * A grid of samples. Image k is that of seed k: what the stage `sample` makes of it with these weights and this solver.
 * So grids of several steps show the same images getting better.
 *
 * @param weights Borrowed.
 * @param step Of training, for errors.
 * @param signal Stops between two steps of the solver.
 * @throws {RangeError} If latents or pixels are not finite: with the seed and the step of training.
 */
export async function sampleGrid(
  model: MadformerConfig,
  weights: Weights,
  decode: Decode,
  { step, images, solver, steps, signal }: GridOptions,
): Promise<RgbImage> {
  const { T, P } = geometryOf(model);
  const size = T * P * model.latentChannels;
  const noise = noiseOfSeeds(
    model,
    Array.from({ length: images }, (_, seed) => seed),
  );
  // One program for all blocks: it takes longer to run and, used once, much less to compile.
  await using sampler = await Sampler.create(model, weights, { batchImages: images, programs: "shared" });
  const nameOf = (image: number): string => `seed ${image} of the samples at training step ${step}`;
  const blocks = await sampler.sample(solverPlan(solver, steps), noise, { signal, nameOf });
  const latents = new Float32Array(blocks.length);
  for (let i = 0; i < images; i++) {
    const part = [i * size, (i + 1) * size] as const;
    fromBlocks(model, blocks.subarray(...part), latents.subarray(...part));
  }
  return imageGrid(await decode(latents, images, nameOf), Math.ceil(Math.sqrt(images)));
}
