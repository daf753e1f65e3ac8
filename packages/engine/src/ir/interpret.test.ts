import { allocate, type DType, type Graph, type Node, type NodeOf, type Op, type OpKind, type Shape } from "./graph.js";
import { makeNode } from "./infer.js";
import { evaluateNode, interpret } from "./interpret.js";

interface Tensor {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: readonly number[];
}

const f32 = (shape: Shape, data: readonly number[]): Tensor => ({ dtype: "float32", shape, data });
const i32 = (shape: Shape, data: readonly number[]): Tensor => ({ dtype: "int32", shape, data });
const bool = (shape: Shape, data: readonly number[]): Tensor => ({ dtype: "bool", shape, data });
/** 1, 2, 3, ... */
const count = (...shape: number[]): Tensor =>
  f32(
    shape,
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i + 1),
  );

/** A case worked by hand; every number is exact in float32. */
interface Case {
  readonly says: string;
  readonly op: Op;
  readonly inputs: readonly Tensor[];
  readonly gives: Tensor;
}

const window = { size: [2, 2], strides: [1, 1], dilations: [1, 1], pads: [0, 0, 0, 0] } as const;
const padded = { size: [2, 2], strides: [2, 2], dilations: [1, 1], pads: [1, 0, 1, 0] } as const; // top and left
const LOWEST = -(2 ** 31);

// One list per kind: the compiler asks for a new kind's list, and a test for its cases.
const CASES = {
  input: [], // has no value of its own: see interpret()
  constant: [
    {
      says: "gives its data",
      op: { kind: "constant", dtype: "int32", shape: [2], data: Int32Array.of(7, -7) },
      inputs: [],
      gives: i32([2], [7, -7]),
    },
  ],
  unary: [
    {
      says: "squares float32",
      op: { kind: "unary", fn: "square" },
      inputs: [f32([2], [-1.5, 2])],
      gives: f32([2], [2.25, 4]),
    },
    {
      says: "squares int32 exactly before it wraps",
      op: { kind: "unary", fn: "square" },
      inputs: [i32([2], [0x7fffffff, -3])],
      gives: i32([2], [1, 9]),
    },
    {
      says: "wraps the negative of the lowest int32",
      op: { kind: "unary", fn: "neg" },
      inputs: [i32([2], [LOWEST, 4])],
      gives: i32([2], [LOWEST, -4]),
    },
    { says: "gives bool", op: { kind: "unary", fn: "isNaN" }, inputs: [f32([2], [NaN, 1])], gives: bool([2], [1, 0]) },
    { says: "negates bool", op: { kind: "unary", fn: "not" }, inputs: [bool([2], [0, 1])], gives: bool([2], [1, 0]) },
  ],
  binary: [
    {
      says: "broadcasts both operands",
      op: { kind: "binary", fn: "sub" },
      inputs: [f32([2, 1], [10, 20]), f32([3], [1, 2, 3])],
      gives: f32([2, 3], [9, 8, 7, 19, 18, 17]),
    },
    {
      says: "wraps int32 products, all bits kept",
      op: { kind: "binary", fn: "mul" },
      inputs: [i32([], [0x7fffffff]), i32([2], [0x7fffffff, 3])],
      gives: i32([2], [1, 0x7ffffffd]),
    },
    {
      says: "wraps int32 sums",
      op: { kind: "binary", fn: "add" },
      inputs: [i32([], [0x7fffffff]), i32([], [1])],
      gives: i32([], [LOWEST]),
    },
    {
      says: "divides int32 towards zero, and anything by zero to zero",
      op: { kind: "binary", fn: "div" },
      inputs: [i32([3], [-7, 7, 7]), i32([3], [2, 2, 0])],
      gives: i32([3], [-3, 3, 0]),
    },
    {
      says: "takes bool",
      op: { kind: "binary", fn: "and" },
      inputs: [bool([2], [1, 0]), bool([], [1])],
      gives: bool([2], [1, 0]),
    },
  ],
  compare: [
    {
      says: "broadcasts and gives bool",
      op: { kind: "compare", fn: "less" },
      inputs: [f32([2, 1], [1, 3]), f32([1, 2], [2, NaN])],
      gives: bool([2, 2], [1, 0, 0, 0]),
    },
    {
      says: "compares bool",
      op: { kind: "compare", fn: "equal" },
      inputs: [bool([2], [0, 1]), bool([2], [0, 0])],
      gives: bool([2], [1, 0]),
    },
  ],
  select: [
    {
      says: "broadcasts all three operands",
      op: { kind: "select" },
      inputs: [bool([2, 1], [1, 0]), i32([3], [1, 2, 3]), i32([], [-1])],
      gives: i32([2, 3], [1, 2, 3, -1, -1, -1]),
    },
    {
      says: "keeps NaN out of where it was not chosen",
      op: { kind: "select" },
      inputs: [bool([2], [0, 1]), f32([], [NaN]), f32([], [2])],
      gives: f32([2], [2, NaN]),
    },
  ],
  cast: [
    {
      says: "truncates float32 to int32 towards zero",
      op: { kind: "cast", dtype: "int32" },
      inputs: [f32([3], [1.9, -1.9, 3])],
      gives: i32([3], [1, -1, 3]),
    },
    {
      says: "makes bool of what is not zero",
      op: { kind: "cast", dtype: "bool" },
      inputs: [f32([4], [0, -0, 0.25, NaN])],
      gives: bool([4], [0, 0, 1, 1]),
    },
    {
      says: "makes bool of int32, not of its lowest bit",
      op: { kind: "cast", dtype: "bool" },
      inputs: [i32([3], [0, 2, -1])],
      gives: bool([3], [0, 1, 1]),
    },
    {
      says: "rounds int32 to float32",
      op: { kind: "cast", dtype: "float32" },
      inputs: [i32([2], [2 ** 24 + 1, -5])],
      gives: f32([2], [2 ** 24, -5]),
    },
  ],
  reduce: [
    {
      says: "sums over axes that are not neighbors",
      op: { kind: "reduce", fn: "sum", axes: [0, 2], keepDims: false },
      inputs: [count(2, 2, 3)],
      gives: f32([2], [1 + 2 + 3 + 7 + 8 + 9, 4 + 5 + 6 + 10 + 11 + 12]),
    },
    {
      says: "keeps dimensions",
      op: { kind: "reduce", fn: "mean", axes: [1], keepDims: true },
      inputs: [count(2, 3)],
      gives: f32([2, 1], [2, 5]),
    },
    {
      says: "without axes leaves every element",
      op: { kind: "reduce", fn: "sumSquare", axes: [], keepDims: false },
      inputs: [count(3)],
      gives: f32([3], [1, 4, 9]),
    },
    {
      says: "adds squares",
      op: { kind: "reduce", fn: "sumSquare", axes: [0], keepDims: false },
      inputs: [f32([3], [1, -2, 3])],
      gives: f32([], [14]),
    },
    {
      says: "wraps int32 products",
      op: { kind: "reduce", fn: "prod", axes: [0], keepDims: false },
      inputs: [i32([4], [65537, 65537, 65537, 65537])], // (2^16 + 1)^4 is 2^18 + 1 modulo 2^32
      gives: i32([], [2 ** 18 + 1]),
    },
    {
      says: "multiplies",
      op: { kind: "reduce", fn: "prod", axes: [0], keepDims: false },
      inputs: [f32([3], [2, -3, 0.5])],
      gives: f32([], [-3]),
    },
    {
      says: "finds the largest, NaN first",
      op: { kind: "reduce", fn: "max", axes: [1], keepDims: false },
      inputs: [f32([2, 3], [-3, -1, -2, 1, NaN, 2])],
      gives: f32([2], [-1, NaN]),
    },
    {
      says: "finds the smallest",
      op: { kind: "reduce", fn: "min", axes: [0], keepDims: false },
      inputs: [i32([3], [3, -1, 2])],
      gives: i32([], [-1]),
    },
    {
      says: "has the lowest number for the maximum of nothing",
      op: { kind: "reduce", fn: "max", axes: [0], keepDims: false },
      inputs: [i32([0, 1], [])],
      gives: i32([1], [LOWEST]),
    },
    {
      says: "has the highest number for the minimum of nothing",
      op: { kind: "reduce", fn: "min", axes: [0], keepDims: false },
      inputs: [i32([0, 1], [])],
      gives: i32([1], [0x7fffffff]),
    },
    {
      says: "finds any",
      op: { kind: "reduce", fn: "any", axes: [1], keepDims: false },
      inputs: [bool([2, 2], [0, 1, 0, 0])],
      gives: bool([2], [1, 0]),
    },
    {
      says: "finds all",
      op: { kind: "reduce", fn: "all", axes: [1], keepDims: false },
      inputs: [bool([2, 2], [0, 1, 1, 1])],
      gives: bool([2], [0, 1]),
    },
    {
      says: "has all of nothing",
      op: { kind: "reduce", fn: "all", axes: [1], keepDims: false },
      inputs: [bool([1, 0], [])],
      gives: bool([1], [1]),
    },
  ],
  arg: [
    {
      says: "gives the first of equal maxima, along an inner axis",
      op: { kind: "arg", fn: "max", axis: 1 },
      inputs: [f32([2, 3, 2], [1, 5, 4, 5, 4, 0, 1, 2, 3, 4, 5, 6])],
      gives: i32([2, 2], [1, 0, 2, 2]),
    },
    {
      says: "gives the first of equal minima",
      op: { kind: "arg", fn: "min", axis: 0 },
      inputs: [i32([4], [3, -1, 2, -1])],
      gives: i32([], [1]),
    },
  ],
  cumsum: [
    {
      says: "runs along an axis",
      op: { kind: "cumsum", axis: 1, exclusive: false, reverse: false },
      inputs: [count(2, 3)],
      gives: f32([2, 3], [1, 3, 6, 4, 9, 15]),
    },
    {
      says: "runs along an outer axis",
      op: { kind: "cumsum", axis: 0, exclusive: false, reverse: false },
      inputs: [count(2, 3)],
      gives: f32([2, 3], [1, 2, 3, 5, 7, 9]),
    },
    {
      says: "leaves the element itself out",
      op: { kind: "cumsum", axis: 0, exclusive: true, reverse: false },
      inputs: [count(3)],
      gives: f32([3], [0, 1, 3]),
    },
    {
      says: "runs from the end",
      op: { kind: "cumsum", axis: 0, exclusive: false, reverse: true },
      inputs: [count(3)],
      gives: f32([3], [6, 5, 3]),
    },
    {
      says: "runs from the end and leaves the element itself out",
      op: { kind: "cumsum", axis: 0, exclusive: true, reverse: true },
      inputs: [i32([3], [1, 2, 3])],
      gives: i32([3], [5, 3, 0]),
    },
  ],
  attention: [
    {
      says: "looks at values by how their keys and the query agree, three to one",
      op: { kind: "attention", scale: Math.log(3) / 4 },
      inputs: [f32([1, 1, 2], [2, 0]), f32([1, 2, 2], [2, 7, 0, -7]), f32([1, 2, 3], [4, 8, 0, 0, 4, 8])],
      gives: f32([1, 1, 3], [3, 7, 2]),
    },
    {
      says: "adds the mask to the scores, and keeps heads apart",
      op: { kind: "attention", scale: 0 },
      inputs: [count(2, 1, 1), count(2, 2, 1), f32([2, 2, 1], [4, 8, 12, 16]), f32([2, 1, 2], [0, -1e30, 0, 0])],
      gives: f32([2, 1, 1], [4, 14]),
    },
  ],
  attentionGrad: [
    {
      says: "gives each value's row its share",
      op: { kind: "attentionGrad", of: "v", scale: Math.log(3) / 4 },
      inputs: [
        ...[f32([1, 1, 2], [2, 0]), f32([1, 2, 2], [2, 7, 0, -7]), f32([1, 2, 3], [4, 8, 0, 0, 4, 8])],
        ...[f32([1, 1, 3], [3, 7, 2]), f32([1, 1, 3], [4, -8, 12])],
      ],
      gives: f32([1, 2, 3], [3, -6, 9, 1, -2, 3]),
    },
    // Both keys have a half; dS = 1/2 (dP - Σ dP/2) is 1, -1.
    {
      says: "moves a query towards the keys whose values it should see more",
      op: { kind: "attentionGrad", of: "q", scale: 2 },
      inputs: [
        ...[f32([1, 1, 1], [0]), f32([1, 2, 1], [5, 3]), f32([1, 2, 1], [6, 2])],
        ...[f32([1, 1, 1], [4]), f32([1, 1, 1], [1])],
      ],
      gives: f32([1, 1, 1], [4]),
    },
    {
      says: "moves keys along the queries that look at them",
      op: { kind: "attentionGrad", of: "k", scale: 2 },
      inputs: [
        ...[f32([1, 1, 1], [3]), f32([1, 2, 1], [1, 1]), f32([1, 2, 1], [6, 2])],
        ...[f32([1, 1, 1], [4]), f32([1, 1, 1], [1])],
      ],
      gives: f32([1, 2, 1], [6, -6]),
    },
  ],
  barrier: [
    {
      says: "is its first operand",
      op: { kind: "barrier" },
      inputs: [i32([2], [3, 4]), count(5)],
      gives: i32([2], [3, 4]),
    },
  ],
  softmax: [
    {
      says: "normalizes the last axis, whatever was added to a row",
      op: { kind: "softmax" },
      inputs: [f32([2, 2], [Math.log(3), 0, -1e4, -1e4])],
      gives: f32([2, 2], [0.75, 0.25, 0.5, 0.5]),
    },
    {
      says: "does not overflow",
      op: { kind: "softmax" },
      inputs: [f32([2], [3e38, -3e38])],
      gives: f32([2], [1, 0]),
    },
  ],
  rmsNorm: [
    {
      says: "brings the power of every row to one, eps under the root",
      op: { kind: "rmsNorm", eps: 0.5 },
      inputs: [f32([2, 2], [3, 4, 0, 0]), f32([2], [1, 2])],
      gives: f32([2, 2], [3 / Math.sqrt(13), 8 / Math.sqrt(13), 0, 0].map(Math.fround)),
    },
  ],
  // Groups (1, 3 | 5, 11) and (2, 2 | 2, 2) of one image, (0, 4 | 0, 4) and (7, 7 | 9, 9) of another.
  groupNorm: [
    {
      says: "takes mean and variance by image and group of channels",
      op: { kind: "groupNorm", groups: 2, eps: 11 / 4 },
      inputs: [
        f32([2, 1, 2, 4], [1, 3, 2, 2, 5, 11, 2, 2, 0, 4, 7, 7, 0, 4, 9, 9]),
        f32([4], [1, 2, 3, 4]),
        f32([4], [0, 0, 1, -1]),
      ],
      gives: f32(
        [2, 1, 2, 4],
        [
          ...[-4 / Math.sqrt(16.75), -4 / Math.sqrt(16.75), 1, -1, 0, 12 / Math.sqrt(16.75), 1, -1],
          ...[-2 / Math.sqrt(6.75), 4 / Math.sqrt(6.75), 1 - 3 / Math.sqrt(3.75), -1 - 4 / Math.sqrt(3.75)],
          ...[-2 / Math.sqrt(6.75), 4 / Math.sqrt(6.75), 1 + 3 / Math.sqrt(3.75), -1 + 4 / Math.sqrt(3.75)],
        ].map(Math.fround),
      ),
    },
  ],
  matmul: [
    {
      says: "multiplies",
      op: { kind: "matmul", transposeA: false, transposeB: false, alpha: 1 },
      inputs: [count(2, 3), count(3, 1)],
      gives: f32([2, 1], [14, 32]),
    },
    {
      says: "transposes a, scales, and broadcasts batches",
      op: { kind: "matmul", transposeA: true, transposeB: false, alpha: 0.5 },
      inputs: [count(3, 2), f32([2, 3, 1], [1, 0, 0, 0, 0, 2])],
      gives: f32([2, 2, 1], [0.5, 1, 5, 6]),
    },
    {
      says: "transposes b",
      op: { kind: "matmul", transposeA: false, transposeB: true, alpha: 1 },
      inputs: [f32([1, 3], [1, 0, 2]), count(2, 3)],
      gives: f32([1, 2], [7, 16]),
    },
    {
      says: "adds a third operand, broadcast and not scaled",
      op: { kind: "matmul", transposeA: false, transposeB: false, alpha: 0.5 },
      inputs: [count(2, 1), f32([1, 3], [2, 4, 6]), f32([3], [10, 20, 30])],
      gives: f32([2, 3], [11, 22, 33, 12, 24, 36]),
    },
    {
      says: "sums over nothing to zero",
      op: { kind: "matmul", transposeA: false, transposeB: false, alpha: 1 },
      inputs: [f32([1, 0], []), f32([0, 2], [])],
      gives: f32([1, 2], [0, 0]),
    },
  ],
  // The image is 1 2 3 / 4 5 6 / 7 8 9; the filter 1 10 / 100 1000 is not flipped.
  conv2d: [
    {
      says: "correlates",
      op: { kind: "conv2d", window, groups: 1 },
      inputs: [count(1, 3, 3, 1), f32([2, 2, 1, 1], [1, 10, 100, 1000])],
      gives: f32([1, 2, 2, 1], [5421, 6532, 8754, 9865]),
    },
    {
      says: "pads at top and left, in strides",
      op: { kind: "conv2d", window: padded, groups: 1 },
      inputs: [count(1, 3, 3, 1), f32([2, 2, 1, 1], [1, 10, 100, 1000])],
      gives: f32([1, 2, 2, 1], [1000, 3200, 7040, 9865]),
    },
    {
      says: "adds a bias to each channel",
      op: { kind: "conv2d", window: { ...window, size: [1, 1] }, groups: 1 },
      inputs: [count(1, 1, 2, 1), f32([1, 1, 1, 2], [1, 10]), f32([2], [100, 200])],
      gives: f32([1, 1, 2, 2], [101, 210, 102, 220]),
    },
    {
      says: "keeps groups of channels apart",
      op: { kind: "conv2d", window: { ...window, size: [1, 1] }, groups: 2 },
      inputs: [f32([1, 1, 1, 4], [1, 2, 3, 4]), f32([1, 1, 2, 2], [1, 10, 100, 1000])],
      gives: f32([1, 1, 1, 2], [201, 4030]), // (1, 2) with column 0, (3, 4) with column 1
    },
  ],
  conv2dInputGrad: [
    {
      says: "lays the filter where dy is",
      op: { kind: "conv2dInputGrad", window, groups: 1, shape: [1, 3, 3, 1] },
      inputs: [f32([1, 2, 2, 1], [0, 0, 1, 0]), count(2, 2, 1, 1)],
      gives: f32([1, 3, 3, 1], [0, 0, 0, 1, 2, 0, 3, 4, 0]),
    },
  ],
  conv2dFilterGrad: [
    {
      says: "gives the patch under dy",
      op: { kind: "conv2dFilterGrad", window, groups: 1, shape: [2, 2, 1, 1] },
      inputs: [count(1, 3, 3, 1), f32([1, 2, 2, 1], [0, 0, 1, 0])],
      gives: f32([2, 2, 1, 1], [4, 5, 7, 8]),
    },
  ],
  patches: [
    {
      says: "lays windows out as rows: places down, then window rows, columns, channels across",
      op: { kind: "patches", window: { ...window, size: [2, 1] } },
      inputs: [count(1, 2, 2, 2)], // pixels (1, 2) (3, 4) / (5, 6) (7, 8)
      gives: f32([2, 4], [1, 2, 5, 6, 3, 4, 7, 8]),
    },
    {
      says: "has zeros outside the image",
      op: { kind: "patches", window: padded },
      inputs: [count(1, 2, 2, 1)],
      gives: f32([1, 4], [0, 0, 0, 1]),
    },
  ],
  pool: [
    {
      says: "does not count padding in an average",
      op: { kind: "pool", fn: "avg", window: padded },
      inputs: [count(1, 3, 3, 1)],
      gives: f32([1, 2, 2, 1], [1, 2.5, 5.5, 7]),
    },
    {
      says: "pads a maximum with minus infinity",
      op: { kind: "pool", fn: "max", window: padded },
      inputs: [f32([1, 3, 3, 1], [-1, -2, -3, -4, -5, -6, -7, -8, -9])],
      gives: f32([1, 2, 2, 1], [-1, -2, -4, -5]),
    },
  ],
  poolGrad: [
    {
      says: "shares an average's gradient among the elements inside the image",
      op: { kind: "poolGrad", fn: "avg", window: padded },
      inputs: [f32([1, 2, 2, 1], [1, 2, 4, 8]), count(1, 3, 3, 1)],
      gives: f32([1, 3, 3, 1], [1, 1, 1, 2, 2, 2, 2, 2, 2]),
    },
    {
      says: "gives a maximum's gradient to its first largest element",
      op: { kind: "poolGrad", fn: "max", window },
      inputs: [count(1, 1, 2, 1), f32([1, 2, 3, 1], [0, 5, 0, 5, 0, 5])],
      gives: f32([1, 2, 3, 1], [0, 3, 0, 0, 0, 0]),
    },
    {
      says: "adds up where windows overlap",
      op: { kind: "poolGrad", fn: "max", window: { ...window, size: [1, 2] } },
      inputs: [count(1, 1, 2, 1), f32([1, 1, 3, 1], [-3, -1, -2])],
      gives: f32([1, 1, 3, 1], [0, 3, 0]),
    },
  ],
  resize: [
    {
      says: "repeats rows and columns",
      op: { kind: "resize", fn: "nearest", coordinates: "asymmetric", size: [2, 4] },
      inputs: [count(1, 1, 2, 1)],
      gives: f32([1, 2, 4, 1], [1, 1, 2, 2, 1, 1, 2, 2]),
    },
    {
      says: "interpolates in both directions",
      op: { kind: "resize", fn: "bilinear", coordinates: "alignCorners", size: [3, 3] },
      inputs: [f32([1, 2, 2, 1], [0, 4, 8, 16])],
      gives: f32([1, 3, 3, 1], [0, 2, 4, 4, 7, 10, 8, 12, 16]),
    },
  ],
  resizeGrad: [
    {
      says: "gathers what each pixel gave",
      op: { kind: "resizeGrad", fn: "nearest", coordinates: "asymmetric", size: [1, 2] },
      inputs: [count(1, 2, 4, 1)],
      gives: f32([1, 1, 2, 1], [1 + 2 + 5 + 6, 3 + 4 + 7 + 8]),
    },
    {
      says: "weighs what each pixel gave",
      op: { kind: "resizeGrad", fn: "bilinear", coordinates: "halfPixel", size: [1, 2] },
      inputs: [f32([1, 1, 4, 1], [0, 4, 0, 1])],
      gives: f32([1, 1, 2, 1], [3, 2]),
    },
  ],
  concat: [
    {
      says: "puts tensors side by side",
      op: { kind: "concat", axis: 1 },
      inputs: [i32([2, 1], [1, 2]), i32([2, 2], [3, 4, 5, 6]), i32([2, 0], []), i32([2, 1], [7, 8])],
      gives: i32([2, 4], [1, 3, 4, 7, 2, 5, 6, 8]),
    },
  ],
  slice: [
    {
      says: "takes steps, and runs backwards",
      op: { kind: "slice", starts: [1, 3], sizes: [1, 2], steps: [1, -2] },
      inputs: [count(2, 4)],
      gives: f32([1, 2], [8, 6]),
    },
    {
      says: "takes nothing",
      op: { kind: "slice", starts: [0], sizes: [0], steps: [1] },
      inputs: [count(4)],
      gives: f32([0], []),
    },
  ],
  pad: [
    {
      says: "puts a value around",
      op: { kind: "pad", before: [1, 0], after: [0, 2], value: 9 },
      inputs: [i32([1, 2], [1, 2])],
      gives: i32([2, 4], [9, 9, 9, 9, 1, 2, 9, 9]),
    },
  ],
  broadcast: [
    {
      says: "repeats axes of size one and new axes",
      op: { kind: "broadcast", shape: [2, 2, 3] },
      inputs: [bool([2, 1], [0, 1])],
      gives: bool([2, 2, 3], [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]),
    },
  ],
  tile: [
    {
      says: "repeats the whole, not the elements",
      op: { kind: "tile", repeats: [2, 2] },
      inputs: [count(1, 2)],
      gives: f32([2, 4], [1, 2, 1, 2, 1, 2, 1, 2]),
    },
  ],
  transpose: [
    {
      says: "takes axis i from axis permutation[i]",
      op: { kind: "transpose", permutation: [1, 2, 0] },
      inputs: [count(2, 1, 3)],
      gives: f32([1, 3, 2], [1, 4, 2, 5, 3, 6]),
    },
    {
      says: "takes axis i from axis permutation[i], not the other way round",
      op: { kind: "transpose", permutation: [2, 0, 1] },
      inputs: [count(2, 2, 3)],
      gives: f32([3, 2, 2], [1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12]),
    },
  ],
  reshape: [
    {
      says: "keeps the order",
      op: { kind: "reshape", shape: [3, 2] },
      inputs: [count(2, 3)],
      gives: f32([3, 2], [1, 2, 3, 4, 5, 6]),
    },
  ],
  gather: [
    {
      says: "puts the axes of the indices in the axis' place",
      op: { kind: "gather", axis: 1 },
      inputs: [count(2, 3, 1), i32([2, 2], [2, 0, 0, 1])],
      gives: f32([2, 2, 2, 1], [3, 1, 1, 2, 6, 4, 4, 5]),
    },
    {
      says: "drops the axis for one index",
      op: { kind: "gather", axis: 0 },
      inputs: [count(2, 3), i32([], [1])],
      gives: f32([3], [4, 5, 6]),
    },
  ],
  segmentSum: [
    {
      says: "adds rows of the same id and drops ids outside",
      op: { kind: "segmentSum", segments: 3 },
      inputs: [count(5, 2), i32([5], [2, 0, 2, -1, 3])],
      gives: f32([3, 2], [3, 4, 0, 0, 6, 8]),
    },
  ],
} as const satisfies Record<OpKind, readonly Case[]>;

const kinds = Object.keys(CASES) as OpKind[];

function input(name: string, dtype: DType, shape: Shape): NodeOf<"input"> {
  return makeNode({ kind: "input", name, dtype, shape }) as NodeOf<"input">;
}

function graphOf(inputs: readonly NodeOf<"input">[], outputs: Record<string, Node>): Graph {
  return { name: "test", inputs, outputs: Object.entries(outputs).map(([name, node]) => ({ name, node })) };
}

describe("evaluateNode()", () => {
  test("has a worked case for every kind of operation", () => {
    expect(kinds.filter((kind) => CASES[kind].length === 0)).toEqual(["input"]);
    for (const kind of kinds) expect(CASES[kind].every((example) => example.op.kind === kind)).toBe(true);
  });

  test.each(kinds.flatMap((kind) => CASES[kind].map((example: Case) => [kind, example.says, example] as const)))(
    "%s %s",
    (_kind, _says, { op, inputs, gives }) => {
      const { dtype, shape, data } = evaluateNode(op, inputs);
      expect({ dtype, shape, data: Array.from(data) }).toEqual(gives);
      expect(data).toBeInstanceOf(allocate(gives.dtype, 0).constructor);
    },
  );

  test("rounds each result to float32, but not the sums inside", () => {
    const third = evaluateNode({ kind: "binary", fn: "div" }, [f32([], [1]), f32([], [3])]);
    expect(third.data[0]).toBe(Math.fround(1 / 3));
    const ones = f32([3], [2 ** 24, 1, 1]); // float32 sums would lose both ones
    expect(evaluateNode({ kind: "reduce", fn: "sum", axes: [0], keepDims: false }, [ones]).data[0]).toBe(2 ** 24 + 2);
  });

  test("shares nothing with its operands", () => {
    const data = Float32Array.of(1, 2);
    const { data: result } = evaluateNode({ kind: "reshape", shape: [2, 1] }, [{ dtype: "float32", shape: [2], data }]);
    result[0] = 5;
    expect(data[0]).toBe(1);
  });

  test("names an index that leaves its axis", () => {
    const at = (index: number) => () => evaluateNode({ kind: "gather", axis: 0 }, [count(3), i32([1], [index])]);
    expect(at(3)).toThrow(new RangeError("gather: index 3 is not in [0, 3)"));
    expect(at(-1)).toThrow(new RangeError("gather: index -1 is not in [0, 3)"));
  });

  test("has no value for an input", () => {
    expect(() => evaluateNode({ kind: "input", name: "x", dtype: "float32", shape: [] }, [])).toThrow(TypeError);
  });
});

describe("interpret()", () => {
  const x = input("x", "float32", [2]);
  const third = makeNode({ kind: "constant", dtype: "float32", shape: [], data: Float32Array.of(3) });
  const quotient = makeNode({ kind: "binary", fn: "div" }, [x, third]);
  const graph = graphOf([x], { x, quotient });

  test("gives the outputs by name, in doubles by default", () => {
    expect(interpret(graph, { x: [1, 0.1] })).toEqual({
      x: Float64Array.of(1, 0.1),
      quotient: Float64Array.of(1 / 3, 0.1 / 3),
    });
  });

  test("rounds inputs and every result in float32", () => {
    expect(interpret(graph, { x: [1, 0.1] }, { precision: "float32" })).toEqual({
      x: Float64Array.of(1, Math.fround(0.1)),
      quotient: Float64Array.of(Math.fround(1 / 3), Math.fround(Math.fround(0.1) / 3)),
    });
  });

  test("takes central differences that single precision would drown", () => {
    const square = makeNode({ kind: "unary", fn: "square" }, [x]);
    const at = (value: number) => interpret(graphOf([x], { y: square }), { x: [value, 0] }).y![0]!;
    expect((at(1 + 1e-7) - at(1 - 1e-7)) / 2e-7).toBeCloseTo(2, 7);
  });

  test("makes int32 and bool of what it is fed", () => {
    const [i, b] = [input("i", "int32", [2]), input("b", "bool", [2])];
    const results = interpret(graphOf([i, b], { i, b }), { i: [2 ** 31, 1.5], b: [2, 0] });
    expect(results).toEqual({ i: Float64Array.of(LOWEST, 1), b: Float64Array.of(1, 0) });
  });

  test("evaluates a shared node once, and gives each output an array of its own", () => {
    const twice = makeNode({ kind: "binary", fn: "add" }, [quotient, quotient]);
    const results = interpret(graphOf([x], { a: twice, b: twice }), { x: [3, 6] });
    expect(results).toEqual({ a: Float64Array.of(2, 4), b: Float64Array.of(2, 4) });
    expect(results.a).not.toBe(results.b);
  });

  test("leaves its feeds alone, and asks for no input that is not used", () => {
    const fed = Float64Array.of(0.1, 0.2);
    const unused = input("unused", "float32", [5]);
    interpret(graphOf([x, unused], { quotient }), { x: fed }, { precision: "float32" });
    expect(fed).toEqual(Float64Array.of(0.1, 0.2));
  });

  test("names an input that is missing or has another size", () => {
    expect(() => interpret(graph, {})).toThrow(new RangeError('Input "x" is float32(2), got nothing'));
    expect(() => interpret(graph, { x: [1] })).toThrow(new RangeError('Input "x" is float32(2), got 1 values'));
  });
});
