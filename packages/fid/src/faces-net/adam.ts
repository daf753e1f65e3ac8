import * as tf from "@tensorflow/tfjs-core";

const BETA_1 = 0.9;
const BETA_2 = 0.99;
const EPSILON = 1e-8;

/** A weight with its moments. */
export interface Moments {
  readonly value: tf.Tensor;
  readonly m: tf.Tensor;
  readonly v: tf.Tensor;
}

/**
 * The scalars of update number `step`, computed in double precision and rounded once.
 *
 * @param step From 1.
 * @returns What decay leaves of a weight; lr / (1 - β₁^k); 1 / sqrt(1 - β₂^k).
 */
export function adamScalars(
  step: number,
  learningRate: number,
  weightDecay: number,
): readonly [number, number, number] {
  return [1 - learningRate * weightDecay, learningRate / (1 - BETA_1 ** step), 1 / Math.sqrt(1 - BETA_2 ** step)];
}

/**
 * One step of AdamW:
 *
 *     m' = β₁ m + (1 - β₁) g      v' = β₂ v + (1 - β₂) g²
 *     w' = (1 - lr·decay) w - lr / (1 - β₁^k) · m' / (sqrt(v') / sqrt(1 - β₂^k) + eps)
 *
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101.
 *
 * @param gradient Like the value. Borrowed, as all arguments.
 * @param scalars As `adamScalars` makes them.
 */
export function adamw({ value, m, v }: Moments, gradient: tf.Tensor, scalars: readonly tf.Scalar[]): Moments {
  const [keep, stepSize, rootScale] = scalars as readonly [tf.Scalar, tf.Scalar, tf.Scalar];
  const nextM = tf.add(tf.mul(m, BETA_1), tf.mul(gradient, 1 - BETA_1));
  const nextV = tf.add(tf.mul(v, BETA_2), tf.mul(tf.square(gradient), 1 - BETA_2));
  const root = tf.add(tf.mul(tf.sqrt(nextV), rootScale), EPSILON);
  return { value: tf.sub(tf.mul(value, keep), tf.mul(tf.div(nextM, root), stepSize)), m: nextM, v: nextV };
}
