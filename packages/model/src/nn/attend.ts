import { attention } from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";

/**
 * Attention of every query to every key:
 *
 *     softmax(q kᵀ / sqrt(D)) v
 *
 * Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
 *
 * @param q (B, Q, D) float32, B heads of all images.
 * @param k (B, K, D) float32.
 * @param v (B, K, D) float32.
 * @param mask Added to the scores, broadcast to (B, Q, K): 0 where a query may look, a large negative number where not.
 * @returns (B, Q, D) float32.
 */
export function attend(q: tf.Tensor3D, k: tf.Tensor3D, v: tf.Tensor3D, mask?: tf.Tensor): tf.Tensor3D {
  return attention(q, k, v, q.shape[2] ** -0.5, mask);
}
