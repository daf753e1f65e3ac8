import * as tf from "@tensorflow/tfjs-core";
import { sizeOf, type Node, type OpKind } from "../ir/graph.js";
import type { Decomposed } from "../passes/decompose-attention.js";
import * as elementwise from "./elementwise.js";
import * as moves from "./moves.js";
import type { EagerOp } from "./op.js";
import * as reductions from "./reductions.js";
import * as windows from "./windows.js";

const never = ({ op }: Node): never => {
  throw new Error(`${op.kind} is no operation that runs`);
};

const OPS: { readonly [K in Exclude<OpKind, Decomposed>]: EagerOp<K> } = {
  input: never,
  constant: never,
  unary: elementwise.unary,
  binary: elementwise.binary,
  compare: elementwise.compare,
  select: elementwise.select,
  cast: elementwise.cast,
  reduce: reductions.reduce,
  arg: reductions.arg,
  cumsum: reductions.cumsum,
  softmax: reductions.softmax,
  rmsNorm: reductions.rmsNorm,
  groupNorm: reductions.groupNorm,
  matmul: reductions.matmul,
  conv2d: windows.conv2d,
  conv2dInputGrad: windows.conv2dInputGrad,
  conv2dFilterGrad: windows.conv2dFilterGrad,
  patches: windows.patches,
  pool: windows.pool,
  poolGrad: windows.poolGrad,
  resize: windows.resize,
  resizeGrad: windows.resizeGrad,
  concat: moves.concat,
  slice: moves.slice,
  pad: moves.pad,
  broadcast: moves.broadcast,
  tile: moves.tile,
  transpose: moves.transpose,
  reshape: moves.reshape,
  gather: moves.gather,
  segmentSum: moves.segmentSum,
  barrier: (_node, [x]) => x!,
};

/**
 * Runs one operation on the tfjs backend that is set.
 *
 * @param inputs Its operands. Borrowed.
 * @returns Its result, new: the caller's to dispose.
 */
export function runNode(node: Node, inputs: readonly tf.Tensor[]): tf.Tensor {
  return tf.tidy(() => {
    // TensorFlow's kernels differ in what they make of nothing.
    if (sizeOf(node.shape) === 0) return tf.zeros([...node.shape], node.dtype);
    const result = (OPS[node.op.kind as keyof typeof OPS] as EagerOp<OpKind>)(node, inputs);
    return inputs.includes(result) ? tf.clone(result) : result;
  });
}
