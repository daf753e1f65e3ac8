import * as tf from "@tensorflow/tfjs-core";
import { under, type ParameterSpecs, type Scope } from "../parameters.js";
import { attend } from "./attend.js";
import { groupNorm, groupNormSpecs } from "./group-norm.js";
import { linear, linearSpecs } from "./linear.js";

/**
 * Heads of a level, and their width: heads of C / heads channels each. Where that is no whole number it is rounded
 * down, and as many heads are taken as then fit.
 */
function headsOf(channels: number, heads: number): { readonly count: number; readonly width: number } {
  const width = Math.floor(channels / heads);
  return { count: Math.floor(channels / width), width };
}

/** Parameters of `spatialAttention`. */
export function spatialAttentionSpecs(channels: number, heads: number): ParameterSpecs {
  const { count, width } = headsOf(channels, heads);
  const inner = count * width;
  return {
    ...under("group_norm", groupNormSpecs(channels)),
    ...under("to_q", linearSpecs(channels, inner)),
    ...under("to_k", linearSpecs(channels, inner)),
    ...under("to_v", linearSpecs(channels, inner)),
    ...under("to_out.0", linearSpecs(inner, channels)),
  };
}

/**
 * Self-attention among the pixels of an image, added to it.
 *
 * Source: spec section 4, "Attention"; section 14 has it with one head.
 *
 * @param x (N, H, W, C) float32.
 * @param heads At most C.
 * @returns Like x.
 */
export function spatialAttention(p: Scope, x: tf.Tensor4D, groups: number, heads: number): tf.Tensor4D {
  const [N, H, W, C] = x.shape;
  const { count, width: D } = headsOf(C, heads);
  const normed = tf.reshape(groupNorm(p.in("group_norm"), x, groups), [N * H * W, C]);
  const [q, k, v] = ["to_q", "to_k", "to_v"].map((name) => {
    const flat = tf.reshape(linear(p.in(name), normed as tf.Tensor2D), [N, H * W, count, D]);
    return tf.reshape(tf.transpose(flat, [0, 2, 1, 3]), [N * count, H * W, D]);
  }) as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
  const mixed = tf.reshape(attend(q, k, v), [N, count, H * W, D]);
  const flat = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [N * H * W, count * D]); // heads side by side
  return tf.add(x, tf.reshape(linear(p.in("to_out.0"), flat as tf.Tensor2D), [N, H, W, C]));
}
