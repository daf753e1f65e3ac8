import * as tf from "@tensorflow/tfjs-core";
import { inFloat32 } from "./float32.js";

/**
 * Root-mean-square normalization over the last axis, with a learned scale:
 *
 *     y = x / sqrt(mean(x²) + eps) · weight
 *
 * Its gradient is written out, in fewer passes over memory than tfjs composes. With x̂ = x / sqrt(mean(x²) + eps):
 *
 *     d weight = Σ dy·x̂        d x = (dy·weight - x̂ · mean(dy·x̂·weight)) / sqrt(mean(x²) + eps)
 *
 * Source: Zhang & Sennrich 2019, arXiv:1910.07467.
 * Departs from it: `eps` is added under the root, so a row of zeros stays zero.
 *
 * @param x (..., C) float32. Borrowed.
 * @param weight (C) float32. Borrowed.
 * @returns Like x; new, the caller's.
 * @throws {RangeError} If the last axis of `x` is not C.
 */
export function rmsNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor1D, eps: number): T {
  const [C = 1] = weight.shape;
  if (x.shape.at(-1) !== C)
    throw new RangeError(`rmsNorm: x is (${x.shape.join(", ")}), weight is (${C}): the last axes differ`);
  const normalize = tf.customGrad((x, weight, save) => {
    const [xs, w, keep] = [x as tf.Tensor, weight as tf.Tensor, save as tf.GradSaveFunc];
    const rows = tf.reshape(xs, [-1, C]); // (R, C)
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(rows), 1, true), eps)); // (R, 1)
    const normed = tf.mul(rows, inverse); // (R, C)
    keep([normed, inverse, w]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [normed, inverse, w] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D];
      const dyRows = tf.reshape(dy, [-1, C]); // (R, C)
      const product = tf.mul(dyRows, normed); // (R, C)
      const share = tf.mul(tf.matMul(product, tf.reshape(w, [C, 1])), 1 / C); // (R, C) x (C, 1) -> (R, 1)
      const dx = tf.mul(tf.sub(tf.mul(dyRows, w), tf.mul(normed, share)), inverse); // (R, C)
      return [tf.reshape(dx, dy.shape), tf.sum(product, 0)];
    };
    return { value: tf.reshape(tf.mul(normed, w), xs.shape), gradFunc };
  });
  return normalize(x, weight) as T;
}

/**
 * Group normalization of images: the channels are cut into groups, and each group of each image is brought to mean 0
 * and variance 1 over its pixels and channels, then scaled and shifted by channel:
 *
 *     y = (x - mean) / sqrt(variance + eps) · scale + shift
 *
 * The variance is that of the population (divided by the count), as in PyTorch's `GroupNorm`. The gradient is written
 * out: sums over pixels are taken once per channel, and everything else happens on (N, C) tensors.
 *
 * Source: Wu & He 2018, arXiv:1803.08494.
 *
 * @param x (N, H, W, C) float32. Borrowed.
 * @param scale (C) float32. Borrowed.
 * @param shift (C) float32. Borrowed.
 * @param groups Number of groups; divides C.
 * @returns (N, H, W, C) float32; new, the caller's.
 * @throws {RangeError} If `groups` does not divide C, or the shapes do not fit.
 */
export function groupNorm(
  x: tf.Tensor4D,
  scale: tf.Tensor1D,
  shift: tf.Tensor1D,
  groups: number,
  eps: number,
): tf.Tensor4D {
  const [N, H, W, C] = x.shape;
  if (C % groups !== 0) throw new RangeError(`groupNorm: ${groups} groups do not divide ${C} channels`);
  if (scale.size !== C || shift.size !== C)
    throw new RangeError(`groupNorm: x has ${C} channels, scale has ${scale.size}, shift has ${shift.size}`);
  const perGroup = C / groups;
  // Averages over a group of channels and its pixels, of sums by channel: as one product, since C is small beside
  // N·H·W.
  const averaging = (): tf.Tensor2D => {
    const share = Math.fround(1 / (H * W * perGroup));
    const matrix = new Float32Array(C * C);
    for (let i = 0; i < C; i++) {
      const start = i - (i % perGroup);
      matrix.fill(share, i * C + start, i * C + start + perGroup);
    }
    return tf.tensor2d(matrix, [C, C]);
  };
  /** Sums by channel, N·C of them -> the mean over each channel's group, again for each channel: (N, 1, 1, C) */
  const groupMean = (sums: tf.Tensor): tf.Tensor4D =>
    inFloat32(() => tf.reshape(tf.matMul(tf.reshape<tf.Rank.R2>(sums, [N, C]), averaging()), [N, 1, 1, C]));
  const pixelSum = (x: tf.Tensor): tf.Tensor4D => tf.sum(x, [1, 2], true); // (N, H, W, C) -> (N, 1, 1, C)

  const normalize = tf.customGrad((x, scale, shift, save) => {
    const [xs, gamma, beta] = [x, scale, shift] as tf.Tensor[] as [tf.Tensor4D, tf.Tensor1D, tf.Tensor1D];
    const centred = tf.sub(xs, groupMean(pixelSum(xs))); // (N, H, W, C)
    const inverse = tf.rsqrt(tf.add(groupMean(pixelSum(tf.square(centred))), eps)); // (N, 1, 1, C)
    const gain = tf.mul(inverse, gamma); // (N, 1, 1, C)
    (save as tf.GradSaveFunc)([centred, inverse, gamma]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [centred, inverse, gamma] = saved as [tf.Tensor4D, tf.Tensor4D, tf.Tensor1D];
      const sums = pixelSum(dy); // (N, 1, 1, C)
      const products = tf.mul(pixelSum(tf.mul(dy, centred)), inverse); // (N, 1, 1, C): Σ dy·x̂
      // Means over groups of scale·dy and of scale·dy·x̂: what a change of mean and of variance takes back.
      const meanPart = tf.mul(groupMean(tf.mul(sums, gamma)), inverse); // (N, 1, 1, C)
      const variancePart = tf.mul(groupMean(tf.mul(products, gamma)), tf.square(inverse)); // (N, 1, 1, C)
      const direct = tf.mul(dy, tf.mul(inverse, gamma)); // (N, H, W, C)
      const dx = tf.sub(direct, tf.add(tf.mul(centred, variancePart), meanPart)); // (N, H, W, C)
      const byChannel = (x: tf.Tensor): tf.Tensor => tf.sum(tf.reshape(x, [N, C]), 0);
      return [dx, byChannel(products), byChannel(sums)];
    };
    return { value: tf.add(tf.mul(centred, gain), beta), gradFunc };
  });
  return normalize(x, scale, shift) as tf.Tensor4D;
}
