import { weightedLoss, type Losses } from "@madformer/optim";
import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { MadformerConfig } from "../config.js";
import { addNoise, atTimesteps, factorsAt } from "../diffusion/add-noise.js";
import { lossWeights, predictionTarget } from "../diffusion/prediction.js";
import { forward, type Outputs } from "../madformer.js";
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

/** What a training step is given. */
export interface TrainingBatch {
  /** (N, T, P, channels) float32: latents in blocks. */
  readonly latents: tf.Tensor4D;
  /** Like latents: standard normal. */
  readonly noise: tf.Tensor4D;
  /** (N, T) int32 in [0, 1000): each block has a timestep of its own. */
  readonly t: tf.Tensor2D;
}

/** One term: what the network has to give for it, how far that is from what it should be, and λ. */
interface Term {
  readonly output: OutputName;
  readonly value: (output: tf.Tensor, batch: TrainingBatch, config: MadformerConfig, loss: LossConfig) => tf.Scalar;
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
  image: { output: "noisePred", value: imageLoss, weight: () => 1 },
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
} as const satisfies Record<string, Term>;
export type TermName = keyof typeof TERMS;
export const TERM_NAMES = Object.keys(TERMS) as readonly TermName[];

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
 * @returns The loss and its terms, unweighted: new scalars. A term of weight 0 is not computed and given as 0.
 */
export function trainingLoss(
  p: Parameters,
  config: MadformerConfig,
  batch: TrainingBatch,
  lambdas: LossConfig,
): Losses<TermName> {
  const { latents, noise, t } = batch;
  const weights = mapTerms(({ weight }) => weight(lambdas, config));
  const wanted = TERM_NAMES.flatMap((name) => (weights[name] > 0 ? [TERMS[name].output] : []));
  const outputs: Outputs = forward(p, config, { cleanX: latents, noisedX: addNoise(latents, noise, t), t }, wanted);
  return weightedLoss(
    mapTerms(({ output, value }, name) => ({
      weight: weights[name],
      value: () => value(outputs[output] as tf.Tensor, batch, config, lambdas),
    })),
  );
}

function mapTerms<T>(of: (term: Term, name: TermName) => T): Readonly<Record<TermName, T>> {
  return Object.fromEntries(TERM_NAMES.map((name) => [name, of(TERMS[name], name)])) as Record<TermName, T>;
}
