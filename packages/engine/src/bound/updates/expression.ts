import { sizeOf, type BinaryFunction, type Node, type UnaryFunction } from "../../ir/graph.js";

/** Elementwise functions that WebAssembly has as one instruction, rounding as everybody does. */
const UNARY = ["neg", "abs", "sqrt", "square"] as const satisfies readonly UnaryFunction[];
const BINARY = ["add", "sub", "mul", "div"] as const satisfies readonly BinaryFunction[];
export type FusedFunction = (typeof UNARY)[number] | (typeof BINARY)[number];

/** Where an operand comes from: the tensors, the scalars, a number known now, or the result of an earlier step. */
export type Operand =
  | { readonly from: "tensor"; readonly index: number }
  | { readonly from: "scalar"; readonly index: number }
  | { readonly from: "constant"; readonly value: number }
  | { readonly from: "step"; readonly index: number };

/** An elementwise function of some tensors of one size and some scalars, with several results. */
export interface Expression {
  readonly tensors: number;
  readonly scalars: number;
  /** In an order in which they can be computed. */
  readonly steps: readonly { readonly fn: FusedFunction; readonly operands: readonly Operand[] }[];
  /** Which steps are results. */
  readonly results: readonly number[];
}

/** Whether a node is one of the functions above, of float32. */
export function isFusible(node: Node): boolean {
  if (node.dtype !== "float32") return false;
  const { op } = node;
  if (op.kind === "unary") return (UNARY as readonly string[]).includes(op.fn);
  return op.kind === "binary" && (BINARY as readonly string[]).includes(op.fn);
}

/**
 * Elementwise nodes as an expression. Equal computations give equal expressions, whatever tensors they are about.
 *
 * @param results The nodes whose values are wanted, in order.
 * @param members The nodes that belong to the expression; whatever else they use is an operand.
 * @returns The expression, and the operands it numbers.
 */
export function expressionOf(
  results: readonly Node[],
  members: ReadonlySet<Node>,
): { readonly expression: Expression; readonly tensors: readonly Node[]; readonly scalars: readonly Node[] } {
  const [tensors, scalars]: [Node[], Node[]] = [[], []];
  const steps: { fn: FusedFunction; operands: Operand[] }[] = [];
  const numbers = new Map<Node, number>();
  const indexIn = (list: Node[], node: Node): number =>
    list.includes(node) ? list.indexOf(node) : list.push(node) - 1;
  const operandOf = (node: Node): Operand => {
    if (members.has(node)) return { from: "step", index: visit(node) };
    if (sizeOf(node.shape) > 1) return { from: "tensor", index: indexIn(tensors, node) };
    if (node.op.kind === "constant") return { from: "constant", value: node.op.data[0] ?? NaN };
    return { from: "scalar", index: indexIn(scalars, node) };
  };
  const visit = (node: Node): number => {
    const known = numbers.get(node);
    if (known !== undefined) return known;
    const operands = node.inputs.map(operandOf);
    const number = steps.push({ fn: (node.op as { fn: FusedFunction }).fn, operands }) - 1;
    numbers.set(node, number);
    return number;
  };
  const wanted = results.map(visit);
  return {
    expression: { tensors: tensors.length, scalars: scalars.length, steps, results: wanted },
    tensors,
    scalars,
  };
}
