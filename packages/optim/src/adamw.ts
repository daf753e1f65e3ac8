import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";

/** Settings of AdamW, clipping and the moving average. Defaults are the reference's (spec section 9). */
export const OptimizerConfig = z
  .strictObject({
    beta1: z.number().min(0).lt(1).default(0.9).describe("Decay of the first moment, by step"),
    beta2: z.number().min(0).lt(1).default(0.95).describe("Decay of the second moment, by step"),
    eps: z.number().positive().default(1e-8).describe("Added to the root of the second moment"),
    weightDecay: z.number().nonnegative().default(0.05).describe("Decoupled decay of every parameter, times the rate"),
    maxGradNorm: z.number().nonnegative().default(1).describe("Gradients are scaled to this 2-norm at most; 0 = never"),
  })
  .readonly();
export type OptimizerConfig = z.infer<typeof OptimizerConfig>;

/** Scalars that an update needs, in the order in which programs take them. */
export const STEP_SCALARS = ["keep", "stepSize", "rootScale", "emaDecay", "emaShare"] as const;

/**
 * The scalars of update number `step`. Computed in double precision and rounded once, as PyTorch's AdamW does.
 *
 * @param step 1-based.
 * @param learningRate Of this update.
 * @param emaDecay Of this update, in [0, 1].
 * @returns (5) float32: what decay leaves of a parameter; rate / (1 - β₁^k); 1 / sqrt(1 - β₂^k); the average's decay,
 *   and the parameter's share in it.
 */
export function stepScalars(
  { beta1, beta2, weightDecay }: OptimizerConfig,
  step: number,
  learningRate: number,
  emaDecay: number,
): Float32Array {
  const keep = 1 - learningRate * weightDecay;
  const stepSize = learningRate / (1 - beta1 ** step);
  return Float32Array.of(keep, stepSize, 1 / Math.sqrt(1 - beta2 ** step), emaDecay, 1 - emaDecay);
}

/** One of the scalars of an update. */
export function scalarOf(scalars: tf.Tensor1D, name: (typeof STEP_SCALARS)[number]): tf.Scalar {
  return tf.reshape(tf.slice(scalars, STEP_SCALARS.indexOf(name), 1), []);
}

/** A parameter with its moments and, where one is kept, its average; and their next values. */
export interface ParameterState {
  readonly value: tf.Tensor;
  readonly m: tf.Tensor;
  readonly v: tf.Tensor;
  readonly ema?: tf.Tensor | undefined;
}

/**
 * AdamW and the moving average for one parameter:
 *
 *     m' = β₁ m + (1 - β₁) c g        v' = β₂ v + (1 - β₂) (c g)²
 *     p' = (1 - lr·wd) p - lr / (1 - β₁^k) · m' / (sqrt(v') / sqrt(1 - β₂^k) + eps)
 *     e' = d e + (1 - d) p'
 *
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101; spec section 9, steps 8 and 9.
 *
 * @param gradient Like the value; none where the loss does not depend on the parameter: an exact zero, so that the
 *   moments decay and weight decay applies.
 * @param clip c, a scalar or 1; null where gradients are never clipped, which saves a product and rounds v' otherwise.
 * @param scalars (5) float32, as `stepScalars` gives them.
 */
export function adamw(
  { value, m, v, ema }: ParameterState,
  gradient: tf.Tensor | null,
  clip: tf.Scalar | number | null,
  scalars: tf.Tensor1D,
  { beta1, beta2, eps }: Pick<OptimizerConfig, "beta1" | "beta2" | "eps">,
): ParameterState {
  const scalar = (name: (typeof STEP_SCALARS)[number]): tf.Scalar => scalarOf(scalars, name);
  const { first, second } = weighted(gradient, clip, beta1, beta2);
  const [decayedM, decayedV] = [tf.mul(m, beta1), tf.mul(v, beta2)];
  const nextM = first ? tf.add(decayedM, first) : decayedM;
  const nextV = second ? tf.add(decayedV, second) : decayedV;
  const root = tf.add(tf.mul(tf.sqrt(nextV), scalar("rootScale")), eps);
  const update = tf.mul(tf.div(nextM, root), scalar("stepSize"));
  const next = tf.sub(tf.mul(value, scalar("keep")), update);
  if (!ema) return { value: next, m: nextM, v: nextV };
  const average = tf.add(tf.mul(ema, scalar("emaDecay")), tf.mul(next, scalar("emaShare")));
  return { value: next, m: nextM, v: nextV, ema: average };
}

/** What a gradient adds to the moments: (1 - β₁) c g, and (1 - β₂) (c g)². */
function weighted(gradient: tf.Tensor | null, clip: tf.Scalar | number | null, beta1: number, beta2: number) {
  if (gradient === null) return { first: undefined, second: undefined };
  if (clip === null) return { first: tf.mul(gradient, 1 - beta1), second: tf.mul(tf.square(gradient), 1 - beta2) };
  // The gradient is clipped and weighted in one product: (sqrt(1 - β₂) c g)².
  return {
    first: tf.mul(gradient, tf.mul(clip, 1 - beta1)),
    second: tf.square(tf.mul(gradient, tf.mul(clip, Math.sqrt(1 - beta2)))),
  };
}
