import { weightedLoss, type Losses, type LossTerm } from "@madformer/optim";
import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { MadformerConfig } from "../config.js";
import { addNoise, atTimesteps, factorsAt } from "../diffusion/add-noise.js";
import { lossWeights, predictionTarget } from "../diffusion/prediction.js";
import { forward, type Outputs } from "../madformer.js";
import { textLoss } from "../text/embedding.js";
import type { Recompute } from "../nn/part.js";
import type { OutputName } from "../needs.js";
import { Scope, type Parameters } from "../parameters.js";

const Most = z.number().positive().optional().describe("The largest weight");

/** Weights of the loss' terms. */
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
    lambdaImage: z.number().positive().default(1).describe("Weight of the image loss: how well the noise is predicted"),
    lambdaText: z
      .number()
      .nonnegative()
      .default(0)
      .describe("Weight of the text loss, of a model with classes: how well a text token foretells the next one"),
  })
  .readonly();
export type LossConfig = z.infer<typeof LossConfig>;

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

/** One term: what the network has to give for it, how far that is from what it should be, and λ. */
interface Term {
  readonly output: OutputName;
  readonly value: (
    output: tf.Tensor,
    batch: TrainingBatch,
    config: MadformerConfig,
    loss: LossConfig,
    p: Parameters,
  ) => tf.Scalar;
  readonly weight: (lambdas: LossConfig, config: MadformerConfig) => number;
}

const meanSquare = (a: tf.Tensor, b: tf.Tensor): tf.Scalar => tf.mean(tf.squaredDifference(a, b));

/** mean(w(t) (output - target)²), by what the network predicts. */
function imageLoss(
  output: tf.Tensor,
  { latents, noise, t }: TrainingBatch,
  { prediction }: MadformerConfig,
  { weighting }: LossConfig,
): tf.Scalar {
  const target = predictionTarget(prediction, latents, noise, factorsAt(t));
  if (weighting.by === "none") return meanSquare(output, target);
  return tf.mean(tf.mul(tf.squaredDifference(output, target), atTimesteps(lossWeights(prediction, weighting), t)));
}

/** The terms by name, in the order of their sum. A new one is a line here, and its λ in `LossConfig`. */
const TERMS = {
  image: { output: "noisePred", value: imageLoss, weight: ({ lambdaImage }) => lambdaImage },
  hidden: {
    output: "condition",
    value: (condition, { latents }) => meanSquare(condition, latents),
    weight: ({ lambdaHidden }, { clearCond }) => (clearCond ? 0 : lambdaHidden),
  },
  clean: {
    output: "cleanTower",
    value: (cleanTower, { latents }) => meanSquare(cleanTower, latents),
    weight: ({ lambdaClean }, { clearClean }) => (clearClean ? 0 : lambdaClean),
  },
  text: {
    output: "text",
    value: (tokens, { text }, _config, _loss, p) => textLoss(new Scope(p), tokens as tf.Tensor3D, text as tf.Tensor2D),
    weight: ({ lambdaText }, { text }) => (text?.head ? lambdaText : 0),
  },
} as const satisfies Record<string, Term>;
export type TermName = keyof typeof TERMS;
type ImageTerm = Exclude<TermName, "text">;
/** The terms that every loss has. */
export const TERM_NAMES = Object.keys(TERMS).filter((name) => name !== "text") as readonly ImageTerm[];

/** The terms that a loss has, in the order of their sum; that of the text only where it is one. */
export function termNames(config: MadformerConfig, lambdas: LossConfig): readonly TermName[] {
  return TERMS.text.weight(lambdas, config) > 0 ? [...TERM_NAMES, "text"] : TERM_NAMES;
}

/**
 * The training loss:
 *
 *     loss = λ_image mean(w(t) (noisePred - ε)²) + λ_hidden mean((condition - x₀)²) + λ_clean mean((cleanTower - x₀)²)
 *          + λ_text textLoss
 *
 * with w = 1, and ε the target, in the released code; `weighting` and the config's `prediction` may say otherwise.
 *
 * Source: arXiv:2506.07999, section 3; spec section 9, step 5; spec section 26 for the text.
 * Departs from it: the clean-tower loss of the released code is never reached (spec section 16.4); here it is computed
 * where there is a clean tower. The hidden loss is 0 under `clearCond`, as there.
 *
 * @param p Borrowed, as the batch.
 * @param recompute What of the network is computed again for the gradients.
 * @returns The loss and its terms, unweighted: new scalars; `text` among them only where it is one (`termNames`). A
 *   term of weight 0 is not computed and given as 0.
 */
export function trainingLoss(
  p: Parameters,
  config: MadformerConfig,
  batch: TrainingBatch,
  lambdas: LossConfig,
  recompute: Recompute = "none",
): Losses<ImageTerm> {
  const { latents, noise, t, text } = batch;
  const terms = termNames(config, lambdas).map((name) => ({ name, weight: TERMS[name].weight(lambdas, config) }));
  const wanted = terms.flatMap(({ name, weight }) => (weight > 0 ? [TERMS[name].output] : []));
  const seen = { cleanX: latents, noisedX: addNoise(latents, noise, t), t, ...(text ? { text } : {}) };
  const outputs: Outputs = forward(p, config, seen, wanted, undefined, recompute);
  const made = terms.map(({ name, weight }) => {
    const { output, value }: Term = TERMS[name];
    return [name, { weight, value: () => value(outputs[output] as tf.Tensor, batch, config, lambdas, p) }] as const;
  });
  return weightedLoss(Object.fromEntries(made) as Record<ImageTerm, LossTerm>);
}
