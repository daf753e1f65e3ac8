import { spec } from "@madformer/engine";
import * as optim from "@madformer/optim";
import type * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import { madformerSpecs } from "../madformer.js";
import type { Recompute } from "../nn/part.js";
import type { Parameters, ParameterSpecs } from "../parameters.js";
import { trainingLoss, type LossConfig, type TrainingBatch } from "./loss.js";

/** The training loss with its gradients for all parameters; null is a gradient of exactly 0. */
export function lossGradients(
  params: Parameters,
  config: MadformerConfig,
  batch: TrainingBatch,
  loss: LossConfig,
  recompute: Recompute = "none",
) {
  return optim.lossGradients(params, (params) => trainingLoss(params, config, batch, loss, recompute));
}

/** Shapes of what one run of the network sees in training: a `TrainingBatch`. */
export function batchSpecs(config: MadformerConfig, batchImages: number) {
  const { T, P } = geometryOf(config);
  const latents = spec([batchImages, T, P, config.latentChannels] as const);
  const text = { text: spec([batchImages, config.text?.tokens ?? 0] as const, "int32") };
  const words = (config.text ? text : {}) as Partial<typeof text>;
  return { latents, noise: latents, t: spec([batchImages, T] as const, "int32"), ...words };
}

/** What of a loss decides which parameters are trained. */
export type TextLoss = Pick<LossConfig, "lambdaText">;
const NO_TEXT_LOSS: TextLoss = { lambdaText: 0 };

/**
 * The parameters that training moves: all of them, but for the head of the text without a text loss, which then is
 * neither used nor decayed.
 *
 * Source: spec section 26.
 */
export function trainedSpecs(config: MadformerConfig, { lambdaText }: TextLoss = NO_TEXT_LOSS): ParameterSpecs {
  return Object.fromEntries(
    Object.entries(madformerSpecs(config)).filter(([key]) => lambdaText > 0 || !key.startsWith("lm_head.")),
  );
}

/** Shapes of what a training step takes, for `compile`. */
export function trainSignature(config: MadformerConfig, batchImages: number, loss: TextLoss = NO_TEXT_LOSS) {
  return {
    state: optim.stateSpecs(trainedSpecs(config, loss)),
    inputs: { ...batchSpecs(config, batchImages), scalars: optim.SCALARS_SPEC },
  };
}

/**
 * One training step as a pure function: noise is added, losses and gradients taken, gradients clipped by their norm,
 * then AdamW and the moving average, for all parameters. Compile it with `trainSignature`; `stepScalars` makes its
 * `scalars`.
 *
 * Source: spec section 9, with float32 throughout.
 *
 * @param recompute What of the network is computed again for the gradients.
 * @returns `(state, inputs) -> { state, outputs: { loss, image, hidden, clean, gradNorm } }`; the norm is that before
 *   clipping.
 */
export function trainStep(
  config: MadformerConfig,
  loss: LossConfig,
  optimizer: optim.OptimizerConfig,
  recompute: Recompute = "none",
) {
  return (state: optim.TrainingState, inputs: TrainingBatch & { readonly scalars: tf.Tensor1D }) =>
    optim.trainStep(
      state,
      (params) => trainingLoss(params, config, inputs, loss, recompute),
      inputs.scalars,
      optimizer,
    );
}
