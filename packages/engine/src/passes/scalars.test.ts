import { makeNode } from "../ir/infer.js";
import { pushScalars } from "./scalars.js";
import * as t from "./testing.js";

const x = () => t.input("x", [2, 3]);

describe("pushScalars()", () => {
  test("makes a number of a tensor filled with it", () => {
    const graph = t.graphOf(t.add(x(), t.constant([2, 2, 2, 2, 2, 2], [2, 3])));
    t.expectRewritten(graph, pushScalars, { from: ["add"], to: ["add"] });
    expect(pushScalars(graph).outputs[0]!.node.inputs[1]!.shape).toEqual([]);
  });

  test("leaves constants that differ somewhere, if only by a sign of zero", () => {
    t.expectUntouched(t.graphOf(t.add(x(), t.constant([0, 0, 0, 0, 0, -0], [2, 3]))), pushScalars);
    t.expectUntouched(t.graphOf(t.add(t.input("n", []), t.scalar(1))), pushScalars);
  });

  describe("lets elementwise operations broadcast by themselves", () => {
    test("where another operand has the whole shape", () => {
      const row = t.broadcast(t.input("row", [3]), [2, 3]);
      const graph = t.graphOf(t.mul(x(), row), t.select(t.less(x(), row), row, t.filled(2, [2, 3])));
      t.expectRewritten(graph, pushScalars, {
        from: ["broadcast", "broadcast", "mul", "less", "select"],
        to: ["mul", "less", "select"],
      });
    });

    test("or broadcasts their smaller result", () => {
      const [row, column] = [t.input("row", [3]), t.input("column", [2, 1])];
      const graph = t.graphOf(
        t.mul(t.broadcast(row, [2, 3]), t.filled(0.5, [2, 3])),
        t.unary("exp", t.broadcast(column, [2, 3])),
        t.cast(t.broadcast(column, [4, 2, 3]), "int32"),
      );
      const result = t.expectRewritten(graph, pushScalars, {
        from: ["broadcast", "broadcast", "mul", "broadcast", "exp", "broadcast", "cast"],
        to: ["mul", "broadcast", "exp", "broadcast", "cast", "broadcast"],
      });
      expect(result.outputs.map(({ node }) => node.inputs[0]!.shape)).toEqual([[3], [2, 1], [2, 1]]);
    });

    test("also where an operand that is no broadcast is smaller than the result", () => {
      // The gradient of a sum: mul(dy, ones).
      const graph = t.graphOf(t.mul(t.input("dy", [2, 1]), t.filled(1, [2, 3])));
      const result = t.expectRewritten(graph, pushScalars, { from: ["broadcast", "mul"], to: ["broadcast", "mul"] });
      expect(result.outputs[0]!.node.inputs[0]!.shape).toEqual([2, 1]);
    });
  });

  test("makes zeros of a product with a tensor of zeros, but not of one with the number zero", () => {
    t.expectRewritten(t.graphOf(t.mul(x(), t.filled(0, [2, 3]))), pushScalars, {
      from: ["broadcast", "mul"],
      to: ["broadcast"],
    });
    t.expectUntouched(t.graphOf(t.mul(x(), t.scalar(0))), pushScalars);
    t.expectRewritten(t.graphOf(t.matmul(t.filled(0, [4, 2]), x())), pushScalars, {
      from: ["broadcast", "matmul"],
      to: ["broadcast"],
    });
    const product = t.matmul(x(), t.input("w", [3, 4]));
    const withAddend = makeNode(product.op, [x(), t.filled(0, [3, 4]), t.input("c", [4])]);
    t.expectRewritten(t.graphOf(withAddend), pushScalars, { from: ["broadcast", "matmul"], to: ["broadcast"] });
  });

  test("joins broadcasts, and drops those that do nothing", () => {
    const row = t.input("row", [3]);
    t.expectRewritten(t.graphOf(t.broadcast(t.broadcast(row, [2, 3]), [4, 2, 3])), pushScalars, {
      from: ["broadcast", "broadcast"],
      to: ["broadcast"],
    });
    t.expectRewritten(t.graphOf(t.broadcast(row, [3])), pushScalars, { from: ["broadcast"], to: [] });
    t.expectRewritten(t.graphOf(t.broadcast(t.reshape(row, [1, 3]), [2, 3])), pushScalars, {
      from: ["broadcast", "reshape"],
      to: ["broadcast"],
    });
    t.expectUntouched(t.graphOf(t.broadcast(t.reshape(row, [3, 1]), [3, 2])), pushScalars);
  });

  test("moves past operations that only move elements", () => {
    const filled = t.filled(3, [2, 3]);
    const graph = t.graphOf(
      t.reshape(filled, [3, 2]),
      t.transpose(filled, [1, 0]),
      t.slice(filled, [0, 1], [2, 2]),
      t.tile(filled, [2, 2]),
      t.concat(1, filled, t.filled(3, [2, 1])),
      t.pad(filled, [1, 0], [0, 2], 3),
      makeNode({ kind: "gather", axis: 1 }, [filled, t.input("ids", [4], "int32")]),
    );
    const to = graph.outputs.map(() => "broadcast");
    const from = ["broadcast", "broadcast", "reshape", "transpose", "slice", "tile", "concat", "pad", "gather"];
    // The indices are of no interest any more, but the signature stays.
    expect(t.operations(graph)).toEqual(from.sort());
    expect(t.operations(pushScalars(graph))).toEqual(to);
    const withoutGather = { ...graph, inputs: [], outputs: graph.outputs.slice(0, -1) };
    t.expectSameMeaning(withoutGather, pushScalars(withoutGather));
  });

  test("moves past them with tensors that are not filled, as far as copies stay whole", () => {
    const column = t.input("column", [2, 1]);
    const copies = t.broadcast(column, [4, 2, 3]);
    const graph = t.graphOf(
      t.transpose(copies, [1, 0, 2]),
      t.slice(copies, [1, 1, 2], [3, 1, 1], [1, 1, -1]),
      t.reshape(copies, [2, 2, 2, 3]),
      t.tile(copies, [1, 1, 2]),
    );
    const result = pushScalars(graph);
    t.expectSameMeaning(graph, result);
    expect(result.outputs.map(({ node }) => node.op.kind)).toEqual([
      "broadcast",
      "broadcast",
      "broadcast",
      "broadcast",
    ]);
    expect(result.outputs.every(({ node }) => node.inputs[0]!.shape.reduce((a, b) => a * b, 1) <= 2)).toBe(true);
    t.expectUntouched(
      t.graphOf(t.reshape(copies, [8, 3]), t.tile(copies, [1, 2, 1]), t.concat(1, copies, copies)),
      pushScalars,
    );
  });

  test("keeps paddings and neighbors of another number, and what is not filled", () => {
    const filled = t.filled(3, [2, 3]);
    t.expectUntouched(t.graphOf(t.concat(0, filled, filled, t.filled(2, [2, 3]))), pushScalars);
    const ids = t.input("ids", [4], "int32");
    t.expectUntouched(t.graphOf(makeNode({ kind: "gather", axis: 1 }, [t.unary("exp", x()), ids])), pushScalars);
    t.expectUntouched(t.graphOf(t.pad(t.unary("exp", x()), [1, 0], [0, 0], 3)), pushScalars);
    t.expectUntouched(
      t.graphOf(t.pad(filled, [1, 0], [0, 0], 0), t.concat(0, filled, t.filled(2, [2, 3]))),
      pushScalars,
    );
  });

  test("takes a tile of an axis of size 1 for a broadcast", () => {
    t.expectRewritten(t.graphOf(t.tile(t.input("dy", [2, 1, 3]), [1, 4, 1])), pushScalars, {
      from: ["tile"],
      to: ["broadcast"],
    });
    t.expectUntouched(t.graphOf(t.tile(t.input("dy", [2, 1, 3]), [2, 4, 1])), pushScalars);
  });

  describe("reduces one copy instead of many", () => {
    test.each(["sum", "mean", "max", "min", "sumSquare"] as const)("for %s", (fn) => {
      const copies = t.broadcast(t.input("x", [2, 1]), [4, 2, 3]);
      for (const [axes, keepDims] of [
        [[0, 1, 2], false],
        [[2], true],
        [[0, 1], false],
      ] as const) {
        const graph = t.graphOf(t.reduce(fn, copies, axes, keepDims));
        const result = pushScalars(graph);
        t.expectSameMeaning(graph, result);
        const reduced = t.operations(result).filter((name) => name.startsWith("reduce"));
        expect(reduced).toHaveLength(1);
        expect(t.operations(result).filter((name) => name === "mul")).toHaveLength(fn.startsWith("sum") ? 1 : 0);
      }
    });

    test("down to a number, and leaves axes without copies to the reduction", () => {
      t.expectRewritten(t.graphOf(t.reduce("sum", t.filled(2, [2, 3]), [0, 1])), pushScalars, {
        from: ["broadcast", "reduce.sum"],
        to: ["reshape", "reduce.sum", "mul"], // of one element: foldShapes() and foldConstants() know what to do
      });
      t.expectRewritten(t.graphOf(t.reduce("sum", t.broadcast(t.input("x", [2]), [3, 2]), [1])), pushScalars, {
        from: ["broadcast", "reduce.sum"],
        to: ["reshape", "reduce.sum", "broadcast"],
      });
    });

    test("for any and all, and whole numbers", () => {
      const copies = t.broadcast(t.input("b", [2], "bool"), [3, 2]);
      const counts = t.broadcast(t.input("n", [2], "int32"), [3, 2]);
      const graph = t.graphOf(t.reduce("any", copies, [0]), t.reduce("all", copies, [1]), t.reduce("sum", counts, [0]));
      t.expectSameMeaning(graph, pushScalars(graph));
      expect(pushScalars(graph)).not.toBe(graph);
    });

    test("but not for products", () => {
      t.expectUntouched(t.graphOf(t.reduce("prod", t.broadcast(t.input("x", [2]), [3, 2]), [0])), pushScalars);
    });
  });

  test("lets a matmul broadcast its batch axes and its addend", () => {
    const [a, b, c] = [t.input("a", [2, 3]), t.input("b", [4, 3, 5]), t.input("c", [5])];
    const graph = t.graphOf(
      t.matmul(t.broadcast(a, [4, 2, 3]), b),
      makeNode(t.matmul(a, b).op, [a, b, t.broadcast(c, [4, 2, 5])]),
    );
    t.expectRewritten(graph, pushScalars, {
      from: ["broadcast", "matmul", "broadcast", "matmul"],
      to: ["matmul", "matmul"],
    });
    t.expectUntouched(t.graphOf(t.matmul(t.broadcast(t.input("column", [2, 1]), [2, 3]), b)), pushScalars);
  });

  test("keeps the batch axes of a matmul that its addend has too", () => {
    const [a, b] = [t.broadcast(t.input("a", [2, 3]), [4, 2, 3]), t.input("b", [3, 5])];
    const op = t.matmul(a, b).op;
    t.expectUntouched(t.graphOf(makeNode(op, [a, b, t.input("c", [4, 2, 5])])), pushScalars);
    t.expectRewritten(t.graphOf(makeNode(op, [a, b, t.broadcast(t.input("c", [4, 1, 5]), [4, 2, 5])])), pushScalars, {
      from: ["broadcast", "broadcast", "matmul"],
      to: ["broadcast", "matmul"],
    });
    const [addend, d] = [t.input("c", [4, 2, 5]), t.input("d", [4, 3, 5])];
    for (const inputs of [
      [a, d, addend],
      [t.input("e", [4, 2, 3]), t.broadcast(b, [4, 3, 5]), addend],
    ])
      t.expectRewritten(t.graphOf(makeNode(op, inputs)), pushScalars, {
        from: ["broadcast", "matmul"],
        to: ["matmul"],
      });
  });

  test("leaves of the gradient of a mean what tfjs means by it", () => {
    // div(mul(reshape(dy), ones), n), then the gradient of a square: mul(dx, mul(x, 2))
    const dx = t.div(t.mul(t.reshape(t.input("dy", [2]), [2, 1]), t.filled(1, [2, 3])), t.scalar(3));
    const graph = t.graphOf(t.mul(dx, t.mul(x(), t.scalar(2))));
    const result = t.expectRewritten(graph, pushScalars, {
      from: ["reshape", "broadcast", "mul", "div", "mul", "mul"],
      to: ["reshape", "mul", "div", "mul", "mul"],
    });
    expect(result.outputs[0]!.node.inputs[0]!.shape).toEqual([2, 1]);
  });
});
