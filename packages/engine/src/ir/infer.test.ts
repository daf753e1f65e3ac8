import { sizeOf, type DType, type Op, type OpKind, type Shape } from "./graph.js";
import { broadcastShapes, formatType, infer, makeNode, windowOutput, type TensorType } from "./infer.js";

const f32 = (...shape: number[]): TensorType => ({ dtype: "float32", shape });
const i32 = (...shape: number[]): TensorType => ({ dtype: "int32", shape });
const bool = (...shape: number[]): TensorType => ({ dtype: "bool", shape });

const window = { size: [3, 2], strides: [2, 1], dilations: [1, 2], pads: [1, 0, 0, 1] } as const;
const unpadded = { ...window, pads: [0, 0, 0, 0] } as const;
const reduce = (fn: "sum" | "mean" | "any", axes: readonly number[], keepDims = false): Op => ({
  kind: "reduce",
  fn,
  axes,
  keepDims,
});
const matmul = (transposeA = false, transposeB = false): Op => ({ kind: "matmul", transposeA, transposeB, alpha: 1 });
const slice = (starts: Shape, sizes: Shape, steps: Shape): Op => ({ kind: "slice", starts, sizes, steps });

/** What each kind gives. */
const GIVES = {
  input: [[{ kind: "input", name: "x", dtype: "bool", shape: [2] }, [], bool(2)]],
  constant: [[{ kind: "constant", dtype: "int32", shape: [1, 2], data: Int32Array.of(1, 2) }, [], i32(1, 2)]],
  unary: [
    [{ kind: "unary", fn: "exp" }, [f32(2)], f32(2)],
    [{ kind: "unary", fn: "neg" }, [i32(2)], i32(2)],
    [{ kind: "unary", fn: "abs" }, [i32(2)], i32(2)],
    [{ kind: "unary", fn: "sign" }, [i32(2)], i32(2)],
    [{ kind: "unary", fn: "square" }, [i32(2)], i32(2)],
    [{ kind: "unary", fn: "relu" }, [i32(2)], i32(2)],
    [{ kind: "unary", fn: "isInf" }, [f32(2)], bool(2)],
    [{ kind: "unary", fn: "not" }, [bool(2)], bool(2)],
  ],
  binary: [
    [{ kind: "binary", fn: "add" }, [i32(2, 1), i32(3)], i32(2, 3)],
    [{ kind: "binary", fn: "or" }, [bool(2), bool()], bool(2)],
  ],
  compare: [[{ kind: "compare", fn: "less" }, [i32(2, 1), i32(1, 3)], bool(2, 3)]],
  select: [[{ kind: "select" }, [bool(2, 1, 1), i32(3, 1), i32(4)], i32(2, 3, 4)]],
  cast: [[{ kind: "cast", dtype: "bool" }, [f32(2)], bool(2)]],
  reduce: [
    [reduce("sum", [0, 2]), [i32(2, 3, 4)], i32(3)],
    [reduce("mean", [0, 2], true), [f32(2, 3, 4)], f32(1, 3, 1)],
    [reduce("any", []), [bool(2)], bool(2)],
  ],
  arg: [
    [{ kind: "arg", fn: "max", axis: 1 }, [f32(2, 3, 4)], i32(2, 4)],
    [{ kind: "arg", fn: "min", axis: 0 }, [i32(1)], i32()],
  ],
  cumsum: [[{ kind: "cumsum", axis: 1, exclusive: false, reverse: false }, [i32(2, 3)], i32(2, 3)]],
  attention: [
    [{ kind: "attention", scale: 1 }, [f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 6)], f32(2, 3, 6)],
    [{ kind: "attention", scale: 1 }, [f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 6), f32(3, 1)], f32(2, 3, 6)],
  ],
  attentionGrad: (["q", "k", "v"] as const).map((of) => [
    { kind: "attentionGrad", of, scale: 1 },
    [f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 6), f32(2, 3, 6), f32(2, 3, 6), f32(1, 1, 5)],
    { q: f32(2, 3, 4), k: f32(2, 5, 4), v: f32(2, 5, 6) }[of],
  ]),
  barrier: [[{ kind: "barrier" }, [i32(2, 3), f32(4), bool()], i32(2, 3)]],
  softmax: [[{ kind: "softmax" }, [f32(3)], f32(3)]],
  rmsNorm: [[{ kind: "rmsNorm", eps: 1 }, [f32(2, 3, 4), f32(4)], f32(2, 3, 4)]],
  groupNorm: [[{ kind: "groupNorm", groups: 3, eps: 1 }, [f32(2, 4, 5, 6), f32(6), f32(6)], f32(2, 4, 5, 6)]],
  matmul: [
    [matmul(), [f32(2, 1, 3, 4), f32(5, 4, 6)], f32(2, 5, 3, 6)],
    [matmul(true, true), [f32(4, 3), f32(6, 4)], f32(3, 6)],
  ],
  // Rows: (9 + 1 - 3) / 2 + 1; columns: 8 + 1 - 2.
  conv2d: [[{ kind: "conv2d", window, groups: 2 }, [f32(5, 9, 8, 4), f32(3, 2, 2, 6)], f32(5, 4, 7, 6)]],
  conv2dInputGrad: [
    [
      { kind: "conv2dInputGrad", window, groups: 2, shape: [5, 9, 8, 4] },
      [f32(5, 4, 7, 6), f32(3, 2, 2, 6)],
      f32(5, 9, 8, 4),
    ],
  ],
  conv2dFilterGrad: [
    [
      { kind: "conv2dFilterGrad", window, groups: 2, shape: [3, 2, 2, 6] },
      [f32(5, 9, 8, 4), f32(5, 4, 7, 6)],
      f32(3, 2, 2, 6),
    ],
  ],
  patches: [[{ kind: "patches", window }, [f32(5, 9, 8, 4)], f32(5 * 4 * 7, 3 * 2 * 4)]],
  pool: [
    [{ kind: "pool", fn: "max", window }, [f32(5, 9, 8, 4)], f32(5, 4, 7, 4)],
    [{ kind: "pool", fn: "max", window: unpadded }, [f32(5, 9, 2, 4)], f32(5, 4, 0, 4)],
  ],
  poolGrad: [[{ kind: "poolGrad", fn: "avg", window }, [f32(5, 4, 7, 4), f32(5, 9, 8, 4)], f32(5, 9, 8, 4)]],
  resize: [
    [{ kind: "resize", fn: "nearest", coordinates: "halfPixel", size: [3, 7] }, [f32(5, 9, 8, 4)], f32(5, 3, 7, 4)],
  ],
  resizeGrad: [
    [{ kind: "resizeGrad", fn: "nearest", coordinates: "halfPixel", size: [9, 8] }, [f32(5, 3, 7, 4)], f32(5, 9, 8, 4)],
  ],
  concat: [[{ kind: "concat", axis: 1 }, [i32(2, 3), i32(2, 0), i32(2, 4)], i32(2, 7)]],
  slice: [
    [slice([1, 4], [1, 3], [1, -2]), [bool(2, 5)], bool(1, 3)],
    [slice([0, 4], [2, 5], [1, -1]), [f32(2, 5)], f32(2, 5)],
    [slice([7], [0], [1]), [f32(2)], f32(0)],
  ],
  pad: [[{ kind: "pad", before: [1, 0], after: [0, 2], value: 0 }, [i32(2, 3)], i32(3, 5)]],
  broadcast: [[{ kind: "broadcast", shape: [4, 2, 3] }, [i32(2, 1)], i32(4, 2, 3)]],
  tile: [[{ kind: "tile", repeats: [3, 1] }, [i32(2, 3)], i32(6, 3)]],
  transpose: [[{ kind: "transpose", permutation: [2, 0, 1] }, [i32(2, 3, 4)], i32(4, 2, 3)]],
  reshape: [[{ kind: "reshape", shape: [3, 1, 2] }, [i32(2, 3)], i32(3, 1, 2)]],
  gather: [[{ kind: "gather", axis: 1 }, [bool(2, 3, 4), i32(5, 6)], bool(2, 5, 6, 4)]],
  segmentSum: [[{ kind: "segmentSum", segments: 7 }, [i32(2, 3), i32(2)], i32(7, 3)]],
} as const satisfies Record<OpKind, readonly (readonly [Op, readonly TensorType[], TensorType])[]>;

type Refusal = readonly [says: string, op: Op, inputs: readonly TensorType[], message: string];

/** Operands that do not fit: each message shows every operand and what is wrong. */
const MISFITS: readonly Refusal[] = [
  [
    "constant: number of values",
    { kind: "constant", dtype: "float32", shape: [2, 2], data: new Float32Array(3) },
    [],
    "constant(): 3 values for shape (2, 2)",
  ],
  ["unary: no operand", { kind: "unary", fn: "exp" }, [], "unary(): operand 0 is missing"],
  [
    "binary: shapes",
    { kind: "binary", fn: "add" },
    [f32(2, 3), f32(2)],
    "binary(float32(2, 3), float32(2)): cannot broadcast (2, 3) with (2)",
  ],
  [
    "compare: shapes",
    { kind: "compare", fn: "less" },
    [i32(2, 3), i32(2, 4)],
    "compare(int32(2, 3), int32(2, 4)): cannot broadcast (2, 3) with (2, 4)",
  ],
  [
    "select: shapes",
    { kind: "select" },
    [bool(2), f32(3), f32()],
    "select(bool(2), float32(3), float32()): cannot broadcast (2) with (3)",
  ],
  ["reduce: axis", reduce("sum", [2]), [f32(2, 3)], "reduce(float32(2, 3)): axis 2 is not in [0, 2)"],
  [
    "reduce: order",
    reduce("sum", [1, 0]),
    [f32(2, 3)],
    "reduce(float32(2, 3)): axes [1, 0] are not sorted and distinct",
  ],
  [
    "reduce: twice",
    reduce("sum", [1, 1]),
    [f32(2, 3)],
    "reduce(float32(2, 3)): axes [1, 1] are not sorted and distinct",
  ],
  ["arg: axis", { kind: "arg", fn: "max", axis: 1 }, [f32(2)], "arg(float32(2)): axis 1 is not in [0, 1)"],
  ["arg: nothing", { kind: "arg", fn: "max", axis: 1 }, [f32(2, 0)], "arg(float32(2, 0)): the axis is empty"],
  [
    "cumsum: axis",
    { kind: "cumsum", axis: 1, exclusive: false, reverse: false },
    [f32(2)],
    "cumsum(float32(2)): axis 1 is not in [0, 1)",
  ],
  [
    "attention: channels",
    { kind: "attention", scale: 1 },
    [f32(2, 3, 4), f32(2, 5, 3), f32(2, 5, 6)],
    "attention(float32(2, 3, 4), float32(2, 5, 3), float32(2, 5, 6)): k should be (2, keys, 4)",
  ],
  [
    "attention: keys",
    { kind: "attention", scale: 1 },
    [f32(2, 3, 4), f32(2, 5, 4), f32(2, 6, 6)],
    "attention(float32(2, 3, 4), float32(2, 5, 4), float32(2, 6, 6)): v should be (2, 5, columns)",
  ],
  [
    "attention: no keys",
    { kind: "attention", scale: 1 },
    [f32(2, 3, 4), f32(2, 0, 4), f32(2, 0, 6)],
    "attention(float32(2, 3, 4), float32(2, 0, 4), float32(2, 0, 6)): there are no keys",
  ],
  [
    "attention: mask",
    { kind: "attention", scale: 1 },
    [f32(1, 3, 4), f32(1, 5, 4), f32(1, 5, 6), f32(2, 3, 5)],
    "attention(float32(1, 3, 4), float32(1, 5, 4), float32(1, 5, 6), float32(2, 3, 5)): the mask does not fit",
  ],
  [
    "attentionGrad: dy",
    { kind: "attentionGrad", of: "q", scale: 1 },
    [f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 6), f32(2, 3, 6), f32(2, 3, 4)],
    "attentionGrad(float32(2, 3, 4), float32(2, 5, 4), float32(2, 5, 6), float32(2, 3, 6), float32(2, 3, 4)): " +
      "operand 4 should be float32(2, 3, 6)",
  ],
  ["barrier: alone", { kind: "barrier" }, [f32(2)], "barrier(float32(2)): there is nothing to wait for"],
  ["softmax: scalar", { kind: "softmax" }, [f32()], "softmax(float32()): needs at least one axis"],
  [
    "rmsNorm: weight",
    { kind: "rmsNorm", eps: 1 },
    [f32(2, 3), f32(2)],
    "rmsNorm(float32(2, 3), float32(2)): operand 1 should be (3)",
  ],
  [
    "rmsNorm: scalar",
    { kind: "rmsNorm", eps: 1 },
    [f32(), f32()],
    "rmsNorm(float32(), float32()): needs at least one axis",
  ],
  [
    "groupNorm: shift",
    { kind: "groupNorm", groups: 2, eps: 1 },
    [f32(1, 1, 1, 4), f32(4), f32(1, 4)],
    "groupNorm(float32(1, 1, 1, 4), float32(4), float32(1, 4)): operand 2 should be (4)",
  ],
  [
    "groupNorm: groups",
    { kind: "groupNorm", groups: 3, eps: 1 },
    [f32(1, 1, 1, 4), f32(4), f32(4)],
    "groupNorm(float32(1, 1, 1, 4), float32(4), float32(4)): 3 groups do not divide 4 channels",
  ],
  [
    "groupNorm: rank",
    { kind: "groupNorm", groups: 2, eps: 1 },
    [f32(1, 1, 4), f32(4), f32(4)],
    "groupNorm(float32(1, 1, 4), float32(4), float32(4)): operand 0 has rank 3, expected 4 (NHWC)",
  ],
  [
    "matmul: rank",
    matmul(),
    [f32(2, 3), f32(3)],
    "matmul(float32(2, 3), float32(3)): both operands need at least two axes",
  ],
  [
    "matmul: inner sizes",
    matmul(),
    [f32(2, 3), f32(4, 5)],
    "matmul(float32(2, 3), float32(4, 5)): inner sizes 3 and 4 differ",
  ],
  [
    "matmul: inner sizes, transposed",
    matmul(true, true),
    [f32(2, 3), f32(3, 4)],
    "matmul(float32(2, 3), float32(3, 4)): inner sizes 2 and 4 differ",
  ],
  [
    "matmul: batches",
    matmul(),
    [f32(2, 3, 4), f32(3, 4, 5)],
    "matmul(float32(2, 3, 4), float32(3, 4, 5)): cannot broadcast (2) with (3)",
  ],
  [
    "conv2d: rank",
    { kind: "conv2d", window, groups: 1 },
    [f32(9, 8, 4), f32(3, 2, 4, 6)],
    "conv2d(float32(9, 8, 4), float32(3, 2, 4, 6)): operand 0 has rank 3, expected 4 (NHWC)",
  ],
  [
    "conv2d: window",
    { kind: "conv2d", window, groups: 1 },
    [f32(1, 9, 8, 4), f32(3, 3, 4, 6)],
    "conv2d(float32(1, 9, 8, 4), float32(3, 3, 4, 6)): window is 3 x 2",
  ],
  [
    "conv2d: input channels",
    { kind: "conv2d", window, groups: 2 },
    [f32(1, 9, 8, 4), f32(3, 2, 4, 6)],
    "conv2d(float32(1, 9, 8, 4), float32(3, 2, 4, 6)): 2 groups do not fit 4 -> 6 channels",
  ],
  [
    "conv2d: bias",
    { kind: "conv2d", window, groups: 1 },
    [f32(1, 9, 8, 4), f32(3, 2, 4, 6), f32(4)],
    "conv2d(float32(1, 9, 8, 4), float32(3, 2, 4, 6), float32(4)): operand 2 should be (6)",
  ],
  [
    "conv2d: output channels",
    { kind: "conv2d", window, groups: 2 },
    [f32(1, 9, 8, 4), f32(3, 2, 2, 5)],
    "conv2d(float32(1, 9, 8, 4), float32(3, 2, 2, 5)): 2 groups do not fit 4 -> 5 channels",
  ],
  [
    "conv2d: image",
    { kind: "conv2d", window: unpadded, groups: 1 },
    [f32(1, 9, 1, 4), f32(3, 2, 4, 6)],
    "conv2d(float32(1, 9, 1, 4), float32(3, 2, 4, 6)): window 3 x 2 does not fit into the padded image",
  ],
  [
    "poolGrad: dy",
    { kind: "poolGrad", fn: "max", window },
    [f32(5, 4, 8, 4), f32(5, 9, 8, 4)],
    "poolGrad(float32(5, 4, 8, 4), float32(5, 9, 8, 4)): dy should be (5, 4, 7, 4)",
  ],
  [
    "resize: rank",
    { kind: "resize", fn: "nearest", coordinates: "halfPixel", size: [1, 1] },
    [f32(2, 2)],
    "resize(float32(2, 2)): operand 0 has rank 2, expected 4 (NHWC)",
  ],
  [
    "concat: other sizes",
    { kind: "concat", axis: 1 },
    [f32(2, 3), f32(3, 3)],
    "concat(float32(2, 3), float32(3, 3)): operand 1 does not fit operand 0 beside axis 1",
  ],
  [
    "concat: rank",
    { kind: "concat", axis: 0 },
    [f32(2, 3), f32(2)],
    "concat(float32(2, 3), float32(2)): operand 1 does not fit operand 0 beside axis 0",
  ],
  [
    "concat: axis",
    { kind: "concat", axis: 2 },
    [f32(2, 3), f32(2, 3)],
    "concat(float32(2, 3), float32(2, 3)): axis 2 is not in [0, 2)",
  ],
  ["concat: nothing", { kind: "concat", axis: 0 }, [], "concat(): operand 0 is missing"],
  ["slice: rank", slice([0], [1], [1]), [f32(2, 3)], "slice(float32(2, 3)): one number per axis"],
  ["slice: start", slice([-1], [1], [1]), [f32(4)], "slice(float32(4)): axis 0: 1 from -1 by 1 leaves [0, 4)"],
  ["slice: end", slice([1], [3], [2]), [f32(5)], "slice(float32(5)): axis 0: 3 from 1 by 2 leaves [0, 5)"],
  ["slice: backwards", slice([3], [3], [-2]), [f32(5)], "slice(float32(5)): axis 0: 3 from 3 by -2 leaves [0, 5)"],
  [
    "slice: start behind the end",
    slice([5], [2], [-1]),
    [f32(5)],
    "slice(float32(5)): axis 0: 2 from 5 by -1 leaves [0, 5)",
  ],
  ["slice: standing", slice([1], [3], [0]), [f32(5)], "slice(float32(5)): axis 0: 3 from 1 by 0 leaves [0, 5)"],
  [
    "pad: rank",
    { kind: "pad", before: [1], after: [1, 1], value: 0 },
    [f32(2, 3)],
    "pad(float32(2, 3)): one number per axis",
  ],
  [
    "pad: negative",
    { kind: "pad", before: [0], after: [-1], value: 0 },
    [f32(2)],
    "pad(float32(2)): padding is negative",
  ],
  [
    "broadcast: to smaller",
    { kind: "broadcast", shape: [1, 3] },
    [f32(2, 3)],
    "broadcast(float32(2, 3)): does not broadcast to (1, 3)",
  ],
  [
    "broadcast: to other",
    { kind: "broadcast", shape: [2, 4] },
    [f32(2, 3)],
    "broadcast(float32(2, 3)): cannot broadcast (2, 3) with (2, 4)",
  ],
  ["tile: rank", { kind: "tile", repeats: [2] }, [f32(2, 3)], "tile(float32(2, 3)): one number of repeats per axis"],
  [
    "transpose: twice",
    { kind: "transpose", permutation: [0, 0] },
    [f32(2, 3)],
    "transpose(float32(2, 3)): [0, 0] does not permute 2 axes",
  ],
  [
    "transpose: rank",
    { kind: "transpose", permutation: [0] },
    [f32(2, 3)],
    "transpose(float32(2, 3)): [0] does not permute 2 axes",
  ],
  [
    "reshape: size",
    { kind: "reshape", shape: [2, 4] },
    [f32(2, 3)],
    "reshape(float32(2, 3)): does not have the size of (2, 4)",
  ],
  [
    "gather: axis",
    { kind: "gather", axis: 2 },
    [f32(2, 3), i32(1)],
    "gather(float32(2, 3), int32(1)): axis 2 is not in [0, 2)",
  ],
  [
    "segmentSum: ids",
    { kind: "segmentSum", segments: 2 },
    [f32(2, 3), i32(3)],
    "segmentSum(float32(2, 3), int32(3)): one id per row",
  ],
];

/** Operands of a wrong dtype. */
const WRONG_DTYPES: readonly Refusal[] = [
  ["unary on int32", { kind: "unary", fn: "exp" }, [i32(2)], "unary: operand 0 is int32(2), expected float32"],
  ["unary on bool", { kind: "unary", fn: "neg" }, [bool(2)], "unary: operand 0 is bool(2), expected float32 or int32"],
  ["isNaN of int32", { kind: "unary", fn: "isNaN" }, [i32(2)], "unary: operand 0 is int32(2), expected float32"],
  ["not of float32", { kind: "unary", fn: "not" }, [f32(2)], "unary: operand 0 is float32(2), expected bool"],
  [
    "binary of two dtypes",
    { kind: "binary", fn: "add" },
    [f32(2), i32(2)],
    "binary: operand 1 is int32(2), expected float32",
  ],
  [
    "arithmetic on bool",
    { kind: "binary", fn: "max" },
    [bool(2), bool(2)],
    "binary: operand 0 is bool(2), expected float32 or int32",
  ],
  ["logic on int32", { kind: "binary", fn: "and" }, [i32(2), i32(2)], "binary: operand 0 is int32(2), expected bool"],
  [
    "compare of two dtypes",
    { kind: "compare", fn: "less" },
    [f32(), i32()],
    "compare: operand 1 is int32(), expected float32",
  ],
  ["select by int32", { kind: "select" }, [i32(), f32(), f32()], "select: operand 0 is int32(), expected bool"],
  [
    "select of two dtypes",
    { kind: "select" },
    [bool(), f32(), i32()],
    "select: operand 2 is int32(), expected float32",
  ],
  ["sum of bool", reduce("sum", [0]), [bool(2)], "reduce: operand 0 is bool(2), expected float32 or int32"],
  ["mean of int32", reduce("mean", [0]), [i32(2)], "reduce: operand 0 is int32(2), expected float32"],
  ["any of int32", reduce("any", [0]), [i32(2)], "reduce: operand 0 is int32(2), expected bool"],
  [
    "arg of bool",
    { kind: "arg", fn: "max", axis: 0 },
    [bool(2)],
    "arg: operand 0 is bool(2), expected float32 or int32",
  ],
  ["softmax of int32", { kind: "softmax" }, [i32(2)], "softmax: operand 0 is int32(2), expected float32"],
  ["matmul of int32", matmul(), [f32(2, 2), i32(2, 2)], "matmul: operand 1 is int32(2, 2), expected float32"],
  [
    "conv2d of int32",
    { kind: "conv2d", window, groups: 1 },
    [i32(1, 9, 9, 1), f32(3, 2, 1, 1)],
    "conv2d: operand 0 is int32(1, 9, 9, 1), expected float32",
  ],
  [
    "concat of two dtypes",
    { kind: "concat", axis: 0 },
    [f32(2), i32(2)],
    "concat: operand 1 is int32(2), expected float32",
  ],
  [
    "gather by float32",
    { kind: "gather", axis: 0 },
    [f32(2), f32(2)],
    "gather: operand 1 is float32(2), expected int32",
  ],
  [
    "segmentSum by float32",
    { kind: "segmentSum", segments: 1 },
    [f32(2), f32(2)],
    "segmentSum: operand 1 is float32(2), expected int32",
  ],
];

describe("infer()", () => {
  type Example = readonly [Op, readonly TensorType[], TensorType];
  test.each(Object.entries<readonly Example[]>(GIVES))("%s gives dtype and shape", (kind, examples) => {
    expect(examples.length).toBeGreaterThan(0);
    for (const [op, inputs, result] of examples) {
      expect(op.kind).toBe(kind);
      const { dtype, shape } = infer(op, inputs);
      expect({ dtype, shape }).toEqual(result);
    }
  });

  test.each(MISFITS)("refuses what does not fit: %s", (_says, op, inputs, message) => {
    expect(() => infer(op, inputs)).toThrow(new RangeError(message));
  });

  test.each(WRONG_DTYPES)("refuses a dtype: %s", (_says, op, inputs, message) => {
    const refusal = () => infer(op, inputs);
    expect(refusal).toThrow(TypeError);
    expect(refusal).toThrow(new TypeError(message));
  });
});

describe("broadcastShapes()", () => {
  test.each<[Shape, Shape, Shape]>([
    [[], [], []],
    [[2, 3], [], [2, 3]],
    [[2, 1], [3], [2, 3]],
    [
      [1, 3],
      [2, 1],
      [2, 3],
    ],
    [
      [0, 3],
      [1, 1],
      [0, 3],
    ],
    [[1], [0], [0]],
  ])("(%j, %j) is %j", (a, b, shape) => {
    expect(broadcastShapes(a, b)).toEqual(shape);
    expect(broadcastShapes(b, a)).toEqual(shape);
  });
});

describe("windowOutput()", () => {
  test("counts the places of a window", () => {
    expect(windowOutput(window, 9, 8)).toEqual([4, 7]);
    expect(windowOutput({ ...window, dilations: [3, 1] }, 9, 8)).toEqual([2, 8]); // a dilated window is 7 rows high
    expect(windowOutput({ size: [1, 1], strides: [1, 1], dilations: [1, 1], pads: [1, 2, 3, 4] }, 10, 10)).toEqual([
      13, 17,
    ]);
    expect(windowOutput({ size: [2, 2], strides: [1, 1], dilations: [1, 1], pads: [0, 0, 0, 0] }, 1, 5)).toEqual([
      0, 4,
    ]);
  });
});

describe("makeNode()", () => {
  test("takes its type from the operation, and an id above those of its operands", () => {
    const x = makeNode({ kind: "input", name: "x", dtype: "float32", shape: [2, 3] });
    const y = makeNode({ kind: "reduce", fn: "sum", axes: [0], keepDims: false }, [x], "loss/sum");
    expect(y).toEqual({ id: y.id, op: y.op, inputs: [x], dtype: "float32", shape: [3], scope: "loss/sum" });
    expect(y.id).toBeGreaterThan(x.id);
    expect(x.scope).toBe("");
  });
});

test("formatType() shows dtype and sizes", () => {
  const types: DType[] = ["float32", "bool"];
  expect(types.map((dtype, i) => formatType({ dtype, shape: i ? [] : [2, sizeOf([3])] }))).toEqual([
    "float32(2, 3)",
    "bool()",
  ]);
});
