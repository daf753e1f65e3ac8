import {
  allocate,
  nodesOf,
  operationsOf,
  sizeOf,
  type BinaryFunction,
  type DType,
  type Graph,
  type Node,
  type NodeOf,
  type ReduceFunction,
  type Shape,
  type UnaryFunction,
} from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { interpret } from "../ir/interpret.js";
import { printGraph } from "../ir/print.js";

// What the tests of passes share: short ways to write graphs, and to say that a pass keeps their meaning.

export function input(name: string, shape: Shape, dtype: DType = "float32"): Node {
  return makeNode({ kind: "input", name, dtype, shape });
}

export function constant(values: readonly number[], shape: Shape = [values.length], dtype: DType = "float32"): Node {
  const data = allocate(dtype, values.length);
  data.set(values);
  return makeNode({ kind: "constant", dtype, shape, data });
}

export const scalar = (value: number, dtype: DType = "float32"): Node => constant([value], [], dtype);
/** What the tracer makes of `tf.fill`, `zerosLike`, `onesLike`. */
export const filled = (value: number, shape: Shape, dtype: DType = "float32"): Node =>
  broadcast(scalar(value, dtype), shape);

export const unary = (fn: UnaryFunction, x: Node): Node => makeNode({ kind: "unary", fn }, [x]);
export const binary = (fn: BinaryFunction, a: Node, b: Node): Node => makeNode({ kind: "binary", fn }, [a, b]);
export const add = (a: Node, b: Node): Node => binary("add", a, b);
export const sub = (a: Node, b: Node): Node => binary("sub", a, b);
export const mul = (a: Node, b: Node): Node => binary("mul", a, b);
export const div = (a: Node, b: Node): Node => binary("div", a, b);
export const less = (a: Node, b: Node): Node => makeNode({ kind: "compare", fn: "less" }, [a, b]);
export const select = (condition: Node, a: Node, b: Node): Node => makeNode({ kind: "select" }, [condition, a, b]);
export const cast = (x: Node, dtype: DType): Node => makeNode({ kind: "cast", dtype }, [x]);
export const reshape = (x: Node, shape: Shape): Node => makeNode({ kind: "reshape", shape }, [x]);
export const broadcast = (x: Node, shape: Shape): Node => makeNode({ kind: "broadcast", shape }, [x]);
export const tile = (x: Node, repeats: Shape): Node => makeNode({ kind: "tile", repeats }, [x]);
export const concat = (axis: number, ...parts: readonly Node[]): Node => makeNode({ kind: "concat", axis }, parts);
export const transpose = (x: Node, permutation: readonly number[]): Node =>
  makeNode({ kind: "transpose", permutation }, [x]);
export const slice = (x: Node, starts: Shape, sizes: Shape, steps: readonly number[] = sizes.map(() => 1)): Node =>
  makeNode({ kind: "slice", starts, sizes, steps }, [x]);
export const pad = (x: Node, before: Shape, after: Shape, value = 0): Node =>
  makeNode({ kind: "pad", before, after, value }, [x]);
export const reduce = (fn: ReduceFunction, x: Node, axes: readonly number[], keepDims = false): Node =>
  makeNode({ kind: "reduce", fn, axes, keepDims }, [x]);
export const matmul = (
  a: Node,
  b: Node,
  {
    transposeA = false,
    transposeB = false,
    alpha = 1,
  }: { transposeA?: boolean; transposeB?: boolean; alpha?: number } = {},
): Node => makeNode({ kind: "matmul", transposeA, transposeB, alpha }, [a, b]);

/** The graph with these outputs and all inputs they reach. */
export function graphOf(...outputs: readonly Node[]): Graph {
  const graph: Graph = { name: "test", inputs: [], outputs: outputs.map((node, i) => ({ name: `y${i}`, node })) };
  return { ...graph, inputs: nodesOf(graph).filter((node): node is NodeOf<"input"> => node.op.kind === "input") };
}

/** What a graph does, by name and in alphabetical order: `["add", "reduce.sum"]`. Inputs and constants do not count. */
export function operations(graph: Graph): string[] {
  return operationsOf(graph)
    .map(({ op }) =>
      op.kind === "unary" || op.kind === "binary" || op.kind === "compare"
        ? op.fn
        : "fn" in op
          ? `${op.kind}.${op.fn}`
          : op.kind,
    )
    .sort();
}

/**
 * Values for the inputs: floats in [-1.5, -0.5] and [0.5, 1.5], small whole numbers, or 0 and 1. The same every time.
 */
export function feedsOf(graph: Graph): Record<string, Float64Array> {
  let state = 1;
  const draw = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const value = (dtype: DType): number => {
    if (dtype === "bool") return Number(draw() < 0.5);
    if (dtype === "int32") return Math.floor(draw() * 7) - 3;
    return (draw() < 0.5 ? -1 : 1) * (0.5 + draw());
  };
  return Object.fromEntries(
    graph.inputs.map(({ op }) => [op.name, Float64Array.from({ length: sizeOf(op.shape) }, () => value(op.dtype))]),
  );
}

/**
 * Fails unless two graphs compute the same in float64, up to what a last place of float32 constants makes of it.
 *
 * @param tolerance Relative to the largest element of an output.
 */
export function expectSameMeaning(before: Graph, after: Graph, tolerance = 1e-12): void {
  const feeds = feedsOf(before);
  const [expected, actual] = [interpret(before, feeds), interpret(after, feeds)];
  for (const [name, values] of Object.entries(expected)) {
    const scale = values.reduce((max, value) => (Number.isFinite(value) ? Math.max(max, Math.abs(value)) : max), 1);
    values.forEach((value, i) => {
      const found = actual[name]![i]!;
      const same = Object.is(value, found) || value === found || Math.abs(value - found) <= tolerance * scale;
      if (!same)
        throw new Error(`${name}[${i}] is ${found}, expected ${value}\n${printGraph(before)}\n${printGraph(after)}`);
    });
  }
}

/** Fails unless a pass turns a graph into one of the same meaning with just these operations. */
export function expectRewritten(
  graph: Graph,
  pass: (graph: Graph) => Graph,
  expected: { readonly from: readonly string[]; readonly to: readonly string[] },
  tolerance?: number,
): Graph {
  expect(operations(graph)).toEqual([...expected.from].sort());
  const result = pass(graph);
  expect(operations(result)).toEqual([...expected.to].sort());
  expect(result.outputs.map(({ name }) => name)).toEqual(graph.outputs.map(({ name }) => name));
  expectSameMeaning(graph, result, tolerance);
  return result;
}

/** Fails unless a pass leaves a graph just as it was. */
export function expectUntouched(graph: Graph, pass: (graph: Graph) => Graph): void {
  expect(pass(graph)).toBe(graph);
}
