import { silu } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { conv, convSpecs } from "../nn/conv.js";
import { groupNorm, groupNormSpecs } from "../nn/group-norm.js";
import { resnet, resnetSpecs } from "../nn/resnet.js";
import { spatialAttention, spatialAttentionSpecs } from "../nn/spatial-attention.js";
import { Scope, under, type FileTensor, type Parameters, type ParameterSpecs } from "../parameters.js";
import { doubled } from "../unet/unet.js";
import type { AutoencoderConfig } from "./config.js";

/** One level of the encoder or decoder. */
interface Level {
  readonly key: string;
  readonly from: number;
  readonly to: number;
  readonly resnets: number;
  /** Key of the convolution that changes the side after the level. */
  readonly resample: string | undefined;
}

function encoderLevels({ channels, layers }: AutoencoderConfig): Level[] {
  return channels.map((to, i) => ({
    key: `down_blocks.${i}`,
    from: channels[i - 1] ?? to,
    to,
    resnets: layers,
    resample: i < channels.length - 1 ? `down_blocks.${i}.downsamplers.0.conv` : undefined,
  }));
}

function decoderLevels({ channels, layers }: AutoencoderConfig): Level[] {
  const reversed = [...channels].reverse();
  return reversed.map((to, i) => ({
    key: `up_blocks.${i}`,
    from: reversed[i - 1] ?? to,
    to,
    resnets: layers + 1,
    resample: i < channels.length - 1 ? `up_blocks.${i}.upsamplers.0.conv` : undefined,
  }));
}

const levelsSpecs = (levels: readonly Level[]): ParameterSpecs =>
  Object.assign(
    {},
    ...levels.flatMap(({ key, from, to, resnets, resample }) => [
      ...Array.from({ length: resnets }, (_, j) => under(`${key}.resnets.${j}`, resnetSpecs(j === 0 ? from : to, to))),
      resample === undefined ? {} : under(resample, convSpecs(to, to, 3)),
    ]),
  ) as ParameterSpecs;

/** Parameters of the middle: attention between two residual blocks. */
function middleSpecs(channels: number, attention: boolean): ParameterSpecs {
  return {
    ...(attention ? under("mid_block.attentions.0", spatialAttentionSpecs(channels, 1)) : {}),
    ...under("mid_block.resnets.0", resnetSpecs(channels, channels)),
    ...under("mid_block.resnets.1", resnetSpecs(channels, channels)),
  };
}

/** All parameters of an autoencoder, by diffusers' present keys. Spec section 14. */
export function autoencoderSpecs(config: AutoencoderConfig): ParameterSpecs {
  const { imageChannels, latentChannels, channels } = config;
  const [first = 0, last = 0] = [channels[0], channels.at(-1)];
  const [moments, latents] = [2 * latentChannels, latentChannels];
  return {
    ...under("encoder", {
      ...under("conv_in", convSpecs(imageChannels, first, 3)),
      ...levelsSpecs(encoderLevels(config)),
      ...middleSpecs(last, config.midAttention),
      ...under("conv_norm_out", groupNormSpecs(last)),
      ...under("conv_out", convSpecs(last, moments, 3)),
    }),
    ...under("decoder", {
      ...under("conv_in", convSpecs(latents, last, 3)),
      ...levelsSpecs(decoderLevels(config)),
      ...middleSpecs(last, config.midAttention),
      ...under("conv_norm_out", groupNormSpecs(first)),
      ...under("conv_out", convSpecs(first, imageChannels, 3)),
    }),
    ...(config.quantConv ? under("quant_conv", convSpecs(moments, moments, 1)) : {}),
    ...(config.postQuantConv ? under("post_quant_conv", convSpecs(latents, latents, 1)) : {}),
  };
}

/** The attention's keys in older files, and what they are called now. */
const OLD_NAMES: readonly (readonly [RegExp, string])[] = [
  [/(\.attentions\.\d+)\.query\./, "$1.to_q."],
  [/(\.attentions\.\d+)\.key\./, "$1.to_k."],
  [/(\.attentions\.\d+)\.value\./, "$1.to_v."],
  [/(\.attentions\.\d+)\.proj_attn\./, "$1.to_out.0."],
];

/** A state dict with diffusers' present keys, from one with either naming (the published file has the old one). */
export function withPresentKeys(tensors: Readonly<Record<string, FileTensor>>): Record<string, FileTensor> {
  return Object.fromEntries(
    Object.entries(tensors).map(([key, tensor]) => [
      OLD_NAMES.reduce((name, [old, present]) => name.replace(old, present), key),
      tensor,
    ]),
  );
}

function middle(p: Scope, h: tf.Tensor4D, config: AutoencoderConfig): tf.Tensor4D {
  h = resnet(p.in("mid_block.resnets.0"), h, config.groups);
  if (config.midAttention) h = spatialAttention(p.in("mid_block.attentions.0"), h, config.groups, 1);
  return resnet(p.in("mid_block.resnets.1"), h, config.groups);
}

/** Odd on purpose: the encoder's strided convolutions see a row and a column of zeros at the far sides alone. */
const FAR_SIDES = { top: 0, bottom: 1, left: 0, right: 1 };

/**
 * The encoder: images to moments of their latents' distribution.
 *
 * Source: Rombach et al. 2022, arXiv:2112.10752; spec section 14.
 *
 * @param p Parameters, as `autoencoderSpecs` lists them. Borrowed.
 * @param images (N, H, W, channels) float32 in [-1, 1]; H and W are multiples of the downsampling factor. Borrowed.
 * @returns (N, h, w, 2 · latent channels) float32: means, then logarithms of variances.
 */
export function encodeMoments(p: Parameters, config: AutoencoderConfig, images: tf.Tensor4D): tf.Tensor4D {
  const root = new Scope(p);
  const encoder = root.in("encoder");
  let h = conv(encoder.in("conv_in"), images);
  for (const { key, resnets, resample } of encoderLevels(config)) {
    for (let j = 0; j < resnets; j++) h = resnet(encoder.in(`${key}.resnets.${j}`), h, config.groups);
    if (resample !== undefined) h = conv(encoder.in(resample), h, 2, FAR_SIDES);
  }
  h = middle(encoder, h, config);
  h = conv(encoder.in("conv_out"), silu(groupNorm(encoder.in("conv_norm_out"), h, config.groups)));
  return config.quantConv ? conv(root.in("quant_conv"), h) : h;
}

/**
 * Mean and standard deviation of the latents' distribution, of which z = mean + std · noise is a sample. The logarithm
 * of the variance is clamped to [-30, 20].
 *
 * @param moments (N, h, w, 2 · latent channels) float32.
 * @returns (N, h, w, latent channels) float32 each.
 */
export function posterior(moments: tf.Tensor4D): { readonly mean: tf.Tensor4D; readonly std: tf.Tensor4D } {
  const [mean, logVariance] = tf.split(moments, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
  return { mean, std: tf.exp(tf.mul(tf.clipByValue(logVariance, -30, 20), 0.5)) };
}

/**
 * The decoder: scaled latents to images.
 *
 * Source: Rombach et al. 2022, arXiv:2112.10752; spec section 14.
 *
 * @param latents (N, h, w, latent channels) float32, scaled. Borrowed.
 * @returns (N, H, W, channels) float32, about [-1, 1] and not clamped.
 */
export function decodeLatents(p: Parameters, config: AutoencoderConfig, latents: tf.Tensor4D): tf.Tensor4D {
  const root = new Scope(p);
  const decoder = root.in("decoder");
  let h: tf.Tensor4D = tf.div(latents, config.scalingFactor);
  if (config.postQuantConv) h = conv(root.in("post_quant_conv"), h);
  h = middle(decoder, conv(decoder.in("conv_in"), h), config);
  for (const { key, resnets, resample } of decoderLevels(config)) {
    for (let j = 0; j < resnets; j++) h = resnet(decoder.in(`${key}.resnets.${j}`), h, config.groups);
    if (resample !== undefined) h = conv(decoder.in(resample), doubled(h));
  }
  return conv(decoder.in("conv_out"), silu(groupNorm(decoder.in("conv_norm_out"), h, config.groups)));
}
