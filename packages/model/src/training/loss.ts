import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { MadformerConfig } from "../config.js";
import { addNoise } from "../diffusion/add-noise.js";
import { forward } from "../madformer.js";
import { textLoss } from "../text/embedding.js";
import type { OutputName } from "../needs.js";
import { Scope, type Parameters } from "../parameters.js";

/** Weights of the loss' terms. */
export const LossConfig = z
  .strictObject({
    lambdaHidden: z
      .number()
      .nonnegative()
      .default(0.1)
      .describe("Weight of the hidden loss: how well the condition alone gives the clean latents"),
    lambdaClean: z
      .number()
      .nonnegative()
      .default(0)
      .describe("Weight of the clean-tower loss: how well the clean tower keeps the clean latents (paper, Table 6)"),
    lambdaImage: z.number().positive().default(1).describe("Weight of the image loss: how well the noise is predicted"),
    lambdaText: z
      .number()
      .nonnegative()
      .default(0)
      .describe("Weight of the text loss, of a model with classes: how well a text token foretells the next one"),
  })
  .readonly();
export type LossConfig = z.infer<typeof LossConfig>;

/** The loss and its terms, unweighted: scalars. */
export interface Losses {
  readonly loss: tf.Scalar;
  readonly image: tf.Scalar;
  readonly hidden: tf.Scalar;
  readonly clean: tf.Scalar;
  /** Where it is a term of the loss. */
  readonly text?: tf.Scalar;
}

/** What a training step is given. */
export interface TrainingBatch {
  /** (N, T, P, channels) float32: latents in blocks. */
  readonly latents: tf.Tensor4D;
  /** Like latents: standard normal. */
  readonly noise: tf.Tensor4D;
  /** (N, T) int32 in [0, 1000): each block has a timestep of its own. */
  readonly t: tf.Tensor2D;
  /** (N, tokens) int32, of a model with classes: see `classTokens`. */
  readonly text?: tf.Tensor2D;
}

/**
 * The training loss:
 *
 *     loss = λ_image mean((noisePred - ε)²) + λ_hidden mean((condition - x₀)²) + λ_clean mean((cleanTower - x₀)²)
 *          + λ_text textLoss
 *
 * Source: arXiv:2506.07999, section 3; spec section 9, step 5; spec section 26.
 * Departs from it: the clean-tower loss of the released code is never reached (spec section 16.4); here it is computed
 * where there is a clean tower. The hidden loss is 0 under `clearCond`, as there.
 *
 * @param p Borrowed, as the batch.
 * @returns Scalars, new. A term of weight 0 is not computed and given as 0.
 */
export function trainingLoss(
  p: Parameters,
  config: MadformerConfig,
  { latents, noise, t, text: words }: TrainingBatch,
  { lambdaHidden, lambdaClean, lambdaImage, lambdaText }: LossConfig,
): Losses {
  const withHidden = lambdaHidden > 0 && !config.clearCond;
  const withClean = lambdaClean > 0 && !config.clearClean;
  const withText = lambdaText > 0 && config.text?.head === true;
  const wanted: OutputName[] = ["noisePred"];
  if (withHidden) wanted.push("condition");
  if (withClean) wanted.push("cleanTower");
  if (withText) wanted.push("text");
  const batch = { cleanX: latents, noisedX: addNoise(latents, noise, t), t, ...(words ? { text: words } : {}) };
  const outputs = forward(p, config, batch, wanted);
  const meanSquare = (a: tf.Tensor | undefined, b: tf.Tensor): tf.Scalar =>
    tf.mean(tf.squaredDifference(a as tf.Tensor, b));

  const image = meanSquare(outputs.noisePred, noise);
  const hidden = withHidden ? meanSquare(outputs.condition, latents) : tf.scalar(0);
  const clean = withClean ? meanSquare(outputs.cleanTower, latents) : tf.scalar(0);
  const text = withText && textLoss(new Scope(p), outputs.text as tf.Tensor3D, words as tf.Tensor2D);
  let loss = lambdaImage === 1 ? image : tf.mul<tf.Scalar>(lambdaImage, image);
  if (withHidden) loss = tf.add(loss, tf.mul(lambdaHidden, hidden));
  if (withClean) loss = tf.add(loss, tf.mul(lambdaClean, clean));
  if (text) loss = tf.add(loss, tf.mul(lambdaText, text));
  return { loss, image, hidden, clean, ...(text ? { text } : {}) };
}
