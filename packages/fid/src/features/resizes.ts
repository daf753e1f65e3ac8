import { resizeBytesBicubic } from "../resize/bicubic-floats.js";
import { resizeBytesBilinear } from "../resize/bilinear-bytes.js";
import { resizeBytesTensorflow } from "../resize/tensorflow-bytes.js";
import type { ResizeName } from "./network-names.js";

/** Writes one image, (height, width, 3) uint8, as (side, side, 3) float32, for a network that computes 2x - 1. */
export type ResizeBytes = (
  pixels: Uint8Array,
  size: { readonly width: number; readonly height: number },
  side: number,
  result: Float32Array,
) => void;

/** How images come to the size that Inception sees, by the package that does it so. */
export const RESIZES = {
  "pytorch-fid": {
    told: "bilinear to 299 x 299 without antialiasing, in the network",
    bytes: resizeBytesBilinear,
    /** Whether the network can do it, for images of one size. */
    inNetwork: true,
  },
  "torch-fidelity": {
    told: "bilinear to 299 x 299 without antialiasing, as TensorFlow 1 and torch-fidelity",
    bytes: resizeBytesTensorflow,
    inNetwork: false,
  },
  "clean-fid": {
    told: "bicubic to 299 x 299 with antialiasing, in floats, as clean-fid",
    bytes: resizeBytesBicubic,
    inNetwork: false,
  },
} as const satisfies Record<
  ResizeName,
  { readonly told: string; readonly bytes: ResizeBytes; readonly inNetwork: boolean }
>;
