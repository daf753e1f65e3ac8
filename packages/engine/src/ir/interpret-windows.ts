import { sizeOf, type NodeOf, type Shape, type Window2D } from "./graph.js";
import { windowOutput } from "./infer.js";
import { resizeWeights } from "./resize.js";

type WindowOp = NodeOf<
  "conv2d" | "conv2dInputGrad" | "conv2dFilterGrad" | "patches" | "pool" | "poolGrad" | "resize" | "resizeGrad"
>["op"];

interface Operand {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** One element of a window at one of its places: `tap` counts row-major inside the window, positions are row-major. */
interface Tap {
  readonly output: number;
  readonly tap: number;
  readonly input: number;
}

/**
 * Every element of every window that lies inside an image of `height` x `width`, window after window, row-major in
 * both. Elements in the padding are left out.
 */
function* taps(window: Window2D, height: number, width: number): Generator<Tap> {
  const [rows, columns] = windowOutput(window, height, width);
  const [windowRows, windowColumns] = window.size;
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      for (let i = 0; i < windowRows; i++)
        for (let j = 0; j < windowColumns; j++) {
          const y = row * window.strides[0] + i * window.dilations[0] - window.pads[0];
          const x = column * window.strides[1] + j * window.dilations[1] - window.pads[2];
          if (y < 0 || y >= height || x < 0 || x >= width) continue;
          yield { output: row * columns + column, tap: i * windowColumns + j, input: y * width + x };
        }
}

/** Sizes of an image batch: images, pixels per image, channels. */
const sizes = ([N = 0, H = 0, W = 0, C = 0]: Shape) => ({ N, H, W, C, pixels: H * W });

/**
 * The products of a convolution y = x * w: visits each triple of positions with y[iy] += x[ix] · w[iw].
 * The two gradients are the same triples with the roles changed.
 */
function visitProducts(
  window: Window2D,
  groups: number,
  xShape: Shape,
  wShape: Shape,
  visit: (iy: number, ix: number, iw: number) => void,
): void {
  const { N, H, W, C, pixels } = sizes(xShape);
  const { C: O } = sizes(wShape);
  const [rows, columns] = windowOutput(window, H, W);
  const [I, perGroup] = [C / groups, O / groups]; // input and output channels of a group
  for (const { output, tap, input } of taps(window, H, W))
    for (let n = 0; n < N; n++)
      for (let o = 0; o < O; o++)
        for (let i = 0; i < I; i++) {
          const iy = (n * rows * columns + output) * O + o;
          const ix = (n * pixels + input) * C + Math.floor(o / perGroup) * I + i;
          visit(iy, ix, (tap * I + i) * O + o);
        }
}

function pool(fn: "max" | "avg", window: Window2D, x: Operand, shape: Shape): Float64Array {
  const { N, H, W, C, pixels } = sizes(x.shape);
  const outputs = sizes(shape).pixels;
  const result = new Float64Array(N * outputs * C).fill(fn === "max" ? -Infinity : 0);
  const counts = countTaps(window, H, W);
  for (const { output, input } of taps(window, H, W))
    for (let n = 0; n < N; n++)
      for (let c = 0; c < C; c++) {
        const at = (n * outputs + output) * C + c;
        const value = x.data[(n * pixels + input) * C + c]!;
        if (fn === "max") result[at] = Math.max(result[at]!, value);
        else result[at]! += value / counts[output]!;
      }
  return result;
}

function poolGrad(fn: "max" | "avg", window: Window2D, dy: Operand, x: Operand): Float64Array {
  const { N, H, W, C, pixels } = sizes(x.shape);
  const outputs = sizes(dy.shape).pixels;
  const dx = new Float64Array(x.data.length);
  const counts = countTaps(window, H, W);
  const first = new Int32Array(dy.data.length).fill(-1); // where each window's largest element was met first
  for (const { output, input } of taps(window, H, W))
    for (let n = 0; n < N; n++)
      for (let c = 0; c < C; c++) {
        const from = (n * outputs + output) * C + c;
        const to = (n * pixels + input) * C + c;
        if (fn === "avg") dx[to]! += dy.data[from]! / counts[output]!;
        else if (first[from] === -1 || x.data[to]! > x.data[first[from]!]!) first[from] = to;
      }
  if (fn === "max") first.forEach((to, from) => to >= 0 && (dx[to]! += dy.data[from]!));
  return dx;
}

/** Elements inside the image, by position of the window. */
function countTaps(window: Window2D, height: number, width: number): Int32Array {
  const [rows, columns] = windowOutput(window, height, width);
  const counts = new Int32Array(rows * columns);
  for (const { output } of taps(window, height, width)) counts[output]!++;
  return counts;
}

function patches(window: Window2D, x: Operand): Float64Array {
  const { N, H, W, C, pixels } = sizes(x.shape);
  const [rows, columns] = windowOutput(window, H, W);
  const windowSize = window.size[0] * window.size[1];
  const result = new Float64Array(N * rows * columns * windowSize * C);
  for (const { output, tap, input } of taps(window, H, W))
    for (let n = 0; n < N; n++)
      for (let c = 0; c < C; c++)
        result[((n * rows * columns + output) * windowSize + tap) * C + c] = x.data[(n * pixels + input) * C + c]!;
  return result;
}

/** `resize` and, run the other way, its transpose. */
function resize(op: NodeOf<"resize" | "resizeGrad">["op"], x: Operand, shape: Shape): Float64Array {
  const backward = op.kind === "resizeGrad";
  const [small, large] = backward ? [sizes(shape), sizes(x.shape)] : [sizes(x.shape), sizes(shape)]; // input, output
  const rows = resizeWeights(op.fn, op.coordinates, small.H, large.H);
  const columns = resizeWeights(op.fn, op.coordinates, small.W, large.W);
  const result = new Float64Array(sizeOf(shape));
  for (let n = 0; n < small.N; n++)
    rows.forEach((rowTaps, row) =>
      columns.forEach((columnTaps, column) => {
        for (const y of rowTaps)
          for (const z of columnTaps)
            for (let c = 0; c < small.C; c++) {
              const before = (n * small.pixels + y.index * small.W + z.index) * small.C + c;
              const after = (n * large.pixels + row * large.W + column) * small.C + c;
              const [from, to] = backward ? [after, before] : [before, after];
              result[to]! += y.weight * z.weight * x.data[from]!;
            }
      }),
    );
  return result;
}

/** The operations on images. Operands and `shape`, the result's, fit together: `infer` has seen to that. */
export function evaluateWindow(op: WindowOp, inputs: readonly Operand[], shape: Shape): Float64Array {
  const [a, b] = inputs as readonly [Operand, Operand];
  const result = new Float64Array(sizeOf(shape));
  switch (op.kind) {
    case "conv2d":
      visitProducts(op.window, op.groups, a.shape, b.shape, (iy, ix, iw) => (result[iy]! += a.data[ix]! * b.data[iw]!));
      return result;
    case "conv2dInputGrad":
      visitProducts(op.window, op.groups, shape, b.shape, (iy, ix, iw) => (result[ix]! += a.data[iy]! * b.data[iw]!));
      return result;
    case "conv2dFilterGrad":
      visitProducts(op.window, op.groups, a.shape, shape, (iy, ix, iw) => (result[iw]! += a.data[ix]! * b.data[iy]!));
      return result;
    case "patches":
      return patches(op.window, a);
    case "pool":
      return pool(op.fn, op.window, a, shape);
    case "poolGrad":
      return poolGrad(op.fn, op.window, a, b);
    case "resize":
    case "resizeGrad":
      return resize(op, a, shape);
  }
}
