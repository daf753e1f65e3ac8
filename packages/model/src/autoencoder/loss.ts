import { weightedLoss, type Losses } from "@madformer/optim";
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

/** The terms by name, in the order of their sum: a new one is made by `autoencoderLoss`. */
export const AUTOENCODER_TERMS = ["l1", "l2", "gradient", "kl"] as const;
export type AutoencoderTerm = (typeof AUTOENCODER_TERMS)[number];

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
 * @returns The loss and its terms, unweighted: new scalars. A term of weight 0 is not computed and given as 0.
 */
export function autoencoderLoss(
  p: Parameters,
  config: AutoencoderConfig,
  { images, noise }: AutoencoderBatch,
  weights: AutoencoderLossConfig,
): Losses<AutoencoderTerm> {
  const moments = encodeMoments(p, config, images);
  const { mean, std } = posterior(moments);
  const latents: tf.Tensor4D = tf.mul(tf.add(mean, tf.mul(std, noise)), config.scalingFactor);
  const decoded = decodeLatents(p, config, latents);
  const difference: tf.Tensor4D = tf.sub(decoded, images);
  return weightedLoss<AutoencoderTerm>({
    l1: { weight: weights.l1, value: () => tf.mean(tf.abs(difference)) },
    l2: { weight: weights.l2, value: () => tf.mean(tf.square(difference)) },
    gradient: {
      weight: weights.gradient,
      value: () => tf.add(edges(difference), edges(tf.avgPool(difference, 2, 2, "valid"))),
    },
    kl: { weight: weights.klWeight, value: () => divergence(moments) },
  });
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
