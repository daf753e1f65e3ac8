import { normal, randomKey } from "@madformer/engine";
import { geometryOf, type MadformerConfig } from "../config.js";

/**
 * The noise that an image starts as: a function of its seed alone. Whoever samples takes it, so that a seed is the same
 * image in the stage `sample`, in the grids of training and in what `export` writes.
 *
 * @returns (T, P, channels) float32, standard normal.
 */
export function noiseOfSeed(model: MadformerConfig, seed: number): Float32Array {
  const { T, P } = geometryOf(model);
  return normal(randomKey(seed, "sample"), { size: T * P * model.latentChannels });
}

/** The noise of several images, one after another: (N, T, P, channels). */
export function noiseOfSeeds(model: MadformerConfig, seeds: readonly number[]): Float32Array {
  const { T, P } = geometryOf(model);
  const size = T * P * model.latentChannels;
  const noise = new Float32Array(seeds.length * size);
  seeds.forEach((seed, i) => noise.set(noiseOfSeed(model, seed), i * size));
  return noise;
}
