import { imageGrid, type RgbImage } from "@madformer/artifacts";
import {
  classesOf,
  fromBlocks,
  geometryOf,
  noiseOfSeeds,
  Sampler,
  solverPlan,
  textOfSeeds,
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
 * So grids of several steps show the same images getting better. Of a model with classes they take turns; where they
 * fit into a row, each has a column of its own.
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
  const seeds = Array.from({ length: images }, (_, seed) => seed);
  const noise = noiseOfSeeds(model, seeds);
  // One program for all blocks: it takes longer to run and, used once, much less to compile.
  await using sampler = await Sampler.create(model, weights, { batchImages: images, programs: "shared" });
  const nameOf = (image: number): string => `seed ${image} of the samples at training step ${step}`;
  const blocks = await sampler.sample(solverPlan(solver, steps), noise, {
    signal,
    nameOf,
    ...textOfSeeds(model, seeds),
  });
  const latents = new Float32Array(blocks.length);
  for (let i = 0; i < images; i++) {
    const part = [i * size, (i + 1) * size] as const;
    fromBlocks(model, blocks.subarray(...part), latents.subarray(...part));
  }
  return imageGrid(await decode(latents, images, nameOf), columnsOf(images, classesOf(model).length));
}

/** Images of a row: a class in each column if there are as many rows as that takes, else about as many as rows. */
function columnsOf(images: number, classes: number): number {
  return classes > 1 && classes * 2 <= images ? classes : Math.ceil(Math.sqrt(images));
}
