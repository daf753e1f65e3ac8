import type { Tree } from "@madformer/engine";
import {
  BINARY_FUNCTIONS,
  COMPARE_FUNCTIONS,
  REDUCE_FUNCTIONS,
  UNARY_FUNCTIONS,
  type Graph,
  type NodeOf,
  type Op,
  type OpKind,
  type Shape,
  type UnaryFunction,
  type Window2D,
} from "../src/ir/graph.js";
import { evaluateNode } from "../src/ir/interpret.js";
import { makeNode, windowOutput } from "../src/ir/infer.js";
import { INPUTS, OUTPUTS } from "../src/graph-names.js";
import { TOLERANCE, type Tolerance } from "./tolerance.js";
import { Draws, vector, type Value } from "./values.js";

// tfjs' operations, in test/ops, do not reach every attribute that an operation of a graph has: some only passes set.
const draws = new Draws("lowering");

/** An operation with its operands. */
export type Sample<K extends OpKind> = readonly [op: Extract<Op, { kind: K }>, ...operands: Value[]];
export type Computed = Exclude<OpKind, "input" | "constant">;

const normal = (...shape: number[]): Value => draws.normal(shape);
const integers = (...shape: number[]): Value => draws.integers(shape, -9, 10);
const bools = (...shape: number[]): Value => draws.bools(shape);

/** Where unary functions that are not defined everywhere are. */
const DOMAIN: Partial<Record<UnaryFunction, Value>> = {
  acosh: draws.uniform([7], 1, 5),
  log1p: draws.uniform([7], -0.9, 5),
  not: bools(7),
  ...Object.fromEntries((["asin", "acos", "atanh"] as const).map((fn) => [fn, draws.uniform([7], -1, 1)])),
  ...Object.fromEntries((["log", "sqrt", "rsqrt"] as const).map((fn) => [fn, draws.uniform([7], 0.1, 5)])),
  ...Object.fromEntries((["isNaN", "isInf"] as const).map((fn) => [fn, vector([0, NaN, Infinity, -Infinity, 1])])),
};

const WINDOWS: readonly Window2D[] = [
  { size: [1, 1], strides: [1, 1], dilations: [1, 1], pads: [0, 0, 0, 0] },
  { size: [3, 3], strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1] },
  { size: [2, 3], strides: [2, 1], dilations: [1, 1], pads: [0, 1, 1, 0] },
  { size: [3, 2], strides: [1, 2], dilations: [2, 1], pads: [2, 1, 0, 1] },
  { size: [2, 2], strides: [1, 1], dilations: [2, 3], pads: [0, 0, 1, 1] },
  { size: [2, 2], strides: [2, 3], dilations: [1, 1], pads: [0, 0, 0, 0] },
  { size: [1, 1], strides: [2, 2], dilations: [1, 1], pads: [0, 0, 0, 0] },
];
/** Those that pools have: tfjs has no dilated ones. */
const UNDILATED = WINDOWS.filter(({ dilations }) => Math.max(...dilations) === 1);
const [N, H, W, C] = [2, 6, 7, 4];
const GROUPS = [1, 2, 4];

/** For each window and number of groups: the shapes of image, filter and result. */
const convolutions = WINDOWS.flatMap((window) =>
  GROUPS.map((groups) => {
    const [x, w, O] = [[N, H, W, C], [...window.size, C / groups, 8], 8];
    return { window, groups, x, w, y: [N, ...windowOutput(window, H, W), O] };
  }),
);

const flags = [false, true];
const resizes = (["nearest", "bilinear"] as const).flatMap((fn) =>
  (["alignCorners", "halfPixel", "asymmetric"] as const).flatMap((coordinates) =>
    ([[6, 7], [3, 7], [12, 14], [6, 2], [5, 9], [1, 1]] as const) // prettier-ignore
      .map((size) => ({ fn, coordinates, size })),
  ),
);

function matmuls(): Sample<"matmul">[] {
  const batches: readonly (readonly [a: Shape, b: Shape, c: Shape])[] = [
    [[], [], []],
    [[1], [1], [1]],
    [[3], [3], [3]],
    [[3], [], [3]],
    [[], [3], [3]],
    [[2, 3], [1, 1], [2, 3]],
    [[2, 1], [3], [2, 3]],
  ]; // prettier-ignore
  const [M, K, N] = [4, 3, 5];
  return batches.flatMap(([batchA, batchB, batch]) =>
    flags.flatMap((transposeA) =>
      flags.flatMap((transposeB) =>
        [1, -0.5].flatMap((alpha) => {
          const op = { kind: "matmul", transposeA, transposeB, alpha } as const;
          const a = normal(...batchA, ...(transposeA ? [K, M] : [M, K]));
          const b = normal(...batchB, ...(transposeB ? [N, K] : [K, N]));
          const ones = batch.map(() => 1);
          const addends = [[], [1], [N], [1, N], [M, 1], [M, N], [...ones, M, N], [...batch, 1, N], [...batch, M, N]];
          return [[op, a, b] as const, ...addends.map((shape) => [op, a, b, normal(...shape)] as const)];
        }),
      ),
    ),
  );
}

const axesLists = [[], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]];

/** Operands of attentions, without a mask and with masks that broadcast. */
const attentions = [[], [normal(1, 1, 5)], [normal(4, 5)], [normal(3, 4, 5)]].map((mask) => ({
  q: normal(3, 4, 2),
  k: normal(3, 5, 2),
  v: normal(3, 5, 6),
  mask,
}));

/** Of every operation, at least one with every attribute. */
export const SAMPLES: { readonly [K in Computed]: () => readonly Sample<K>[] } = {
  unary: () => [
    ...UNARY_FUNCTIONS.map((fn) => [{ kind: "unary", fn }, DOMAIN[fn] ?? normal(2, 3)] as const),
    ...(["neg", "abs", "sign", "square", "relu"] as const).map((fn) => [{ kind: "unary", fn }, integers(7)] as const),
  ],
  binary: () =>
    BINARY_FUNCTIONS.flatMap((fn): Sample<"binary">[] => {
      const op = { kind: "binary", fn } as const;
      if (fn === "and" || fn === "or") return [[op, bools(2, 3), bools(3)]];
      const base = fn === "pow" ? draws.uniform([2, 3, 4], 0.1, 2) : normal(2, 3, 4);
      const powers = [vector([-2, -1, 0, 3], "int32"), vector([3, 2, 1, 0], "int32")] as const;
      const pair = fn === "pow" ? powers : ([integers(3, 4), draws.integers([4], 1, 6)] as const);
      return [
        [op, base, draws.uniform([3, 1], 0.5, 2)],
        [op, base, draws.uniform([], 0.5, 2)],
        [op, ...pair],
      ];
    }),
  compare: () =>
    COMPARE_FUNCTIONS.flatMap((fn): Sample<"compare">[] => [
      [{ kind: "compare", fn }, draws.integers([3, 4], 0, 3, "float32"), draws.integers([4], 0, 3, "float32")],
      [{ kind: "compare", fn }, draws.integers([3, 4], 0, 3), draws.integers([], 0, 3)],
      [{ kind: "compare", fn }, bools(3, 4), bools(3, 1)],
    ]),
  select: () => [
    [{ kind: "select" }, bools(3, 1), normal(4), normal(2, 1, 1)],
    [{ kind: "select" }, bools(3, 4), integers(3, 4), integers()],
    [{ kind: "select" }, bools(3, 4), bools(4), bools(3, 4)],
  ],
  cast: () =>
    (["float32", "int32", "bool"] as const).flatMap((dtype) =>
      [vector([0, -0.4, 1.9, -1.9, 3]), vector([0, 1, -7], "int32"), vector([0, 1], "bool")].map(
        (x) => [{ kind: "cast", dtype }, x] as const,
      ),
    ),
  reduce: () =>
    REDUCE_FUNCTIONS.flatMap((fn) =>
      flags.flatMap((keepDims) =>
        axesLists.flatMap((axes) => {
          const op = { kind: "reduce", fn, axes, keepDims } as const;
          if (fn === "any" || fn === "all") return [[op, bools(2, 3, 2)] as const];
          const small = draws.integers([2, 3, 2], -2, 3);
          return [[op, normal(2, 3, 4)] as const, ...(fn === "mean" ? [] : [[op, small] as const])];
        }),
      ),
    ),
  arg: () =>
    (["max", "min"] as const).flatMap((fn) =>
      [0, 1].flatMap((axis) => [
        [{ kind: "arg", fn, axis }, draws.integers([4, 5], -1, 2, "float32")] as const,
        [{ kind: "arg", fn, axis }, draws.integers([4, 5], -1, 2)] as const,
      ]),
    ),
  cumsum: () =>
    flags.flatMap((exclusive) =>
      flags.flatMap((reverse) =>
        [0, 1].flatMap((axis) => [
          [{ kind: "cumsum", axis, exclusive, reverse }, normal(3, 4)] as const,
          [{ kind: "cumsum", axis, exclusive, reverse }, integers(3, 4)] as const,
        ]),
      ),
    ),
  attention: () => attentions.map(({ q, k, v, mask }) => [{ kind: "attention", scale: 0.5 }, q, k, v, ...mask]),
  attentionGrad: () =>
    attentions.flatMap(({ q, k, v, mask }) =>
      (["q", "k", "v"] as const).map((of): Sample<"attentionGrad"> => {
        const { data } = evaluateNode({ kind: "attention", scale: 0.5 }, [q, k, v, ...mask]);
        const dy = normal(...q.shape.slice(0, 2), v.shape[2]!);
        return [{ kind: "attentionGrad", of, scale: 0.5 }, q, k, v, { ...dy, data: data }, dy, ...mask];
      }),
    ),
  barrier: () => [
    [{ kind: "barrier" }, normal(2, 3), integers()],
    [{ kind: "barrier" }, bools(), normal(5), bools(2, 0)],
    [{ kind: "barrier" }, integers(2, 0, 3), normal(2, 2)],
  ],
  softmax: () => [
    [{ kind: "softmax" }, normal(5)],
    [{ kind: "softmax" }, normal(2, 3, 5)],
  ],
  matmul: matmuls,
  conv2d: () =>
    convolutions.flatMap(({ window, groups, x, w }) => [
      [{ kind: "conv2d", window, groups }, normal(...x), normal(...w)] as const,
      [{ kind: "conv2d", window, groups }, normal(...x), normal(...w), normal(8)] as const,
    ]),
  conv2dInputGrad: () =>
    convolutions.map(({ window, groups, x, w, y }) => [
      { kind: "conv2dInputGrad", window, groups, shape: x },
      normal(...y),
      normal(...w),
    ]),
  conv2dFilterGrad: () =>
    convolutions.map(({ window, groups, x, w, y }) => [
      { kind: "conv2dFilterGrad", window, groups, shape: w },
      normal(...x),
      normal(...y),
    ]),
  patches: () => WINDOWS.map((window) => [{ kind: "patches", window }, normal(N, H, W, C)]),
  pool: () =>
    (["max", "avg"] as const).flatMap((fn) =>
      UNDILATED.map((window) => [{ kind: "pool", fn, window }, normal(N, H, W, C)] as const),
    ),
  poolGrad: () =>
    (["max", "avg"] as const).flatMap((fn) =>
      UNDILATED.map((window) => {
        const dy = normal(N, ...windowOutput(window, H, W), C);
        return [{ kind: "poolGrad", fn, window }, dy, draws.integers([N, H, W, C], -2, 3, "float32")] as const;
      }),
    ),
  resize: () => resizes.map((resize) => [{ kind: "resize", ...resize }, normal(2, 6, 7, 3)]),
  resizeGrad: () =>
    resizes.map(({ size, ...resize }) => [{ kind: "resizeGrad", ...resize, size: [6, 7] }, normal(2, ...size, 3)]),
  concat: () => [
    [{ kind: "concat", axis: 1 }, normal(2, 1, 3), normal(2, 4, 3), normal(2, 0, 3)],
    [{ kind: "concat", axis: 0 }, bools(2), bools(3)],
  ],
  slice: () => [
    [{ kind: "slice", starts: [1, 0], sizes: [2, 5], steps: [1, 1] }, normal(4, 5)],
    [{ kind: "slice", starts: [3, 4], sizes: [4, 3], steps: [-1, -2] }, normal(4, 5)],
    [{ kind: "slice", starts: [0, 1], sizes: [2, 2], steps: [3, 2] }, integers(4, 5)],
    [{ kind: "slice", starts: [-1, 7], sizes: [0, 0], steps: [-1, 1] }, normal(4, 5)],
    [{ kind: "slice", starts: [0, 0], sizes: [4, 5], steps: [1, 1] }, bools(4, 5)],
  ],
  pad: () => [
    [{ kind: "pad", before: [1, 0], after: [2, 3], value: -0.5 }, normal(2, 3)],
    [{ kind: "pad", before: [0, 1], after: [0, 0], value: 3 }, integers(2, 3)],
    [{ kind: "pad", before: [0, 1], after: [1, 0], value: 1 }, bools(2, 3)],
  ],
  broadcast: () => [
    [{ kind: "broadcast", shape: [2, 3, 4] }, normal(3, 1)],
    [{ kind: "broadcast", shape: [2, 0] }, normal()],
    [{ kind: "broadcast", shape: [2, 3] }, bools(3)],
  ],
  tile: () => [
    [{ kind: "tile", repeats: [2, 1, 3] }, normal(2, 3, 2)],
    [{ kind: "tile", repeats: [2] }, bools(3)],
  ],
  rmsNorm: () => [
    [{ kind: "rmsNorm", eps: 0.01 }, normal(3, 2, 5), normal(5)],
    [{ kind: "rmsNorm", eps: 1 }, normal(1), normal(1)],
    [{ kind: "rmsNorm", eps: 1 }, normal(4, 1), normal(1)],
  ],
  // A group of one pixel and one channel is all mean.
  groupNorm: () =>
    [1, 2, 4].flatMap((groups) => [
      [{ kind: "groupNorm", groups, eps: 0.01 }, normal(N, H, W, C), normal(C), normal(C)] as const,
      [{ kind: "groupNorm", groups, eps: 1 }, normal(3, 1, 1, C), normal(C), normal(C)] as const,
    ]),
  transpose: () => [
    [{ kind: "transpose", permutation: [2, 1, 0] }, normal(2, 3, 4)],
    [{ kind: "transpose", permutation: [3, 2, 0, 1] }, normal(3, 3, 4, 5)],
    [{ kind: "transpose", permutation: [0, 2, 1] }, bools(2, 3, 4)],
  ],
  reshape: () => [
    [{ kind: "reshape", shape: [6] }, normal(2, 3)],
    [{ kind: "reshape", shape: [0, 4] }, normal(2, 0)],
    [{ kind: "reshape", shape: [] }, integers(1, 1)],
  ],
  gather: () =>
    [0, 1, 2].flatMap((axis) => [
      [{ kind: "gather", axis }, normal(4, 5, 4), draws.integers([2, 3], 0, 4)] as const,
      [{ kind: "gather", axis }, bools(4, 5, 4), draws.integers([], 0, 4)] as const,
    ]),
  segmentSum: () => [
    [{ kind: "segmentSum", segments: 3 }, normal(6, 2), vector([2, -1, 0, 2, -5, 7], "int32")],
    [{ kind: "segmentSum", segments: 3 }, integers(6), vector([2, 2, 2, 3, -4, 1], "int32")],
  ],
};

/** Everything but sums and approximations is exact. */
export const TOLERANCES: { readonly [K in Computed]?: Tolerance } = {
  unary: TOLERANCE.saturating,
  binary: TOLERANCE.transcendental, // pow is one
  reduce: TOLERANCE.reduction,
  cumsum: TOLERANCE.reduction,
  attention: TOLERANCE.product,
  attentionGrad: TOLERANCE.product,
  softmax: TOLERANCE.saturating,
  rmsNorm: TOLERANCE.reduction,
  groupNorm: TOLERANCE.reduction,
  matmul: TOLERANCE.product,
  conv2d: TOLERANCE.product,
  conv2dInputGrad: TOLERANCE.product,
  conv2dFilterGrad: TOLERANCE.product,
  pool: TOLERANCE.reduction,
  poolGrad: TOLERANCE.reduction,
  resize: TOLERANCE.reduction,
  resizeGrad: TOLERANCE.reduction,
  segmentSum: TOLERANCE.reduction,
};

/** Every sample with inputs of its own, in one graph. */
export function graphOf(samples: readonly Sample<Computed>[]): { graph: Graph; inputs: Tree<Value> } {
  const cases = samples.map(([op, ...operands], i) => {
    const values = Object.fromEntries(operands.map((value, k) => [`x${k}`, value]));
    const nodes = Object.entries(values).map(
      ([name, { dtype, shape }]) =>
        makeNode({ kind: "input", name: `${INPUTS}${i}/${name}`, dtype, shape }) as NodeOf<"input">,
    );
    return { values, nodes, output: { name: `${OUTPUTS}${i}`, node: makeNode(op, nodes) } };
  });
  const graph = {
    name: "samples",
    inputs: cases.flatMap(({ nodes }) => nodes),
    outputs: cases.map(({ output }) => output),
  };
  return { graph, inputs: Object.fromEntries(cases.map(({ values }, i) => [String(i), values])) };
}
