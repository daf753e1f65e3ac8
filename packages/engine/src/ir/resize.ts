import type { ResizeCoordinates } from "./graph.js";

/** One input position that contributes to an output position of a resize, and how much. */
export interface ResizeTap {
  readonly index: number;
  readonly weight: number;
}

/**
 * The linear map of `resize` along one axis: for each output position, the input positions that contribute and their
 * weights, which sum to one. With `src` the place of an output pixel in the input,
 *
 *     alignCorners:  src = dst · (in - 1) / (out - 1), or 0 if out is 1
 *     halfPixel:     src = (dst + 1/2) · in / out - 1/2
 *     asymmetric:    src = dst · in / out
 *
 * `bilinear` mixes floor(src) and ceil(src), both clamped into the image. `nearest` takes floor(src) if asymmetric,
 * else floor(src + 1/2), clamped too.
 *
 * Source: TensorFlow.js 4.22 backend-cpu, kernels ResizeBilinear and ResizeNearestNeighbor.
 *
 * @param inputSize Positive.
 * @returns As many lists as `outputSize`; each has one or two entries with distinct indices, in ascending order.
 */
export function resizeWeights(
  fn: "nearest" | "bilinear",
  coordinates: ResizeCoordinates,
  inputSize: number,
  outputSize: number,
): ResizeTap[][] {
  const corners = coordinates === "alignCorners" && outputSize > 1;
  const ratio = corners ? (inputSize - 1) / (outputSize - 1) : inputSize / outputSize;
  const inside = (index: number): number => Math.min(inputSize - 1, Math.max(0, index));

  return Array.from({ length: outputSize }, (_, position) => {
    const halfPixel = coordinates === "halfPixel";
    if (fn === "nearest") {
      const source = ratio * (halfPixel ? position + 0.5 : position);
      return [{ index: inside(coordinates === "alignCorners" ? Math.round(source) : Math.floor(source)), weight: 1 }];
    }
    const source = halfPixel ? ratio * (position + 0.5) - 0.5 : ratio * position;
    const low = inside(Math.floor(source));
    const high = inside(Math.ceil(source));
    if (low === high) return [{ index: low, weight: 1 }];
    return [
      { index: low, weight: 1 - (source - low) },
      { index: high, weight: source - low },
    ];
  });
}
