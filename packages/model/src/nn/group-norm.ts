import { groupNorm as normalize } from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import type { ParameterSpecs, Scope } from "../parameters.js";

/** Every group normalization of the reference has this epsilon (spec sections 4 and 14). */
export const GROUP_NORM_EPS = 1e-6;

/** Parameters of `groupNorm`: weight and bias by channel. */
export function groupNormSpecs(channels: number): ParameterSpecs {
  return {
    weight: { shape: [channels], initializer: { kind: "constant", value: 1 } },
    bias: { shape: [channels], initializer: { kind: "constant", value: 0 } },
  };
}

/**
 * Group normalization with learned scale and shift; population variance over the pixels and channels of a group.
 *
 * @param x (N, H, W, C) float32.
 * @returns Like x.
 */
export function groupNorm(p: Scope, x: tf.Tensor4D, groups: number): tf.Tensor4D {
  return normalize(x, p.get("weight"), p.get("bias"), groups, GROUP_NORM_EPS);
}
