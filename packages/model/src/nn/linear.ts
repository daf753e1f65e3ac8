import * as tf from "@tensorflow/tfjs-core";
import type { ParameterSpecs, Scope } from "../parameters.js";

/** Parameters of `linear`: weight (out, in), as PyTorch has it, and a bias (out) if wanted. */
export function linearSpecs(from: number, to: number, bias = true): ParameterSpecs {
  return {
    weight: { shape: [to, from], initializer: { kind: "xavier", fanIn: from, fanOut: to } },
    ...(bias ? { bias: { shape: [to], initializer: { kind: "constant", value: 0 } } } : {}),
  };
}

/**
 * Affine map of rows, y = x Wᵀ + b, with a bias if the scope has one.
 *
 * @param x (R, in) float32.
 * @param outputs Which outputs, [start, end); all unless given. The others are not computed.
 * @returns (R, out) float32.
 */
export function linear(p: Scope, x: tf.Tensor2D, outputs?: readonly [start: number, end: number]): tf.Tensor2D {
  const rows = <T extends tf.Tensor>(tensor: T): T =>
    outputs ? tf.slice(tensor, [outputs[0]], [outputs[1] - outputs[0]]) : tensor;
  // (R, in) x (out, in)ᵀ -> (R, out)
  const y: tf.Tensor2D = tf.matMul(x, rows(p.get<tf.Tensor2D>("weight")), false, true);
  return p.has("bias") ? tf.add(y, rows(p.get<tf.Tensor1D>("bias"))) : y;
}
