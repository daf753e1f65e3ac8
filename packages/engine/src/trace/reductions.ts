import * as tf from "@tensorflow/tfjs-core";
import { sizeOf, type Node, type ReduceFunction } from "../ir/graph.js";
import type { TraceBackend } from "./backend.js";
import type { Kernel, Kernels } from "./kernel.js";

interface ReduceAttributes {
  readonly axis?: number | number[];
  readonly reductionIndices?: number | number[];
  readonly keepDims?: boolean;
}

/** Of booleans the largest is whether any is true. (tfjs' sums and products make int32 of them first.) */
const LOGICAL: Partial<Record<ReduceFunction, ReduceFunction>> = { max: "any", min: "all", any: "any", all: "all" };

function reduce(fn: ReduceFunction): Kernel {
  return (trace, { x }, { axis, reductionIndices, keepDims = false }: ReduceAttributes) => {
    const axes = axesOf(axis ?? reductionIndices, x);
    const logical = x.dtype === "bool" ? LOGICAL[fn] : undefined;
    return trace.node({ kind: "reduce", fn: logical ?? fn, axes, keepDims }, x);
  };
}

/** Booleans as int32, as tfjs counts them. */
function numeric(trace: TraceBackend, x: Node): Node {
  return x.dtype === "bool" ? trace.node({ kind: "cast", dtype: "int32" }, x) : x;
}

function arg(fn: "max" | "min"): Kernel {
  return (trace, { x }, { axis }: { axis?: number }) => {
    const flat = axis === undefined || axis === null;
    const operand = numeric(trace, flat ? trace.node({ kind: "reshape", shape: [sizeOf(x.shape)] }, x) : x);
    return trace.node({ kind: "arg", fn, axis: axesOf(axis ?? 0, operand)[0] ?? 0 }, operand);
  };
}

/** Kernels that combine elements along axes. */
export const REDUCTIONS: Kernels = {
  Sum: reduce("sum"),
  Mean: (trace, { x }, attrs: ReduceAttributes, list) => {
    const operand = x.dtype === "float32" ? x : trace.node({ kind: "cast", dtype: "float32" }, x);
    return reduce("mean")(trace, { x: operand } as never, attrs, list);
  },
  Max: reduce("max"),
  Min: reduce("min"),
  Prod: reduce("prod"),
  Any: reduce("any"),
  All: reduce("all"),
  ArgMax: arg("max"),
  ArgMin: arg("min"),
  Cumsum: (
    trace,
    { x },
    { axis, exclusive = false, reverse = false }: { axis: number; exclusive?: boolean; reverse?: boolean },
  ) => trace.node({ kind: "cumsum", axis: axesOf(axis, x)[0] ?? 0, exclusive, reverse }, numeric(trace, x)),
  Softmax: (trace, { logits }, { dim }: { dim: number }) =>
    alongLastAxis(trace, logits as Node, dim, (x) => trace.node({ kind: "softmax" }, x)),
  // x - max - log(sum(exp(x - max)))
  LogSoftmax: (trace, { logits }, { axis }: { axis: number }) => {
    const x = logits as Node;
    const axes = axesOf(axis, x);
    const reduced = (fn: ReduceFunction, of: Node): Node =>
      trace.node({ kind: "reduce", fn, axes, keepDims: true }, of);
    const shifted = trace.node({ kind: "binary", fn: "sub" }, x, reduced("max", x));
    const total = reduced("sum", trace.node({ kind: "unary", fn: "exp" }, shifted));
    return trace.node({ kind: "binary", fn: "sub" }, shifted, trace.node({ kind: "unary", fn: "log" }, total));
  },
};

/** Applies an operation of the last axis along another one. */
function alongLastAxis(trace: TraceBackend, x: Node, axis: number, apply: (x: Node) => Node): Node {
  const [target = 0] = axesOf(axis, x);
  const last = x.shape.length - 1;
  if (target === last) return apply(x);
  const swap = x.shape.map((_, i) => (i === target ? last : i === last ? target : i));
  return trace.node(
    { kind: "transpose", permutation: swap },
    apply(trace.node({ kind: "transpose", permutation: swap }, x)),
  );
}

/** Sorted non-negative axes; none given means all. */
export function axesOf(axis: number | number[] | undefined | null, x: Node): number[] {
  return tf.util.parseAxisParam(axis as number[], [...x.shape]).sort((a, b) => a - b);
}
