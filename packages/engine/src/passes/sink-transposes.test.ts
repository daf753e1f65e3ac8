import { makeNode } from "../ir/infer.js";
import { sinkTransposes } from "./sink-transposes.js";
import * as t from "./testing.js";

const turned = (name: string) => t.transpose(t.input(name, [4, 2, 3]), [1, 2, 0]); // (2, 3, 4)

/** The pass leaves just these operations, a transpose last. */
function sinks(graph: ReturnType<typeof t.graphOf>, to: readonly string[]): void {
  const result = t.expectRewritten(graph, sinkTransposes, { from: t.operations(graph), to });
  expect(result.outputs[0]!.node.op.kind).toBe("transpose");
}

describe("sinkTransposes()", () => {
  test("moves a transpose past functions of one argument", () => {
    sinks(t.graphOf(t.cast(t.unary("exp", turned("x")), "int32")), ["exp", "cast", "transpose"]);
  });

  test("makes one transpose of two before a function of two arguments", () => {
    const difference = t.sub(turned("x"), turned("y"));
    sinks(t.graphOf(t.select(t.less(turned("x"), turned("y")), difference, turned("z"))), [
      "sub",
      "less",
      "select",
      "transpose",
    ]);
    const x = turned("x");
    sinks(t.graphOf(t.mul(x, x)), ["mul", "transpose"]);
  });

  test("takes operands along that only need a reshape", () => {
    const [scalar, row, column] = [t.scalar(3), t.input("row", [4]), t.input("column", [3, 1])];
    sinks(t.graphOf(t.mul(turned("x"), scalar)), ["mul", "transpose"]);
    sinks(t.graphOf(t.mul(row, turned("x"))), ["reshape", "mul", "transpose"]);
    sinks(t.graphOf(t.sub(column, turned("x"))), ["reshape", "sub", "transpose"]);
    sinks(t.graphOf(t.add(turned("x"), t.input("two", [2, 3, 1]))), ["reshape", "add", "transpose"]);
  });

  test("stays where another operand would have to be transposed for it", () => {
    const other = t.transpose(t.input("y", [3, 4, 2]), [2, 0, 1]);
    t.expectUntouched(
      t.graphOf(
        t.add(turned("x"), t.input("y", [2, 3, 4])),
        t.add(turned("x"), t.input("z", [3, 4])),
        t.add(turned("x"), other),
        t.add(t.transpose(t.input("small", [1, 2]), [1, 0]), t.input("large", [2, 2])),
      ),
      sinkTransposes,
    );
  });

  test("stays where others need the transposed tensor too", () => {
    const x = turned("x");
    t.expectUntouched(t.graphOf(t.unary("exp", x), x), sinkTransposes);
    t.expectUntouched(t.graphOf(t.slice(x, [0, 0, 0], [1, 3, 4]), x), sinkTransposes);
    t.expectUntouched(t.graphOf(t.concat(0, x, turned("y")), x), sinkTransposes);
    t.expectUntouched(t.graphOf(t.mul(x, turned("y")), x), sinkTransposes);
  });

  test("moves past concats of what was transposed alike, and past slices", () => {
    sinks(t.graphOf(t.concat(1, turned("x"), turned("y"))), ["concat", "transpose"]);
    sinks(t.graphOf(t.slice(turned("x"), [1, 0, 3], [1, 2, 2], [1, 1, -1])), ["slice", "transpose"]);
    const other = t.transpose(t.input("y", [3, 2, 4]), [1, 0, 2]);
    t.expectUntouched(
      t.graphOf(t.concat(1, turned("x"), other), t.concat(0, turned("x"), t.input("z", [1, 3, 4]))),
      sinkTransposes,
    );
  });

  test("disappears in a reduction that leaves the other axes in order, whoever else needs it", () => {
    const x = turned("x"); // axes 1, 2, 0 of its operand
    const graph = t.graphOf(t.reduce("sum", x, [2]), t.reduce("max", x, [0, 1]), t.reduce("mean", x, [1, 2]), x);
    const names = ["transpose", "reduce.sum", "reduce.max", "reduce.mean"];
    const result = t.expectRewritten(graph, sinkTransposes, { from: names, to: names });
    expect(result.outputs.slice(0, 3).map(({ node }) => node.inputs[0]!.op.kind)).toEqual(["input", "input", "input"]);
  });

  test("is smaller after any other reduction, if nobody else needs it", () => {
    for (const [axes, keepDims] of [
      [[1], false],
      [[1], true],
      [[0], true],
      [[0], false],
    ] as const)
      sinks(t.graphOf(t.reduce("mean", turned("x"), axes, keepDims)), ["reduce.mean", "transpose"]);
    const x = turned("x");
    t.expectUntouched(t.graphOf(t.reduce("mean", x, [0]), x), sinkTransposes);
  });

  test("does not move past operations whose axes are not alike", () => {
    t.expectUntouched(
      t.graphOf(
        makeNode({ kind: "softmax" }, [turned("x")]),
        t.reshape(turned("y"), [6, 4]),
        t.pad(turned("z"), [0, 0, 0], [1, 0, 0]),
      ),
      sinkTransposes,
    );
  });
});
