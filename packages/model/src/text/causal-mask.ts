import * as tf from "@tensorflow/tfjs-core";

/** Added to the score of a key that is not seen. */
const HIDDEN = -1e30;

/**
 * What makes attention causal: each of some tokens sees itself and those before it.
 *
 * @returns (1, tokens, tokens) float32: 0 where a query, by row, may look.
 */
export function causalMask(tokens: number): tf.Tensor3D {
  return tf.tensor3d(
    Float32Array.from({ length: tokens ** 2 }, (_, i) => (i % tokens > Math.floor(i / tokens) ? HIDDEN : 0)),
    [1, tokens, tokens],
  );
}
