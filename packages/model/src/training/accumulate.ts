import * as tf from "@tensorflow/tfjs-core";
import type { MadformerConfig } from "../config.js";
import type { LossConfig, TrainingBatch } from "./loss.js";
import type { OptimizerConfig } from "./optimizer.js";
import {
  applyGradients,
  lossGradients,
  textInput,
  trainSignature,
  type TextLoss,
  type TrainingState,
} from "./train-step.js";

type Tensors = Record<string, tf.Tensor>;

/**
 * Gradient accumulation: a step over a batch that is too large for one run, as two programs. `gradientStep` runs once
 * for each part of the batch and adds its share of the gradients to a sum; `updateStep` then takes the sum and makes
 * one update:
 *
 *     sum' = sum + share · g        share = 1 / parts: the mean over equal parts is that of the whole batch
 *
 * Departs from the released code, which keeps the gradients of the last part alone (spec section 16.5).
 *
 * @param share What a part's gradients are multiplied with.
 * @returns `({ params, sum }, batch) -> { state: { sum }, outputs: { loss, image, hidden, clean } }`, losses
 *   those of the part.
 */
export function gradientStep(config: MadformerConfig, loss: LossConfig, share: number) {
  return (state: { readonly params: Tensors; readonly sum: Tensors }, batch: TrainingBatch) => {
    const { losses, gradients } = lossGradients(state.params, config, batch, loss);
    // Where there is no gradient the sum stays the zero that it is.
    const sum = Object.fromEntries(
      Object.entries(gradients).flatMap(([key, gradient]) =>
        gradient ? [[key, tf.add(state.sum[key] as tf.Tensor, tf.mul(gradient, share))]] : [],
      ),
    );
    return { state: { sum }, outputs: { ...losses } };
  };
}

/** Shapes of what `gradientStep` takes, for `compile`. */
export function gradientSignature(config: MadformerConfig, batchImages: number, loss?: TextLoss) {
  const { state, inputs } = trainSignature(config, batchImages, loss);
  const { latents, noise, t } = inputs;
  return {
    state: { params: state.params, sum: state.params },
    inputs: { latents, noise, t, ...textInput(config, batchImages) },
  };
}

/**
 * Clipping, AdamW and the moving average for gradients that are there already: what ends a step of several parts.
 *
 * @returns `(state, { gradients, scalars }) -> { state, outputs: { gradNorm } }`; the norm is that before clipping.
 */
export function updateStep(optimizer: OptimizerConfig) {
  return (state: TrainingState, inputs: { readonly gradients: Tensors; readonly scalars: tf.Tensor1D }) => {
    const { next, gradNorm } = applyGradients(state, inputs.gradients, inputs.scalars, optimizer);
    return { state: { ...next }, outputs: { gradNorm } };
  };
}

/** Shapes of what `updateStep` takes, for `compile`. */
export function updateSignature(config: MadformerConfig, loss?: TextLoss) {
  const { state, inputs } = trainSignature(config, 1, loss);
  return { state, inputs: { gradients: state.params, scalars: inputs.scalars } };
}
