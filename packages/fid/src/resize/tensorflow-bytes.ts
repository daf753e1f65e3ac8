/**
 * TensorFlow 1's bilinear resize, which the first FID was made with: without antialiasing, corners in place of middles,
 *
 *     src = dst · in / out
 *
 * in single precision. What comes out is for a network that computes 2x - 1, and gets what this one gave it,
 * (p - 128) / 128.
 *
 * Source: TensorFlow 1.x, `ResizeBilinear` with align_corners=False, as torch-fidelity 0.4.0's
 * `interpolate_bilinear_2d_like_tensorflow1x` has it, and as the graph of ADM's suite does it.
 *
 * @param pixels (height, width, 3) uint8, RGB. Borrowed.
 * @param side Pixels each way of the result.
 * @param result Where p / 256 is written, (side, side, 3).
 */
export function resizeBytesTensorflow(
  pixels: Uint8Array,
  { width, height }: { readonly width: number; readonly height: number },
  side: number,
  result: Float32Array,
): void {
  const { fround } = Math;
  const [rows, columns] = [placesOf(height, side), placesOf(width, side)];
  const between = (a: number, b: number, share: number): number => fround(a + fround(fround(b - a) * share));
  let at = 0;
  for (const { near: top, far: bottom, share: down } of rows)
    for (const { near: left, far: right, share: across } of columns)
      for (let c = 0; c < 3; c++) {
        const of = (y: number, x: number): number => pixels[(y * width + x) * 3 + c]!;
        const upper = between(of(top, left), of(top, right), across);
        const lower = between(of(bottom, left), of(bottom, right), across);
        result[at++] = between(upper, lower, down) / 256;
      }
}

/** Of an output row or column: the two that it mixes, and how much of the second. */
function placesOf(from: number, to: number): { near: number; far: number; share: number }[] {
  const scale = Math.fround(from / to);
  return Array.from({ length: to }, (_, i) => {
    const source = Math.fround(i * scale);
    const near = Math.min(Math.trunc(source), from - 1);
    return { near, far: Math.min(near + 1, from - 1), share: Math.fround(source - near) };
  });
}
