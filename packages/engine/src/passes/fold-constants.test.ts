import { isOp } from "../ir/graph.js";
import { foldConstants } from "./fold-constants.js";
import * as t from "./testing.js";

describe("foldConstants()", () => {
  test("computes what depends on constants alone", () => {
    const x = t.input("x", [2]);
    const angle = t.mul(t.constant([1, 2]), t.scalar(0.25));
    const graph = t.graphOf(t.mul(x, t.sub(t.scalar(1), angle)));
    const result = t.expectRewritten(graph, foldConstants, { from: ["mul", "mul", "sub"], to: ["mul"] });
    const [, constant] = result.outputs[0]!.node.inputs;
    expect(constant!.op).toMatchObject({ kind: "constant", data: Float32Array.of(0.75, 0.5) });
  });

  test("rounds to float32 after every operation, and wraps int32", () => {
    const third = t.div(t.scalar(1), t.scalar(3));
    const product = t.mul(t.scalar(2 ** 30, "int32"), t.scalar(6, "int32"));
    const { outputs } = foldConstants(t.graphOf(third, product));
    const values = outputs.map(({ node }) => (isOp(node, "constant") ? node.op.data[0] : undefined));
    expect(values).toEqual([Math.fround(1 / 3), Math.imul(2 ** 30, 6)]);
  });

  test("reshapes constants of any size without copying them", () => {
    const large = t.constant(new Array<number>(2 ** 17).fill(1));
    const [output] = foldConstants(t.graphOf(t.reshape(large, [2, 2 ** 16]))).outputs;
    expect(isOp(output!.node, "constant") && isOp(large, "constant") && output!.node.op.data === large.op.data).toBe(
      true,
    );
  });

  test("leaves broadcasts and tiles small", () => {
    t.expectUntouched(t.graphOf(t.broadcast(t.scalar(1), [2]), t.tile(t.constant([1, 2]), [3])), foldConstants);
  });

  test("takes no large operands and no long computations", () => {
    const matrix = t.constant(new Array<number>(300 * 300).fill(2), [300, 300]);
    const rows = t.constant(new Array<number>(2100 * 1000).fill(2), [2100, 1000]);
    t.expectUntouched(t.graphOf(t.matmul(matrix, matrix), t.transpose(rows, [1, 0])), foldConstants);
    expect(t.operations(foldConstants(t.graphOf(t.transpose(matrix, [1, 0]))))).toEqual([]);
  });

  test("does not make large results of small constants", () => {
    const column = t.constant(new Array<number>(300).fill(2), [300, 1]);
    const row = t.constant(new Array<number>(300).fill(3), [1, 300]);
    t.expectUntouched(t.graphOf(t.mul(column, row)), foldConstants);
    const few = t.mul(t.slice(column, [0, 0], [3, 1]), t.slice(row, [0, 0], [1, 4]));
    t.expectRewritten(t.graphOf(few), foldConstants, { from: ["slice", "slice", "mul"], to: [] });
  });

  test("leaves alone what depends on an input", () => {
    t.expectUntouched(t.graphOf(t.add(t.input("x", [2]), t.constant([1, 2]))), foldConstants);
  });
});
