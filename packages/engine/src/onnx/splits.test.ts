import { isOp, nodesOf, type Graph, type Node } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { lowerToOnnx } from "./lower.js";
import { planSplits } from "./splits.js";

const x = makeNode({ kind: "input", name: "x", dtype: "float32", shape: [2, 6, 3] });
const part = (start: number, size: number, step = 1): Node =>
  makeNode({ kind: "slice", starts: [0, start, 0], sizes: [2, size, 3], steps: [1, step, 1] }, [x]);
const graphOf = (...nodes: Node[]): Graph => ({
  name: "g",
  inputs: isOp(x, "input") ? [x] : [],
  outputs: nodes.map((node, i) => ({ name: `y${i}`, node })),
});
const sizesOf = (...nodes: Node[]): (readonly number[] | undefined)[] => {
  const plans = planSplits(nodesOf(graphOf(...nodes)));
  return nodes.map((node) => plans.get(node)?.sizes);
};

describe("planSplits()", () => {
  test("finds slices that cut a tensor into consecutive parts, in any order", () => {
    expect(sizesOf(part(4, 2), part(0, 1), part(1, 3))).toEqual([
      [1, 3, 2],
      [1, 3, 2],
      [1, 3, 2],
    ]);
  });

  test("leaves out slices that overlap the parts", () => {
    expect(sizesOf(part(0, 2), part(2, 4), part(0, 6 - 1))).toEqual([[2, 4], [2, 4], undefined]);
  });

  test("finds nothing where a part is missing, or taken in steps", () => {
    expect(sizesOf(part(0, 2), part(3, 3))).toEqual([undefined, undefined]);
    expect(sizesOf(part(0, 3, 2), part(3, 3))).toEqual([undefined, undefined]);
    expect(sizesOf(part(0, 4))).toEqual([undefined]);
  });

  test("is written as one Split, whose parts keep the names of outputs", () => {
    const { node } = lowerToOnnx(graphOf(part(2, 4), part(0, 2)), "standard").graph;
    expect(node.map(({ opType, output }) => [opType, output])).toEqual([["Split", ["y1", "y0"]]]);
  });
});
