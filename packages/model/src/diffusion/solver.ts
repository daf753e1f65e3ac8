import * as tf from "@tensorflow/tfjs-core";
import { noiseAndData, type Prediction } from "./prediction.js";

/**
 * One step of a solver, as numbers. Every solver here is, with its own coefficients,
 *
 *     x₀ = (x - sigma · ε) / alpha                                            (clipped to [-1, 1] if the solver clips)
 *     x' = keep · x + data · x₀ + previousData · x₀ of the step before + noise · ε
 */
export interface SolverStep {
  /** Timestep that the network is asked at, in [0, 1000). */
  readonly timestep: number;
  readonly sigma: number;
  readonly alpha: number;
  readonly keep: number;
  readonly data: number;
  readonly previousData: number;
  readonly noise: number;
}

/** A sampler's plan: its steps, from noise to data. */
export interface SolverPlan {
  readonly name: string;
  readonly steps: readonly SolverStep[];
  /** Whether the prediction of the data is clipped to [-1, 1]. */
  readonly clip: boolean;
}

/** A step's coefficients as a vector: the order in which programs take them. */
export const COEFFICIENTS = ["sigma", "alpha", "keep", "data", "previousData", "noise"] as const;

/** (6) float32, the coefficients of a step. */
export function coefficientsOf(step: SolverStep): Float32Array {
  return Float32Array.from(COEFFICIENTS, (name) => step[name]);
}

/**
 * Takes one step of a solver.
 *
 * @param x Any shape, float32: the noised data.
 * @param output Like x: what the network predicts of it.
 * @param previousData Like x: `data` of the step before; anything finite at the first step.
 * @param coefficients (6) float32, as `coefficientsOf` gives them.
 * @param plan `clip` as the plan says, and what the network predicts.
 * @returns x', and the predictions of the data x₀ and of the noise ε, all like x. Clipping changes the data alone.
 */
export function solverUpdate<T extends tf.Tensor>(
  x: T,
  output: T,
  previousData: T,
  coefficients: tf.Tensor1D,
  { clip, prediction }: { readonly clip: boolean; readonly prediction: Prediction },
): { readonly next: T; readonly data: T; readonly noise: T } {
  const coefficient = (name: (typeof COEFFICIENTS)[number]): tf.Scalar =>
    tf.reshape(tf.slice(coefficients, COEFFICIENTS.indexOf(name), 1), []);
  const factors = { alpha: coefficient("alpha"), sigma: coefficient("sigma") };
  const { noise, data: exact } = noiseAndData(prediction, x, output, factors);
  const data = clip ? tf.clipByValue(exact, -1, 1) : exact;
  const kept = tf.add(tf.mul(coefficient("keep"), x), tf.mul(coefficient("data"), data));
  const history = tf.mul(coefficient("previousData"), previousData);
  const next = tf.add(tf.add(kept, history), tf.mul(coefficient("noise"), noise));
  return { next: next as T, data: data, noise };
}
