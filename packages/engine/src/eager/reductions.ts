import * as tf from "@tensorflow/tfjs-core";
import type { ReduceFunction } from "../ir/graph.js";
import { kernel, sizes, type EagerOp } from "./op.js";

type Reduction = (x: tf.Tensor, axes: number[], keepDims: boolean) => tf.Tensor;

const REDUCE: Readonly<Record<ReduceFunction, Reduction>> = {
  sum: (x, axis, keepDims) => kernel("Sum", { x }, { axis, keepDims }),
  mean: (x, axis, keepDims) => kernel("Mean", { x }, { axis, keepDims }),
  max: (x, axis, keepDims) => tf.max(x, axis, keepDims),
  min: (x, axis, keepDims) => tf.min(x, axis, keepDims),
  prod: (x, axis, keepDims) => tf.prod(x, axis, keepDims),
  sumSquare: (x, axis, keepDims) => kernel("Sum", { x: tf.square(x) }, { axis, keepDims }),
  any: (x, axis, keepDims) => tf.any(x, axis, keepDims),
  all: (x, axis, keepDims) => tf.all(x, axis, keepDims),
};

export const reduce: EagerOp<"reduce"> = ({ op }, [x]) => {
  if (op.axes.length === 0) return op.fn === "sumSquare" ? tf.square(x!) : x!;
  return REDUCE[op.fn](x!, sizes(op.axes), op.keepDims);
};

export const arg: EagerOp<"arg"> = ({ op }, [x]) => (op.fn === "max" ? tf.argMax(x!, op.axis) : tf.argMin(x!, op.axis));

export const cumsum: EagerOp<"cumsum"> = ({ op: { axis, exclusive, reverse } }, [x]) =>
  kernel("Cumsum", { x: x! }, { axis, exclusive, reverse });

export const softmax: EagerOp<"softmax"> = (_node, [x]) => tf.softmax(x!);

export const rmsNorm: EagerOp<"rmsNorm"> = ({ op }, [x, weight]) =>
  tf.mul(tf.mul(x!, tf.rsqrt(tf.add(tf.mean(tf.square(x!), -1, true), op.eps))), weight!);

/** Groups of channels lie side by side: (N, H·W, G, C/G), whose axes 1 and 3 are normalized. */
export const groupNorm: EagerOp<"groupNorm"> = ({ op: { groups, eps }, shape }, [x, scale, shift]) => {
  const [N, H, W, C] = shape as readonly [number, number, number, number];
  const cut = tf.reshape(x!, [N, H * W, groups, C / groups]);
  const centred = tf.sub(cut, tf.mean(cut, [1, 3], true));
  const normed = tf.mul(centred, tf.rsqrt(tf.add(tf.mean(tf.square(centred), [1, 3], true), eps)));
  return tf.add(tf.mul(tf.reshape(normed, sizes(shape)), scale!), shift!);
};

export const matmul: EagerOp<"matmul"> = ({ op: { transposeA, transposeB, alpha } }, [a, b, c]) => {
  const rank = Math.max(a!.rank, b!.rank);
  const padded = (x: tf.Tensor): tf.Tensor =>
    x.rank === rank ? x : tf.reshape(x, [...Array.from({ length: rank - x.rank }, () => 1), ...x.shape]);
  let [x, y] = [padded(a!), padded(b!)];
  // The smallest of the three is scaled.
  const scalesX = alpha !== 1 && x.size <= y.size;
  if (scalesX) x = tf.mul(x, alpha);
  else if (alpha !== 1) y = tf.mul(y, alpha);
  const product = kernel("BatchMatMul", { a: x, b: y }, { transposeA, transposeB });
  return c === undefined ? product : tf.add(product, c);
};
