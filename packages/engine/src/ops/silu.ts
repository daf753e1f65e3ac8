import * as tf from "@tensorflow/tfjs-core";

/**
 * Sigmoid-weighted linear unit, also called swish:
 *
 *     y = x · sigmoid(x)        dx = dy · (sigmoid(x) + y · (1 - sigmoid(x)))
 *
 * The gradient is written out, in fewer passes over memory than tfjs composes.
 *
 * Source: Hendrycks & Gimpel 2016, arXiv:1606.08415; Elfwing et al. 2017, arXiv:1702.03118.
 *
 * @param x Any shape, float32. Borrowed.
 * @returns Like x; new, the caller's.
 */
export function silu<T extends tf.Tensor>(x: T): T {
  const apply = tf.customGrad((x, save) => {
    const sigmoid = tf.sigmoid(x as tf.Tensor);
    const y = tf.mul(x as tf.Tensor, sigmoid);
    (save as tf.GradSaveFunc)([sigmoid, y]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor => {
      const [sigmoid, y] = saved as [tf.Tensor, tf.Tensor];
      return tf.mul(dy, tf.add(sigmoid, tf.mul(y, tf.sub(1, sigmoid))));
    };
    return { value: y, gradFunc };
  });
  return apply(x) as T;
}
