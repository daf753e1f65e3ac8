import * as tf from "@tensorflow/tfjs-core";

/** 2-norm over all gradients together. */
export function globalNorm(gradients: readonly tf.Tensor[]): tf.Scalar {
  // Sums of squares of one rank are joined without being reshaped: in a graph of hundreds of small tensors, the number
  // of operations is what costs.
  const byRank = new Map<number, tf.Tensor[]>();
  for (const g of gradients) byRank.set(g.rank, [...(byRank.get(g.rank) ?? []), tf.sum(tf.square(g), undefined, true)]);
  const sums = [...byRank].map(([rank, squares]) => tf.sum(rank === 0 ? tf.stack(squares) : tf.concat(squares, 0)));
  return tf.sqrt<tf.Scalar>(tf.addN(sums) as tf.Scalar);
}

/** min(1, max / (norm + 1e-6)): what gradients are multiplied with. */
export function clipFactor(norm: tf.Scalar, maxGradNorm: number): tf.Scalar {
  return tf.minimum(tf.div(maxGradNorm, tf.add(norm, 1e-6)), 1);
}
