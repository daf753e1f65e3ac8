import { isOp, sizeOf, type Graph, type Node } from "../ir/graph.js";
import { evaluateNode } from "../ir/interpret.js";
import { flopsOf } from "../ir/print.js";
import { rewrite, type Rule } from "./rewrite.js";

/** Results of up to this many elements are computed. Larger ones, if they are not larger than the operands. */
const SMALL_ELEMENTS = 2 ** 16;
/** What folding one node may cost: elements that are read and written, and multiplications. */
const READ_ELEMENTS = 2 ** 22;
const FLOPS = 2 ** 24;

/**
 * A node whose operands are all constants becomes a constant, computed in float32 by the interpreter.
 *
 * Not if that makes much of little: a broadcast or tiled constant stays one.
 */
export const foldConstant: Rule = (node, { make }) => {
  const { op, inputs, dtype, shape } = node;
  if (inputs.length === 0 || !inputs.every((input) => isOp(input, "constant"))) return undefined;
  if (op.kind === "reshape") return make({ kind: "constant", dtype, shape, data: inputs[0]!.op.data });
  if (!isWorthFolding(node)) return undefined;
  const { data } = evaluateNode(
    op,
    inputs.map(({ op }) => op),
  );
  return make({ kind: "constant", dtype, shape, data });
};

function isWorthFolding(node: Node): boolean {
  const size = sizeOf(node.shape);
  const sizes = node.inputs.map((input) => sizeOf(input.shape));
  const largest = Math.max(...sizes);
  if (node.op.kind === "broadcast" || (node.op.kind === "tile" && size > largest)) return false;
  if (size > Math.max(SMALL_ELEMENTS, largest)) return false;
  return size + sizes.reduce((sum, n) => sum + n, 0) <= READ_ELEMENTS && flopsOf(node) <= FLOPS;
}

/** Computes what depends on constants alone. */
export function foldConstants(graph: Graph): Graph {
  return rewrite(graph, foldConstant);
}
