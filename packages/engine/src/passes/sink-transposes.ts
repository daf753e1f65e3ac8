import { isOp, sameNumbers, type Graph, type Node, type NodeOf, type Op } from "../ir/graph.js";
import { alignedShape, operand, reshaped } from "./nodes.js";
import { rewrite, type Rewriting, type Rule } from "./rewrite.js";

/**
 * Transposes move down, towards the outputs, through operations that treat all axes alike, until they meet their
 * inverse (`foldShapes` then takes both away), a matmul that transposes by itself, or a reduction that makes them
 * small.
 *
 * A transpose moves only if no more elements are transposed than before: what it moves past is not larger than what it
 * transposed, and nobody else needs it where it was. Other operands of the operation must come along: from an equal
 * transpose, or for nothing, by a reshape.
 */
export const sinkTranspose: Rule = (node, rewriting) => {
  switch (node.op.kind) {
    case "unary":
    case "cast":
    case "binary":
    case "compare":
    case "select":
      return sinkElementwise(node, rewriting);
    case "concat":
      return sinkConcat(node as NodeOf<"concat">, rewriting);
    case "slice":
      return sinkSlice(node as NodeOf<"slice">, rewriting);
    case "reduce":
      return sinkReduce(node as NodeOf<"reduce">, rewriting);
    default:
      return undefined;
  }
};

/** Moves transposes towards the outputs, where they may cancel. */
export function sinkTransposes(graph: Graph): Graph {
  return rewrite(graph, sinkTranspose);
}

type Transpose = NodeOf<"transpose">;

/** A list given by axes of a transpose's result, by axes of its operand. */
function unpermuted<T>(list: readonly T[], permutation: readonly number[]): T[] {
  const result: T[] = [];
  permutation.forEach((axis, i) => (result[axis] = list[i]!));
  return result;
}

/** Whether two axes that both have elements change places: else a transpose is a reshape, and free. */
function movesElements(shape: readonly number[], permutation: readonly number[]): boolean {
  const moved = permutation.filter((axis) => shape[axis] !== 1);
  return moved.some((axis, i) => i > 0 && axis < moved[i - 1]!);
}

function sinkElementwise(node: Node, rewriting: Rewriting): Node | undefined {
  const { make, uses } = rewriting;
  const rank = node.shape.length;
  const first = node.inputs.find(
    (input): input is Transpose => isOp(input, "transpose") && sameNumbers(input.shape, node.shape),
  );
  if (!first) return undefined;
  const { permutation } = first.op;
  const before = node.inputs.map((input): Node | undefined => {
    if (isOp(input, "transpose") && sameNumbers(input.op.permutation, permutation))
      return uses(input) <= node.inputs.filter((other) => other === input).length ? operand(input) : undefined;
    if (input.shape.length === 0) return input;
    const shape = alignedShape(input.shape, rank);
    const target = unpermuted(shape, permutation);
    return movesElements(target, permutation) ? undefined : reshaped(rewriting, input, target);
  });
  if (before.includes(undefined)) return undefined;
  return make({ kind: "transpose", permutation }, make(node.op, ...(before as Node[])));
}

function sinkConcat(node: NodeOf<"concat">, { make, uses }: Rewriting): Node | undefined {
  const [first] = node.inputs as [Node];
  if (!isOp(first, "transpose")) return undefined;
  const { permutation } = first.op;
  const sources = node.inputs.map((input) =>
    isOp(input, "transpose") && uses(input) === 1 && sameNumbers(input.op.permutation, permutation)
      ? operand(input)
      : undefined,
  );
  if (sources.includes(undefined)) return undefined;
  const beside = make({ kind: "concat", axis: permutation[node.op.axis]! }, ...(sources as Node[]));
  return make({ kind: "transpose", permutation }, beside);
}

function sinkSlice(node: NodeOf<"slice">, { make, uses }: Rewriting): Node | undefined {
  const x = operand(node);
  if (!isOp(x, "transpose") || uses(x) !== 1) return undefined;
  const { permutation } = x.op;
  const { starts, sizes, steps } = node.op;
  const part: Op = {
    kind: "slice",
    starts: unpermuted(starts, permutation),
    sizes: unpermuted(sizes, permutation),
    steps: unpermuted(steps, permutation),
  };
  return make({ kind: "transpose", permutation }, make(part, operand(x)));
}

function sinkReduce(node: NodeOf<"reduce">, rewriting: Rewriting): Node | undefined {
  const { make, uses } = rewriting;
  const x = operand(node);
  if (!isOp(x, "transpose")) return undefined;
  const { permutation } = x.op;
  const axes = node.op.axes.map((axis) => permutation[axis]!).sort((a, b) => a - b);
  // Axes that are left, by axes of the operand; then numbered among themselves.
  const left = permutation.filter((axis) => node.op.keepDims || !axes.includes(axis));
  const order = left.toSorted((a, b) => a - b);
  const reduced = make({ ...node.op, axes }, operand(x));
  const after = left.map((axis) => order.indexOf(axis));
  if (!movesElements(reduced.shape, after)) return reshaped(rewriting, reduced, node.shape);
  return uses(x) === 1 ? make({ kind: "transpose", permutation: after }, reduced) : undefined;
}
