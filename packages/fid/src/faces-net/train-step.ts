import { spec, type TensorSpec } from "@madformer/engine";
import {
  lossGradients,
  OptimizerConfig,
  scalarOf,
  SCALARS_SPEC,
  stateSpecs,
  stepScalars,
  update,
} from "@madformer/optim";
import * as tf from "@tensorflow/tfjs-core";
import { BATCH_NORM_EPSILON, batchNorm } from "./batch-norm.js";
import { outputsOf, type Label } from "./labels.js";
import {
  facesNetFeatures,
  facesNetHead,
  facesNetUnits,
  trainedShapes,
  type FacesNetSize,
  type FacesNetTensors,
} from "./network.js";

/** State of training, by the weights' names, and the averages of what batches are normalized with. */
export interface FacesNetState {
  readonly params: FacesNetTensors;
  readonly m: FacesNetTensors;
  readonly v: FacesNetTensors;
  /** `stem.mean`, `stem.variance`, ... */
  readonly running: FacesNetTensors;
}

/** Images with what the network should say about them. */
export interface FacesNetBatch {
  /** (N, side, side, 3) float32 in [-1, 1]. */
  readonly images: tf.Tensor4D;
  /** (N, outputs): 1 at each class of the image, its numbers in [-1, 1]; 0 elsewhere. */
  readonly targets: tf.Tensor2D;
  /** (N, outputs): 1 where the image has the attribute, else 0. */
  readonly known: tf.Tensor2D;
}

/** Shapes of what a training step takes, for `compile`. */
export function facesNetSignature(size: FacesNetSize, batchImages: number) {
  const specs = (shapes: Readonly<Record<string, readonly number[]>>): Record<string, TensorSpec> =>
    Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, spec(shape)]));
  const { params, m, v } = stateSpecs(specs(trainedShapes(size)));
  const running = facesNetUnits(size.dims).flatMap(({ name, channelsOut }) => [
    [`${name}.mean`, [channelsOut]] as const,
    [`${name}.variance`, [channelsOut]] as const,
  ]);
  return {
    state: { params, m, v, running: specs(Object.fromEntries(running)) },
    inputs: {
      images: spec([batchImages, size.sidePixels, size.sidePixels, 3] as const),
      targets: spec([batchImages, size.outputs] as const),
      known: spec([batchImages, size.outputs] as const),
      scalars: SCALARS_SPEC,
    },
  };
}

/** Of AdamW; gradients are never clipped. */
const OPTIMIZER = OptimizerConfig.parse({ beta2: 0.99, maxGradNorm: 0 });

/** Share of a batch in the averages of means and variances, once there were enough batches. */
const RUNNING_SHARE = 0.02;

/**
 * The scalars of update number `step`. The average that they speak of is that of means and variances.
 *
 * @param step From 1. The averages are plain means of all batches at first.
 */
export function facesNetScalars(step: number, learningRate: number, weightDecay: number): Float32Array {
  const share = Math.max(RUNNING_SHARE, 1 / step);
  return stepScalars({ ...OPTIMIZER, weightDecay }, step, learningRate, 1 - share);
}

/**
 * What a squared error counts beside a cross-entropy. At 1 guessing a number of [-1, 1] costs 1/3, one of eight classes
 * 2: the network learns classes first, which are what people see (colours, hair, glasses). *Measured* on drawn faces,
 * 16,000 images seen: 80 % of classes are right and 26 % of the variance of numbers is explained; at 3, 63 % and 37 %.
 */
export const NUMBER_WEIGHT = 1;

/**
 * How far the network is from knowing the attributes, the mean over them:
 *
 *     classes: -log p(class)        numbers: (y - target)²
 *
 * An attribute that an image does not have costs nothing.
 *
 * @param outputs (N, outputs) of the head. Borrowed, as all arguments.
 * @returns A scalar.
 */
export function attributeLoss(
  labels: readonly Label[],
  outputs: tf.Tensor2D,
  { targets, known }: Pick<FacesNetBatch, "targets" | "known">,
): tf.Scalar {
  const sizes = labels.map(outputsOf);
  // tfjs has no gradient for a split into one part.
  const split = (x: tf.Tensor2D): tf.Tensor2D[] => (sizes.length === 1 ? [x] : tf.split(x, sizes, 1));
  const [ys, ts, ks] = [split(outputs), split(targets), split(known)];
  const terms = labels.map((label, i) => {
    const [y, t, k] = [ys[i]!, ts[i]!, ks[i]!]; // each (N, outputs of the label)
    if (label.kind === "number")
      return tf.mul<tf.Scalar>(tf.mean(tf.mul(k, tf.squaredDifference(y, t))), NUMBER_WEIGHT);
    const entropy = tf.sub(tf.mul(tf.logSumExp(y, 1), tf.mean(k, 1)), tf.sum(tf.mul(y, t), 1)); // (N)
    return tf.mean<tf.Scalar>(entropy);
  });
  return tf.div<tf.Scalar>(tf.addN(terms), terms.length);
}

/**
 * One training step as a pure function, for `compile` with `facesNetSignature`; `facesNetScalars` makes its `scalars`.
 *
 * @returns `(state, inputs) -> { state, outputs: { loss } }`
 */
export function facesNetStep({ dims }: FacesNetSize, labels: readonly Label[]) {
  return (state: FacesNetState, { scalars, ...batch }: FacesNetBatch & { readonly scalars: tf.Tensor1D }) => {
    const { losses, gradients } = lossGradients(state.params, (weights) => {
      const seen: Record<string, tf.Tensor> = {};
      const features = facesNetFeatures(batch.images, dims, ({ name, stride }, x) => {
        const map = tf.conv2d(x, weights[`${name}.kernel`] as tf.Tensor4D, stride, 1);
        const [scale, shift] = [weights[`${name}.scale`], weights[`${name}.shift`]] as [tf.Tensor1D, tf.Tensor1D];
        const { y, mean, variance } = batchNorm(map, scale, shift);
        seen[`${name}.mean`] = mean;
        seen[`${name}.variance`] = variance;
        return y;
      });
      return { ...seen, loss: attributeLoss(labels, facesNetHead(weights, features), batch) };
    });
    const { loss, ...seen } = losses as { readonly loss: tf.Scalar } & Readonly<Record<string, tf.Tensor>>;
    const share = scalarOf(scalars, "emaShare");
    const running = Object.entries(seen).map(([name, value]) => {
      const before = state.running[name]!;
      return [name, tf.add(before, tf.mul(tf.sub(value, before), share))] as const;
    });
    const next = update(state, gradients, null, scalars, OPTIMIZER);
    return { state: { ...next, running: Object.fromEntries(running) }, outputs: { loss } };
  };
}

/**
 * The finished network: each normalization, with the averages of training, becomes part of its convolution, in double
 * precision and rounded once.
 *
 *     kernel' = kernel · scale / sqrt(variance + eps)      bias = shift - mean · scale / sqrt(variance + eps)
 *
 * @param state As the program holds it. Borrowed.
 * @returns Tensors by the names of `facesNetShapes`, new.
 */
export function finishedWeights(
  dims: number,
  weights: Readonly<Record<string, ArrayLike<number>>>,
  running: Readonly<Record<string, ArrayLike<number>>>,
): Record<string, Float32Array> {
  const finished: Record<string, Float32Array> = {
    "head.weight": Float32Array.from(weights["head.weight"]!),
    "head.bias": Float32Array.from(weights["head.bias"]!),
  };
  for (const { name, channelsOut } of facesNetUnits(dims)) {
    const [scale, shift] = [weights[`${name}.scale`]!, weights[`${name}.shift`]!];
    const [mean, variance] = [running[`${name}.mean`]!, running[`${name}.variance`]!];
    const gain = Float64Array.from(
      { length: channelsOut },
      (_, c) => scale[c]! / Math.sqrt(variance[c]! + BATCH_NORM_EPSILON),
    );
    finished[`${name}.kernel`] = Float32Array.from(weights[`${name}.kernel`]!, (w, i) => w * gain[i % channelsOut]!);
    finished[`${name}.bias`] = Float32Array.from(gain, (g, c) => shift[c]! - mean[c]! * g);
  }
  return finished;
}
