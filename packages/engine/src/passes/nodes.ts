import {
  allocate,
  isOp,
  sameNumbers,
  type BinaryFunction,
  type DType,
  type Node,
  type NodeOf,
  type Op,
  type Shape,
  type TensorData,
  type UnaryFunction,
} from "../ir/graph.js";
import type { Rewriting } from "./rewrite.js";

/** The operation that is one number, of no axes. */
export function scalarOp(value: number, dtype: DType): Op {
  const data = allocate(dtype, 1);
  data[0] = value;
  return { kind: "constant", dtype, shape: [], data };
}

/** The number that a constant of no axes holds; nothing for any other node. */
export function scalarValue(node: Node | undefined): number | undefined {
  return node !== undefined && isOp(node, "constant") && node.shape.length === 0 ? node.op.data[0] : undefined;
}

/** The number that every element is, where that is known from how the node is made: a scalar, or one broadcast. */
export function filledValue(node: Node): number | undefined {
  return scalarValue(isOp(node, "broadcast") ? node.inputs[0] : node);
}

/** Whether all elements are the same number (NaN is the same as NaN, -0 is not 0); false for none at all. */
export function isUniform(data: TensorData): boolean {
  const [first] = data;
  return data.length > 0 && data.every((value) => Object.is(value, first));
}

/** The shape of `rank` axes that broadcasts as `shape` does. */
export function alignedShape(shape: Shape, rank: number): Shape {
  return [...new Array<number>(rank - shape.length).fill(1), ...shape];
}

/** The node with another shape: itself, if it has that shape. */
export function reshaped({ make }: Rewriting, x: Node, shape: Shape): Node {
  return sameNumbers(x.shape, shape) ? x : make({ kind: "reshape", shape }, x);
}

/** A node that is one function of two arguments. */
export type BinaryNode = NodeOf<"binary">;

export function isBinary<F extends BinaryFunction>(node: Node, fn: F): node is BinaryNode & { readonly op: { fn: F } } {
  return isOp(node, "binary") && node.op.fn === fn;
}

export function isUnary<F extends UnaryFunction>(
  node: Node,
  fn: F,
): node is NodeOf<"unary"> & { readonly op: { fn: F } } {
  return isOp(node, "unary") && node.op.fn === fn;
}

/** The first operand; the only one of most operations. */
export function operand(node: Node): Node {
  return node.inputs[0]!;
}
