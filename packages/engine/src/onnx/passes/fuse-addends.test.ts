import { makeNode } from "../../ir/infer.js";
import { fuseAddends } from "./fuse-addends.js";
import { add, expectRewritten, expectUntouched, graphOf, input, matmul, mul, reshape } from "../../passes/testing.js";

const product = () => matmul(input("a", [4, 3]), input("b", [3, 5]), { alpha: 0.5 });
const window = { size: [3, 3], strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1] } as const;
const convolution = () =>
  makeNode({ kind: "conv2d", window, groups: 1 }, [input("x", [2, 4, 4, 3]), input("w", [3, 3, 3, 5])]);

describe("fuseAddends()", () => {
  test.each([[[4, 5]], [[5]], [[1, 5]], [[4, 1]], [[]]])("adds a tensor of shape %j within the product", (shape) => {
    for (const sum of [add(product(), input("c", shape)), add(input("c", shape), product())])
      expectRewritten(graphOf(sum), fuseAddends, { from: ["matmul", "add"], to: ["matmul"] });
  });

  test("adds one of two products within the other", () => {
    const other = matmul(input("d", [4, 2]), input("e", [2, 5]));
    expectRewritten(graphOf(add(product(), other)), fuseAddends, {
      from: ["matmul", "matmul", "add"],
      to: ["matmul", "matmul"],
    });
  });

  test.each([[[5]], [[1, 1, 1, 5]]])("makes a tensor of shape %j the bias of a convolution", (shape) => {
    const sum = add(convolution(), input("bias", shape));
    const to = shape.length === 1 ? ["conv2d"] : ["reshape", "conv2d"];
    expectRewritten(graphOf(sum), fuseAddends, { from: ["conv2d", "add"], to });
  });

  test("sees a product through a reshape", () => {
    const rows = reshape(product(), [2, 2, 5]);
    expectRewritten(graphOf(add(rows, input("c", [5]))), fuseAddends, {
      from: ["matmul", "reshape", "add"],
      to: ["reshape", "matmul", "reshape"],
    });
    expectRewritten(graphOf(add(input("c", [2, 2, 5]), rows)), fuseAddends, {
      from: ["matmul", "reshape", "add"],
      to: ["reshape", "matmul", "reshape"],
    });
  });

  test("leaves alone what is used elsewhere, what broadcasts the product, and batched products", () => {
    const shared = product();
    expectUntouched(graphOf(add(shared, input("c", [5])), shared), fuseAddends);
    expectUntouched(graphOf(add(product(), input("c", [2, 4, 5]))), fuseAddends);
    expectUntouched(graphOf(add(matmul(input("a", [2, 4, 3]), input("b", [2, 3, 5])), input("c", [5]))), fuseAddends);
    expectUntouched(graphOf(add(convolution(), input("c", [4, 1]))), fuseAddends);
    expectUntouched(graphOf(mul(product(), input("c", [5]))), fuseAddends);
  });

  test("leaves a sum where its other term has its channels first", () => {
    const filter = makeNode({ kind: "constant", dtype: "float32", shape: [3, 3, 3, 5], data: new Float32Array(135) });
    const image = makeNode({ kind: "conv2d", window, groups: 1 }, [input("x", [1, 4, 1, 3]), filter]);
    expectUntouched(graphOf(add(reshape(product(), [1, 4, 1, 5]), image)), fuseAddends);
  });
});
