/**
 * Pixels of images as files have them: clamped to [-1, 1], then (x + 1) / 2 · 255 + 0.5, truncated. In float32, one
 * operation at a time, as the reference's image writer does.
 *
 * Source: spec section 13.
 *
 * @param images Any number of float32 values, about [-1, 1].
 * @returns As many uint8 values; NaN becomes 0.
 */
export function pixelsOfFloats(images: Float32Array): Uint8Array {
  const f32 = Math.fround;
  const pixels = new Uint8Array(images.length);
  for (let i = 0; i < images.length; i++) {
    const clamped = Math.min(1, Math.max(-1, images[i] ?? 0));
    pixels[i] = Math.min(255, Math.max(0, Math.trunc(f32(f32(f32(f32(clamped + 1) / 2) * 255) + 0.5))));
  }
  return pixels;
}
