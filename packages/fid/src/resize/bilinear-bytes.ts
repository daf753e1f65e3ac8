/** Bytes as the reference's `ToTensor` maps them: divided by 255 in float32. */
export const FROM_BYTE = Float32Array.from({ length: 256 }, (_, byte) => byte / 255);

/** Of an output row or column: the two that it mixes, and how much of the second. */
interface Place {
  readonly near: number;
  readonly far: number;
  readonly share: number;
}

/**
 * The resize of `resizeBilinear`, of one image and without tensors: for images of many sizes, of which each would be a
 * program of its own.
 *
 * @param pixels (height, width, 3) uint8, RGB. Borrowed.
 * @param side Pixels each way of the result.
 * @param result Where (side, side, 3) in [0, 1] is written.
 */
export function resizeBytesBilinear(
  pixels: Uint8Array,
  { width, height }: { readonly width: number; readonly height: number },
  side: number,
  result: Float32Array,
): void {
  const [rows, columns] = [placesOf(height, side), placesOf(width, side)];
  let at = 0;
  for (const { near: top, far: bottom, share: down } of rows)
    for (const { near: left, far: right, share: across } of columns)
      for (let c = 0; c < 3; c++) {
        const upper =
          FROM_BYTE[pixels[(top * width + left) * 3 + c]!]! * (1 - across) +
          FROM_BYTE[pixels[(top * width + right) * 3 + c]!]! * across;
        const lower =
          FROM_BYTE[pixels[(bottom * width + left) * 3 + c]!]! * (1 - across) +
          FROM_BYTE[pixels[(bottom * width + right) * 3 + c]!]! * across;
        result[at++] = upper * (1 - down) + lower * down;
      }
}

function placesOf(from: number, to: number): Place[] {
  const scale = Math.fround(from / to);
  return Array.from({ length: to }, (_, i) => {
    const source = Math.max(0, Math.fround(Math.fround(scale * (i + 0.5)) - 0.5));
    const near = Math.min(Math.floor(source), from - 1);
    return { near, far: Math.min(near + 1, from - 1), share: Math.fround(source - near) };
  });
}
