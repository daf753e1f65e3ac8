import { isOp, operationsOf, sizeOf, usersOf, type Graph, type Node, type NodeOf, type Shape } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { interpret } from "../ir/interpret.js";
import { decomposeAttention, KEPT_SCORES } from "./decompose-attention.js";
import { optimize } from "./index.js";

const input = (name: string, shape: Shape): NodeOf<"input"> =>
  makeNode({ kind: "input", name, dtype: "float32", shape }) as NodeOf<"input">;

/** Attention and its gradients: N heads, Q queries, K keys of D and values of E columns. */
function graphOf([N, Q, K, D, E]: readonly [number, number, number, number, number], mask?: Shape): Graph {
  const [q, k, v, dy] = [input("q", [N, Q, D]), input("k", [N, K, D]), input("v", [N, K, E]), input("dy", [N, Q, E])];
  const masks = mask ? [input("mask", mask)] : [];
  const y = makeNode({ kind: "attention", scale: 0.25 }, [q, k, v, ...masks], "layer");
  const gradients = (["q", "k", "v"] as const).map((of) => ({
    name: `d${of}`,
    node: makeNode({ kind: "attentionGrad", of, scale: 0.25 }, [q, k, v, y, dy, ...masks], "layer"),
  }));
  return { name: "attention", inputs: [q, k, v, dy, ...masks], outputs: [{ name: "y", node: y }, ...gradients] };
}

const feedsOf = ({ inputs }: Graph): Record<string, Float64Array> =>
  Object.fromEntries(
    inputs.map(({ op }, n) => [
      op.name,
      Float64Array.from({ length: sizeOf(op.shape) }, (_, i) => Math.sin(7 * i + n)),
    ]),
  );

/** Elements of the largest tensor that has a score for each of some queries and keys. */
const largestScores = (graph: Graph, keys: number): number =>
  Math.max(
    ...operationsOf(graph)
      .filter(({ shape, op }) => shape.at(-1) === keys && op.kind === "softmax")
      .map(({ shape }) => sizeOf(shape)),
  );

describe("decomposeAttention()", () => {
  const sizes = [4, 6, 5, 3, 2] as const;
  // 120 scores: at once; heads in parts; one head at a time; its queries too, evenly and not; one query at a time.
  test.each([Infinity, 120, 119, 60, 30, 29, 20, 12, 5])("computes the same with at most %d scores", (limit) => {
    for (const mask of [undefined, [1, 1, 5], [6, 5], [4, 1, 5], [4, 6, 5]]) {
      const graph = graphOf(sizes, mask);
      const feeds = feedsOf(graph);
      const expected = interpret(graph, feeds);
      const parts = decomposeAttention(graph, limit);
      expect(operationsOf(parts).some(({ op }) => op.kind.startsWith("attention"))).toBe(false);
      expect(largestScores(parts, 5)).toBeLessThanOrEqual(limit);
      // The passes that follow see barriers, and change nothing either.
      for (const found of [parts, optimize(parts, "onnx").graph].map((graph) => interpret(graph, feeds)))
        for (const [name, values] of Object.entries(expected))
          values.forEach((value, i) => expect(found[name]![i]!).toBeCloseTo(value, 12));
    }
  });

  test("takes no less than one query with all its keys", () => {
    expect(largestScores(decomposeAttention(graphOf(sizes), 1), 5)).toBe(5);
  });

  test("computes what is small once, for both directions, without barriers", () => {
    const nodes = operationsOf(decomposeAttention(graphOf(sizes)));
    expect(nodes.filter(({ op }) => op.kind === "softmax")).toHaveLength(1);
    expect(nodes.some(({ op }) => op.kind === "barrier")).toBe(false);
    expect(nodes.every(({ scope }) => scope === "layer")).toBe(true);
  });

  test("keeps no scores of what is large until the gradients, nor of one part beside the next", () => {
    const limit = 20; // 4 heads of 6 queries: two parts each
    const graph = optimize(decomposeAttention(graphOf(sizes), limit), "onnx").graph;
    const nodes = operationsOf(graph);
    const weights = nodes.filter((node): node is NodeOf<"softmax"> => isOp(node, "softmax"));
    expect(weights).toHaveLength(16); // forward, and again
    const users = usersOf(nodes);
    // Half of them go into a product with the values alone; the others begin with a barrier behind dy.
    expect(weights.filter((node) => users.get(node)!.length === 1)).toHaveLength(8);
    const dy = graph.inputs.find(({ op }) => op.name === "dy")!;
    const again = weights.filter((node) => users.get(node)!.length > 1);
    for (const node of again) expect(reaches(node, dy)).toBe(true);
    // Each is computed after the one before it.
    again.slice(1).forEach((node, i) => expect(reaches(node, again[i]!)).toBe(true));
  });

  test("leaves graphs without attention alone", () => {
    const x = input("x", [2]);
    const graph = {
      name: "g",
      inputs: [x],
      outputs: [{ name: "y", node: makeNode({ kind: "unary", fn: "exp" }, [x]) }],
    };
    expect(decomposeAttention(graph)).toBe(graph);
  });

  test("keeps what the models of two cores train with as it was", () => {
    // The reference point of docs/benchmarks.md, 8 images of 8 heads: a block of 64 queries sees 256 keys.
    expect(8 * 8 * 64 * 256).toBeLessThan(KEPT_SCORES);
  });
});

/** Whether a node depends on another. */
function reaches(from: Node, to: Node, seen = new Set<Node>()): boolean {
  if (from === to) return true;
  if (seen.has(from)) return false;
  seen.add(from);
  return from.inputs.some((input) => reaches(input, to, seen));
}
