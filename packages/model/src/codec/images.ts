/**
 * Images for a network, of pixels as files have them: x / 127.5 - 1. `pixelsOfFloats` is the way back.
 *
 * @param pixels Any number of uint8 values.
 * @returns As many float32 values in [-1, 1]; new.
 */
export function floatsOfPixels(pixels: Uint8Array): Float32Array {
  const images = new Float32Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) images[i] = (pixels[i] as number) / 127.5 - 1;
  return images;
}
