import { spec, type TensorSpec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { ShapeError } from "../shape.js";
import { STEP_SCALARS, type OptimizerConfig } from "../training/optimizer.js";
import { applyGradients, type TrainingState } from "../training/train-step.js";
import { autoencoderSpecs } from "./autoencoder.js";
import { downsamplingFactor, type AutoencoderConfig } from "./config.js";
import { autoencoderLoss, type AutoencoderBatch, type AutoencoderLossConfig, type AutoencoderLosses } from "./loss.js";

/** The smallest side with neighbours at half resolution. */
const MIN_SIDE = 4;

/**
 * Shapes of what a training step of an autoencoder takes, for `compile`.
 *
 * @throws {ShapeError} If the side is no multiple of the downsampling factor.
 */
export function autoencoderTrainSignature(
  config: AutoencoderConfig,
  { batchImages, side }: { readonly batchImages: number; readonly side: number },
) {
  const factor = downsamplingFactor(config);
  if (side % factor !== 0 || side < MIN_SIDE)
    throw new ShapeError(
      `The autoencoder's images have side ${side}, expected a multiple of ${factor} from ${MIN_SIDE} on`,
    );
  const parameters: Record<string, TensorSpec> = Object.fromEntries(
    Object.entries(autoencoderSpecs(config)).map(([key, { shape }]) => [key, spec(shape)]),
  );
  return {
    state: { params: parameters, m: parameters, v: parameters, ema: parameters },
    inputs: {
      images: spec([batchImages, side, side, config.imageChannels] as const),
      noise: spec([batchImages, side / factor, side / factor, config.latentChannels] as const),
      scalars: spec([STEP_SCALARS.length] as const),
    },
  };
}

/**
 * One training step of an autoencoder as a pure function: images are encoded, latents drawn with the given noise,
 * decoded, gradients of the loss taken and clipped by their norm, then AdamW and the moving average, for all
 * parameters. Compile it with `autoencoderTrainSignature`; `stepScalars` makes its `scalars`.
 *
 * @returns `(state, inputs) -> { state, outputs: { loss, l1, l2, gradient, kl, gradNorm } }`; the norm is that before
 *   clipping.
 */
export function autoencoderTrainStep(
  config: AutoencoderConfig,
  loss: AutoencoderLossConfig,
  optimizer: OptimizerConfig,
) {
  return (state: TrainingState, inputs: AutoencoderBatch & { readonly scalars: tf.Tensor1D }) => {
    const names = Object.keys(state.params);
    const kept: Record<string, tf.Scalar> = {};
    // What the function makes besides its result is freed when it returns: the terms are kept by name.
    const { value, grads } = tf.engine().gradients(
      () => {
        const { loss: total, ...terms } = autoencoderLoss(state.params, config, inputs, loss);
        for (const [name, term] of Object.entries(terms)) kept[name] = tf.keep(term);
        return tf.clone(total); // the total may be one of the terms
      },
      names.map((name) => state.params[name] as tf.Tensor),
      null as unknown as tf.Scalar, // the gradient starts as 1
      true,
    );
    const terms = Object.fromEntries(Object.entries(kept).map(([name, term]) => [name, tf.clone(term)]));
    tf.dispose(kept);
    const gradients = Object.fromEntries(names.map((name, i) => [name, grads[i] ?? null]));
    const { next, gradNorm } = applyGradients(state, gradients, inputs.scalars, optimizer);
    return { state: { ...next }, outputs: { loss: value, ...(terms as Omit<AutoencoderLosses, "loss">), gradNorm } };
  };
}
