/**
 * The autoencoder a second time, as plain as its description (section 14). It shares no code with what it is compared
 * with.
 */
import type { AutoencoderConfig } from "@madformer/model";
import * as tf from "@tensorflow/tfjs-core";
import { conv, doubled, groupNorm, resnet, silu, spatialAttention, type P } from "./plain.js";

function middle(p: P, half: string, h: tf.Tensor4D, { groups, midAttention }: AutoencoderConfig): tf.Tensor4D {
  h = resnet(p, `${half}.mid_block.resnets.0`, h, groups);
  if (midAttention) h = spatialAttention(p, `${half}.mid_block.attentions.0`, h, groups, 1);
  return resnet(p, `${half}.mid_block.resnets.1`, h, groups);
}

const end = (p: P, half: string, h: tf.Tensor4D, groups: number): tf.Tensor4D =>
  conv(p, `${half}.conv_out`, silu(groupNorm(p, `${half}.conv_norm_out`, h, groups)));

/** Images -> moments. */
export function plainEncoder(p: P, config: AutoencoderConfig, images: tf.Tensor4D): tf.Tensor4D {
  let h = conv(p, "encoder.conv_in", images);
  for (let i = 0; i < config.channels.length; i++) {
    const level = `encoder.down_blocks.${i}`;
    for (let j = 0; j < config.layers; j++) h = resnet(p, `${level}.resnets.${j}`, h, config.groups);
    if (i < config.channels.length - 1) h = conv(p, `${level}.downsamplers.0.conv`, h, 2, true);
  }
  h = end(p, "encoder", middle(p, "encoder", h, config), config.groups);
  return config.quantConv ? conv(p, "quant_conv", h) : h;
}

/** Scaled latents -> images. */
export function plainDecoder(p: P, config: AutoencoderConfig, latents: tf.Tensor4D): tf.Tensor4D {
  let h: tf.Tensor4D = tf.mul(latents, 1 / config.scalingFactor);
  if (config.postQuantConv) h = conv(p, "post_quant_conv", h);
  h = middle(p, "decoder", conv(p, "decoder.conv_in", h), config);
  for (let i = 0; i < config.channels.length; i++) {
    const level = `decoder.up_blocks.${i}`;
    for (let j = 0; j <= config.layers; j++) h = resnet(p, `${level}.resnets.${j}`, h, config.groups);
    if (i < config.channels.length - 1) h = conv(p, `${level}.upsamplers.0.conv`, doubled(h));
  }
  return end(p, "decoder", h, config.groups);
}
