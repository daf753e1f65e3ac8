import { spec, type TensorSpec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import { madformerSpecs } from "../madformer.js";
import type { ParameterSpecs } from "../parameters.js";
import { trainingLoss, type LossConfig, type Losses, type TrainingBatch } from "./loss.js";
import { adamw, clipFactor, globalNorm, STEP_SCALARS, type OptimizerConfig } from "./optimizer.js";

type Tensors = Record<string, tf.Tensor>;

/** State of training: parameters, AdamW's moments and the moving average, each by the parameters' keys. */
export interface TrainingState {
  readonly params: Tensors;
  readonly m: Tensors;
  readonly v: Tensors;
  readonly ema: Tensors;
}

/** Losses, and gradients by key; null where the loss does not depend on a parameter: its gradient is exactly 0. */
export interface LossGradients {
  readonly losses: Losses;
  readonly gradients: Readonly<Record<string, tf.Tensor | null>>;
}

/** The training loss with its gradients for all parameters. */
export function lossGradients(
  params: Tensors,
  config: MadformerConfig,
  batch: TrainingBatch,
  loss: LossConfig,
): LossGradients {
  const names = Object.keys(params);
  const kept: Record<string, tf.Scalar> = {};
  // As tf.valueAndGrads, but a parameter that the loss does not depend on is no error. What the function makes besides
  // its result is freed when it returns: the terms are kept by name.
  const { value, grads } = tf.engine().gradients(
    () => {
      const { loss: total, ...terms } = trainingLoss(params, config, batch, loss);
      for (const [name, term] of Object.entries(terms)) kept[name] = tf.keep(term);
      return tf.clone(total); // the total may be the image term itself
    },
    names.map((name) => params[name] as tf.Tensor),
    null as unknown as tf.Scalar, // the gradient starts as 1
    true,
  );
  const terms = Object.fromEntries(
    Object.entries(kept).map(([name, term]) => {
      const copy = tf.clone(term);
      term.dispose();
      return [name, copy];
    }),
  ) as unknown as Omit<Losses, "loss">;
  return {
    losses: { loss: value, ...terms },
    gradients: Object.fromEntries(names.map((name, i) => [name, grads[i] ?? null])),
  };
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

/** What of a batch a model with classes takes besides: the texts of its images. */
export function textInput({ text }: MadformerConfig, batchImages: number) {
  const words = { text: spec([batchImages, text?.tokens ?? 0] as const, "int32") };
  return (text ? words : {}) as Partial<typeof words>;
}

/** Shapes of what a training step takes, for `compile`. */
export function trainSignature(config: MadformerConfig, batchImages: number, loss: TextLoss = NO_TEXT_LOSS) {
  const { T, P } = geometryOf(config);
  const latents = spec([batchImages, T, P, config.latentChannels] as const);
  const parameters: Record<string, TensorSpec> = Object.fromEntries(
    Object.entries(trainedSpecs(config, loss)).map(([key, { shape }]) => [key, spec(shape)]),
  );
  return {
    state: { params: parameters, m: parameters, v: parameters, ema: parameters },
    inputs: {
      latents,
      noise: latents,
      t: spec([batchImages, T] as const, "int32"),
      ...textInput(config, batchImages),
      scalars: spec([STEP_SCALARS.length] as const),
    },
  };
}

/**
 * One training step as a pure function: noise is added, losses and gradients taken, gradients clipped by their norm,
 * then AdamW and the moving average, for all parameters. Compile it with `trainSignature`; `stepScalars` makes its
 * `scalars`.
 *
 * Source: spec section 9, with float32 throughout.
 *
 * @returns `(state, inputs) -> { state, outputs: { loss, image, hidden, clean, gradNorm } }`; the norm is that
 *   before clipping.
 */
export function trainStep(config: MadformerConfig, loss: LossConfig, optimizer: OptimizerConfig) {
  return (state: TrainingState, inputs: TrainingBatch & { readonly scalars: tf.Tensor1D }) => {
    const { losses, gradients } = lossGradients(state.params, config, inputs, loss);
    const { next, gradNorm } = applyGradients(state, gradients, inputs.scalars, optimizer);
    return { state: { ...next }, outputs: { ...losses, gradNorm } };
  };
}

/**
 * What follows the gradients in a training step: clipping by their norm, AdamW and the moving average, for all
 * parameters.
 *
 * @param gradients By key; null is a gradient of exactly 0.
 * @param scalars (5) float32, as `stepScalars` gives them.
 * @returns The next state, and the norm before clipping.
 */
export function applyGradients(
  state: TrainingState,
  gradients: Readonly<Record<string, tf.Tensor | null>>,
  scalars: tf.Tensor1D,
  optimizer: OptimizerConfig,
): { readonly next: TrainingState; readonly gradNorm: tf.Scalar } {
  return tf.tidy("optimizer", () => {
    const gradNorm = globalNorm(Object.values(gradients).filter((g): g is tf.Tensor => g !== null));
    const clip = optimizer.maxGradNorm > 0 ? clipFactor(gradNorm, optimizer.maxGradNorm) : 1;
    const next = { params: {} as Tensors, m: {} as Tensors, v: {} as Tensors, ema: {} as Tensors };
    for (const [key, gradient] of Object.entries(gradients)) {
      const [value, m, v, ema] = [state.params, state.m, state.v, state.ema].map((part) => part[key] as tf.Tensor) as [
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
      ];
      const updated = adamw({ value, m, v, ema }, gradient, clip, scalars, optimizer);
      next.params[key] = updated.value;
      next.m[key] = updated.m;
      next.v[key] = updated.v;
      next.ema[key] = updated.ema;
    }
    return { next: { ...next }, gradNorm };
  });
}
