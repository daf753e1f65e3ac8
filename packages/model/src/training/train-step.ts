import { spec } from "@madformer/engine";
import * as optim from "@madformer/optim";
import type * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import { madformerSpecs } from "../madformer.js";
import type { Parameters } from "../parameters.js";
import { trainingLoss, type LossConfig, type TrainingBatch } from "./loss.js";

/** The training loss with its gradients for all parameters; null is a gradient of exactly 0. */
export function lossGradients(params: Parameters, config: MadformerConfig, batch: TrainingBatch, loss: LossConfig) {
  return optim.lossGradients(params, (params) => trainingLoss(params, config, batch, loss));
}

/** Shapes of what one run of the network sees in training: a `TrainingBatch`. */
export function batchSpecs(config: MadformerConfig, batchImages: number) {
  const { T, P } = geometryOf(config);
  const latents = spec([batchImages, T, P, config.latentChannels] as const);
  return { latents, noise: latents, t: spec([batchImages, T] as const, "int32") };
}

/** Shapes of what a training step takes, for `compile`. */
export function trainSignature(config: MadformerConfig, batchImages: number) {
  return {
    state: optim.stateSpecs(madformerSpecs(config)),
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
 * @returns `(state, inputs) -> { state, outputs: { loss, image, hidden, clean, gradNorm } }`; the norm is that before
 *   clipping.
 */
export function trainStep(config: MadformerConfig, loss: LossConfig, optimizer: optim.OptimizerConfig) {
  return (state: optim.TrainingState, inputs: TrainingBatch & { readonly scalars: tf.Tensor1D }) =>
    optim.trainStep(state, (params) => trainingLoss(params, config, inputs, loss), inputs.scalars, optimizer);
}
