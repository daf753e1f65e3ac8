import { silu } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { linear, linearSpecs } from "../nn/linear.js";
import { under, type ParameterSpecs, type Scope } from "../parameters.js";

/** Parameters of `timeEmbedding`. */
export function timeEmbeddingSpecs(timeChannels: number): ParameterSpecs {
  return {
    ...under("linear_1", linearSpecs(1, timeChannels, false)),
    ...under("linear_2", linearSpecs(timeChannels, timeChannels, false)),
  };
}

/**
 * Embedding of points in time, with the activation that every use of it begins with:
 *
 *     SiLU(W₂ SiLU(W₁ t))
 *
 * Source: spec section 4: the timestep itself goes in, without sinusoids.
 *
 * @param t (R) float32, timesteps as the network is meant to see them.
 * @returns (R, E) float32.
 */
export function timeEmbedding(p: Scope, t: tf.Tensor1D): tf.Tensor2D {
  const first = linear(p.in("linear_1"), tf.reshape(t, [-1, 1])); // (R, E)
  return silu(linear(p.in("linear_2"), silu(first)));
}
