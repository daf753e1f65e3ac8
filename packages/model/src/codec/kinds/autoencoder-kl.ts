import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import { autoencoderSpecs, decodeLatents, encodeMoments } from "../../autoencoder/autoencoder.js";
import { AutoencoderConfig, downsamplingFactor } from "../../autoencoder/config.js";
import { Scale, type CodecKindOf } from "../kind.js";

export const AutoencoderKl = z
  .strictObject({
    kind: z.literal("autoencoder-kl"),
    config: AutoencoderConfig.describe("The autoencoder; z is its latent times its scalingFactor"),
    scale: Scale,
  })
  .readonly();
export type AutoencoderKl = z.infer<typeof AutoencoderKl>;

/**
 * A distribution for each latent pixel, by a convolutional network: z ~ N(f·μ, f²·σ²) with the autoencoder's scaling
 * factor f. log σ² is clamped to [-30, 20].
 */
export const autoencoderKl: CodecKindOf<AutoencoderKl> = {
  channels: ({ config }) => config.latentChannels,
  pixelsPerLatent: ({ config }) => downsamplingFactor(config),
  specs: ({ config }) => autoencoderSpecs(config),
  encode(p, { config }, images) {
    const factor = config.scalingFactor;
    const [mean, logVariance] = tf.split(encodeMoments(p, config, images), 2, 3) as [tf.Tensor4D, tf.Tensor4D];
    return { mean: tf.mul(mean, factor), logvar: tf.clipByValue(logVariance, -30, 20), factor };
  },
  decode: (p, { config }, z) => decodeLatents(p, config, z),
  only: { encoder: ["encoder.", "quant_conv."], decoder: ["decoder.", "post_quant_conv."] },
  mirrors: true,
};
