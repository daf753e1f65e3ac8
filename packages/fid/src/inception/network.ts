import * as tf from "@tensorflow/tfjs-core";
import { resizeBilinear } from "../resize/bilinear.js";
import { inceptionUnits, type InceptionDims, type Unit } from "./units.js";

/** A unit's convolution with the batch normalization folded into it. */
export interface UnitTensors {
  /** (height, width, channelsIn, channelsOut) */
  readonly kernel: tf.Tensor4D;
  /** (channelsOut) */
  readonly bias: tf.Tensor1D;
}

/** Weights by the reference's names of the units: `Mixed_5b.branch1x1`. */
export type InceptionTensors = Readonly<Record<string, UnitTensors>>;

/** Side of the square images that the network sees. */
export const INCEPTION_SIDE = 299;

/** Pixels each way and channels of the map that spatial features are of. */
const SPATIAL = { side: 17, channels: 7 } as const;
/** Numbers of a spatial feature. */
export const SPATIAL_DIMS = SPATIAL.side ** 2 * SPATIAL.channels;

export interface InceptionFeatures {
  /** (N, dims) float32. */
  readonly features: tf.Tensor2D;
  /** (N, 2023) float32: the first seven channels of Mixed_6d's first branch, pixel by pixel; if they were reached. */
  readonly spatial?: tf.Tensor2D;
}

/**
 * Features of images by the Inception network that FID was published with:
 *
 *     images in [0, 1] -> 299x299 pixels, bilinear without antialiasing -> 2x - 1 -> blocks -> mean over pixels
 *
 * Only the blocks that `dims` needs are computed.
 *
 * Source: pytorch-fid, `inception.py` InceptionV3 (spec 15). It departs from the paper's network in two places: average
 * pools do not count the padding, and the last block has a max pool. Spatial features: Nash et al. 2021,
 * arXiv:2103.03841, as ADM's suite takes them, `mixed_6/conv:0` of TensorFlow's graph.
 *
 * @param weights Units of `inceptionUnits(dims)`; more are allowed. Borrowed.
 * @param images (N, height, width, 3) float32 in [0, 1]. Borrowed.
 * @returns New, owned by the caller.
 */
export function inceptionFeatures(
  weights: InceptionTensors,
  images: tf.Tensor4D,
  dims: InceptionDims,
): InceptionFeatures {
  return tf.tidy(() => {
    const resized = resizeBilinear(images, { height: INCEPTION_SIDE, width: INCEPTION_SIDE });
    const x = tf.sub<tf.Tensor4D>(tf.mul(resized, 2), 1); // (N, 299, 299, 3), in [-1, 1]
    const { last, spatial } = mapsOf(new Network(weights, dims), x, dims);
    const features = tf.mean<tf.Tensor2D>(last, [1, 2]); // (N, dims)
    return spatial
      ? { features, spatial: tf.reshape<tf.Rank.R2>(spatial, [images.shape[0], SPATIAL_DIMS]) }
      : { features };
  });
}

/**
 * The map whose mean over pixels the features are, and the one that spatial features are. Comments show pixels and
 * channels.
 */
function mapsOf(
  net: Network,
  images: tf.Tensor4D,
  dims: InceptionDims,
): { readonly last: tf.Tensor4D; readonly spatial?: tf.Tensor4D } {
  let x = net.units(images, "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"); // 147x147, 64
  x = halve(x); // 73x73, 64
  if (dims === 64) return { last: x };
  x = net.units(x, "Conv2d_3b_1x1", "Conv2d_4a_3x3"); // 71x71, 192
  x = halve(x); // 35x35, 192
  if (dims === 192) return { last: x };
  x = blockA(net, "Mixed_5b", x); // 35x35, 256
  x = blockA(net, "Mixed_5c", x); // 35x35, 288
  x = blockA(net, "Mixed_5d", x); // 35x35, 288
  x = blockB(net, "Mixed_6a", x); // 17x17, 768
  for (const block of ["Mixed_6b", "Mixed_6c", "Mixed_6d"]) x = blockC(net, block, x); // 17x17, 768
  // A block begins with the channels of its first branch: these are `mixed_6/conv`.
  const { side, channels } = SPATIAL;
  const spatial = tf.slice(x, [0, 0, 0, 0], [images.shape[0], side, side, channels]); // 17x17, 7
  x = blockC(net, "Mixed_6e", x); // 17x17, 768
  if (dims === 768) return { last: x, spatial };
  x = blockD(net, "Mixed_7a", x); // 8x8, 1280
  x = blockE(net, "Mixed_7b", x, averageAround(x)); // 8x8, 2048
  x = blockE(net, "Mixed_7c", x, largestAround(x)); // 8x8, 2048: the published network has a max pool here
  return { last: x, spatial };
}

function blockA(net: Network, block: string, x: tf.Tensor4D): tf.Tensor4D {
  return net.beside(
    net.units(x, `${block}.branch1x1`),
    net.units(x, `${block}.branch5x5_1`, `${block}.branch5x5_2`),
    net.units(x, `${block}.branch3x3dbl_1`, `${block}.branch3x3dbl_2`, `${block}.branch3x3dbl_3`),
    net.units(averageAround(x), `${block}.branch_pool`),
  );
}

function blockB(net: Network, block: string, x: tf.Tensor4D): tf.Tensor4D {
  return net.beside(
    net.units(x, `${block}.branch3x3`),
    net.units(x, `${block}.branch3x3dbl_1`, `${block}.branch3x3dbl_2`, `${block}.branch3x3dbl_3`),
    halve(x),
  );
}

function blockC(net: Network, block: string, x: tf.Tensor4D): tf.Tensor4D {
  return net.beside(
    net.units(x, `${block}.branch1x1`),
    net.units(x, ...[1, 2, 3].map((i) => `${block}.branch7x7_${i}`)),
    net.units(x, ...[1, 2, 3, 4, 5].map((i) => `${block}.branch7x7dbl_${i}`)),
    net.units(averageAround(x), `${block}.branch_pool`),
  );
}

function blockD(net: Network, block: string, x: tf.Tensor4D): tf.Tensor4D {
  return net.beside(
    net.units(x, `${block}.branch3x3_1`, `${block}.branch3x3_2`),
    net.units(x, ...[1, 2, 3, 4].map((i) => `${block}.branch7x7x3_${i}`)),
    halve(x),
  );
}

function blockE(net: Network, block: string, x: tf.Tensor4D, pooled: tf.Tensor4D): tf.Tensor4D {
  const single = net.units(x, `${block}.branch3x3_1`);
  const double = net.units(x, `${block}.branch3x3dbl_1`, `${block}.branch3x3dbl_2`);
  return net.beside(
    net.units(x, `${block}.branch1x1`),
    net.units(single, `${block}.branch3x3_2a`),
    net.units(single, `${block}.branch3x3_2b`),
    net.units(double, `${block}.branch3x3dbl_3a`),
    net.units(double, `${block}.branch3x3dbl_3b`),
    net.units(pooled, `${block}.branch_pool`),
  );
}

/** Weights and sizes of the units, and how a unit is computed. */
class Network {
  private readonly weights: InceptionTensors;
  private readonly sizes: ReadonlyMap<string, Unit>;

  constructor(weights: InceptionTensors, dims: InceptionDims) {
    this.weights = weights;
    this.sizes = inceptionUnits(dims);
  }

  /** Units one after another: relu(convolution + bias). */
  units(x: tf.Tensor4D, ...names: readonly string[]): tf.Tensor4D {
    return names.reduce((x, name) => {
      const { kernel, bias } = this.weights[name] as UnitTensors;
      const { stride, pad } = this.sizes.get(name) as Unit;
      const [rows, columns] = pad;
      const y = tf.conv2d(x, kernel, stride, [
        [0, 0],
        [rows, rows],
        [columns, columns],
        [0, 0],
      ]);
      return tf.relu(tf.add<tf.Tensor4D>(y, bias));
    }, x);
  }

  /** Branches side by side, along the channels. */
  beside(...branches: tf.Tensor4D[]): tf.Tensor4D {
    return tf.concat(branches, 3);
  }
}

/** Half as many pixels each way: the largest of 3x3, every second pixel, nothing added around. */
const halve = (x: tf.Tensor4D): tf.Tensor4D => tf.maxPool(x, 3, 2, "valid");

/** The mean of the 3x3 pixels around each, as far as they are inside the image. */
const averageAround = (x: tf.Tensor4D): tf.Tensor4D => tf.avgPool(x, 3, 1, "same");

/** The largest of the 3x3 pixels around each. */
const largestAround = (x: tf.Tensor4D): tf.Tensor4D => tf.maxPool(x, 3, 1, "same");
