import type { Graph, Node, Shape } from "../ir/graph.js";
import { sizeOf } from "../ir/graph.js";
import { mergePaddedSums } from "./merge-padded-sums.js";
import * as t from "./testing.js";

/** What the gradient of slice(x, ranges) is: dy padded back to the shape of x. `null` is a whole axis. */
function gradient(name: string, shape: Shape, ranges: readonly (readonly [number, number] | null)[]): Node {
  const whole = ranges.map((range, axis) => range ?? ([0, shape[axis]!] as const));
  const dy = t.input(
    name,
    whole.map(([start, end]) => end - start),
  );
  return t.pad(
    dy,
    whole.map(([start]) => start),
    whole.map(([, end], axis) => shape[axis]! - end),
  );
}

const sum = (terms: readonly Node[]): Node => terms.reduce(t.add);
const times = (count: number, name: string): string[] => new Array<string>(count).fill(name);

/** Elements that the operations of a graph read and write. */
function traffic(graph: Graph): number {
  const elements = (node: Node): number =>
    node.inputs.reduce((total, x) => total + sizeOf(x.shape), sizeOf(node.shape));
  const seen = new Set<Node>();
  const visit = (node: Node): number => {
    if (seen.has(node) || node.inputs.length === 0) return 0;
    seen.add(node);
    return node.inputs.reduce((total, x) => total + visit(x), elements(node));
  };
  return graph.outputs.reduce((total, { node }) => total + visit(node), 0);
}

describe("mergePaddedSums()", () => {
  test("puts parts that cover an axis side by side", () => {
    // q, k and v of (3, B, T)
    const parts = [2, 0, 1].map((i) => gradient(`d${i}`, [3, 2, 4], [[i, i + 1], null, null]));
    t.expectRewritten(t.graphOf(sum(parts)), mergePaddedSums, {
      from: ["pad", "pad", "pad", "add", "add"],
      to: ["concat"],
    });
  });

  test("leaves zeros in the gaps", () => {
    const parts = [
      [1, 2],
      [6, 8],
      [2, 4],
    ].map(([start, end], i) => gradient(`d${i}`, [2, 9], [null, [start!, end!]]));
    t.expectRewritten(t.graphOf(sum(parts)), mergePaddedSums, {
      from: ["pad", "pad", "pad", "add", "add"],
      to: ["concat", "broadcast", "broadcast", "broadcast"],
    });
  });

  test("adds parts that cover the same range before it pads them", () => {
    const parts = ["a", "b", "c"].map((name) => gradient(name, [8, 3], [[2, 4], null]));
    t.expectRewritten(t.graphOf(sum(parts)), mergePaddedSums, {
      from: ["pad", "pad", "pad", "add", "add"],
      to: ["add", "add", "pad"],
    });
  });

  test("pads a part within another one to that one only", () => {
    // Keys of causal attention by blocks: 0..1, 0..2, 0..3, 0..4
    const parts = [1, 2, 3].map((n) => gradient(`d${n}`, [2, 8, 3], [null, [0, 2 * n], null]));
    const graph = t.graphOf(sum([...parts, t.input("d4", [2, 8, 3])]));
    const result = t.expectRewritten(graph, mergePaddedSums, {
      from: [...times(3, "pad"), ...times(3, "add")],
      to: [...times(3, "pad"), ...times(3, "add")],
    });
    expect(traffic(result)).toBeLessThan(0.8 * traffic(graph));
  });

  test("merges the keys of causal and of noised blocks, in any order", () => {
    const shape = [2, 6, 3];
    const before = [2, 4].map((n) => gradient(`before${n}`, shape, [null, [0, n], null]));
    const own = [0, 2, 4].map((n) => gradient(`own${n}`, shape, [null, [n, n + 2], null]));
    const causal = [2, 4].map((n) => gradient(`causal${n}`, shape, [null, [0, n], null]));
    for (const terms of [
      [...before, ...own, ...causal],
      [own[2]!, causal[1]!, before[0]!, own[0]!, causal[0]!, own[1]!, before[1]!],
    ]) {
      const graph = t.graphOf(sum(terms));
      // 0..2 three times, then 2..4 beside it; 0..4 twice, then 4..6 beside it.
      const result = t.expectRewritten(graph, mergePaddedSums, {
        from: [...times(7, "pad"), ...times(6, "add")],
        to: [...times(4, "add"), "concat", "concat"],
      });
      expect(traffic(result)).toBeLessThan(0.4 * traffic(graph));
    }
  });

  test("puts parts that overlap in as many layers as it takes", () => {
    const parts = [0, 1, 2, 3].map((i) => gradient(`d${i}`, [10, 2], [[2 * i, 2 * i + 4], null]));
    t.expectRewritten(t.graphOf(sum(parts)), mergePaddedSums, {
      from: [...times(4, "pad"), ...times(3, "add")],
      to: ["concat", "broadcast", "concat", "broadcast", "add"],
    });
  });

  test("merges along one axis what it has merged along another", () => {
    // Blocks of q, k and v, cut out of (B, T, 3, D) at once.
    const parts = [0, 1, 2].flatMap((part) =>
      [0, 2].map((start) =>
        gradient(`d${part}_${start}`, [2, 4, 3, 5], [null, [start, start + 2], [part, part + 1], null]),
      ),
    );
    t.expectRewritten(t.graphOf(sum(parts)), mergePaddedSums, {
      from: [...times(6, "pad"), ...times(5, "add")],
      to: times(3, "concat"), // q, k and v beside each other for each block, then the blocks
    });
  });

  test("merges last along the axis along which nothing overlaps", () => {
    // The first tokens of q, k and v: ranges overlap along the tokens, of which there are fewer than parts.
    const parts = [2, 0, 1].flatMap((part) =>
      [2, 4].map((end) =>
        gradient(
          `d${part}_${end}`,
          [6, 3],
          [
            [0, end],
            [part, part + 1],
          ],
        ),
      ),
    );
    const result = t.expectRewritten(t.graphOf(sum(parts)), mergePaddedSums, {
      from: [...times(6, "pad"), ...times(5, "add")],
      to: ["concat", ...times(6, "pad"), ...times(3, "add")],
    });
    expect(result.outputs[0]!.node.op).toEqual({ kind: "concat", axis: 1 });
  });

  test("shares the padding that all parts have, and pads what is left once", () => {
    const parts = [0, 2].map((start) => gradient(`d${start}`, [2, 6, 8], [null, [start, start + 2], [3, 5]]));
    t.expectRewritten(t.graphOf(sum(parts)), mergePaddedSums, {
      from: ["pad", "pad", "add"],
      to: ["broadcast", "concat", "pad"],
    });
  });

  test("keeps terms that are no pads, and adds what broadcasts last", () => {
    const parts = [0, 2].map((start) => gradient(`d${start}`, [4, 3], [[start, start + 2], null]));
    const [whole, row] = [t.input("whole", [4, 3]), t.input("row", [3])];
    const graph = t.graphOf(t.add(t.add(t.add(parts[0]!, whole), t.add(whole, parts[1]!)), row));
    t.expectRewritten(graph, mergePaddedSums, {
      from: ["pad", "pad", ...times(4, "add")],
      to: ["concat", ...times(3, "add")],
    });
    const column = t.input("column", [4, 1]);
    t.expectSameMeaning(
      t.graphOf(t.add(t.add(column, sum(parts)), row)),
      mergePaddedSums(t.graphOf(t.add(t.add(column, sum(parts)), row))),
    );
  });

  test("leaves sums that others need, and sees them as terms", () => {
    const parts = [0, 2, 4].map((start) => gradient(`d${start}`, [6, 3], [[start, start + 2], null]));
    const inner = t.add(parts[0]!, parts[1]!);
    const graph = t.graphOf(t.add(inner, parts[2]!), inner);
    // The inner sum becomes a concat of its own; one pad beside it is nothing to merge.
    t.expectRewritten(graph, mergePaddedSums, {
      from: [...times(3, "pad"), "add", "add"],
      to: ["concat", "broadcast", "pad", "add"],
    });
  });

  test("works on whole numbers", () => {
    const parts = [0, 1].map((i) => t.pad(t.input(`n${i}`, [2], "int32"), [2 * i], [2 - 2 * i]));
    t.expectRewritten(t.graphOf(sum(parts)), mergePaddedSums, { from: ["pad", "pad", "add"], to: ["concat"] });
  });

  test("does nothing to a single pad, to other paddings than zero, to differences, or to what is crossed already", () => {
    const [a, b] = [gradient("a", [4, 3], [[0, 2], null]), gradient("b", [4, 3], [[2, 4], null])];
    const ones = t.pad(t.input("c", [2, 3]), [2, 0], [0, 0], 1);
    t.expectUntouched(t.graphOf(t.add(a, t.input("x", [4, 3]))), mergePaddedSums);
    t.expectUntouched(t.graphOf(t.add(a, ones)), mergePaddedSums);
    t.expectUntouched(t.graphOf(t.sub(a, b)), mergePaddedSums);
    const crossing = [gradient("d", [4, 3], [[0, 3], null]), gradient("e", [4, 3], [[1, 4], null])];
    t.expectUntouched(t.graphOf(sum(crossing)), mergePaddedSums);
  });

  test("has nothing left to do on what it made", () => {
    const shape = [2, 8, 3];
    const terms = [1, 2, 3].flatMap((n) => [
      gradient(`a${n}`, shape, [null, [0, 2 * n], null]),
      gradient(`b${n}`, shape, [null, [2 * n - 1, 2 * n + 1], null]),
    ]);
    const once = mergePaddedSums(t.graphOf(sum(terms)));
    t.expectSameMeaning(t.graphOf(sum(terms)), once);
    t.expectUntouched(once, mergePaddedSums);
  });

  test("survives sums of ten thousand terms", () => {
    const parts = Array.from({ length: 10_000 }, (_, i) => t.pad(t.input(`d${i}`, [1]), [i], [9_999 - i]));
    const start = performance.now();
    expect(t.operations(mergePaddedSums(t.graphOf(sum(parts))))).toEqual(["concat"]);
    expect(performance.now() - start).toBeLessThan(5_000); // far more than it takes, far less than its square would
  });
});
