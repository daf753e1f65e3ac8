import { nodesOf, operationsOf, type Graph, type Node, type NodeOf } from "../../ir/graph.js";
import { FOR_UPDATES, splitUpdates } from "./split-updates.js";
import * as t from "../../passes/testing.js";

const N = 6;

/**
 * State `m`, `p` of one parameter, moved by a product: what an optimizer does, with a scalar that the graph computes.
 */
function parameter(name: string, scale: Node, shape: readonly number[]): { next: [string, Node][]; inputs: Node[] } {
  const [p, m] = [t.input(`state/p.${name}`, shape), t.input(`state/m.${name}`, shape)];
  const [a, b] = [t.input(`inputs/a.${name}`, [shape[0] ?? 0, 3]), t.input(`inputs/b.${name}`, [3, shape[1] ?? 0])];
  const gradient = t.matmul(a, b);
  const nextM = t.add(t.mul(m, t.scalar(0.9)), t.mul(gradient, scale));
  const step = t.div(nextM, t.add(t.unary("sqrt", t.unary("square", nextM)), t.scalar(1e-8)));
  return {
    next: [
      [`next/p.${name}`, t.sub(p, t.mul(step, t.scalar(0.1)))],
      [`next/m.${name}`, nextM],
    ],
    inputs: [p, m, a, b],
  };
}

function training(count: number): Graph {
  const rate = t.input("inputs/rate", [1]);
  const scale = t.unary("neg", t.reshape(rate, []));
  const parameters = Array.from({ length: count }, (_, i) => parameter(String(i), scale, [2 + (i % 2), 5]));
  return {
    name: "training",
    inputs: [...parameters.flatMap(({ inputs }) => inputs), rate] as NodeOf<"input">[],
    outputs: [
      ...parameters.flatMap(({ next }) => next.map(([name, node]) => ({ name, node }))),
      { name: "outputs/scale", node: scale },
    ],
  };
}

describe("splitUpdates()", () => {
  test("takes the elementwise tail out, and leaves gradients and scalars as outputs", () => {
    const graph = training(N);
    const split = splitUpdates(graph);
    expect(split.updates).toHaveLength(N);
    expect(operationsOf(split.graph).map(({ op }) => op.kind)).toEqual([
      "reshape",
      "unary",
      ...new Array<string>(N).fill("matmul"),
    ]);
    expect(split.graph.outputs.map(({ name }) => name)).toEqual([
      "outputs/scale",
      ...Array.from({ length: N + 1 }, (_, i) => `${FOR_UPDATES}${i}`),
    ]);
    const [first] = split.updates;
    expect(first?.state).toEqual(["p.0", "m.0"]);
    expect(first?.operands.map(({ kind, name }) => (kind === "state" ? name : kind))).toEqual(["p.0", "m.0", "result"]);
    // State is no input of the graph any more: nothing but its updates reads it.
    expect(split.graph.inputs.map(({ op }) => op.name).filter((name) => name.startsWith("state/"))).toEqual([]);
  });

  test("gives equal computations equal expressions, whatever their size", () => {
    const { updates } = splitUpdates(training(N));
    expect(new Set(updates.map(({ expression }) => JSON.stringify(expression))).size).toBe(1);
    expect(new Set(updates.map(({ operands }) => operands[0]?.size)).size).toBe(2);
  });

  test("leaves a small graph as it is", () => {
    const graph = training(1);
    expect(splitUpdates(graph)).toEqual({ graph, updates: [] });
  });

  test("keeps what something else needs: outputs, reductions, tensors of inputs and constants", () => {
    const graph = training(N);
    const [, m] = graph.outputs; // the next m.0
    const norm = t.reduce("sum", (graph.outputs[3] as { node: Node }).node, [0, 1]); // of the next m.1
    const fromInput = t.add(t.input("state/s", [2, 5]), t.input("inputs/x", [2, 5]));
    const fromConstant = t.add(t.input("state/c", [2]), t.constant([1, 2]));
    const split = splitUpdates({
      ...graph,
      outputs: [
        ...graph.outputs,
        { name: "outputs/m", node: (m as { node: Node }).node },
        { name: "outputs/norm", node: norm },
        { name: "next/s", node: fromInput },
        { name: "next/c", node: fromConstant },
        { name: "outputs/tanh", node: t.unary("tanh", (graph.outputs[5] as { node: Node }).node) }, // of the next m.2
      ],
    });
    const kept = new Set(nodesOf(split.graph));
    const states = split.updates.flatMap(({ state }) => state);
    expect(states).toEqual(expect.arrayContaining(["p.0", "p.1", "p.2", "m.3"]));
    for (const name of ["m.0", "m.1", "m.2", "s", "c"]) expect(states).not.toContain(name);
    for (const node of [(m as { node: Node }).node, norm, fromInput, fromConstant]) expect(kept.has(node)).toBe(true);
    const names = split.graph.outputs.map(({ name }) => name);
    for (const name of ["next/m.0", "next/m.1", "next/m.2", "next/s", "next/c", "outputs/m", "outputs/norm"])
      expect(names).toContain(name);
  });
});
