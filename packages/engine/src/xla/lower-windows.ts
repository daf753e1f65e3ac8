import { sizeOf, type Shape, type Window2D } from "../ir/graph.js";
import { windowOutput } from "../ir/infer.js";
import { resizeWeights } from "../ir/resize.js";
import type { HloBuilder, Value } from "./builder.js";
import type { Lowering } from "./lower.js";

type Dims4 = readonly [number, number, number, number];
const dims4 = ({ shape }: { readonly shape: Shape }): Dims4 => shape as unknown as Dims4;

/** What a window adds before and after each spatial axis. */
const padsOf = ({ pads: [top, bottom, left, right] }: Window2D) => [[top, bottom], [left, right]] as const; // prettier-ignore
const ONES = [1, 1] as const;
const AXES = [0, 1] as const;

export const lowerConv2d: Lowering<"conv2d"> = (hlo, { op, shape }, [x, w, bias]) => {
  const y = hlo.convolution(x, w, shape, {
    dimensions: "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]",
    strides: op.window.strides,
    padding: padsOf(op.window),
    imageDilation: ONES,
    filterDilation: op.window.dilations,
    turned: false,
    featureGroups: op.groups,
    batchGroups: 1,
  });
  return bias === undefined ? y : hlo.map("add", y, hlo.broadcast(bias, shape));
};

/** A convolution of dy, its pixels moved apart by the strides, with the filter turned by 180 degrees. */
export const lowerConv2dInputGrad: Lowering<"conv2dInputGrad"> = (hlo, { op, shape }, [dy, w]) => {
  const { window, groups } = op;
  const padding = AXES.map((axis) => gradientPadding(window, axis, shape, dy.shape));
  let filter = w;
  let dimensions = "[b, 0, 1, f]x[0, 1, o, i]->[b, 0, 1, f]";
  if (groups > 1) {
    // (h, w, C/groups, O) -> (h, w, O/groups, C): what comes in and what goes out change places within each group.
    const [h, v, I, O] = dims4(w);
    const split = hlo.transpose(hlo.reshape(w, [h, v, I, groups, O / groups]), [0, 1, 4, 3, 2]);
    filter = hlo.reshape(split, [h, v, O / groups, groups * I]);
    dimensions = "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]";
  }
  return hlo.convolution(dy, filter, shape, {
    dimensions,
    strides: ONES,
    padding,
    imageDilation: window.strides,
    filterDilation: window.dilations,
    turned: true,
    featureGroups: groups,
    batchGroups: 1,
  });
};

/** What dy needs around it, once its pixels are moved apart, so that a window over it ends on each pixel of x. */
function gradientPadding(window: Window2D, axis: 0 | 1, x: Shape, dy: Shape): [number, number] {
  const reach = (window.size[axis] - 1) * window.dilations[axis];
  const before = reach - padsOf(window)[axis][0];
  const spread = ((dy[1 + axis] ?? 0) - 1) * window.strides[axis] + 1;
  return [before, (x[1 + axis] ?? 0) + reach - spread - before];
}

/** A convolution of x with dy as its filter: images are summed over, so they are what channels are elsewhere. */
export const lowerConv2dFilterGrad: Lowering<"conv2dFilterGrad"> = (hlo, { op, shape }, [x, dy]) => {
  const { window } = op;
  const padding = AXES.map((axis): [number, number] => {
    const before = padsOf(window)[axis][0];
    const spread = ((dy.shape[1 + axis] ?? 0) - 1) * window.strides[axis] + 1;
    const needed = (window.size[axis] - 1) * window.dilations[axis] + spread;
    return [before, needed - (x.shape[1 + axis] ?? 0) - before];
  });
  return hlo.convolution(x, dy, shape, {
    dimensions: "[f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f]",
    strides: window.dilations,
    padding,
    imageDilation: ONES,
    filterDilation: window.strides,
    turned: false,
    featureGroups: 1,
    batchGroups: op.groups,
  });
};

/** An element of a window, with what it is over: x as the window sees it at all of its places. */
interface Tap {
  readonly at: number;
  readonly row: number;
  readonly column: number;
}

function tapsOf({ size: [rows, columns], dilations }: Window2D): Tap[] {
  return Array.from({ length: rows * columns }, (_, at) => ({
    at,
    row: Math.floor(at / columns) * dilations[0],
    column: (at % columns) * dilations[1],
  }));
}

/** The pixels of a padded image that one tap meets, as an image of the result's size. */
function sliceTap(hlo: HloBuilder, padded: Value, { strides }: Window2D, { row, column }: Tap, result: Shape): Value {
  const [, rows, columns] = dims4({ shape: result });
  const [N, , , C] = dims4(padded);
  const limits = [N, row + (rows - 1) * strides[0] + 1, column + (columns - 1) * strides[1] + 1, C];
  return hlo.slice(padded, [0, row, column, 0], limits, [1, ...strides, 1]);
}

function padImage(hlo: HloBuilder, x: Value, window: Window2D): Value {
  const [top, bottom, left, right] = window.pads;
  return hlo.pad(x, 0, [0, top, left, 0], [0, bottom, right, 0]);
}

/** Taps side by side, before the channels. */
export const lowerPatches: Lowering<"patches"> = (hlo, { op, shape }, [x]) => {
  const { window } = op;
  const [N, H, W, C] = dims4(x);
  if (sizeOf(shape) === 0) return hlo.filled(0, shape, x.type);
  const result = [N, ...windowOutput(window, H, W), C];
  const padded = padImage(hlo, x, window);
  const taps = tapsOf(window).map((tap) => {
    return hlo.reshape(sliceTap(hlo, padded, window, tap, result), [...result.slice(0, 3), 1, C]);
  });
  return hlo.reshape(hlo.concat(taps, 3, [...result.slice(0, 3), taps.length, C]), shape);
};

/** A window over images, as one over all four axes. */
const overImages = (window: Window2D) => ({
  size: [1, ...window.size, 1],
  strides: [1, ...window.strides, 1],
  dilations: [1, ...window.dilations, 1],
  padding: [[0, 0], ...padsOf(window), [0, 0]] as const,
});

export const lowerPool: Lowering<"pool"> = (hlo, { op, shape }, [x]) => {
  if (op.fn === "max") return hlo.reduceWindow("maximum", x, overImages(op.window));
  const sums = hlo.reduceWindow("add", x, overImages(op.window));
  return hlo.map("divide", sums, tapCounts(hlo, op.window, x.shape, shape));
};

/** How many pixels inside the image a window meets, at each of its places; one where there are none. */
function tapCounts(hlo: HloBuilder, window: Window2D, x: Shape, shape: Shape): Value {
  const [rows, columns] = windowOutput(window, x[1] ?? 0, x[2] ?? 0);
  const counts = new Float32Array(rows * columns);
  for (const tap of tapsOf(window)) insideImage(window, tap, x, shape).forEach((inside, i) => (counts[i]! += inside));
  return hlo.broadcast(hlo.data(counts.map((count) => Math.max(count, 1)), [rows, columns], "float32"), shape, [1, 2]); // prettier-ignore
}

/** Whether a tap is inside of the image (1) or in the padding (0), for each place of the window. */
function insideImage({ strides, pads }: Window2D, { row, column }: Tap, x: Shape, result: Shape): Uint8Array {
  const [, H, W] = dims4({ shape: x });
  const [, rows, columns] = dims4({ shape: result });
  return Uint8Array.from({ length: rows * columns }, (_, i) => {
    const y = Math.floor(i / columns) * strides[0] + row - pads[0];
    const z = (i % columns) * strides[1] + column - pads[2];
    return Number(y >= 0 && y < H && z >= 0 && z < W);
  });
}

export const lowerPoolGrad: Lowering<"poolGrad"> = (hlo, { op }, [dy, x]) => {
  if (sizeOf(dy.shape) === 0) return hlo.filled(0, x.shape, "f32");
  return op.fn === "max" ? maxPoolGrad(hlo, op.window, dy, x) : averagePoolGrad(hlo, op.window, dy, x);
};

/** Each pixel of x gets its share from all windows that met it: a window over dy, its pixels moved apart. */
function averagePoolGrad(hlo: HloBuilder, window: Window2D, dy: Value, x: Value): Value {
  const shares = hlo.map("divide", dy, tapCounts(hlo, window, x.shape, dy.shape));
  const [rows, columns] = AXES.map((axis) => gradientPadding(window, axis, x.shape, dy.shape)) as [
    [number, number],
    [number, number],
  ];
  const interior = [0, window.strides[0] - 1, window.strides[1] - 1, 0];
  const spread = hlo.pad(shares, 0, [0, rows[0], columns[0], 0], [0, rows[1], columns[1], 0], interior);
  const { size, dilations } = overImages(window);
  return hlo.reduceWindow("add", spread, { size, dilations, padding: size.map(() => [0, 0]) });
}

/**
 * The taps of a window one after another, as a loop over it would meet them: the place of the largest so far, at all
 * places of the window at once. Then each tap gives dy where it was chosen. XLA's own operation for this adds up in
 * no fixed order on a GPU, so that no run would be like another.
 */
function maxPoolGrad(hlo: HloBuilder, window: Window2D, dy: Value, x: Value): Value {
  const padded = padImage(hlo, x, window);
  const taps = tapsOf(window);
  let chosen: { value: Value; place: Value } | undefined;
  for (const tap of taps) {
    const value = sliceTap(hlo, padded, window, tap, dy.shape);
    const inside = insideImage(window, tap, x.shape, dy.shape);
    const place = hlo.filled(tap.at, dy.shape, "i32");
    const isInside = hlo.broadcast(hlo.data(inside, dy.shape.slice(1, 3), "bool"), dy.shape, [1, 2]);
    if (chosen === undefined) {
      const nothing = hlo.filled(-1, dy.shape, "i32");
      chosen = { value, place: hlo.select(isInside, place, nothing) };
      continue;
    }
    const isFirst = hlo.compareScalar("LT", chosen.place, 0);
    const better = hlo.map("and", isInside, hlo.map("or", isFirst, hlo.compare("GT", value, chosen.value)));
    chosen = { value: hlo.select(better, value, chosen.value), place: hlo.select(better, place, chosen.place) };
  }
  const zero = hlo.filled(0, dy.shape, "f32");
  const [, rows, columns] = dims4(dy);
  const [, height, width] = dims4(padded);
  const { strides, pads } = window;
  const parts = taps.map((tap) => {
    const mine = hlo.select(hlo.compareScalar("EQ", chosen!.place, tap.at), dy, zero);
    const below = height - tap.row - ((rows - 1) * strides[0] + 1) - pads[1];
    const right = width - tap.column - ((columns - 1) * strides[1] + 1) - pads[3];
    const before = [0, tap.row - pads[0], tap.column - pads[2], 0];
    return hlo.pad(mine, 0, before, [0, below, right, 0], [0, strides[0] - 1, strides[1] - 1, 0]);
  });
  return parts.reduce((sum, part) => hlo.map("add", sum, part));
}

/** Resizing is linear and separable: rows first, then columns. */
export const lowerResize: Lowering<"resize" | "resizeGrad"> = (hlo, { op, shape }, [x]) => {
  const [, H, W] = dims4(x);
  if (sizeOf(x.shape) === 0 || sizeOf(shape) === 0) return hlo.filled(0, shape, "f32");
  return resizeAxis(hlo, op, resizeAxis(hlo, op, x, 1, H, op.size[0]), 2, W, op.size[1]);
};

type ResizeOp = Parameters<Lowering<"resize" | "resizeGrad">>[1]["op"];

function resizeAxis(hlo: HloBuilder, op: ResizeOp, x: Value, axis: 1 | 2, from: number, to: number): Value {
  const backward = op.kind === "resizeGrad";
  const [small, large] = backward ? [to, from] : [from, to];
  const weights = resizeWeights(op.fn, op.coordinates, small, large); // of the forward map
  const picks = weights.map((taps) => (taps.length === 1 ? (taps[0]?.index ?? 0) : -1));
  if (small === large && picks.every((pick, i) => pick === i)) return x;
  const factor = large / small;
  const resized = x.shape.map((size, i) => (i === axis ? to : size));
  if (Number.isInteger(factor) && picks.every((pick, i) => pick === Math.floor(i / factor))) {
    // Every pixel is repeated.
    const repeats = [...x.shape.slice(0, axis), small, factor, ...x.shape.slice(axis + 1)];
    if (backward) return hlo.reduce("add", hlo.reshape(x, repeats), [axis + 1]);
    return hlo.reshape(hlo.broadcast(x, repeats, x.shape.map((_, i) => (i > axis ? i + 1 : i))), resized); // prettier-ignore
  }
  if (!backward && op.fn === "nearest") return hlo.gather(x, hlo.data(Int32Array.from(picks), [to], "int32"), axis);
  const matrix = new Float32Array(large * small);
  weights.forEach((taps, at) => taps.forEach(({ index, weight }) => (matrix[at * small + index] = weight)));
  const table = hlo.data(matrix, [large, small], "float32");
  const product = hlo.dot(x, table, axis, backward ? 0 : 1, 0); // the new axis comes last
  const rest = x.shape.flatMap((_, i) => (i === axis ? [] : [i]));
  return hlo.transpose(product, x.shape.map((_, i) => (i === axis ? rest.length : rest.indexOf(i)))); // prettier-ignore
}
