import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { Parameters } from "../parameters.js";
import { decodeLatents, encodeMoments, posterior } from "./autoencoder.js";
import type { AutoencoderConfig } from "./config.js";

/** Weights of the terms of an autoencoder's loss. */
export const AutoencoderLossConfig = z
  .strictObject({
    l1: z.number().nonnegative().default(1).describe("Weight of the mean absolute difference of pixels"),
    l2: z.number().nonnegative().default(1).describe("Weight of the mean squared difference of pixels"),
    gradient: z
      .number()
      .nonnegative()
      .default(1)
      .describe("Weight of the mean absolute difference of edges, at full and at half resolution"),
    klWeight: z
      .number()
      .nonnegative()
      .default(1e-4)
      .describe("Weight of the divergence from a standard normal distribution, in nats per latent value"),
  })
  .readonly();
export type AutoencoderLossConfig = z.infer<typeof AutoencoderLossConfig>;

/** The loss and its terms, unweighted: scalars. A term of weight 0 is not computed and given as 0. */
export interface AutoencoderLosses {
  readonly loss: tf.Scalar;
  readonly l1: tf.Scalar;
  readonly l2: tf.Scalar;
  readonly gradient: tf.Scalar;
  readonly kl: tf.Scalar;
}

/** What a training step of an autoencoder is given. */
export interface AutoencoderBatch {
  /** (N, S, S, channels) float32 in [-1, 1]. */
  readonly images: tf.Tensor4D;
  /** (N, h, w, latent channels) float32, standard normal. */
  readonly noise: tf.Tensor4D;
}

/**
 * The loss of an autoencoder that encodes images, draws latents, and decodes them:
 *
 *     loss = λ₁ mean|x̂ - x| + λ₂ mean((x̂ - x)²) + λ_g G + λ_KL K
 *     G = mean|∂x̂ - ∂x|, averaged over both directions, summed over the images and the images at half resolution
 *     K = mean(μ² + σ² - 1 - log σ²) / 2
 *
 * Source: Kingma & Welling 2014, arXiv:1312.6114, for K; Rombach et al. 2022, arXiv:2112.10752, for the whole.
 * Departs from it: no perceptual and no adversarial term, both of which need a second network; differences of edges, at
 * two resolutions, keep contours sharp in their place. Terms are means over pixels and latent values, not sums: the
 * published weight of 1e-6 for sums over one image is 1e-6 · pixel values / latent values here.
 *
 * @param p Borrowed, as the batch.
 */
export function autoencoderLoss(
  p: Parameters,
  config: AutoencoderConfig,
  { images, noise }: AutoencoderBatch,
  weights: AutoencoderLossConfig,
): AutoencoderLosses {
  const moments = encodeMoments(p, config, images);
  const { mean, std } = posterior(moments);
  const latents: tf.Tensor4D = tf.mul(tf.add(mean, tf.mul(std, noise)), config.scalingFactor);
  const decoded = decodeLatents(p, config, latents);
  const difference: tf.Tensor4D = tf.sub(decoded, images);
  const terms = {
    l1: () => tf.mean<tf.Scalar>(tf.abs(difference)),
    l2: () => tf.mean<tf.Scalar>(tf.square(difference)),
    gradient: () => tf.add<tf.Scalar>(edges(difference), edges(tf.avgPool(difference, 2, 2, "valid"))),
    kl: () => divergence(moments),
  };
  const weightOf = { l1: weights.l1, l2: weights.l2, gradient: weights.gradient, kl: weights.klWeight };
  let loss: tf.Scalar | undefined;
  const values = Object.entries(terms).map(([name, term]) => {
    const weight = weightOf[name as keyof typeof terms];
    if (weight === 0) return [name, tf.scalar(0)];
    const value = term();
    const weighted: tf.Scalar = tf.mul(value, weight);
    loss = loss ? tf.add(loss, weighted) : weighted;
    return [name, value];
  });
  return { loss: loss ?? tf.scalar(0), ...(Object.fromEntries(values) as Omit<AutoencoderLosses, "loss">) };
}

/**
 * Mean absolute difference of neighbours: the gradient is linear, so that of a difference is the difference of
 * gradients.
 */
function edges(x: tf.Tensor4D): tf.Scalar {
  const [N, H, W, C] = x.shape;
  const down = tf.sub(tf.slice(x, [0, 1, 0, 0], [N, H - 1, W, C]), tf.slice(x, [0, 0, 0, 0], [N, H - 1, W, C]));
  const right = tf.sub(tf.slice(x, [0, 0, 1, 0], [N, H, W - 1, C]), tf.slice(x, [0, 0, 0, 0], [N, H, W - 1, C]));
  return tf.mul(tf.add(tf.mean(tf.abs(down)), tf.mean(tf.abs(right))), 0.5);
}

/** K of the latents' distribution, as `posterior` clamps it. */
function divergence(moments: tf.Tensor4D): tf.Scalar {
  const [mean, logVariance] = tf.split(moments, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
  const clamped = tf.clipByValue(logVariance, -30, 20);
  const twice = tf.sub(tf.add(tf.square(mean), tf.exp(clamped)), tf.add(clamped, 1));
  return tf.mul(tf.mean(twice), 0.5);
}
