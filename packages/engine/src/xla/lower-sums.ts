import { sizeOf, type ReduceFunction, type Shape } from "../ir/graph.js";
import { type HloBuilder, type Reducer, type Value } from "./builder.js";
import type { Lowering } from "./lower.js";

const REDUCE = {
  sum: "add",
  mean: "add",
  sumSquare: "add",
  max: "maximum",
  min: "minimum",
  prod: "multiply",
  any: "or",
  all: "and",
} as const satisfies Record<ReduceFunction, Reducer>;

export const lowerReduce: Lowering<"reduce"> = (hlo, { op, shape }, [x]) => {
  const terms = op.fn === "sumSquare" ? hlo.map("multiply", x, x) : x;
  const sum = hlo.reduce(REDUCE[op.fn], terms, op.axes);
  const count = sizeOf(op.axes.map((axis) => x.shape[axis] ?? 1));
  return hlo.reshape(op.fn === "mean" && count !== 1 ? hlo.mapScalar("divide", sum, count) : sum, shape);
};

/**
 * The least position of what is as large as the largest. NaN is never chosen, but where it comes first: as in a loop
 * that begins with the first element, and goes on to each that is larger.
 */
export const lowerArg: Lowering<"arg"> = (hlo, { op }, [x]) => {
  const [best, worst, reducer] = op.fn === "max" ? [Infinity, -Infinity, "maximum" as const] : [-Infinity, Infinity, "minimum" as const]; // prettier-ignore
  const positions = hlo.iota(x.shape, op.axis);
  let values = x;
  if (x.type === "f32") {
    const first = hlo.compareScalar("EQ", positions, 0);
    const [high, low] = [hlo.filled(best, x.shape, "f32"), hlo.filled(worst, x.shape, "f32")];
    values = hlo.select(hlo.compare("NE", x, x), hlo.select(first, high, low), x);
  }
  const axes = x.shape.flatMap((_, i) => (i === op.axis ? [] : [i]));
  const extreme = hlo.broadcast(hlo.reduce(reducer, values, [op.axis]), x.shape, axes);
  const none = hlo.filled(2 ** 31 - 1, x.shape, "i32");
  return hlo.reduce("minimum", hlo.select(hlo.compare("EQ", values, extreme), positions, none), [op.axis]);
};

/** Each sum is that of a window as long as the axis, which begins or ends here; XLA knows how to share their work. */
export const lowerCumsum: Lowering<"cumsum"> = (hlo, { op }, [x]) => {
  const length = x.shape[op.axis] ?? 0;
  if (sizeOf(x.shape) === 0) return x;
  const along = <T>(here: T, elsewhere: T): T[] => x.shape.map((_, axis) => (axis === op.axis ? here : elsewhere));
  const window: readonly [number, number] = op.reverse ? [0, length - 1] : [length - 1, 0];
  const sums = hlo.reduceWindow("add", x, { size: along(length, 1), padding: along(window, [0, 0]) });
  if (!op.exclusive) return sums;
  const [into, out] = [along(1, 0), along(-1, 0)];
  return op.reverse ? hlo.pad(sums, 0, out, into) : hlo.pad(sums, 0, into, out);
};

export const lowerSoftmax: Lowering<"softmax"> = (hlo, { shape }, [x]) => {
  const [last, axes] = [shape.length - 1, leadingAxes(shape)];
  const largest = hlo.broadcast(hlo.reduce("maximum", x, [last]), shape, axes);
  const powers = hlo.map("exponential", hlo.map("subtract", x, largest));
  return hlo.map("divide", powers, hlo.broadcast(hlo.reduce("add", powers, [last]), shape, axes));
};

export const lowerRmsNorm: Lowering<"rmsNorm"> = (hlo, { op, shape }, [x, weight]) => {
  const power = mean(hlo, hlo.map("multiply", x, x), [shape.length - 1]);
  const inverse = hlo.map("rsqrt", hlo.mapScalar("add", power, op.eps));
  const normed = hlo.map("multiply", x, hlo.broadcast(inverse, shape, leadingAxes(shape)));
  return hlo.map("multiply", normed, hlo.broadcast(weight, shape));
};

export const lowerGroupNorm: Lowering<"groupNorm"> = (hlo, { op, shape }, [x, scale, shift]) => {
  const [N = 0, H = 0, W = 0, C = 0] = shape;
  const grouped = hlo.reshape(x, [N, H * W, op.groups, C / op.groups]);
  const overGroups = (statistic: Value): Value => hlo.broadcast(statistic, grouped.shape, [0, 2]); // (N, groups)
  const centered = hlo.map("subtract", grouped, overGroups(mean(hlo, grouped, [1, 3])));
  const variance = mean(hlo, hlo.map("multiply", centered, centered), [1, 3]);
  const inverse = hlo.map("rsqrt", hlo.mapScalar("add", variance, op.eps));
  const normed = hlo.reshape(hlo.map("multiply", centered, overGroups(inverse)), shape);
  return hlo.map("add", hlo.map("multiply", normed, hlo.broadcast(scale, shape)), hlo.broadcast(shift, shape));
};

function mean(hlo: HloBuilder, x: Value, axes: readonly number[]): Value {
  return hlo.mapScalar("divide", hlo.reduce("add", x, axes), sizeOf(axes.map((axis) => x.shape[axis] ?? 1)));
}

/** All axes but the last. */
const leadingAxes = (shape: Shape): number[] => shape.slice(0, -1).map((_, axis) => axis);
