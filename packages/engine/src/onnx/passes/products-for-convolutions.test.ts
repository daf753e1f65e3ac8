import { operationsOf, type Graph, type Node, type Shape, type Window2D } from "../../ir/graph.js";
import { makeNode } from "../../ir/infer.js";
import { eliminateCommonSubexpressions } from "../../passes/eliminate-common-subexpressions.js";
import { productsForConvolutions } from "./products-for-convolutions.js";
import { constant, expectRewritten, expectUntouched, graphOf, input, unary } from "../../passes/testing.js";

const window = (size: number, pad: number, stride = 1, dilation = 1): Window2D => ({
  size: [size, size],
  strides: [stride, stride],
  dilations: [dilation, dilation],
  pads: [pad, pad, pad, pad],
});
const forward = (x: Shape, w: Shape, win: Window2D, groups = 1, bias = false): Node =>
  makeNode({ kind: "conv2d", window: win, groups }, [
    input("x", x),
    input("w", w),
    ...(bias ? [input("b", [w[3]!])] : []),
  ]);
const inputGrad = (shape: Shape, dy: Shape, w: Shape, win: Window2D): Node =>
  makeNode({ kind: "conv2dInputGrad", window: win, groups: 1, shape }, [input("dy", dy), input("w", w)]);
const filterGrad = (shape: Shape, x: Shape, dy: Shape, win: Window2D, groups = 1): Node =>
  makeNode({ kind: "conv2dFilterGrad", window: win, groups, shape }, [input("x", x), input("dy", dy)]);

describe("productsForConvolutions()", () => {
  test("multiplies pixels where the window is one pixel, bias included", () => {
    const node = forward([2, 12, 12, 3], [1, 1, 3, 4], window(1, 0), 1, true);
    expectRewritten(graphOf(node), productsForConvolutions, {
      from: ["conv2d"],
      to: ["reshape", "reshape", "matmul", "reshape"],
    });
  });

  test.each([window(3, 1), window(3, 0, 2), window(3, 2, 1, 2), window(2, 0)])(
    "lays out the windows of small images: %j",
    (win) => {
      const node = forward([2, 7, 6, 3], [...win.size, 3, 4], win);
      expectRewritten(graphOf(node), productsForConvolutions, {
        from: ["conv2d"],
        to: ["patches", "reshape", "matmul", "reshape"],
      });
    },
  );

  test("leaves convolutions with constant filters among their like, and takes those apart that stand alone", () => {
    const filter = (...shape: [number, number, number, number]): Node =>
      constant(new Array<number>(shape.reduce((a, b) => a * b)).fill(0.5), shape);
    const conv = (x: Node, w: Node, win: Window2D): Node =>
      makeNode({ kind: "conv2d", window: win, groups: 1 }, [x, w]);
    const large = conv(input("x", [1, 12, 12, 3]), filter(3, 3, 3, 4), window(3, 1));
    const relu = unary("relu", large);
    const pointwise = conv(relu, filter(1, 1, 4, 2), window(1, 0));
    const small = conv(pointwise, filter(3, 3, 2, 2), window(3, 0, 2));
    expectUntouched(graphOf(small), productsForConvolutions);

    const learned = conv(relu, input("w", [1, 1, 4, 2]), window(1, 0));
    expectRewritten(graphOf(learned), productsForConvolutions, {
      from: ["conv2d", "relu", "conv2d"],
      to: ["conv2d", "relu", "reshape", "reshape", "matmul", "reshape"],
    });
    const alone = conv(input("x", [1, 12, 12, 3]), filter(1, 1, 3, 4), window(1, 0));
    expectRewritten(graphOf(alone), productsForConvolutions, {
      from: ["conv2d"],
      to: ["reshape", "reshape", "matmul", "reshape"],
    });
  });

  test("shares the rows between a convolution and the gradient of its filter", () => {
    const [x, win] = [input("x", [2, 4, 4, 3]), window(3, 1)];
    const y = makeNode({ kind: "conv2d", window: win, groups: 1 }, [x, input("w", [3, 3, 3, 2])]);
    const dw = makeNode({ kind: "conv2dFilterGrad", window: win, groups: 1, shape: [3, 3, 3, 2] }, [x, y]);
    const pass = (graph: Graph): Graph => eliminateCommonSubexpressions(productsForConvolutions(graph));
    expectRewritten(graphOf(y, dw), pass, {
      from: ["conv2d", "conv2dFilterGrad"],
      to: ["patches", "reshape", "matmul", "reshape", "reshape", "matmul", "reshape"],
    });
  });

  test("turns the filter for the gradient of the input", () => {
    for (const win of [window(3, 1), window(3, 0), window(3, 2, 1, 2), window(2, 1)]) {
      const image: Shape = [2, 6, 5, 3];
      const y = forward(image, [...win.size, 3, 4], win).shape;
      expectRewritten(graphOf(inputGrad(image, y, [...win.size, 3, 4], win)), productsForConvolutions, {
        from: ["conv2dInputGrad"],
        to: ["slice", "transpose", "reshape", "patches", "matmul", "reshape"],
      });
    }
    expectRewritten(
      graphOf(inputGrad([2, 9, 9, 3], [2, 9, 9, 4], [1, 1, 3, 4], window(1, 0))),
      productsForConvolutions,
      {
        from: ["conv2dInputGrad"],
        to: ["reshape", "reshape", "matmul", "reshape"],
      },
    );
  });

  test("makes every gradient of a filter a product, of large images too", () => {
    const node = filterGrad([3, 3, 2, 4], [1, 20, 20, 2], [1, 20, 20, 4], window(3, 1));
    expectRewritten(graphOf(node), productsForConvolutions, {
      from: ["conv2dFilterGrad"],
      to: ["patches", "reshape", "matmul", "reshape"],
    });
  });

  test("sums the gradient of a filter over parts of a batch whose windows would not fit", () => {
    // 4 images of 256 x 256 pixels, 9 pixels of 48 channels around each: 113 MB an image, two at a time.
    const node = filterGrad([3, 3, 48, 1], [4, 256, 256, 48], [4, 256, 256, 1], window(3, 1));
    const operations = operationsOf(productsForConvolutions(graphOf(node)));
    const patches = operations.filter(({ op }) => op.kind === "patches");
    expect(patches.map(({ inputs }) => inputs[0]?.shape)).toEqual([
      [2, 256, 256, 48],
      [2, 256, 256, 48],
    ]);
    expect(operations.filter(({ op }) => op.kind === "binary")).toHaveLength(1);
  });

  test("leaves alone large images, strided gradients of the input, and groups", () => {
    expectUntouched(graphOf(forward([1, 16, 16, 2], [3, 3, 2, 4], window(3, 1))), productsForConvolutions);
    expectUntouched(
      graphOf(inputGrad([1, 8, 8, 2], [1, 4, 4, 4], [3, 3, 2, 4], window(3, 1, 2))),
      productsForConvolutions,
    );
    expectUntouched(
      graphOf(inputGrad([1, 16, 16, 2], [1, 16, 16, 4], [3, 3, 2, 4], window(3, 1))),
      productsForConvolutions,
    );
    expectUntouched(graphOf(forward([1, 4, 4, 2], [3, 3, 1, 4], window(3, 1), 2)), productsForConvolutions);
    expectUntouched(
      graphOf(filterGrad([3, 3, 1, 4], [1, 4, 4, 2], [1, 4, 4, 4], window(3, 1), 2)),
      productsForConvolutions,
    );
  });
});
