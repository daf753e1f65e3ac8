import { sizeOf } from "../ir/graph.js";
import type { Lowering } from "./lower.js";

export const lowerSlice: Lowering<"slice"> = (hlo, { op, shape }, [x]) => {
  if (sizeOf(shape) === 0) return hlo.filled(0, shape, x.type);
  const at = (list: readonly number[], axis: number): number => list[axis] ?? 0;
  // A step backwards is one forwards, turned round afterwards.
  const first = shape.map((size, axis) => {
    return at(op.starts, axis) + (at(op.steps, axis) < 0 ? (size - 1) * at(op.steps, axis) : 0);
  });
  const strides = op.steps.map(Math.abs);
  const limits = shape.map((size, axis) => at(first, axis) + (size - 1) * at(strides, axis) + 1);
  const whole = x.shape.every((size, axis) => size === shape[axis]);
  const cut = whole ? x : hlo.slice(x, first, limits, strides);
  return hlo.reverse(cut, op.steps.flatMap((step, axis) => (step < 0 ? [axis] : []))); // prettier-ignore
};

export const lowerPad: Lowering<"pad"> = (hlo, { op }, [x]) => hlo.pad(x, op.value, op.before, op.after);

/** Each axis as two: the repeats, and the axis itself. */
export const lowerTile: Lowering<"tile"> = (hlo, { op, shape }, [x]) => {
  const pairs = x.shape.flatMap((size, axis) => [op.repeats[axis] ?? 1, size]);
  const repeated = hlo.broadcast(x, pairs, x.shape.map((_, axis) => 2 * axis + 1)); // prettier-ignore
  return hlo.reshape(repeated, shape);
};

export const lowerSegmentSum: Lowering<"segmentSum"> = (hlo, { shape }, [x, ids]) =>
  hlo.scatterAdd(hlo.filled(0, shape, x.type), hlo.reshape(ids, [...ids.shape, 1]), x);
