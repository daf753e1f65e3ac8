import { silu } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { under, type ParameterSpecs, type Scope } from "../parameters.js";
import { conv, convSpecs } from "./conv.js";
import { groupNorm, groupNormSpecs } from "./group-norm.js";
import { linear, linearSpecs } from "./linear.js";

/** Parameters of `resnet`; with a time projection where a time embedding has `timeChannels`. */
export function resnetSpecs(from: number, to: number, timeChannels?: number): ParameterSpecs {
  return {
    ...under("norm1", groupNormSpecs(from)),
    ...under("conv1", convSpecs(from, to, 3)),
    ...(timeChannels === undefined ? {} : under("time_emb_proj", linearSpecs(timeChannels, to))),
    ...under("norm2", groupNormSpecs(to)),
    ...under("conv2", convSpecs(to, to, 3)),
    ...(from === to ? {} : under("conv_shortcut", convSpecs(from, to, 1))),
  };
}

/**
 * What a residual block adds to its channels for a point in time: a linear map of the activated time embedding.
 *
 * @param activated (R, E) float32, SiLU of the time embedding.
 * @returns (R, C) float32.
 */
export function timeShift(p: Scope, activated: tf.Tensor2D): tf.Tensor2D {
  return linear(p.in("time_emb_proj"), activated);
}

/**
 * Residual block of diffusers' U-Nets and autoencoder:
 *
 *     h = conv1(SiLU(norm1(x))) + shift        y = shortcut(x) + conv2(SiLU(norm2(h)))
 *
 * Source: spec section 4; the shortcut is a 1x1 convolution where the number of channels changes, else the identity.
 *
 * @param x (N, H, W, C) float32.
 * @param shift (R, C') float32 added to every pixel, R = 1 or N; none in the autoencoder.
 * @param around x once more, for the shortcut: whoever gives it gets the two parts of x's gradient apart.
 * @returns (N, H, W, C') float32.
 */
export function resnet(
  p: Scope,
  x: tf.Tensor4D,
  groups: number,
  shift?: tf.Tensor2D,
  around: tf.Tensor4D = x,
): tf.Tensor4D {
  let h = conv(p.in("conv1"), silu(groupNorm(p.in("norm1"), x, groups)));
  if (shift) h = tf.add(h, tf.reshape(shift, [shift.shape[0], 1, 1, shift.shape[1]]));
  h = conv(p.in("conv2"), silu(groupNorm(p.in("norm2"), h, groups)));
  return tf.add(p.has("conv_shortcut.weight") ? conv(p.in("conv_shortcut"), around) : around, h);
}
