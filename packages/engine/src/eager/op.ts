import * as tf from "@tensorflow/tfjs-core";
import type { Node, OpKind, NodeOf } from "../ir/graph.js";

/**
 * How one operation of the graph runs on tfjs.
 *
 * @param inputs Its operands. Borrowed.
 * @returns A new tensor, or an operand itself. What else it makes, the `tf.tidy` around it frees.
 */
export type EagerOp<K extends OpKind> = (node: NodeOf<K>, inputs: readonly tf.Tensor[]) => tf.Tensor;

/** Calls a kernel of the backend that is set, by its name in tfjs. */
export function kernel(
  name: string,
  inputs: Readonly<Record<string, tf.Tensor>>,
  attrs: Readonly<Record<string, unknown>> = {},
): tf.Tensor {
  return tf.engine().runKernel(name, inputs, attrs as tf.NamedAttrMap);
}

/** The n-th operand. */
export const operand = (node: Node, n: number): Node => node.inputs[n] as Node;

/** Sizes of a shape that `tf` may write to. */
export const sizes = (shape: readonly number[]): number[] => [...shape];
