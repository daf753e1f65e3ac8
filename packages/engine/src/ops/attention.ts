import * as tf from "@tensorflow/tfjs-core";

/** The kernels of programs that are traced; where tfjs computes by itself, attention is composed. */
export const ATTENTION = "Attention";
export const ATTENTION_GRAD = "AttentionGrad";

/**
 * Attention of every query to every key:
 *
 *     softmax(scale · q kᵀ + mask) v
 *
 * In a program it is one operation, which an engine may have a kernel for; else it becomes products and a softmax, and
 * where these would hold many scores, they are computed part by part and again for the gradients: what it needs of
 * memory does not grow with the product of queries and keys.
 *
 * Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
 *
 * @param q (N, Q, D) float32. Borrowed, as all that follow.
 * @param k (N, K, D) float32.
 * @param v (N, K, E) float32.
 * @param scale What scores are multiplied with.
 * @param mask Added to the scores, broadcast to (N, Q, K). It has no gradient.
 * @returns (N, Q, E) float32; new, the caller's.
 */
export function attention(
  q: tf.Tensor3D,
  k: tf.Tensor3D,
  v: tf.Tensor3D,
  scale: number,
  mask?: tf.Tensor,
): tf.Tensor3D {
  if (!tf.getKernel(ATTENTION, tf.getBackend())) {
    const scores = tf.mul(tf.matMul(q, k, false, true), scale); // (N, Q, D) x (N, D, K) -> (N, Q, K)
    return tf.matMul(tf.softmax(mask ? tf.add(scores, mask) : scores), v); // (N, Q, K) x (N, K, E) -> (N, Q, E)
  }
  const run = (name: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap): tf.Tensor3D =>
    tf.engine().runKernel(name, inputs, attrs);
  const apply = tf.customGrad((q, k, v, save) => {
    const operands = { q, k, v } as { q: tf.Tensor; k: tf.Tensor; v: tf.Tensor };
    const y = run(ATTENTION, { ...operands, ...(mask ? { mask } : {}) }, { scale });
    (save as tf.GradSaveFunc)([operands.q, operands.k, operands.v, y, ...(mask ? [mask] : [])]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [q, k, v, y, mask] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor?];
      const inputs = { q, k, v, y, dy, ...(mask ? { mask } : {}) };
      return ["q", "k", "v"].map((of) => run(ATTENTION_GRAD, inputs, { scale, of }));
    };
    return { value: y, gradFunc };
  });
  return apply(q, k, v);
}
