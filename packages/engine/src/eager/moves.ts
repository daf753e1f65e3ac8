import * as tf from "@tensorflow/tfjs-core";
import { kernel, sizes, type EagerOp } from "./op.js";

export const concat: EagerOp<"concat"> = ({ op }, inputs) =>
  inputs.length === 1 ? inputs[0]! : tf.concat([...inputs], op.axis);

/** Axes that run backwards are turned round first: then all steps are positive. */
export const slice: EagerOp<"slice"> = ({ op: { starts, sizes: counts, steps }, shape }, [x]) => {
  if (counts.includes(0)) return tf.zeros(sizes(shape), x!.dtype);
  const backwards = steps.flatMap((step, axis) => (step < 0 ? [axis] : []));
  const turned = backwards.length > 0 ? kernel("Reverse", { x: x! }, { dims: backwards }) : x!;
  const begin = starts.map((start, axis) => (steps[axis]! < 0 ? x!.shape[axis]! - 1 - start : start));
  if (steps.every((step) => Math.abs(step) === 1))
    return kernel("Slice", { x: turned }, { begin, size: sizes(counts) });
  const strides = steps.map(Math.abs);
  const end = begin.map((start, axis) => start + (counts[axis]! - 1) * strides[axis]! + 1);
  const masks = { beginMask: 0, endMask: 0, ellipsisMask: 0, newAxisMask: 0, shrinkAxisMask: 0 };
  return kernel("StridedSlice", { x: turned }, { begin, end, strides, ...masks });
};

export const pad: EagerOp<"pad"> = ({ op, dtype }, [x]) => {
  const paddings = op.before.map((before, axis): [number, number] => [before, op.after[axis]!]);
  if (dtype !== "bool") return kernel("PadV2", { x: x! }, { paddings, constantValue: op.value });
  return tf.cast(kernel("PadV2", { x: tf.cast(x!, "int32") }, { paddings, constantValue: op.value }), "bool");
};

export const broadcast: EagerOp<"broadcast"> = ({ op: { shape } }, [x]) => {
  const padded = tf.reshape(x!, [...Array.from({ length: shape.length - x!.rank }, () => 1), ...x!.shape]);
  const reps = shape.map((size, axis) => (padded.shape[axis] === size ? 1 : size));
  return reps.every((n) => n === 1) ? padded : tf.tile(padded, reps);
};

export const tile: EagerOp<"tile"> = ({ op }, [x]) => tf.tile(x!, sizes(op.repeats));

export const transpose: EagerOp<"transpose"> = ({ op }, [x]) =>
  kernel("Transpose", { x: x! }, { perm: sizes(op.permutation) });

export const reshape: EagerOp<"reshape"> = ({ op }, [x]) => tf.reshape(x!, sizes(op.shape));

export const gather: EagerOp<"gather"> = ({ op }, [x, indices]) => tf.gather(x!, indices as tf.Tensor1D, op.axis);

/** One row more than asked for takes the rows whose id is outside. */
export const segmentSum: EagerOp<"segmentSum"> = ({ op: { segments }, shape }, [x, ids]) => {
  const inside = tf.logicalAnd(
    tf.greaterEqual(ids!, tf.scalar(0, "int32")),
    tf.less(ids!, tf.scalar(segments, "int32")),
  );
  const rows = tf.where(inside, ids!, tf.fill(ids!.shape, segments, "int32")) as tf.Tensor1D;
  const sums = kernel("UnsortedSegmentSum", { x: x!, segmentIds: rows }, { numSegments: segments + 1 });
  return tf.slice(
    sums,
    shape.map(() => 0),
    sizes(shape),
  );
};
