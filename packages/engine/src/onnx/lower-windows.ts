import { sizeOf, type Node, type Shape, type Window2D } from "../ir/graph.js";
import { hasChannelsFirst } from "./channels-first.js";
import { resizeWeights } from "../ir/resize.js";
import { windowOutput } from "../ir/infer.js";
import type { OnnxBuilder } from "./builder.js";
import { lowerUpsampledConvolution, upsampledConvolution } from "./upsampled-convolution.js";
import type { Lowering } from "./lower.js";

/**
 * ONNX convolves and pools NCHW, programs are NHWC. *Measured* (2 cores, N=32, C=64, 16x16, 3x3 window): the
 * convolution takes 3.8 ms, the two transposes around it 0.25 ms each, while a product with the windows laid out as
 * rows takes 5.6 ms.
 */
const toNchw = (onnx: OnnxBuilder, name: string, nhwc: Shape): string => onnx.transpose(name, nhwc, [0, 3, 1, 2]);
const toNhwc = (onnx: OnnxBuilder, name: string, nhwc: Shape, output?: string): string => {
  const [N = 0, H = 0, W = 0, C = 0] = nhwc;
  return onnx.transpose(name, [N, C, H, W], [0, 2, 3, 1], output);
};

type Dims4 = readonly [number, number, number, number];
const dims4 = (node: Node | undefined): Dims4 => node?.shape as Dims4;

/** ONNX orders pads as all beginnings, then all ends. */
const convAttributes = ({ size, strides, dilations, pads: [top, bottom, left, right] }: Window2D) => ({
  kernel_shape: size,
  strides,
  dilations,
  pads: [top, left, bottom, right],
});

/** Whether the window is one pixel that visits every pixel: then a convolution is a product. */
function isPointwise({ size, strides, pads }: Window2D): boolean {
  return [...size, ...strides].every((n) => n === 1) && pads.every((n) => n === 0);
}

/** Images as rows of channels: (N·H·W, C). */
const rows = (onnx: OnnxBuilder, name: string, shape: Shape): string =>
  onnx.reshape(name, [sizeOf(shape.slice(0, -1)), shape.at(-1) ?? 0]);

export const lowerConv2d: Lowering<"conv2d"> = (onnx, node, [xName = "", wName = "", ...bias], out) => {
  const {
    op,
    shape,
    inputs: [x, w],
  } = node;
  const upsampled = upsampledConvolution(node);
  if (upsampled) {
    const image = onnx.channelsFirst(onnx.source(xName), upsampled.image.shape);
    return onnx.channelsLast(lowerUpsampledConvolution(onnx, image, upsampled.filter, bias), shape, out.output);
  }
  const filter = onnx.transpose(wName, (w as Node).shape, [3, 2, 0, 1]); // HWIO -> OIHW
  const image = onnx.channelsFirst(xName, (x as Node).shape);
  const y = onnx.op("Conv", [image, filter, ...bias], { ...convAttributes(op.window), group: op.groups });
  return onnx.channelsLast(y, shape, out.output);
};

export const lowerConv2dInputGrad: Lowering<"conv2dInputGrad"> = (
  onnx,
  { op, inputs: [dy, w] },
  [dyName = "", wName = ""],
  out,
) => {
  const { window, groups, shape } = op;
  const [h] = dims4(w);
  const [, H, W] = shape as unknown as Dims4;
  const [, rowsOut, columnsOut] = dims4(dy);
  const reach = (axis: 0 | 1): number => (window.size[axis] - 1) * window.dilations[axis];
  const [top, bottom, left, right] = window.pads;
  const gradient = toNchw(onnx, dyName, (dy as Node).shape);

  // With stride one the gradient is a convolution with the filter turned by 180 degrees: ONNX Runtime's fastest path.
  const before = [reach(0) - top, reach(1) - left] as const;
  const after = [H - rowsOut + reach(0) - before[0], W - columnsOut + reach(1) - before[1]] as const;
  const unit = window.strides.every((stride) => stride === 1) && [...before, ...after].every((n) => n >= 0);
  if (unit && groups === 1) {
    const turned = onnx.op("Slice", [
      wName,
      onnx.ints([-1, -1]),
      onnx.ints([-(2 ** 31), -(2 ** 31)]),
      onnx.ints([0, 1]),
      onnx.ints([-1, -1]),
    ]);
    const pixel = h === 1 && window.size[1] === 1;
    const filter = onnx.transpose(pixel ? wName : turned, (w as Node).shape, [2, 3, 0, 1]); // HWIO -> IOHW
    const attributes = { kernel_shape: window.size, dilations: window.dilations, pads: [...before, ...after] };
    return toNhwc(onnx, onnx.op("Conv", [gradient, filter], attributes), shape, out.output);
  }
  // Rows and columns that no window reached, at the far side, have gradient zero: ONNX adds them as output padding.
  const extra = (axis: 0 | 1, size: number, count: number, pads: number): number =>
    size + pads - ((count - 1) * window.strides[axis] + reach(axis) + 1);
  const output_padding = [extra(0, H, rowsOut, top + bottom), extra(1, W, columnsOut, left + right)];
  const filter = onnx.transpose(wName, (w as Node).shape, [3, 2, 0, 1]); // HWIO -> OIHW
  const attributes = { ...convAttributes(window), group: groups, output_padding };
  return toNhwc(onnx, onnx.op("ConvTranspose", [gradient, filter], attributes), shape, out.output);
};

export const lowerConv2dFilterGrad: Lowering<"conv2dFilterGrad"> = (
  onnx,
  { op, inputs: [x, dy] },
  [xName = "", dyName = ""],
  out,
) => {
  const { window, groups, shape } = op;
  const [h, w, I, O] = shape as unknown as Dims4;
  const [N, H, W, C] = dims4(x);
  const gradient = rows(onnx, dyName, (dy as Node).shape); // (N·H'·W', O)
  const patches = lowerPatchRows(onnx, window, [N, H, W, C], xName); // (N·H'·W', h·w·C)
  if (groups === 1) return onnx.reshape(onnx.op("Gemm", [patches, gradient], { transA: 1 }), shape, out.output);
  // Per group: (G, h·w·I, P) x (G, P, O/G), laid out again as (h, w, I, O).
  const P = sizeOf((dy as Node).shape.slice(0, -1));
  const split = onnx.transpose(onnx.reshape(patches, [P, h * w, groups, I]), [P, h * w, groups, I], [2, 1, 3, 0]);
  const left = onnx.reshape(split, [groups, h * w * I, P]);
  const right = onnx.transpose(onnx.reshape(gradient, [P, groups, O / groups]), [P, groups, O / groups], [1, 0, 2]);
  const product = onnx.op("MatMul", [left, right]); // (G, h·w·I, O/G)
  return onnx.reshape(onnx.transpose(product, [groups, h * w * I, O / groups], [1, 0, 2]), shape, out.output);
};

export const lowerPatches: Lowering<"patches"> = (onnx, { op, shape, inputs: [x] }, [name = ""], out) =>
  onnx.reshape(lowerPatchRows(onnx, op.window, dims4(x), name), shape, out.output);

/** Windows as rows: one `Gather` of whole pixels from the padded image. */
function lowerPatchRows(onnx: OnnxBuilder, window: Window2D, shape: Dims4, name: string): string {
  const [N, H, W, C] = shape;
  if (isPointwise(window)) return rows(onnx, name, shape);
  const [top, bottom, left, right] = window.pads;
  const padded = window.pads.some((n) => n > 0)
    ? onnx.op("Pad", [name, onnx.ints([0, top, left, 0, 0, bottom, right, 0])], { mode: "constant" })
    : name;
  const [height, width] = [H + top + bottom, W + left + right];
  const [down, across] = windowOutput(window, H, W);
  const [h, w] = window.size;
  const key = JSON.stringify(["patches", window, [N, H, W]]);
  const pixels = onnx.table(key, [N * down * across * h * w], () => {
    const table = new Int32Array(N * down * across * h * w);
    let at = 0;
    for (let n = 0; n < N; n++)
      for (let y = 0; y < down; y++)
        for (let x = 0; x < across; x++)
          for (let i = 0; i < h; i++)
            for (let j = 0; j < w; j++) {
              const row = y * window.strides[0] + i * window.dilations[0];
              table[at++] = (n * height + row) * width + x * window.strides[1] + j * window.dilations[1];
            }
    return table;
  });
  const gathered = onnx.op("Gather", [onnx.reshape(padded, [N * height * width, C]), pixels], { axis: 0 });
  return onnx.reshape(gathered, [N * down * across, h * w * C]);
}

export const lowerPool: Lowering<"pool"> = (onnx, { op, shape, inputs: [x] }, [name = ""], out) => {
  const image = onnx.channelsFirst(name, (x as Node).shape);
  const { dilations, ...attributes } = convAttributes(op.window);
  const y =
    op.fn === "max"
      ? onnx.op("MaxPool", [image], { ...attributes, dilations })
      : onnx.op("AveragePool", [image], { ...attributes, dilations, count_include_pad: 0 });
  return onnx.channelsLast(y, shape, out.output);
};

export const lowerPoolGrad: Lowering<"poolGrad"> = (onnx, { op, inputs: [dy, x] }, [dyName = "", xName = ""], out) => {
  const [N, H, W, C] = dims4(x);
  const [, down, across] = dims4(dy);
  const gradient = toNchw(onnx, dyName, (dy as Node).shape);
  const { window } = op;
  if (op.fn === "max") {
    // ONNX gives the place of each maximum in the whole tensor; gradients are added up there.
    const positions = onnx.name("MaxPool");
    const y = onnx.name("MaxPool");
    onnx.add("MaxPool", [toNchw(onnx, xName, [N, H, W, C])], [y, positions], convAttributes(window));
    const flat = [N * C * down * across];
    const zeros = onnx.op("Expand", [onnx.scalar(0), onnx.ints([N * C * H * W])]);
    const inputs = [zeros, onnx.reshape(positions, flat), onnx.reshape(gradient, flat)];
    const added = onnx.op("ScatterElements", inputs, { axis: 0, reduction: "add" });
    return toNhwc(onnx, onnx.reshape(added, [N, C, H, W]), [N, H, W, C], out.output);
  }
  // Each pixel of dy, shared by the pixels its window covers, is laid over them: a transposed convolution with ones.
  const shares = onnx.table(JSON.stringify(["shares", window, H, W]), [down, across], () => windowShares(window, H, W));
  const share = onnx.reshape(onnx.op("Mul", [gradient, shares]), [N * C, 1, down, across]);
  const ones = onnx.table(`ones:${window.size.join()}`, [1, 1, ...window.size], () =>
    new Float32Array(sizeOf(window.size)).fill(1),
  );
  const [top, bottom, left, right] = window.pads;
  const output_padding = [
    H + top + bottom - ((down - 1) * window.strides[0] + (window.size[0] - 1) * window.dilations[0] + 1),
    W + left + right - ((across - 1) * window.strides[1] + (window.size[1] - 1) * window.dilations[1] + 1),
  ];
  const laid = onnx.op("ConvTranspose", [share, ones], { ...convAttributes(window), output_padding });
  return toNhwc(onnx, onnx.reshape(laid, [N, C, H, W]), [N, H, W, C], out.output);
};

/** One over the number of pixels inside the image, for each window. */
function windowShares(window: Window2D, H: number, W: number): Float32Array {
  const [down, across] = windowOutput(window, H, W);
  const inside = (axis: 0 | 1, at: number, size: number): number => {
    const start = at * window.strides[axis] - (axis === 0 ? window.pads[0] : window.pads[2]);
    return Array.from({ length: window.size[axis] }, (_, i) => start + i * window.dilations[axis]).filter(
      (p) => p >= 0 && p < size,
    ).length;
  };
  return Float32Array.from({ length: down * across }, (_, i) => {
    const count = inside(0, Math.floor(i / across), H) * inside(1, i % across, W);
    return count > 0 ? 1 / count : 0;
  });
}

/** Resizes an image, and remembers what it was made of: a convolution of doubled pixels looks at that. */
export const lowerResize: Lowering<"resize" | "resizeGrad"> = (onnx, node, inputs, out) => {
  const result = resize(onnx, node, inputs, out);
  onnx.keepSource(result, inputs[0] ?? "");
  return result;
};

/** Resizing is linear and separable: rows · image · columns, with tables of weights. Nearest picks pixels instead. */
const resize: Lowering<"resize" | "resizeGrad"> = (onnx, node, [name = ""], out) => {
  const { op, shape, inputs } = node;
  const [x] = inputs;
  const { fn, coordinates } = op;
  const [N, H, W, C] = dims4(x);
  const [height, width] = op.size;
  const backward = op.kind === "resizeGrad";
  // Weights of the forward map along one axis: `from` pixels in, `to` pixels out.
  const along = (from: number, to: number) =>
    backward ? resizeWeights(fn, coordinates, to, from) : resizeWeights(fn, coordinates, from, to);
  const key = (from: number, to: number): string => JSON.stringify([op.kind, fn, coordinates, from, to]);

  if (!backward && fn === "nearest" && hasChannelsFirst(node)) {
    const [down, across] = [height / H, width / W];
    const image = onnx.channelsFirst(name, [N, H, W, C]);
    if (coordinates !== "alignCorners" && Number.isInteger(down) && Number.isInteger(across)) {
      // Whole factors: every pixel is repeated.
      const scales = onnx.table(`scales:${down},${across}`, [4], () => Float32Array.of(1, 1, down, across));
      const attributes = { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };
      return onnx.channelsLast(onnx.op("Resize", [image, "", scales], attributes), shape, out.output);
    }
    const pick = (from: number, to: number): string =>
      onnx.table(key(from, to), [to], () => Int32Array.from(along(from, to), ([pick]) => pick?.index ?? 0));
    const tall = onnx.op("Gather", [image, pick(H, height)], { axis: 2 });
    return onnx.channelsLast(onnx.op("Gather", [tall, pick(W, width)], { axis: 3 }), shape, out.output);
  }
  if (!backward && fn === "nearest") {
    const picks = (from: number, to: number): string =>
      onnx.table(key(from, to), [to], () => Int32Array.from(along(from, to), ([pick]) => pick?.index ?? 0));
    const tall = H === height ? name : onnx.op("Gather", [name, picks(H, height)], { axis: 1 });
    return W === width && H !== height
      ? onnx.op("Identity", [tall], {}, out)
      : onnx.op("Gather", [tall, picks(W, width)], { axis: 2 }, out);
  }
  const matrix = (from: number, to: number): string =>
    onnx.table(key(from, to), [to, from], () => {
      const weights = new Float64Array(to * from);
      along(from, to).forEach((sources, at) => {
        for (const { index, weight } of sources) {
          const i = backward ? index * from + at : at * from + index;
          weights[i] = (weights[i] ?? 0) + weight;
        }
      });
      return Float32Array.from(weights);
    });
  if (hasChannelsFirst(node)) {
    // (height, H) x (N, C, H, W), then (N·C·height, W) x (W, width).
    const columns = onnx.transpose(matrix(W, width), [width, W], [1, 0]);
    const image = onnx.channelsFirst(name, [N, H, W, C]);
    const tall = onnx.reshape(onnx.op("MatMul", [matrix(H, height), image]), [N * C * height, W]);
    const wide = onnx.reshape(onnx.op("MatMul", [tall, columns]), [N, C, height, width]);
    return onnx.channelsLast(wide, shape, out.output);
  }
  // Rows first: (height, H) x (N, H, W·C); then columns: (width, W) x (N·height, W, C).
  const tall = onnx.op("MatMul", [matrix(H, height), onnx.reshape(name, [N, H, W * C])]);
  const wide = onnx.op("MatMul", [matrix(W, width), onnx.reshape(tall, [N * height, W, C])]);
  return onnx.reshape(wide, shape, out.output);
};
