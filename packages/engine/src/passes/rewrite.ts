import { nodesOf, sameNumbers, type Graph, type Node, type Op } from "../ir/graph.js";
import { formatType, makeNode } from "../ir/infer.js";

/** What a rule may do besides looking at nodes. */
export interface Rewriting {
  /**
   * Makes a node in the scope of the node being replaced, and applies the rule to it: the result is as simple as can
   * be.
   */
  readonly make: (op: Op, ...inputs: readonly Node[]) => Node;
  /** How often a node is used in the graph as rewritten so far, outputs included. For estimates of cost alone. */
  readonly uses: (node: Node) => number;
}

/**
 * What to put in a node's place, if anything: a node of the same shape and dtype, made with `make` or already there.
 * The operands of `node` are as the rule left them.
 */
export type Rule = (node: Node, rewriting: Rewriting) => Node | undefined;

/** Rules may replace what they made themselves; a chain longer than this one runs in circles and is cut. */
const DEPTH = 64;

/**
 * Applies a rule to every node, operands before their users, and to every node the rule makes.
 *
 * Nodes that no replacement reaches are shared with the given graph; if nothing is replaced at all, the result is the
 * given graph itself. What is no longer used is no longer reached from the outputs: dead nodes need no pass of their
 * own.
 *
 * @throws {TypeError} If a rule changes a node's type.
 */
export function rewrite(graph: Graph, rule: Rule): Graph {
  const counts = new UseCounts(graph);
  let scope = "";
  let depth = 0;

  const release = (node: Node): void => {
    const dead = [node];
    for (let next = dead.pop(); next; next = dead.pop()) if (counts.add(next, -1) === 0) dead.push(...next.inputs);
  };
  const make: Rewriting["make"] = (op, ...inputs) => {
    const node = makeNode(op, inputs, scope);
    for (const input of inputs) counts.add(input, 1);
    return depth < DEPTH ? apply(node) : node;
  };
  const rewriting: Rewriting = { make, uses: (node) => counts.of(node) };
  const apply = (node: Node): Node => {
    depth++;
    const result = rule(node, rewriting) ?? node;
    depth--;
    if (result === node) return node;
    checkType(node, result);
    counts.add(result, counts.of(node));
    for (const input of node.inputs) release(input);
    return result;
  };

  return replaceNodes(graph, (node, source) => {
    if (node !== source) counts.add(node, counts.of(source));
    scope = source.scope;
    return apply(node);
  });
}

/** The first of several rules that has a replacement. */
export function firstOf(...rules: readonly Rule[]): Rule {
  return (node, rewriting) => {
    for (const rule of rules) {
      const result = rule(node, rewriting);
      if (result !== undefined && result !== node) return result;
    }
    return undefined;
  };
}

/**
 * Replaces nodes, operands before their users.
 *
 * @param replace Gets each node with its operands already replaced, and the node as it was in `graph`.
 * @returns The given graph if every node was replaced by itself.
 */
export function replaceNodes(graph: Graph, replace: (node: Node, source: Node) => Node): Graph {
  const results = new Map<Node, Node>();
  for (const source of orderedNodes(graph)) {
    let node = source;
    // Most graphs change in few places: what has no replacement yet has operands without one.
    if (results.size > 0 && source.inputs.some((input) => results.has(input))) {
      const inputs = source.inputs.map((input) => results.get(input) ?? input);
      node = makeNode(source.op, inputs, source.scope);
    }
    const result = replace(node, source);
    if (result !== source) results.set(source, result);
  }
  if (results.size === 0) return graph;
  return { ...graph, outputs: graph.outputs.map(({ name, node }) => ({ name, node: results.get(node) ?? node })) };
}

const orders = new WeakMap<Graph, readonly Node[]>();

/** `nodesOf`, remembered: graphs do not change, and every pass asks. */
export function orderedNodes(graph: Graph): readonly Node[] {
  let nodes = orders.get(graph);
  if (!nodes) orders.set(graph, (nodes = nodesOf(graph)));
  return nodes;
}

/** How often each node of a graph is used, by other nodes and as an output; nodes made later begin with zero. */
export class UseCounts {
  /** By id: graphs are large, and passes count all the time. */
  private counts: Int32Array;
  private readonly first: number;

  constructor(graph: Graph) {
    const nodes = orderedNodes(graph);
    this.first = nodes[0]?.id ?? 0;
    this.counts = new Int32Array((nodes.at(-1)?.id ?? 0) - this.first + 1 + nodes.length);
    for (const { inputs } of nodes) for (const input of inputs) this.add(input, 1);
    for (const { node } of graph.outputs) this.add(node, 1);
  }

  of({ id }: Node): number {
    return this.counts[id - this.first] ?? 0;
  }

  /** Changes a count and returns what it is then. */
  add({ id }: Node, times: number): number {
    const at = id - this.first;
    if (at >= this.counts.length) {
      const larger = new Int32Array(2 * at);
      larger.set(this.counts);
      this.counts = larger;
    }
    return (this.counts[at]! += times);
  }
}

function checkType(node: Node, result: Node): void {
  if (result.dtype === node.dtype && sameNumbers(result.shape, node.shape)) return;
  throw new TypeError(`Rewriting "${node.op.kind}" changed ${formatType(node)} into ${formatType(result)}`);
}
