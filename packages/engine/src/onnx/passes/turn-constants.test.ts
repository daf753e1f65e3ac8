import {
  constant,
  expectRewritten,
  expectUntouched,
  graphOf,
  input,
  matmul,
  operations,
} from "../../passes/testing.js";
import { turnConstants } from "./turn-constants.js";

const fixed = constant([1, 2, 3, 4, 5, 6], [2, 3]);

describe("turnConstants()", () => {
  test("transposes a constant once for all products that transpose it, on either side", () => {
    const graph = graphOf(
      matmul(input("x", [4, 3]), fixed, { transposeB: true }),
      matmul(input("y", [5, 3]), fixed, { transposeB: true, alpha: 0.5 }),
      matmul(fixed, input("z", [2, 4]), { transposeA: true }),
    );
    expectRewritten(graph, turnConstants, { from: ["matmul", "matmul", "matmul"], to: ["matmul", "matmul", "matmul"] });
    const after = turnConstants(graph);
    expect(operations(after)).toEqual(["matmul", "matmul", "matmul"]);
    const constants = new Set(
      after.outputs.flatMap(({ node }) => node.inputs.filter(({ op }) => op.kind === "constant")),
    );
    expect([...constants].map(({ shape }) => shape)).toEqual([[3, 2]]);
  });

  test("leaves alone what is no constant, and a constant that is taken as it is", () => {
    expectUntouched(graphOf(matmul(input("x", [4, 3]), input("w", [2, 3]), { transposeB: true })), turnConstants);
    expectUntouched(graphOf(matmul(input("x", [4, 2]), fixed)), turnConstants);
  });
});
