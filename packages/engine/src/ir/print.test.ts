import type { Graph, Node, NodeOf, Op, Shape, TensorData, Window2D } from "./graph.js";
import { makeNode } from "./infer.js";
import { flopsOf, printGraph, summarize } from "./print.js";

const window: Window2D = { size: [3, 2], strides: [1, 1], dilations: [1, 1], pads: [0, 0, 0, 0] };

function input(name: string, ...shape: number[]): NodeOf<"input"> {
  return makeNode({ kind: "input", name, dtype: "float32", shape }) as NodeOf<"input">;
}

function constant(data: TensorData, shape: Shape = [data.length]): Node {
  const dtype = data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "bool";
  return makeNode({ kind: "constant", dtype, shape, data });
}

function graphOf(inputs: readonly NodeOf<"input">[], outputs: Record<string, Node>): Graph {
  return { name: "layer", inputs, outputs: Object.entries(outputs).map(([name, node]) => ({ name, node })) };
}

/** How the dump shows one operation, without number and type. */
function line(op: Op, inputs: readonly Node[] = [], options?: { values: number }): string {
  const printed = printGraph(graphOf([], { y: makeNode(op, inputs) }), options);
  return printed.trimEnd().split("\n").at(-1)!.split(" = ")[1]!;
}

/** The graph of the comment of printGraph(), and one more output. */
function example(): Graph {
  const x = input("x", 2, 4);
  const unused = input("unused");
  const w = constant(Float32Array.of(0.5, ...new Array<number>(15).fill(0)), [4, 4]);
  const y = makeNode({ kind: "matmul", transposeA: false, transposeB: true, alpha: 0.125 }, [x, w], "attention/matMul");
  return graphOf([x, unused], { y, x });
}

describe("printGraph()", () => {
  test("shows inputs, outputs, counts, and a line per node", () => {
    expect(printGraph(example())).toBe(`graph "layer"
  inputs   x float32(2, 4), unused float32()
  outputs  y = %2, x = %0
  nodes    3: 1 constant, 1 input, 1 matmul; 64 flops; constants 64 bytes

%0 float32(2, 4) = input "x"
%1 float32(4, 4) = constant [0.5, 0, 0, 0, ...]
%2 float32(2, 4) = matmul(%0, %1) transposeB alpha=0.125  # attention/matMul
`);
  });

  test("counts the most frequent kinds first", () => {
    const x = input("x");
    const y = makeNode({ kind: "unary", fn: "exp" }, [makeNode({ kind: "unary", fn: "exp" }, [x])]);
    expect(printGraph(graphOf([x], { y }))).toContain("  nodes    3: 2 unary, 1 input; 0 flops; constants 0 bytes\n");
  });

  test("numbers nodes from zero, whatever was made before", () => {
    expect(printGraph(example())).toBe(printGraph(example()));
  });

  test("names the function, and shows what the type does not show", () => {
    const [x, image] = [input("x", 2, 3), input("image", 1, 9, 8, 4)];
    const ids = constant(Int32Array.of(1, 0));
    const mask = makeNode({ kind: "compare", fn: "less" }, [x, x]);
    expect(line({ kind: "unary", fn: "exp" }, [x])).toBe("exp(%0)");
    expect(line({ kind: "binary", fn: "floorDiv" }, [x, x])).toBe("floorDiv(%0, %0)");
    expect(line({ kind: "compare", fn: "less" }, [x, x])).toBe("less(%0, %0)");
    expect(line({ kind: "select" }, [mask, x, x])).toBe("select(%1, %0, %0)");
    expect(line({ kind: "cast", dtype: "int32" }, [x])).toBe("cast(%0)");
    expect(line({ kind: "reduce", fn: "max", axes: [0, 1], keepDims: false }, [x])).toBe("reduce.max(%0) axes=[0, 1]");
    expect(line({ kind: "reduce", fn: "sum", axes: [0], keepDims: true }, [x])).toBe(
      "reduce.sum(%0) axes=[0] keepDims",
    );
    expect(line({ kind: "arg", fn: "max", axis: 1 }, [x])).toBe("arg.max(%0) axis=1");
    expect(line({ kind: "cumsum", axis: 0, exclusive: true, reverse: true }, [x])).toBe(
      "cumsum(%0) axis=0 exclusive reverse",
    );
    expect(line({ kind: "softmax" }, [x])).toBe("softmax(%0)");
    expect(line({ kind: "matmul", transposeA: true, transposeB: false, alpha: 1 }, [x, x])).toBe(
      "matmul(%0, %0) transposeA",
    );
    expect(line({ kind: "patches", window }, [image])).toBe("patches(%0) window=3x2");
    expect(line({ kind: "pool", fn: "avg", window: { ...window, pads: [1, 0, 0, 1] } }, [image])).toBe(
      "pool.avg(%0) window=3x2 pads=[1, 0, 0, 1]",
    );
    expect(line({ kind: "resize", fn: "nearest", coordinates: "halfPixel", size: [2, 2] }, [image])).toBe(
      "resize.nearest(%0) halfPixel",
    );
    expect(line({ kind: "concat", axis: 1 }, [x, x, x])).toBe("concat(%0, %0, %0) axis=1");
    expect(line({ kind: "slice", starts: [0, 0], sizes: [1, 3], steps: [1, 1] }, [x])).toBe("slice(%0)");
    expect(line({ kind: "slice", starts: [0, 2], sizes: [1, 3], steps: [1, -1] }, [x])).toBe(
      "slice(%0) starts=[0, 2] steps=[1, -1]",
    );
    expect(line({ kind: "pad", before: [0, 1], after: [0, 0], value: 0 }, [x])).toBe("pad(%0) before=[0, 1]");
    expect(line({ kind: "pad", before: [0, 0], after: [2, 0], value: 1 }, [x])).toBe("pad(%0) after=[2, 0] value=1");
    expect(line({ kind: "broadcast", shape: [4, 2, 3] }, [x])).toBe("broadcast(%0)");
    expect(line({ kind: "tile", repeats: [2, 1] }, [x])).toBe("tile(%0) repeats=[2, 1]");
    expect(line({ kind: "transpose", permutation: [1, 0] }, [x])).toBe("transpose(%0) permutation=[1, 0]");
    expect(line({ kind: "reshape", shape: [6] }, [x])).toBe("reshape(%0)");
    expect(line({ kind: "gather", axis: 1 }, [x, ids])).toBe("gather(%0, %1) axis=1");
    expect(line({ kind: "segmentSum", segments: 4 }, [x, ids])).toBe("segmentSum(%0, %1)");
  });

  test("shows a convolution's window and groups", () => {
    const [x, w] = [input("x", 1, 9, 8, 4), input("w", 3, 2, 2, 6)];
    const strided = { ...window, strides: [2, 1], dilations: [1, 2] } as const;
    expect(line({ kind: "conv2d", window: strided, groups: 2 }, [x, w])).toBe(
      "conv2d(%0, %1) window=3x2 strides=2x1 dilations=1x2 groups=2",
    );
    const dy = makeNode({ kind: "conv2d", window, groups: 2 }, [x, w]);
    expect(line({ kind: "conv2dFilterGrad", window, groups: 2, shape: [3, 2, 2, 6] }, [x, dy])).toBe(
      "conv2dFilterGrad(%0, %2) window=3x2 groups=2",
    );
  });

  test("shows constants short, and float32 in as few digits as give it back", () => {
    const text = (data: TensorData, shape?: Shape, options?: { values: number }) =>
      line(constant(data, shape).op, [], options);
    expect(text(Float32Array.of(0.1), [])).toBe("constant 0.1");
    expect(text(Float32Array.of(1 / 3, -0, NaN, -Infinity))).toBe("constant [0.33333334, -0, NaN, -Infinity]");
    expect(text(Float32Array.of(16777216, 1e-7, 8388609))).toBe("constant [16777216, 1e-7, 8388609]");
    expect(text(Int32Array.of(1234567891, 2, 3, 4, 5))).toBe("constant [1234567891, 2, 3, 4, ...]");
    expect(text(Int32Array.of(1, 2, 3), [3], { values: 2 })).toBe("constant [1, 2, ...]");
    expect(text(Uint8Array.of(1), [1, 1])).toBe("constant [1]");
    expect(text(new Float32Array(0))).toBe("constant []");
  });
});

describe("summarize()", () => {
  test("counts the nodes that the outputs reach, each once", () => {
    expect(summarize(example())).toEqual({
      nodes: 3,
      byKind: { constant: 1, input: 1, matmul: 1 },
      constantsBytes: 64,
      flops: 64,
    });
    const x = input("x", 2);
    const twice = makeNode({ kind: "binary", fn: "add" }, [x, x]);
    const sum = makeNode({ kind: "binary", fn: "mul" }, [twice, twice]);
    expect(summarize(graphOf([x], { sum, twice }))).toEqual({
      nodes: 3,
      byKind: { binary: 2, input: 1 },
      constantsBytes: 0,
      flops: 0,
    });
  });

  test("adds the bytes of constants by their dtype", () => {
    const [a, b, c] = [constant(Float32Array.of(1, 2)), constant(Int32Array.of(1)), constant(Uint8Array.of(1, 0, 1))];
    expect(summarize(graphOf([], { a, b, c })).constantsBytes).toBe(8 + 4 + 3);
  });
});

describe("flopsOf()", () => {
  test("is 2·M·N·K per matmul of the batch, whatever is transposed", () => {
    const matmul = (a: Shape, b: Shape, transposeA: boolean, transposeB: boolean) =>
      flopsOf(makeNode({ kind: "matmul", transposeA, transposeB, alpha: 1 }, [input("a", ...a), input("b", ...b)]));
    expect(matmul([3, 4], [4, 5], false, false)).toBe(2 * 3 * 5 * 4);
    expect(matmul([4, 3], [5, 4], true, true)).toBe(2 * 3 * 5 * 4);
    expect(matmul([2, 1, 3, 4], [7, 4, 5], false, false)).toBe(2 * 7 * 2 * 3 * 5 * 4);
  });

  test("is the same for a convolution and its gradients: 2·N·H'·W'·h·w·(C/groups)·O", () => {
    const [x, w] = [input("x", 5, 9, 8, 4), input("w", 3, 2, 2, 6)];
    const y = makeNode({ kind: "conv2d", window, groups: 2 }, [x, w]); // (5, 7, 7, 6)
    const dx = makeNode({ kind: "conv2dInputGrad", window, groups: 2, shape: x.shape }, [y, w]);
    const dw = makeNode({ kind: "conv2dFilterGrad", window, groups: 2, shape: w.shape }, [x, y]);
    const expected = 2 * 5 * 7 * 7 * 3 * 2 * 2 * 6;
    expect([y, dx, dw].map(flopsOf)).toEqual([expected, expected, expected]);
  });

  test("is zero elsewhere", () => {
    expect(flopsOf(makeNode({ kind: "softmax" }, [input("x", 2, 3)]))).toBe(0);
  });
});
