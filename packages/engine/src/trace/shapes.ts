import * as tf from "@tensorflow/tfjs-core";
import { sizeOf, type DType, type Node, type Shape } from "../ir/graph.js";
import { dtypeOf, resolveShape, TraceError, type TraceBackend } from "./backend.js";
import { callSite } from "./call-site.js";
import type { Kernel, Kernels } from "./kernel.js";
import { axesOf } from "./reductions.js";

/** Kernels that move elements, and those that make tensors from numbers. */
export const SHAPES: Kernels = {
  Reshape: (trace, { x }, { shape }: { shape: number[] }) =>
    trace.node({ kind: "reshape", shape: resolveShape(shape, x.shape) }, x),
  ExpandDims: (trace, { input }, { dim }: { dim: number }) => {
    const at = dim < 0 ? dim + input.shape.length + 1 : dim;
    return trace.node({ kind: "reshape", shape: [...input.shape.slice(0, at), 1, ...input.shape.slice(at)] }, input);
  },
  Transpose: (trace, { x }, { perm }: { perm: number[] }) =>
    trace.node({ kind: "transpose", permutation: [...perm] }, x),
  BroadcastTo: (trace, { x }, { shape }: { shape: number[] }) =>
    trace.node({ kind: "broadcast", shape: [...shape] }, x),
  Tile: (trace, { x }, { reps }: { reps: number[] }) => trace.node({ kind: "tile", repeats: [...reps] }, x),

  Concat: (trace, _inputs, { axis }: { axis: number }, list) => {
    const [first] = list;
    if (first === undefined) throw new RangeError("Concat needs at least one tensor");
    const full = list.filter((x) => sizeOf(x.shape) > 0);
    if (full.length === 1 && full[0]) return full[0];
    return trace.node({ kind: "concat", axis: axesOf(axis, first)[0] ?? 0 }, ...(full.length > 0 ? full : list));
  },
  Pack: (trace, _inputs, { axis }: { axis: number }, list) => {
    const rank = (list[0]?.shape.length ?? 0) + 1;
    const at = axis < 0 ? axis + rank : axis;
    const expanded = list.map((x) =>
      trace.node({ kind: "reshape", shape: [...x.shape.slice(0, at), 1, ...x.shape.slice(at)] }, x),
    );
    return trace.node({ kind: "concat", axis: at }, ...expanded);
  },
  Unpack: (trace, inputs, { axis }: { axis: number }) => {
    const value = inputs["value"] as Node;
    const [at = 0] = axesOf(axis, value);
    return Array.from({ length: value.shape[at] ?? 0 }, (_, i) => {
      const shape = value.shape.filter((_, d) => d !== at);
      return trace.node({ kind: "reshape", shape }, sliceAxis(trace, value, at, i, 1));
    });
  },
  SplitV: (trace, { x }, { numOrSizeSplits, axis }: { numOrSizeSplits: number | number[]; axis: number }) => {
    const [at = 0] = axesOf(axis, x);
    const sizes = tf.backend_util.prepareSplitSize({ shape: [...x.shape] } as tf.Tensor, numOrSizeSplits, at);
    let start = 0;
    return sizes.map((size) => sliceAxis(trace, x, at, (start += size) - size, size));
  },
  Slice: (trace, { x }, { begin, size }: { begin: number | number[]; size: number | number[] }) => {
    const parsed = tf.slice_util.parseSliceParams({ shape: [...x.shape] } as tf.Tensor, begin, size);
    const [starts, sizes] = parsed as [number[], number[]];
    return trace.node({ kind: "slice", starts, sizes, steps: starts.map(() => 1) }, x);
  },
  StridedSlice: (trace, { x }, attrs: Parameters<typeof stridedSlice>[2]) => stridedSlice(trace, x, attrs),
  Reverse: (trace, { x }, { dims }: { dims: number[] }) => {
    const axes = axesOf(dims, x);
    const flipped = (axis: number, size: number): boolean => axes.includes(axis) && size > 0;
    return trace.node(
      {
        kind: "slice",
        starts: x.shape.map((size, axis) => (flipped(axis, size) ? size - 1 : 0)),
        sizes: x.shape,
        steps: x.shape.map((size, axis) => (flipped(axis, size) ? -1 : 1)),
      },
      x,
    );
  },
  PadV2: (trace, { x }, { paddings, constantValue = 0 }: { paddings: [number, number][]; constantValue?: number }) =>
    trace.node(
      { kind: "pad", before: paddings.map(([n]) => n), after: paddings.map(([, n]) => n), value: constantValue },
      x,
    ),
  MirrorPad: (trace, { x }, { paddings, mode }: { paddings: [number, number][]; mode: "reflect" | "symmetric" }) =>
    paddings.reduce((padded, [before, after], axis) => mirror(trace, padded, axis, before, after, mode), x),

  GatherV2: (trace, { x, indices }, { axis, batchDims }: { axis: number; batchDims: number }) => {
    if (batchDims)
      throw new TraceError(`GatherV2 with batchDims ${batchDims} cannot be compiled; called at ${callSite()}`);
    return trace.node({ kind: "gather", axis: axesOf(axis, x)[0] ?? 0 }, x, indices);
  },
  UnsortedSegmentSum: (trace, inputs, { numSegments }: { numSegments: number }) =>
    trace.node({ kind: "segmentSum", segments: numSegments }, inputs.x, inputs["segmentIds"] as Node),
  OneHot: (
    trace,
    { indices },
    { dtype, depth, onValue, offValue }: { dtype: tf.DataType; depth: number; onValue: number; offValue: number },
  ) => {
    const type = dtypeOf(dtype);
    const classes = trace.constant(
      Int32Array.from({ length: depth }, (_, i) => i),
      [depth],
      "int32",
    );
    const column = trace.node({ kind: "reshape", shape: [...indices.shape, 1] }, indices);
    const hit = trace.node({ kind: "compare", fn: "equal" }, column, classes);
    return trace.node({ kind: "select" }, hit, trace.scalar(onValue, type), trace.scalar(offValue, type));
  },
  DepthToSpace: (trace, { x }, { blockSize, dataFormat }: { blockSize: number; dataFormat: string }) => {
    if (dataFormat !== "NHWC")
      throw new TraceError(`DepthToSpace in ${dataFormat} cannot be compiled; called at ${callSite()}`);
    const [N = 0, H = 0, W = 0, C = 0] = x.shape;
    const depth = C / blockSize ** 2;
    const split = trace.node({ kind: "reshape", shape: [N, H, W, blockSize, blockSize, depth] }, x);
    const moved = trace.node({ kind: "transpose", permutation: [0, 1, 3, 2, 4, 5] }, split);
    return trace.node({ kind: "reshape", shape: [N, H * blockSize, W * blockSize, depth] }, moved);
  },

  Fill: (trace, _inputs, { shape, value, dtype }: { shape: number[]; value: number; dtype?: tf.DataType }) =>
    trace.filled(value, shape, dtypeOf(dtype ?? "float32")),
  ZerosLike: like(0),
  OnesLike: like(1),
  Range: (
    trace,
    _inputs,
    { start, stop, step, dtype }: { start: number; stop: number; step: number; dtype?: tf.DataType },
  ) => {
    const type: DType = dtypeOf(dtype ?? "float32");
    const values = Array.from({ length: Math.max(0, Math.ceil((stop - start) / step)) }, (_, i) => start + i * step);
    return trace.constant(
      type === "int32" ? Int32Array.from(values) : Float32Array.from(values),
      [values.length],
      type,
    );
  },
  LinSpace: (trace, _inputs, { start, stop, num }: { start: number; stop: number; num: number }) => {
    const step = num > 1 ? (stop - start) / (num - 1) : 0;
    return trace.constant(
      Float32Array.from({ length: num }, (_, i) => start + i * step),
      [num],
      "float32",
    );
  },
};

function like(value: number): Kernel {
  return (trace, { x }) => trace.filled(value, x.shape, x.dtype);
}

function sliceAxis(trace: TraceBackend, x: Node, axis: number, start: number, size: number): Node {
  const at = (d: number, value: number, other: number): number => (d === axis ? value : other);
  return trace.node(
    {
      kind: "slice",
      starts: x.shape.map((_, d) => at(d, start, 0)),
      sizes: x.shape.map((full, d) => at(d, size, full)),
      steps: x.shape.map(() => 1),
    },
    x,
  );
}

function stridedSlice(
  trace: TraceBackend,
  x: Node,
  attrs: {
    begin: number[];
    end: number[];
    strides: number[];
    beginMask: number;
    endMask: number;
    ellipsisMask: number;
    newAxisMask: number;
    shrinkAxisMask: number;
  },
): Node {
  const info = tf.slice_util.sliceInfo(
    [...x.shape],
    attrs.begin,
    attrs.end,
    attrs.strides,
    attrs.beginMask,
    attrs.endMask,
    attrs.ellipsisMask,
    attrs.newAxisMask,
    attrs.shrinkAxisMask,
  );
  const sizes: Shape = info.begin.map((begin, axis) => {
    const [end = 0, step = 1] = [info.end[axis], info.strides[axis]];
    return Math.max(0, Math.ceil((end - begin) / step));
  });
  const sliced = trace.node({ kind: "slice", starts: info.begin, sizes, steps: info.strides }, x);
  return trace.node({ kind: "reshape", shape: info.finalShape }, sliced);
}

function mirror(
  trace: TraceBackend,
  x: Node,
  axis: number,
  before: number,
  after: number,
  mode: "reflect" | "symmetric",
): Node {
  if (before === 0 && after === 0) return x;
  const size = x.shape[axis] ?? 0;
  const skip = mode === "reflect" ? 1 : 0; // whether the edge itself is left out
  const side = (start: number, count: number): Node[] =>
    count === 0
      ? []
      : [
          trace.node(
            {
              kind: "slice",
              starts: x.shape.map((_, d) => (d === axis ? start : 0)),
              sizes: x.shape.map((full, d) => (d === axis ? count : full)),
              steps: x.shape.map((_, d) => (d === axis ? -1 : 1)),
            },
            x,
          ),
        ];
  return trace.node({ kind: "concat", axis }, ...side(before - 1 + skip, before), x, ...side(size - 1 - skip, after));
}
