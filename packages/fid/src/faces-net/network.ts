import { normal, randomKey } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";

/** What fixes the network's tensors. */
export interface FacesNetSize {
  /** Width and height of its images in pixels: a multiple of 16. */
  readonly sidePixels: number;
  /** Channels of a feature. */
  readonly dims: number;
  /** Numbers that the head makes of a feature. */
  readonly outputs: number;
}

/** Tensors by name. */
export type FacesNetTensors = Readonly<Record<string, tf.Tensor>>;

/** One convolution with what follows it. */
export interface Unit {
  readonly name: string;
  /** Height and width of its filters; maps are padded by 1. */
  readonly kernel: 3 | 4;
  /** 2 halves the sides. */
  readonly stride: 1 | 2;
  readonly channelsIn: number;
  readonly channelsOut: number;
  /** Whether its input is added to its result. */
  readonly residual: boolean;
}

/** The network's units, from the image on. A 64x64 image becomes maps of 32, 16, 8 and 4 pixels a side. */
export function facesNetUnits(dims: number): readonly Unit[] {
  const unit = (name: string, stride: 1 | 2, channelsIn: number, channelsOut: number, kernel: 3 | 4 = 3): Unit => ({
    name,
    kernel,
    stride,
    channelsIn,
    channelsOut,
    residual: stride === 1 && channelsIn === channelsOut,
  });
  return [
    unit("stem", 2, 3, 32, 4), // 32x32
    unit("down1", 2, 32, 64), // 16x16
    unit("body1", 1, 64, 64),
    unit("down2", 2, 64, 96), // 8x8
    unit("body2", 1, 96, 96),
    unit("down3", 2, 96, 128), // 4x4
    unit("body3", 1, 128, dims),
  ];
}

/** A unit's convolution, normalized or with its bias: (N, height, width, channelsOut). */
export type UnitFunction = (unit: Unit, x: tf.Tensor4D) => tf.Tensor4D;

/**
 * Features of images: convolutions with rectifiers, some with their input added, then the mean over pixels.
 *
 * @param images (N, side, side, 3) float32 in [-1, 1]. Borrowed.
 * @param convolved What a unit does before its rectifier: in training it normalizes batches, later the normalization is
 *   part of the filters.
 * @returns (N, dims) float32, zero or more. New, owned by the caller.
 */
export function facesNetFeatures(images: tf.Tensor4D, dims: number, convolved: UnitFunction): tf.Tensor2D {
  let x = images;
  for (const unit of facesNetUnits(dims)) {
    const y = tf.relu(convolved(unit, x));
    x = unit.residual ? tf.add(x, y) : y; // (N, side, side, channelsOut)
  }
  return tf.mean<tf.Tensor2D>(x, [1, 2]); // (N, dims)
}

/** (N, dims) -> (N, outputs): what features say about the attributes. New, owned by the caller. */
export function facesNetHead(weights: FacesNetTensors, features: tf.Tensor2D): tf.Tensor2D {
  return tf.add(tf.matMul(features, weights["head.weight"] as tf.Tensor2D), weights["head.bias"]!);
}

/** Shapes of the finished network's tensors, by name: kernels are (height, width, channels in, channels out). */
export function facesNetShapes({ dims, outputs }: FacesNetSize): Record<string, readonly number[]> {
  const units = facesNetUnits(dims).map(({ name, kernel, channelsIn, channelsOut }) => ({
    [`${name}.kernel`]: [kernel, kernel, channelsIn, channelsOut],
    [`${name}.bias`]: [channelsOut],
  }));
  return Object.assign({ "head.weight": [dims, outputs], "head.bias": [outputs] }, ...units) as Record<
    string,
    readonly number[]
  >;
}

/** The finished network's units: a convolution and a bias. */
export function finishedUnit(weights: FacesNetTensors): UnitFunction {
  return ({ name, stride }, x) =>
    tf.add(tf.conv2d(x, weights[`${name}.kernel`] as tf.Tensor4D, stride, 1), weights[`${name}.bias`]!);
}

/** Shapes of what is trained: a scale and a shift by channel in place of a bias. */
export function trainedShapes(size: FacesNetSize): Record<string, readonly number[]> {
  const { "head.weight": weight, "head.bias": bias } = facesNetShapes(size);
  const shapes: Record<string, readonly number[]> = { "head.weight": weight!, "head.bias": bias! };
  for (const { name, kernel, channelsIn, channelsOut } of facesNetUnits(size.dims)) {
    shapes[`${name}.kernel`] = [kernel, kernel, channelsIn, channelsOut];
    shapes[`${name}.scale`] = [channelsOut];
    shapes[`${name}.shift`] = [channelsOut];
  }
  return shapes;
}

/**
 * Weights to start from: filters normal with variance 2 / (inputs of an output), scales 1, shifts and the head 0.
 *
 * Source: He et al. 2015, arXiv:1502.01852.
 */
export function initialWeights(size: FacesNetSize, seed: number): Record<string, Float32Array> {
  const entries = Object.entries(trainedShapes(size)).map(([name, shape]) => {
    const elements = shape.reduce((product, n) => product * n, 1);
    if (name.endsWith(".kernel")) {
      const scale = Math.sqrt((2 * shape.at(-1)!) / elements);
      return [name, normal(randomKey(seed, `faces-net/${name}`), { size: elements }).map((x) => scale * x)] as const;
    }
    return [name, new Float32Array(elements).fill(name.endsWith(".scale") ? 1 : 0)] as const;
  });
  return Object.fromEntries(entries);
}
