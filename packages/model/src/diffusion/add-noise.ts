import * as tf from "@tensorflow/tfjs-core";
import { dims } from "../shape.js";
import { forwardFactors, noiseSchedule } from "./noise-schedule.js";
import type { Factors } from "./prediction.js";

/**
 * The forward process, for each block at its own timestep: x_t = sqrt(ᾱ_t) x_0 + sqrt(1 - ᾱ_t) ε.
 *
 * Source: Ho et al. 2020, arXiv:2006.11239, eq. 4; spec section 9, step 4.
 *
 * @param latents (N, T, P, channels) float32.
 * @param noise Like latents.
 * @param t (N, T) int32 in [0, 1000).
 * @returns Like latents.
 */
export function addNoise(latents: tf.Tensor4D, noise: tf.Tensor4D, t: tf.Tensor2D): tf.Tensor4D {
  const { N, T } = dims(latents, ["N", "T", "P", "channels"], "addNoise: latents");
  dims(t, [N, T], "addNoise: t");
  const { alpha, sigma } = factorsAt(t);
  return tf.add(tf.mul(latents, alpha), tf.mul(noise, sigma));
}

/**
 * What data and noise are multiplied with at each block's timestep.
 *
 * @param t (N, T) int32 in [0, 1000).
 * @returns (N, T, 1, 1) float32 each.
 */
export function factorsAt(t: tf.Tensor2D): Factors {
  const { signal, noise } = forwardFactors(noiseSchedule());
  return { alpha: atTimesteps(signal, t), sigma: atTimesteps(noise, t) };
}

/**
 * A table's entry at each block's timestep.
 *
 * @param table (1000) float32.
 * @param t (N, T) int32 in [0, 1000).
 * @returns (N, T, 1, 1) float32.
 */
export function atTimesteps(table: Float32Array, t: tf.Tensor2D): tf.Tensor4D {
  const [N, T] = t.shape;
  return tf.reshape(tf.gather(tf.tensor1d(table), tf.reshape<tf.Rank.R1>(t, [N * T])), [N, T, 1, 1]);
}
