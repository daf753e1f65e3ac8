import { isOp, sameNumbers, type Graph, type Node, type NodeOf } from "../ir/graph.js";
import { broadcastShapes } from "../ir/infer.js";
import { foldCuts } from "./fold-cuts.js";
import { alignedShape, operand, reshaped } from "./nodes.js";
import { firstOf, rewrite, type Rewriting, type Rule } from "./rewrite.js";

/**
 * Reshapes, transposes and reductions that undo or repeat each other become one or none; a transpose that a matmul can
 * do on the way becomes its flag; a transpose that only moves axes of size 1 is a reshape, which is free.
 */
const foldMoves: Rule = (node, rewriting) => {
  switch (node.op.kind) {
    case "reshape":
      return foldReshape(node as NodeOf<"reshape">, rewriting);
    case "transpose":
      return foldTranspose(node as NodeOf<"transpose">, rewriting);
    case "matmul":
      return foldMatmul(node as NodeOf<"matmul">, rewriting);
    case "reduce":
      return foldReduce(node as NodeOf<"reduce">, rewriting);
    case "binary":
    case "compare":
    case "select":
      return foldLeadingOnes(node, rewriting);
    default:
      return undefined;
  }
};

/** All rules about operations that move elements: those of this file, and those about slices, pads and concats. */
export const foldShape: Rule = firstOf(foldMoves, foldCuts);

/** Operations that only move elements become as few as they can. */
export function foldShapes(graph: Graph): Graph {
  return rewrite(graph, foldShape);
}

function foldReshape(node: NodeOf<"reshape">, { make, uses }: Rewriting): Node | undefined {
  const x = operand(node);
  if (sameNumbers(x.shape, node.shape)) return x;
  if (isOp(x, "reshape")) return make(node.op, operand(x));
  if (isOp(x, "reduce") && uses(x) === 1) {
    // Axes of size 1, taken away or left out: the reduction can do that.
    const flipped = { ...x.op, keepDims: !x.op.keepDims };
    const kept = operand(x).shape.map((size, axis) => (x.op.axes.includes(axis) ? 1 : size));
    const shape = flipped.keepDims ? kept : kept.filter((_, axis) => !x.op.axes.includes(axis));
    if (sameNumbers(shape, node.shape)) return make(flipped, operand(x));
  }
  return undefined;
}

function foldTranspose(node: NodeOf<"transpose">, rewriting: Rewriting): Node | undefined {
  const { make, uses } = rewriting;
  const { permutation } = node.op;
  const x = operand(node);
  const moved = permutation.filter((axis) => x.shape[axis] !== 1);
  if (moved.every((axis, i) => i === 0 || axis > moved[i - 1]!)) return reshaped(rewriting, x, node.shape);
  if (isOp(x, "transpose"))
    return make({ kind: "transpose", permutation: permutation.map((axis) => x.op.permutation[axis]!) }, operand(x));
  // (a b)' = b' a'
  if (isOp(x, "matmul") && x.inputs.length === 2 && uses(x) === 1 && swapsLastAxes(permutation)) {
    const { transposeA, transposeB, alpha } = x.op;
    const [a, b] = x.inputs as [Node, Node];
    return make({ kind: "matmul", transposeA: !transposeB, transposeB: !transposeA, alpha }, b, a);
  }
  return undefined;
}

/** Whether a permutation swaps the last two axes and nothing else. */
function swapsLastAxes(permutation: readonly number[]): boolean {
  const rank = permutation.length;
  const swap = [...permutation.keys()].map((axis) => (axis < rank - 2 ? axis : 2 * rank - 3 - axis));
  return rank >= 2 && sameNumbers(permutation, swap);
}

function foldMatmul(node: NodeOf<"matmul">, { make }: Rewriting): Node | undefined {
  const [a, b, ...addend] = node.inputs as [Node, Node, ...Node[]];
  const { op } = node;
  if (isOp(a, "transpose") && swapsLastAxes(a.op.permutation))
    return make({ ...op, transposeA: !op.transposeA }, operand(a), b, ...addend);
  if (isOp(b, "transpose") && swapsLastAxes(b.op.permutation))
    return make({ ...op, transposeB: !op.transposeB }, a, operand(b), ...addend);
  return undefined;
}

function foldReduce(node: NodeOf<"reduce">, rewriting: Rewriting): Node | undefined {
  const { make, uses } = rewriting;
  const { fn, axes, keepDims } = node.op;
  const x = operand(node);
  if (axes.every((axis) => x.shape[axis] === 1)) {
    const element = fn === "sumSquare" ? make({ kind: "unary", fn: "square" }, x) : x;
    return reshaped(rewriting, element, node.shape);
  }
  if (!isOp(x, "reduce") || uses(x) !== 1 || x.op.keepDims !== keepDims) return undefined;
  const squares = fn === "sum" && x.op.fn === "sumSquare";
  if (!squares && (fn !== x.op.fn || fn === "sumSquare")) return undefined;
  // The axes of this reduction as axes of what the first one reduced.
  const left = operand(x).shape.flatMap((_, axis) => (!keepDims && x.op.axes.includes(axis) ? [] : [axis]));
  const all = new Set([...x.op.axes, ...axes.map((axis) => left[axis]!)]);
  return make({ ...x.op, axes: [...all].sort((a, b) => a - b) }, operand(x));
}

/** An elementwise operation broadcasts by itself: its operands need no axes of size 1 in front. */
function foldLeadingOnes(node: Node, { make }: Rewriting): Node | undefined {
  for (const [i, input] of node.inputs.entries()) {
    if (!isOp(input, "reshape")) continue;
    const x = operand(input);
    const rank = input.shape.length;
    if (x.shape.length >= rank || !sameNumbers(alignedShape(x.shape, rank), input.shape)) continue;
    const operands = node.inputs.with(i, x);
    const shape = operands.map((other) => other.shape).reduce(broadcastShapes);
    if (sameNumbers(shape, node.shape)) return make(node.op, ...operands);
  }
  return undefined;
}
