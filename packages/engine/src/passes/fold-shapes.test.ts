import { makeNode } from "../ir/infer.js";
import { foldShapes } from "./fold-shapes.js";
import * as t from "./testing.js";

const x = () => t.input("x", [2, 3, 4]);

describe("foldShapes(): reshapes", () => {
  test("become one, or none", () => {
    t.expectRewritten(t.graphOf(t.reshape(t.reshape(x(), [6, 4]), [24])), foldShapes, {
      from: ["reshape", "reshape"],
      to: ["reshape"],
    });
    t.expectRewritten(t.graphOf(t.reshape(t.reshape(x(), [6, 4]), [2, 3, 4])), foldShapes, {
      from: ["reshape", "reshape"],
      to: [],
    });
    t.expectUntouched(t.graphOf(t.reshape(x(), [6, 4])), foldShapes);
  });

  test("that put axes of size 1 in front are left to the elementwise operation that uses them", () => {
    const row = t.reshape(t.input("row", [4]), [1, 1, 4]);
    t.expectRewritten(t.graphOf(t.add(x(), row), t.select(t.less(x(), row), row, x())), foldShapes, {
      from: ["reshape", "add", "less", "select"],
      to: ["add", "less", "select"],
    });
    // Here the axes are the result's own, or stand behind.
    t.expectUntouched(
      t.graphOf(t.mul(row, t.input("y", [4])), t.mul(x(), t.reshape(t.input("z", [3]), [3, 1]))),
      foldShapes,
    );
  });
});

describe("foldShapes(): transposes", () => {
  test("cancel, or become one", () => {
    const turned = t.transpose(x(), [1, 2, 0]);
    t.expectRewritten(t.graphOf(t.transpose(turned, [2, 0, 1])), foldShapes, {
      from: ["transpose", "transpose"],
      to: [],
    });
    t.expectRewritten(t.graphOf(t.transpose(turned, [0, 2, 1])), foldShapes, {
      from: ["transpose", "transpose"],
      to: ["transpose"],
    });
    t.expectUntouched(t.graphOf(turned), foldShapes);
  });

  test("that move axes of size 1 alone are reshapes", () => {
    const y = t.input("y", [1, 3, 1, 4]);
    t.expectRewritten(t.graphOf(t.transpose(y, [1, 0, 3, 2])), foldShapes, { from: ["transpose"], to: ["reshape"] });
    t.expectRewritten(t.graphOf(t.transpose(y, [2, 1, 0, 3])), foldShapes, { from: ["transpose"], to: [] });
    t.expectUntouched(t.graphOf(t.transpose(y, [0, 3, 2, 1])), foldShapes);
  });

  test("of the last two axes become flags of a matmul", () => {
    const [a, b] = [t.input("a", [2, 4, 3]), t.input("b", [2, 5, 4])];
    const [turnedA, turnedB] = [t.transpose(a, [0, 2, 1]), t.transpose(b, [0, 2, 1])];
    const addend = t.input("c", [5]);
    const graph = t.graphOf(
      t.matmul(turnedA, turnedB, { alpha: 2 }),
      t.matmul(turnedB, turnedA, { transposeA: true, transposeB: true }),
      makeNode(t.matmul(turnedA, turnedB).op, [turnedA, turnedB, addend]),
    );
    t.expectRewritten(graph, foldShapes, {
      from: ["transpose", "transpose", "matmul", "matmul", "matmul"],
      to: ["matmul", "matmul", "matmul"],
    });
    const batchMoved = t.transpose(t.input("d", [3, 2, 4]), [1, 0, 2]);
    t.expectUntouched(t.graphOf(t.matmul(batchMoved, t.input("e", [2, 4, 5]))), foldShapes);
  });

  test("of a matmul's result swap its operands, if nobody else needs it", () => {
    const product = t.matmul(t.input("a", [2, 3]), t.input("b", [4, 3]), { transposeB: true, alpha: 2 });
    t.expectRewritten(t.graphOf(t.transpose(product, [1, 0])), foldShapes, {
      from: ["matmul", "transpose"],
      to: ["matmul"],
    });
    t.expectUntouched(t.graphOf(t.transpose(product, [1, 0]), product), foldShapes);
    const withAddend = makeNode(product.op, [...product.inputs, t.input("c", [4])]);
    t.expectUntouched(t.graphOf(t.transpose(withAddend, [1, 0])), foldShapes);
  });
});

describe("foldShapes(): reductions", () => {
  test("over axes of size 1 are reshapes", () => {
    const y = t.input("y", [1, 3, 1]);
    for (const fn of ["sum", "mean", "max", "prod"] as const)
      t.expectRewritten(t.graphOf(t.reduce(fn, y, [0, 2])), foldShapes, { from: [`reduce.${fn}`], to: ["reshape"] });
    t.expectRewritten(t.graphOf(t.reduce("sum", y, [0], true)), foldShapes, { from: ["reduce.sum"], to: [] });
    t.expectRewritten(t.graphOf(t.reduce("sumSquare", y, [2])), foldShapes, {
      from: ["reduce.sumSquare"],
      to: ["square", "reshape"],
    });
    t.expectRewritten(t.graphOf(t.reduce("max", y, [])), foldShapes, { from: ["reduce.max"], to: [] });
    t.expectUntouched(t.graphOf(t.reduce("sum", y, [0, 1])), foldShapes);
  });

  test.each([
    ["sum", "sum", "reduce.sum"],
    ["mean", "mean", "reduce.mean"],
    ["max", "max", "reduce.max"],
    ["sum", "sumSquare", "reduce.sumSquare"],
  ] as const)("%s of a %s become one", (outer, inner, name) => {
    const graphs = [
      t.reduce(outer, t.reduce(inner, x(), [1]), [1]), // the third axis of x
      t.reduce(outer, t.reduce(inner, x(), [0, 2]), [0]),
      t.reduce(outer, t.reduce(inner, x(), [2], true), [0], true),
    ].map((node) => t.graphOf(node));
    for (const graph of graphs)
      t.expectRewritten(graph, foldShapes, { from: [`reduce.${outer}`, `reduce.${inner}`], to: [name] });
  });

  test("stay two where the first is used elsewhere, or they are of different kinds", () => {
    const inner = t.reduce("sum", x(), [1]);
    t.expectUntouched(t.graphOf(t.reduce("sum", inner, [1]), inner), foldShapes);
    t.expectUntouched(t.graphOf(t.reduce("max", inner, [1])), foldShapes);
    t.expectUntouched(t.graphOf(t.reduce("sumSquare", t.reduce("sumSquare", x(), [1]), [1])), foldShapes);
  });

  test("keep or drop their axes as a reshape behind them wants", () => {
    t.expectRewritten(t.graphOf(t.reshape(t.reduce("sum", x(), [1]), [2, 1, 4])), foldShapes, {
      from: ["reduce.sum", "reshape"],
      to: ["reduce.sum"],
    });
    t.expectRewritten(t.graphOf(t.reshape(t.reduce("max", x(), [0, 1], true), [4])), foldShapes, {
      from: ["reduce.max", "reshape"],
      to: ["reduce.max"],
    });
    const sum = t.reduce("sum", x(), [1]);
    t.expectUntouched(t.graphOf(t.reshape(sum, [2, 1, 4]), sum), foldShapes);
    t.expectUntouched(t.graphOf(t.reshape(t.reduce("sum", x(), [1]), [8])), foldShapes);
  });
});
