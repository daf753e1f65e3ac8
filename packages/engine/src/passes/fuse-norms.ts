import { isOp, sameNumbers, type Graph, type Node, type NodeOf } from "../ir/graph.js";
import { isBinary, isUnary, operand, scalarValue } from "./nodes.js";
import { firstOf, rewrite, type Rule } from "./rewrite.js";

/**
 * What `rmsNorm` and `groupNorm` are made of becomes one operation, where nothing but the result is used: without
 * gradients. It looks for what the tracer makes of these two functions, so it comes before all other passes.
 */
export function fuseNorms(graph: Graph): Graph {
  return rewrite(graph, firstOf(fuseRmsNorm, fuseGroupNorm));
}

/** x · rsqrt(mean(x²) + eps) · weight on rows */
const fuseRmsNorm: Rule = (node, { make, uses }) => {
  if (!isBinary(node, "mul")) return undefined;
  const [normed, weight] = node.inputs as [Node, Node];
  if (!isBinary(normed, "mul") || uses(normed) > 1) return undefined;
  const [x, inverse] = normed.inputs as [Node, Node];
  const C = x.shape.at(-1) ?? 0;
  if (!sameNumbers(weight.shape, [C]) || !sameNumbers(node.shape, x.shape) || uses(inverse) > 1) return undefined;
  const root = rootOf(inverse);
  if (!root || !isOp(root.power, "reduce") || root.power.op.fn !== "mean" || !root.power.op.keepDims) return undefined;
  if (!sameNumbers(root.power.op.axes, [x.shape.length - 1])) return undefined;
  const square = operand(root.power);
  if (!isUnary(square, "square") || operand(square) !== x) return undefined;
  return make({ kind: "rmsNorm", eps: root.eps }, x, weight);
};

/** (x - mean) · (rsqrt(variance + eps) · scale) + shift on (N, H, W, C) */
const fuseGroupNorm: Rule = (node, { make, uses }) => {
  if (!isBinary(node, "add") || node.shape.length !== 4) return undefined;
  const [scaled, shift] = node.inputs as [Node, Node];
  if (!isBinary(scaled, "mul") || uses(scaled) > 1) return undefined;
  const [centred, gain] = scaled.inputs as [Node, Node];
  if (!isBinary(centred, "sub") || uses(centred) > 2 || !isBinary(gain, "mul") || uses(gain) > 1) return undefined;
  const [x, mean] = centred.inputs as [Node, Node];
  const [inverse, scale] = gain.inputs as [Node, Node];
  const [, H = 0, W = 0, C = 0] = node.shape;
  if (![x.shape, centred.shape].every((shape) => sameNumbers(shape, node.shape))) return undefined;
  if (!sameNumbers(scale.shape, [C]) || !sameNumbers(shift.shape, [C]) || uses(inverse) > 1) return undefined;
  const root = rootOf(inverse);
  const sums = groupMean(mean, H * W);
  const squares = root && groupMean(root.power, H * W);
  if (!root || !sums || !squares || sums.groups !== squares.groups || sums.of !== x) return undefined;
  if (!isUnary(squares.of, "square") || operand(squares.of) !== centred) return undefined;
  return make({ kind: "groupNorm", groups: sums.groups, eps: root.eps }, x, scale, shift);
};

/** rsqrt(power + eps) */
function rootOf(node: Node): { readonly power: Node; readonly eps: number } | undefined {
  const sum = isUnary(node, "rsqrt") ? operand(node) : undefined;
  const eps = sum && isBinary(sum, "add") ? scalarValue(sum.inputs[1]) : undefined;
  return eps === undefined ? undefined : { power: operand(sum!), eps };
}

/** Sums over the pixels of `of` (N, H, W, C), times a matrix that averages over groups: (N, 1, 1, C). */
function groupMean(node: Node, pixels: number): { readonly of: Node; readonly groups: number } | undefined {
  const product = isOp(node, "reshape") ? operand(node) : undefined;
  if (!product || !isOp(product, "matmul") || product.op.transposeA || product.op.transposeB || product.op.alpha !== 1)
    return undefined;
  const [rows, matrix] = product.inputs as [Node, Node];
  const sums = isOp(rows, "reshape") ? operand(rows) : undefined;
  if (!sums || !isOp(sums, "reduce") || sums.op.fn !== "sum" || !sameNumbers(sums.op.axes, [1, 2])) return undefined;
  const [N = 0, C = 0] = product.shape;
  if (!sums.op.keepDims || !sameNumbers(sums.shape, [N, 1, 1, C]) || !sameNumbers(node.shape, sums.shape))
    return undefined;
  const groups = isOp(matrix, "constant") ? averagedGroups(matrix, pixels) : undefined;
  return groups === undefined ? undefined : { of: operand(sums), groups };
}

/** How many groups of channels a matrix (C, C) averages over, each with its pixels, if that is what it does. */
function averagedGroups({ op: { data }, shape: [C = 0] }: NodeOf<"constant">, pixels: number): number | undefined {
  const width = data.subarray(0, C).findLastIndex((value) => value !== 0) + 1;
  if (width === 0 || C % width !== 0) return undefined;
  const share = Math.fround(1 / (pixels * width));
  const group = (i: number): number => Math.floor(i / width);
  const averages = data.every((value, i) => value === (group(Math.floor(i / C)) === group(i % C) ? share : 0));
  return averages ? C / width : undefined;
}
