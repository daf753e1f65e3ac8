import * as tf from "@tensorflow/tfjs-core";
import { windowOutput } from "../ir/infer.js";
import type { Node, Window2D } from "../ir/graph.js";
import { resizeWeights } from "../ir/resize.js";
import { kernel, operand, sizes, type EagerOp } from "./op.js";

/** Padding is made beforehand: TensorFlow's gradients know none of their own but the two that have names. */
const VALID = { pad: "valid", dataFormat: "NHWC", dimRoundingMode: "floor" } as const;

type Dims4 = readonly [number, number, number, number];
const dims4 = (node: Node): Dims4 => node.shape as Dims4;

/** Rows or columns that a window reaches over. */
const reach = ({ size, dilations }: Window2D, axis: 0 | 1): number => (size[axis] - 1) * dilations[axis] + 1;

/** Whether the padding is the one that TensorFlow calls "same": then it needs none made beforehand. */
function isSame(window: Window2D, H: number, W: number): boolean {
  const [down, across] = windowOutput(window, H, W);
  const { strides, pads } = window;
  const fits = (axis: 0 | 1, size: number, count: number): boolean => {
    const total = Math.max(0, (count - 1) * strides[axis] + reach(window, axis) - size);
    const before = Math.floor(total / 2);
    return (
      count === Math.ceil(size / strides[axis]) && pads[2 * axis] === before && pads[2 * axis + 1] === total - before
    );
  };
  return fits(0, H, down) && fits(1, W, across);
}

/** How an image is padded, and what a convolution is told of it. */
function paddingOf(
  window: Window2D,
  [N, H, W, C]: Dims4,
): { pad: "same" | "valid"; shape: number[]; offset: number[] } {
  if (isSame(window, H, W)) return { pad: "same", shape: [N, H, W, C], offset: [0, 0, 0, 0] };
  const [top, bottom, left, right] = window.pads;
  return { pad: "valid", shape: [N, H + top + bottom, W + left + right, C], offset: [0, top, left, 0] };
}

function padded(x: tf.Tensor, window: Window2D, value = 0): tf.Tensor {
  const [top, bottom, left, right] = window.pads;
  if (window.pads.every((n) => n === 0)) return x;
  const paddings = [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ];
  return kernel("PadV2", { x }, { paddings, constantValue: value });
}

/** A filter with zeros between its rows and columns, as far apart as its dilations say. */
function spread(filter: tf.Tensor, window: Window2D): tf.Tensor {
  const [h, w] = window.size;
  const [down, across] = window.dilations;
  if (down === 1 && across === 1) return filter;
  const [, , I, O] = filter.shape as [number, number, number, number];
  const apart = kernel(
    "PadV2",
    { x: tf.reshape(filter, [h, 1, w, 1, I * O]) },
    {
      paddings: [
        [0, 0],
        [0, down - 1],
        [0, 0],
        [0, across - 1],
        [0, 0],
      ],
      constantValue: 0,
    },
  );
  const whole = tf.reshape(apart, [h * down, w * across, I, O]);
  return tf.slice(whole, [0, 0, 0, 0], [reach(window, 0), reach(window, 1), I, O]);
}

const strided = (window: Window2D): Window2D => ({
  ...window,
  size: [reach(window, 0), reach(window, 1)],
  dilations: [1, 1],
});

/** Parts of channels, by group. */
const groupsOf = (x: tf.Tensor, groups: number): tf.Tensor[] => (groups === 1 ? [x] : tf.split(x, groups, 3));
const joined = (parts: tf.Tensor[]): tf.Tensor => (parts.length === 1 ? parts[0]! : tf.concat(parts, 3));

export const conv2d: EagerOp<"conv2d"> = (node, [x, filter, bias]) => {
  const { window: dilated, groups } = node.op;
  const window = strided(dilated);
  const { pad } = paddingOf(window, dims4(operand(node, 0)));
  const image = pad === "same" ? x! : padded(x!, window);
  const filters = groupsOf(spread(filter!, dilated), groups);
  const [down, across] = window.strides;
  // TensorFlow 2.21 gives zeros in the rows after the first where (down, across) is (1, 3): every pixel, then, and some
  // of them.
  const all = down !== across && pad === "valid";
  const attrs = { ...VALID, pad, strides: all ? [1, 1] : window.strides, dilations: [1, 1] };
  const parts = groupsOf(image, groups).map((x, i) => kernel("Conv2D", { x, filter: filters[i]! }, attrs));
  const whole = joined(parts);
  const y = all ? everyOther(whole, [1, down, across, 1]) : whole;
  return bias === undefined ? y : tf.add(y, bias);
};

/** The elements at multiples of these steps. */
function everyOther(x: tf.Tensor, strides: readonly number[]): tf.Tensor {
  const masks = { beginMask: 0, endMask: 0, ellipsisMask: 0, newAxisMask: 0, shrinkAxisMask: 0 };
  return kernel("StridedSlice", { x }, { begin: strides.map(() => 0), end: x.shape, strides: [...strides], ...masks });
}

export const conv2dInputGrad: EagerOp<"conv2dInputGrad"> = (node, [dy, filter]) => {
  const { window: dilated, groups, shape } = node.op;
  const window = strided(dilated);
  const { pad, shape: whole, offset } = paddingOf(window, shape as Dims4);
  const filters = groupsOf(spread(filter!, dilated), groups);
  const attrs = { ...VALID, pad, strides: window.strides, inputShape: [...whole.slice(0, 3), whole[3]! / groups] };
  const parts = groupsOf(dy!, groups).map((dy, i) => kernel("Conv2DBackpropInput", { dy, filter: filters[i]! }, attrs));
  const dx = joined(parts);
  return pad === "same" ? dx : tf.slice(dx, offset, sizes(shape));
};

export const conv2dFilterGrad: EagerOp<"conv2dFilterGrad"> = (node, [x, dy]) => {
  const { window: dilated, groups, shape } = node.op;
  const window = strided(dilated);
  const { pad } = paddingOf(window, dims4(operand(node, 0)));
  const images = groupsOf(pad === "same" ? x! : padded(x!, window), groups);
  const [h, w, I, O] = shape as Dims4;
  const filterShape = [...window.size, I, O / groups];
  const attrs = { ...VALID, pad, strides: window.strides, filterShape };
  const parts = groupsOf(dy!, groups).map((dy, i) => kernel("Conv2DBackpropFilter", { x: images[i]!, dy }, attrs));
  const dw = joined(parts);
  if (dilated.dilations.every((n) => n === 1)) return dw;
  return tf.reshape(everyOther(dw, [...dilated.dilations, 1, 1]), [h, w, I, O]);
};

/** Windows as rows: for each place in the window the pixels that it falls on, side by side. */
export const patches: EagerOp<"patches"> = (node, [x]) =>
  tf.reshape(tf.concat(placesOf(node.op.window, operand(node, 0), x!, 0), 3), sizes(node.shape));

/** For each place in a window, row by row, the pixels that it falls on: (N,H',W',C) each. */
function placesOf(window: Window2D, x: Node, image: tf.Tensor, outside: number): tf.Tensor[] {
  const [N, H, W, C] = dims4(x);
  const [down, across] = windowOutput(window, H, W);
  const whole = padded(image, window, outside);
  const masks = { beginMask: 0, endMask: 0, ellipsisMask: 0, newAxisMask: 0, shrinkAxisMask: 0 };
  const [h, w] = window.size;
  return Array.from({ length: h * w }, (_, place) => {
    const row = Math.floor(place / w) * window.dilations[0];
    const column = (place % w) * window.dilations[1];
    const begin = [0, row, column, 0];
    const end = [N, row + (down - 1) * window.strides[0] + 1, column + (across - 1) * window.strides[1] + 1, C];
    return kernel("StridedSlice", { x: whole }, { begin, end, strides: [1, ...window.strides, 1], ...masks });
  });
}

/**
 * Adds values of (N,H',W',C), one for each place in a window, to the pixels that the places fall on: the transpose of
 * `placesOf`.
 */
function addToPlaces(window: Window2D, x: Node, values: readonly tf.Tensor[]): tf.Tensor {
  const [N, H, W, C] = dims4(x);
  const [top, bottom, left, right] = window.pads;
  const whole = [N, H + top + bottom, W + left + right, C] as const;
  const [down, across] = windowOutput(window, H, W);
  const [, w] = window.size;
  const [stepDown, stepAcross] = window.strides;
  const laid = values.map((value, place) => {
    const row = Math.floor(place / w) * window.dilations[0];
    const column = (place % w) * window.dilations[1];
    // Zeros between the rows and columns, as many as the strides say.
    const apart = kernel(
      "PadV2",
      { x: tf.reshape(value, [N, down, 1, across, 1, C]) },
      {
        paddings: [
          [0, 0],
          [0, 0],
          [0, stepDown - 1],
          [0, 0],
          [0, stepAcross - 1],
          [0, 0],
        ],
        constantValue: 0,
      },
    );
    const [rows, columns] = [(down - 1) * stepDown + 1, (across - 1) * stepAcross + 1];
    const cut = tf.slice(
      tf.reshape(apart, [N, down * stepDown, across * stepAcross, C]),
      [0, 0, 0, 0],
      [N, rows, columns, C],
    );
    const paddings = [
      [0, 0],
      [row, whole[1] - rows - row],
      [column, whole[2] - columns - column],
      [0, 0],
    ];
    return kernel("PadV2", { x: cut }, { paddings, constantValue: 0 });
  });
  return tf.slice(tf.addN(laid), [0, top, left, 0], [N, H, W, C]);
}

const sumOf = (parts: tf.Tensor[]): tf.Tensor => (parts.length === 1 ? parts[0]! : tf.addN(parts));

export const pool: EagerOp<"pool"> = (node, [x]) => {
  const { fn, window } = node.op;
  const input = operand(node, 0);
  if (fn === "max") return placesOf(window, input, x!, -Infinity).reduce((most, place) => tf.maximum(most, place));
  return tf.mul(sumOf(placesOf(window, input, x!, 0)), shares(window, input));
};

export const poolGrad: EagerOp<"poolGrad"> = (node, [dy, x]) => {
  const { fn, window } = node.op;
  const input = operand(node, 1);
  const places = window.size[0] * window.size[1];
  if (fn === "avg") {
    const share = tf.mul(dy!, shares(window, input));
    return addToPlaces(
      window,
      input,
      Array.from({ length: places }, () => share),
    );
  }
  const values = placesOf(window, input, x!, -Infinity);
  const first = tf.argMax(tf.stack(values), 0);
  const zeros = tf.zerosLike(dy!);
  const own = values.map((_, place) => tf.where(tf.equal(first, tf.scalar(place, "int32")), dy!, zeros));
  return addToPlaces(window, input, own);
};

/** One over the number of pixels inside the image, for each window: (1,H',W',1). */
function shares(window: Window2D, x: Node): tf.Tensor {
  const [, H, W] = dims4(x);
  const [down, across] = windowOutput(window, H, W);
  const inside = (axis: 0 | 1, at: number, size: number): number => {
    const start = at * window.strides[axis] - window.pads[2 * axis]!;
    return Array.from({ length: window.size[axis] }, (_, i) => start + i * window.dilations[axis]).filter(
      (p) => p >= 0 && p < size,
    ).length;
  };
  const values = Float32Array.from({ length: down * across }, (_, i) => {
    const count = inside(0, Math.floor(i / across), H) * inside(1, i % across, W);
    return count > 0 ? 1 / count : 0;
  });
  return tf.tensor(values, [1, down, across, 1]);
}

/** Resizing is linear and separable: rows · image · columns. */
const resized: EagerOp<"resize" | "resizeGrad"> = (node, [x]) => {
  const { fn, coordinates, size } = node.op;
  const backward = node.op.kind === "resizeGrad";
  const [N, H, W, C] = dims4(operand(node, 0));
  const [height, width] = size;
  const weights = (from: number, to: number): tf.Tensor => {
    const values = new Float64Array(to * from);
    const sources = backward ? resizeWeights(fn, coordinates, to, from) : resizeWeights(fn, coordinates, from, to);
    sources.forEach((list, at) => {
      for (const { index, weight } of list) {
        const i = backward ? index * from + at : at * from + index;
        values[i] = values[i]! + weight;
      }
    });
    return tf.tensor(Float32Array.from(values), [1, to, from]);
  };
  const product = (a: tf.Tensor, b: tf.Tensor): tf.Tensor =>
    kernel("BatchMatMul", { a, b }, { transposeA: false, transposeB: false });
  const tall = product(weights(H, height), tf.reshape(x!, [N, H, W * C])); // (1,height,H) x (N,H,W·C)
  const wide = product(weights(W, width), tf.reshape(tall, [N * height, W, C])); // (1,width,W) x (N·height,W,C)
  return tf.reshape(wide, [N, height, width, C]);
};

export const resize: EagerOp<"resize"> = (node, inputs) => {
  const { fn, coordinates, size } = node.op;
  const x = operand(node, 0);
  if (fn !== "nearest") return resized(node, inputs);
  // Pixels are picked, so that one that is infinite spoils no other.
  const [, H, W] = dims4(x);
  const picks = (from: number, to: number): tf.Tensor1D =>
    tf.tensor1d(
      resizeWeights("nearest", coordinates, from, to).map(([pick]) => pick?.index ?? 0),
      "int32",
    );
  return tf.gather(tf.gather(inputs[0]!, picks(H, size[0]), 1), picks(W, size[1]), 2);
};

export const resizeGrad: EagerOp<"resizeGrad"> = (node, inputs) => resized(node, inputs);
