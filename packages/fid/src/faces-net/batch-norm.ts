import * as tf from "@tensorflow/tfjs-core";

/** What batch normalization adds to a variance. */
export const BATCH_NORM_EPSILON = 1e-5;

/**
 * A batch brought to mean 0 and variance 1 by channel, then scaled and shifted; and what its mean and variance were.
 */
export interface Normalized {
  /** Like x. */
  readonly y: tf.Tensor4D;
  /** (C) */
  readonly mean: tf.Tensor1D;
  /** (C), of the population: divided by the count. */
  readonly variance: tf.Tensor1D;
}

/**
 * Batch normalization as it is in training, over images and pixels:
 *
 *     y = (x - mean) / sqrt(variance + eps) · scale + shift
 *
 * Its gradient is written out, in fewer passes over memory than tfjs composes. With x̂ = (x - mean) / sqrt(variance +
 * eps):
 *
 *     d scale = Σ dy·x̂    d shift = Σ dy    d x = scale / sqrt(variance + eps) · (dy - mean(dy) - x̂ · mean(dy·x̂))
 *
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167.
 *
 * @param x (N, H, W, C) float32. Borrowed, as scale and shift, (C).
 * @returns New tensors, owned by the caller. No gradient flows through mean and variance.
 */
export function batchNorm(x: tf.Tensor4D, scale: tf.Tensor1D, shift: tf.Tensor1D): Normalized {
  const [N, H, W, C] = x.shape;
  const rows = N * H * W;
  const mean = tf.mean<tf.Tensor1D>(tf.reshape(x, [rows, C]), 0); // (C)
  const centered = tf.sub(tf.reshape(x, [rows, C]), mean); // (N·H·W, C)
  const variance = tf.mean<tf.Tensor1D>(tf.square(centered), 0); // (C)
  const inverse = tf.rsqrt(tf.add(variance, BATCH_NORM_EPSILON)); // (C)

  const normalize = tf.customGrad((_, scale, shift, save) => {
    const [gamma, beta] = [scale, shift] as tf.Tensor[] as [tf.Tensor1D, tf.Tensor1D];
    const gain = tf.mul(inverse, gamma); // (C)
    (save as tf.GradSaveFunc)([centered, inverse, gain]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [centered, inverse, gain] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor1D];
      const d = tf.reshape<tf.Rank.R2>(dy, [rows, C]); // (N·H·W, C)
      const sum = tf.sum<tf.Tensor1D>(d, 0); // (C)
      const product = tf.mul<tf.Tensor1D>(tf.sum(tf.mul(d, centered), 0), inverse); // (C): Σ dy·x̂
      const share = tf.mul(tf.mul(gain, 1 / rows), tf.mul(product, inverse)); // (C)
      const fixed = tf.sub(tf.mul(d, gain), tf.mul(tf.mul(gain, 1 / rows), sum)); // (N·H·W, C)
      return [tf.reshape(tf.sub(fixed, tf.mul(centered, share)), x.shape), product, sum];
    };
    return { value: tf.reshape(tf.add(tf.mul(centered, gain), beta), x.shape), gradFunc };
  });
  return { y: normalize(x, scale, shift) as tf.Tensor4D, mean, variance };
}
