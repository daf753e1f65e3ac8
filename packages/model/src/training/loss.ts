import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { MadformerConfig } from "../config.js";
import { addNoise, atTimesteps, factorsAt } from "../diffusion/add-noise.js";
import { lossWeights, predictionTarget } from "../diffusion/prediction.js";
import { forward } from "../madformer.js";
import type { OutputName } from "../needs.js";
import type { Parameters } from "../parameters.js";

const Most = z.number().positive().optional().describe("The largest weight");

/** Weights of the loss' terms; the image term has weight 1. */
export const LossConfig = z
  .strictObject({
    weighting: z
      .discriminatedUnion("by", [
        z.strictObject({ by: z.literal("none") }),
        z.strictObject({ by: z.literal("snr"), most: Most }),
        z.strictObject({ by: z.literal("snr+1"), most: Most }),
      ])
      .default({ by: "none" })
      .describe(
        "Weights of the image loss' timesteps: none (the error of what the network predicts counts alike at all), or " +
          "the error of the data times SNR (arXiv:2303.09556) or SNR + 1 (arXiv:2202.00512), at most `most`",
      ),
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
  })
  .readonly();
export type LossConfig = z.infer<typeof LossConfig>;

/** The loss and its terms, unweighted: scalars. */
export interface Losses {
  readonly loss: tf.Scalar;
  readonly image: tf.Scalar;
  readonly hidden: tf.Scalar;
  readonly clean: tf.Scalar;
}

/** What a training step is given. */
export interface TrainingBatch {
  /** (N, T, P, channels) float32: latents in blocks. */
  readonly latents: tf.Tensor4D;
  /** Like latents: standard normal. */
  readonly noise: tf.Tensor4D;
  /** (N, T) int32 in [0, 1000): each block has a timestep of its own. */
  readonly t: tf.Tensor2D;
}

/**
 * The training loss:
 *
 *     loss = mean(w(t) (noisePred - ε)²) + λ_hidden mean((condition - x₀)²) + λ_clean mean((cleanTower - x₀)²)
 *
 * with w = 1, and ε the target, in the released code; `weighting` and the config's `prediction` may say otherwise.
 *
 * Source: arXiv:2506.07999, section 3; spec section 9, step 5.
 * Departs from it: the clean-tower loss of the released code is never reached (spec section 16.4); here it is computed
 * where there is a clean tower. The hidden loss is 0 under `clearCond`, as there.
 *
 * @param p Borrowed, as the batch.
 * @returns Scalars, new. A term of weight 0 is not computed and given as 0.
 */
export function trainingLoss(
  p: Parameters,
  config: MadformerConfig,
  { latents, noise, t }: TrainingBatch,
  { weighting, lambdaHidden, lambdaClean }: LossConfig,
): Losses {
  const withHidden = lambdaHidden > 0 && !config.clearCond;
  const withClean = lambdaClean > 0 && !config.clearClean;
  const wanted: OutputName[] = ["noisePred"];
  if (withHidden) wanted.push("condition");
  if (withClean) wanted.push("cleanTower");
  const outputs = forward(p, config, { cleanX: latents, noisedX: addNoise(latents, noise, t), t }, wanted);
  const meanSquare = (a: tf.Tensor | undefined, b: tf.Tensor): tf.Scalar =>
    tf.mean(tf.squaredDifference(a as tf.Tensor, b));

  const target = predictionTarget(config.prediction, latents, noise, factorsAt(t));
  const image =
    weighting.by === "none"
      ? meanSquare(outputs.noisePred, target)
      : weightedMeanSquare(outputs.noisePred, target, atTimesteps(lossWeights(config.prediction, weighting), t));
  const hidden = withHidden ? meanSquare(outputs.condition, latents) : tf.scalar(0);
  const clean = withClean ? meanSquare(outputs.cleanTower, latents) : tf.scalar(0);
  let loss = image;
  if (withHidden) loss = tf.add(loss, tf.mul(lambdaHidden, hidden));
  if (withClean) loss = tf.add(loss, tf.mul(lambdaClean, clean));
  return { loss, image, hidden, clean };
}

/** mean(w · (a - b)²); the weights broadcast. */
function weightedMeanSquare(a: tf.Tensor | undefined, b: tf.Tensor, weights: tf.Tensor): tf.Scalar {
  return tf.mean(tf.mul(tf.squaredDifference(a as tf.Tensor, b), weights));
}
