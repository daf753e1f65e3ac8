import { isOp, nodesOf } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { eliminateCommonSubexpressions } from "./eliminate-common-subexpressions.js";
import * as t from "./testing.js";

const pass = eliminateCommonSubexpressions;

describe("eliminateCommonSubexpressions()", () => {
  test("makes one node of two that do the same, and then of their users", () => {
    const x = t.input("x", [2, 3]);
    const graph = t.graphOf(
      t.unary("exp", t.reduce("sum", x, [1])),
      t.add(t.unary("exp", t.reduce("sum", x, [1])), t.reduce("sum", x, [1], true)),
    );
    t.expectRewritten(graph, pass, {
      from: ["exp", "reduce.sum", "add", "exp", "reduce.sum", "reduce.sum"],
      to: ["exp", "reduce.sum", "add", "reduce.sum"],
    });
  });

  test("takes operands of commutative functions in any order, and a > b for b < a", () => {
    const [a, b] = [t.input("a", [2]), t.input("b", [2])];
    const greater = t.graphOf(t.less(a, b), t.select(t.less(b, a), a, b));
    t.expectUntouched(greater, pass);
    const graph = t.graphOf(t.mul(a, b), t.mul(b, a), t.sub(a, b), t.sub(b, a));
    t.expectRewritten(graph, pass, { from: ["mul", "mul", "sub", "sub"], to: ["mul", "sub", "sub"] });
  });

  test("keeps constants apart that differ in one element of many, wherever it is", () => {
    const x = t.input("x", [5000]);
    const list = Array.from({ length: 5 }, (_, i) => {
      const data = new Float32Array(5000);
      if (i > 0) data[1000 * i + i] = 1;
      return makeNode({ kind: "constant", dtype: "float32", shape: [5000], data }, []);
    });
    const graph = t.graphOf(...[...list, makeNode(list[3]!.op, [])].map((constant) => t.add(x, constant)));
    t.expectRewritten(graph, pass, { from: [...list, x].map(() => "add"), to: list.map(() => "add") });
  });

  test("makes one of mirrored comparisons", () => {
    const [a, b] = [t.input("a", [2]), t.input("b", [2])];
    const graph = t.graphOf(t.less(a, b), makeNode({ kind: "compare", fn: "greater" }, [b, a]));
    t.expectRewritten(graph, pass, { from: ["greater", "less"], to: ["less"] });
  });

  test("keeps operations apart that differ in an attribute", () => {
    const x = t.input("x", [2, 2]);
    t.expectUntouched(
      t.graphOf(
        t.reduce("sum", x, [0]),
        t.reduce("sum", x, [1]),
        t.pad(x, [1, 0], [0, 1], 0),
        t.pad(x, [1, 0], [0, 1], -0),
        t.pad(x, [1, 0], [0, 1], Infinity),
        t.pad(x, [1, 0], [0, 1], NaN),
        t.matmul(x, x, { alpha: 2 }),
        t.matmul(x, x, { transposeA: true }),
        t.matmul(x, x, { transposeB: true }),
      ),
      pass,
    );
  });

  test("compares constants by dtype, shape and content", () => {
    const x = t.input("x", [2, 1]);
    const constants = [
      t.constant([1, 2]),
      t.constant([1, 2]),
      t.constant([1, 2], [2, 1]),
      t.constant([1, 3]),
      t.constant([0, 2]),
      t.constant([-0, 2]),
    ];
    const graph = t.graphOf(...constants.map((c) => t.add(x, c)), t.constant([1, 2], [2], "int32"));
    const result = t.expectRewritten(graph, pass, {
      from: constants.map(() => "add"),
      to: constants.slice(1).map(() => "add"),
    });
    expect(nodesOf(result).filter((node) => isOp(node, "constant"))).toHaveLength(6);
  });

  test("compares what has the same hash", () => {
    const graph = t.graphOf(t.constant([2046739826, 7], [2], "int32"), t.constant([1892052062, 7], [2], "int32"));
    t.expectUntouched(graph, pass);
  });

  test("shares the data of large constants, and does not read them", () => {
    const data = new Float32Array(2 ** 20 + 1);
    const large = (values: Float32Array) =>
      makeNode({ kind: "constant", dtype: "float32", shape: [values.length], data: values });
    const [a, b, c] = [large(data), large(data), large(data.slice())];
    const graph = t.graphOf(t.reduce("sum", a, [0]), t.reduce("sum", b, [0]), t.reduce("sum", c, [0]));
    const [first, second, third] = pass(graph).outputs.map(({ node }) => node);
    expect(second).toBe(first);
    expect(third).not.toBe(first);
  });

  test("never merges inputs", () => {
    const [a, b] = [t.input("a", [2]), t.input("b", [2])];
    t.expectUntouched(t.graphOf(t.unary("neg", a), t.unary("neg", b)), pass);
  });
});
