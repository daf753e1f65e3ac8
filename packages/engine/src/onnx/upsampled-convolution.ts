import { isOp, type Node, type NodeOf } from "../ir/graph.js";
import { resizeWeights } from "../ir/resize.js";
import type { OnnxBuilder } from "./builder.js";

/** A convolution of doubled pixels with a filter that is known. */
export interface UpsampledConvolution {
  /** The image before its pixels were doubled. */
  readonly image: Node;
  readonly filter: NodeOf<"constant">;
}

/** Whether a convolution, 3x3 and of the same size, is one of an image whose pixels were doubled in both directions. */
export function upsampledConvolution(node: NodeOf<"conv2d">): UpsampledConvolution | undefined {
  const [x, filter] = node.inputs as [Node, Node];
  const { size, strides, dilations, pads } = node.op.window;
  if (!isOp(filter, "constant") || node.op.groups !== 1 || size.some((n) => n !== 3) || pads.some((n) => n !== 1))
    return undefined;
  if ([...strides, ...dilations].some((n) => n !== 1) || !isOp(x, "resize") || x.op.fn !== "nearest") return undefined;
  const [image] = x.inputs as [Node];
  const { coordinates } = x.op;
  const doubles = (from: number, to: number): boolean =>
    to === 2 * from && resizeWeights("nearest", coordinates, from, to).every(([pick], i) => pick?.index === i >> 1);
  const [, H = 0, W = 0] = image.shape;
  return doubles(H, x.op.size[0]) && doubles(W, x.op.size[1]) ? { image, filter } : undefined;
}

/**
 * Which of a filter's three rows (or columns) fall on each of the two pixels that an output pixel of this parity sees:
 * an even one the pixel before and its own, an odd one its own and the pixel after.
 */
const TAPS = [
  [[0], [1, 2]],
  [[0, 1], [2]],
] as const;

/**
 * Convolves doubled pixels without doubling them: output pixels of each parity of row and column see two by two pixels
 * of the image, so they are a convolution of their own, with taps of the filter added up; 4/9 of the multiplications.
 *
 *     y[2i + a, 2j + b] = Σ_(p,q) x[i + p + a - 1, j + q + b - 1] · Σ_(r in taps(a,p), c in taps(b,q)) w[r, c]
 *
 * @param image (N,C,H,W), by name.
 * @param bias (O), by name; none if there is none.
 * @returns (N,O,2H,2W), by name.
 */
export function lowerUpsampledConvolution(
  onnx: OnnxBuilder,
  image: string,
  { op: { data }, shape }: NodeOf<"constant">,
  bias: readonly string[],
): string {
  const [, , C = 0, O = 0] = shape;
  const parities = [0, 1] as const;
  const parts = parities.flatMap((a) =>
    parities.map((b) => {
      const filter = new Float32Array(O * C * 4); // (O, C, 2, 2)
      for (let o = 0; o < O; o++)
        for (let c = 0; c < C; c++)
          for (const p of parities)
            for (const q of parities) {
              let sum = 0;
              for (const row of TAPS[a][p])
                for (const column of TAPS[b][q]) sum += data[((row * 3 + column) * C + c) * O + o]!;
              filter[((o * C + c) * 2 + p) * 2 + q] = sum;
            }
      const pads = [1 - a, 1 - b, a, b]; // top, left, bottom, right
      return onnx.op("Conv", [image, onnx.constant("float32", [O, C, 2, 2], filter), ...bias], {
        kernel_shape: [2, 2],
        pads,
      });
    }),
  );
  return onnx.op("DepthToSpace", [onnx.op("Concat", parts, { axis: 1 })], { blocksize: 2, mode: "DCR" });
}
