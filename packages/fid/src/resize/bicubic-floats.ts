import { resizePilFloats } from "@madformer/artifacts";

/**
 * clean-fid's resize: PIL's bicubic with antialiasing, of each channel as floats, clipped to [0, 255] and never rounded
 * to bytes. What comes out is for a network that computes 2x - 1, and gets what clean-fid gives it, (p - 128) / 128.
 *
 * Source: Parmar et al. 2022, arXiv:2104.11222; clean-fid 0.1.35, `resize.py` make_resizer("PIL", False, "bicubic"),
 * `inception_torchscript.py`.
 *
 * @param pixels (height, width, 3) uint8, RGB. Borrowed.
 * @param side Pixels each way of the result.
 * @param result Where p / 256 is written, (side, side, 3).
 */
export function resizeBytesBicubic(
  pixels: Uint8Array,
  { width, height }: { readonly width: number; readonly height: number },
  side: number,
  result: Float32Array,
): void {
  const resized = resizePilFloats(
    { data: pixels, width, height, channels: 3 },
    { width: side, height: side },
    "bicubic",
  );
  for (let i = 0; i < resized.length; i++) result[i] = Math.min(255, Math.max(0, resized[i]!)) / 256;
}
