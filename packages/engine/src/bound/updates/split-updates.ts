import { isOp, nodesOf, sameNumbers, sizeOf, type Graph, type Node } from "../../ir/graph.js";
import { INPUTS, NEXT_STATE, STATE } from "../../graph-names.js";
import { expressionOf, isFusible, type Expression } from "./expression.js";

/** One tensor that an update reads: state as it was before the run, or a result of the rest of the graph. */
export type UpdateOperand =
  | { readonly kind: "state"; readonly name: string; readonly size: number }
  | { readonly kind: "result"; readonly name: string; readonly size: number };

/**
 * Next values of some state tensors, all of one size, as one elementwise function of tensors of that size and of
 * scalars.
 */
export interface Update {
  readonly expression: Expression;
  /** What the expression's tensors are, in its order. */
  readonly operands: readonly UpdateOperand[];
  /** Names of the graph's outputs that hold the expression's scalars, in its order. */
  readonly scalars: readonly string[];
  /** Names of the state that its results are the next values of, in its order. */
  readonly state: readonly string[];
}

/** A graph in two parts: what is run as a graph, and what follows it, element by element. */
export interface SplitGraph {
  readonly graph: Graph;
  readonly updates: readonly Update[];
}

/** Prefix of outputs that the graph has for its updates alone. */
export const FOR_UPDATES = "update/";

/** Updates of fewer operations than this, over all tensors, are left in the graph. */
const MIN_OPERATIONS = 32;

/**
 * Takes the elementwise tail of a training step out of its graph: what an optimizer does to each parameter once its
 * gradient is there. A graph's runtime passes over memory once for each operation; here one pass reads everything that
 * belongs to an element and writes everything that it becomes.
 *
 * An operation goes along if it is elementwise, its operands are scalars or tensors of its own shape, and all that use
 * it go along or it is itself a next state. The numbers stay the same to the last bit: the same operations, in the same
 * precision.
 */
export function splitUpdates(graph: Graph): SplitGraph {
  const nodes = nodesOf(graph);
  const states = new Map<Node, string[]>();
  const pinned = new Set<Node>(); // results that something else than a state is
  for (const { name, node } of graph.outputs) {
    if (name.startsWith(NEXT_STATE)) states.set(node, [...(states.get(node) ?? []), name.slice(NEXT_STATE.length)]);
    else pinned.add(node);
  }
  const users = new Map<Node, Node[]>();
  for (const node of nodes) for (const input of node.inputs) users.set(input, [...(users.get(input) ?? []), node]);

  const taken = new Set<Node>();
  for (const node of [...nodes].reverse()) {
    const isState = states.has(node);
    const of = users.get(node) ?? [];
    if (pinned.has(node) || sizeOf(node.shape) < 2 || !isFusible(node) || (of.length === 0 && !isState)) continue;
    const goAlong = of.every((user) => taken.has(user) && sameNumbers(user.shape, node.shape));
    if (goAlong && node.inputs.every((input) => isOperand(input, node))) taken.add(node);
  }
  if (taken.size < MIN_OPERATIONS) return { graph, updates: [] };

  const results = new Map<Node, string>();
  const nameOf = (node: Node): string => {
    const name = results.get(node) ?? `${FOR_UPDATES}${results.size}`;
    results.set(node, name);
    return name;
  };
  const updates = componentsOf(taken).map((members): Update => {
    const order = graph.outputs.flatMap(({ name, node }) =>
      members.has(node) && name.startsWith(NEXT_STATE) ? [{ node, state: name.slice(NEXT_STATE.length) }] : [],
    );
    const { expression, tensors, scalars } = expressionOf(
      order.map(({ node }) => node),
      members,
    );
    const operands = tensors.map((node): UpdateOperand => {
      const size = sizeOf(node.shape);
      return isOp(node, "input")
        ? { kind: "state", name: node.op.name.slice(STATE.length), size }
        : { kind: "result", name: nameOf(node), size };
    });
    return { expression, operands, scalars: scalars.map(nameOf), state: order.map(({ state }) => state) };
  });

  const outputs = [
    ...graph.outputs.filter(({ node, name }) => !(taken.has(node) && name.startsWith(NEXT_STATE))),
    ...[...results].map(([node, name]) => ({ name, node })),
  ];
  const rest = { ...graph, outputs };
  const reached = new Set(nodesOf(rest));
  const inputs = graph.inputs.filter((node) => !node.op.name.startsWith(STATE) || reached.has(node));
  return { graph: { ...rest, inputs }, updates };
}

/**
 * Whether a node may stand as an operand of an elementwise node: a scalar, or a tensor of its shape in memory of ours.
 */
function isOperand(input: Node, user: Node): boolean {
  if (input.dtype !== "float32") return false;
  if (sizeOf(input.shape) === 1) return true;
  if (!sameNumbers(input.shape, user.shape)) return false;
  return !isOp(input, "constant") && !(isOp(input, "input") && input.op.name.startsWith(INPUTS));
}

/** Nodes that share operands or results belong together: a parameter's value, moments and average. */
function componentsOf(taken: ReadonlySet<Node>): Set<Node>[] {
  const parent = new Map<Node, Node>();
  const find = (node: Node): Node => {
    let root = node;
    for (let next = parent.get(root); next !== undefined; next = parent.get(root)) root = next;
    if (root !== node) parent.set(node, root);
    return root;
  };
  for (const node of taken)
    for (const input of node.inputs) {
      if (sizeOf(input.shape) === 1) continue;
      const [a, b] = [find(node), find(input)];
      if (a !== b) parent.set(a, b);
    }
  const groups = new Map<Node, Set<Node>>();
  for (const node of [...taken].reverse()) {
    const root = find(node);
    const group = groups.get(root) ?? new Set<Node>();
    groups.set(root, group.add(node));
  }
  return [...groups.values()];
}
