import * as tf from "@tensorflow/tfjs-core";
import type { Node, ResizeCoordinates, Shape, Window2D } from "../ir/graph.js";
import { windowOutput } from "../ir/infer.js";
import { TraceError, type TraceBackend } from "./backend.js";
import { callSite } from "./call-site.js";
import type { Kernel, Kernels } from "./kernel.js";

type Pair = [number, number] | number;
type Pad = "valid" | "same" | number | tf.backend_util.ExplicitPadding;

interface ConvAttributes {
  readonly strides: Pair;
  readonly pad: Pad;
  readonly dataFormat?: "NHWC" | "NCHW";
  readonly dilations?: Pair;
  readonly dimRoundingMode?: "floor" | "round" | "ceil";
}

const TO_NHWC = [0, 2, 3, 1];
const TO_NCHW = [0, 3, 1, 2];
const permute = (shape: Shape, by: readonly number[]): Shape => by.map((axis) => shape[axis] ?? 0);

/** Convolutions with their gradients, pools with theirs, and resizing. */
export const WINDOWS: Kernels = {
  Conv2D: (trace, { x, filter }, attrs: ConvAttributes) => {
    const nchw = attrs.dataFormat === "NCHW";
    const image = nchw ? trace.node({ kind: "transpose", permutation: TO_NHWC }, x) : x;
    const window = convWindow(image.shape, filter.shape, attrs);
    const y = trace.node({ kind: "conv2d", window, groups: 1 }, image, filter);
    return nchw ? trace.node({ kind: "transpose", permutation: TO_NCHW }, y) : y;
  },
  Conv2DBackpropInput: (trace, { dy, filter }, attrs: ConvAttributes & { inputShape: Shape }) => {
    const nchw = attrs.dataFormat === "NCHW";
    const shape = nchw ? permute(attrs.inputShape, TO_NHWC) : attrs.inputShape;
    const window = convWindow(shape, filter.shape, attrs);
    const gradient = nchw ? trace.node({ kind: "transpose", permutation: TO_NHWC }, dy) : dy;
    const dx = trace.node({ kind: "conv2dInputGrad", window, groups: 1, shape }, gradient, filter);
    return nchw ? trace.node({ kind: "transpose", permutation: TO_NCHW }, dx) : dx;
  },
  Conv2DBackpropFilter: (trace, { x, dy }, attrs: ConvAttributes & { filterShape: Shape }) => {
    const nchw = attrs.dataFormat === "NCHW";
    const toNhwc = (node: Node): Node => (nchw ? trace.node({ kind: "transpose", permutation: TO_NHWC }, node) : node);
    const image = toNhwc(x);
    const window = convWindow(image.shape, attrs.filterShape, attrs);
    return trace.node({ kind: "conv2dFilterGrad", window, groups: 1, shape: attrs.filterShape }, image, toNhwc(dy));
  },

  // A depthwise filter (h, w, C, multiplier) is a filter of C groups with one channel each: (h, w, 1, C · multiplier).
  DepthwiseConv2dNative: (trace, { x, filter }, attrs: ConvAttributes) => {
    const window = convWindow(x.shape, filter.shape, onlyNhwc(attrs, "DepthwiseConv2dNative"), true);
    return trace.node({ kind: "conv2d", window, groups: x.shape[3] ?? 1 }, x, grouped(trace, filter));
  },
  DepthwiseConv2dNativeBackpropInput: (trace, { dy, filter }, attrs: ConvAttributes & { inputShape: Shape }) => {
    const window = convWindow(attrs.inputShape, filter.shape, attrs, true);
    const groups = attrs.inputShape[3] ?? 1;
    return trace.node({ kind: "conv2dInputGrad", window, groups, shape: attrs.inputShape }, dy, grouped(trace, filter));
  },
  DepthwiseConv2dNativeBackpropFilter: (trace, { x, dy }, attrs: ConvAttributes & { filterShape: Shape }) => {
    const [h = 1, w = 1, C = 1, multiplier = 1] = attrs.filterShape;
    const window = convWindow(x.shape, attrs.filterShape, attrs, true);
    const shape = [h, w, 1, C * multiplier];
    const gradient = trace.node({ kind: "conv2dFilterGrad", window, groups: C, shape }, x, dy);
    return trace.node({ kind: "reshape", shape: attrs.filterShape }, gradient);
  },

  MaxPool: pool("max"),
  AvgPool: pool("avg"),
  MaxPoolGrad: poolGrad("max"),
  AvgPoolGrad: poolGrad("avg"),

  ResizeNearestNeighbor: resize("nearest"),
  ResizeBilinear: resize("bilinear"),
  ResizeNearestNeighborGrad: resizeGrad("nearest"),
  ResizeBilinearGrad: resizeGrad("bilinear"),
};

/** @param x As NHWC, whatever the format; explicit padding comes in the order of the format's axes. */
function convWindow(x: Shape, filter: Shape, attrs: ConvAttributes, depthwise = false): Window2D {
  const { pad, dataFormat } = attrs;
  const explicit = typeof pad === "object" && dataFormat === "NCHW";
  const info = tf.backend_util.computeConv2DInfo(
    x as [number, number, number, number],
    filter as [number, number, number, number],
    attrs.strides,
    attrs.dilations ?? 1,
    explicit ? (TO_NHWC.map((axis) => pad[axis]) as tf.backend_util.ExplicitPadding) : pad,
    attrs.dimRoundingMode,
    depthwise,
  );
  return windowOf(info);
}

function pool(fn: "max" | "avg"): Kernel {
  return (trace, { x }, attrs: ConvAttributes & { filterSize: Pair }) =>
    trace.node({ kind: "pool", fn, window: poolWindow(x.shape, attrs) }, x);
}

function poolGrad(fn: "max" | "avg"): Kernel {
  return (trace, { dy, input }, attrs: ConvAttributes & { filterSize: Pair }) =>
    trace.node({ kind: "poolGrad", fn, window: poolWindow(input.shape, attrs) }, dy, input);
}

function poolWindow(x: Shape, attrs: ConvAttributes & { filterSize: Pair }): Window2D {
  const shape = x as [number, number, number, number];
  return windowOf(
    tf.backend_util.computePool2DInfo(shape, attrs.filterSize, attrs.strides, 1, attrs.pad, attrs.dimRoundingMode),
  );
}

function windowOf(info: tf.backend_util.Conv2DInfo): Window2D {
  // tfjs rounds sizes up on request ("ceil"): the missing rows and columns are padding at the far side.
  const far = (size: number, near: number, out: number, stride: number, reach: number): number =>
    Math.max(0, (out - 1) * stride + reach - size - near);
  const { padInfo: pads } = info;
  const bottom = Math.max(
    pads.bottom,
    far(info.inHeight, pads.top, info.outHeight, info.strideHeight, info.effectiveFilterHeight),
  );
  const right = Math.max(
    pads.right,
    far(info.inWidth, pads.left, info.outWidth, info.strideWidth, info.effectiveFilterWidth),
  );
  const window: Window2D = {
    size: [info.filterHeight, info.filterWidth],
    strides: [info.strideHeight, info.strideWidth],
    dilations: [info.dilationHeight, info.dilationWidth],
    pads: [pads.top, bottom, pads.left, right],
  };
  // Where padding is one number, tfjs takes height and vertical stride of a window for its width and horizontal stride.
  const output = windowOutput(window, info.inHeight, info.inWidth);
  if (output.join() !== [info.outHeight, info.outWidth].join())
    throw new TraceError(
      `A window of ${window.size.join(" x ")} by ${window.strides.join(" x ")} cannot be compiled with one number as its ` +
        `padding: tfjs gives ${info.outHeight} x ${info.outWidth} of ${output.join(" x ")} pixels; called at ${callSite()}`,
    );
  return window;
}

function grouped(trace: TraceBackend, filter: Node): Node {
  const [h = 1, w = 1, C = 1, multiplier = 1] = filter.shape;
  return trace.node({ kind: "reshape", shape: [h, w, 1, C * multiplier] }, filter);
}

function onlyNhwc(attrs: ConvAttributes, kernel: string): ConvAttributes {
  if (attrs.dataFormat === "NCHW")
    throw new TraceError(`${kernel} in NCHW cannot be compiled; called at ${callSite()}`);
  return attrs;
}

interface ResizeAttributes {
  readonly alignCorners: boolean;
  readonly halfPixelCenters?: boolean;
  readonly size: [number, number];
}

function coordinatesOf({ alignCorners, halfPixelCenters }: ResizeAttributes): ResizeCoordinates {
  return alignCorners ? "alignCorners" : halfPixelCenters ? "halfPixel" : "asymmetric";
}

function resize(fn: "nearest" | "bilinear"): Kernel {
  return (trace, { images }, attrs: ResizeAttributes) => {
    const x = images.dtype === "float32" ? images : trace.node({ kind: "cast", dtype: "float32" }, images);
    const y = trace.node({ kind: "resize", fn, coordinates: coordinatesOf(attrs), size: attrs.size }, x);
    // Pixels that are only picked stay what they were.
    return fn === "nearest" && x !== images ? trace.node({ kind: "cast", dtype: images.dtype }, y) : y;
  };
}

function resizeGrad(fn: "nearest" | "bilinear"): Kernel {
  return (trace, { dy, images }, attrs: ResizeAttributes) => {
    const size = [images.shape[1] ?? 0, images.shape[2] ?? 0] as const;
    return trace.node({ kind: "resizeGrad", fn, coordinates: coordinatesOf(attrs), size }, dy);
  };
}
