import { tapsOf, type PilKernel, type Taps } from "./pil-taps.js";

/** An image of bytes or floats: rows of pixels, each `channels` values. */
export interface PixelValues {
  readonly data: Uint8Array | Float32Array;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

/**
 * Resize with antialiasing as the Python Imaging Library does on images of floats (mode `F`), each channel by itself:
 * columns first, then rows; sums in double precision, rounded to single precision after either. A side that keeps its
 * size is left alone. Kernels as in `resizePil`, and
 *
 *     K(u) = 3/2 |u|³ - 5/2 |u|² + 1, |u| < 1;   -1/2 |u|³ + 5/2 |u|² - 4 |u| + 2, |u| < 2   (bicubic)
 *
 * Source: Pillow, `Resample.c` ImagingResampleHorizontal_32bpc, ImagingResampleVertical_32bpc.
 *
 * @param image (height, width, channels), bytes or floats. Borrowed.
 * @returns (size.height, size.width, channels), not clipped: cubic weights go below 0. New, owned by the caller.
 * @throws {RangeError} If a size is not a positive whole number, or does not fit the values.
 */
export function resizePilFloats(
  image: PixelValues,
  size: { readonly width: number; readonly height: number },
  kernel: PilKernel,
): Float32Array {
  const { data, width, height, channels } = image;
  for (const [name, value] of Object.entries({ width, height, "new width": size.width, "new height": size.height }))
    if (!Number.isSafeInteger(value) || value <= 0)
      throw new RangeError(`Cannot resize an image: its ${name} is ${value}, expected a positive whole number`);
  if (data.length !== width * height * channels)
    throw new RangeError(
      `Cannot resize an image: ${data.length} values are not ${width} x ${height} pixels of ${channels} channels`,
    );
  const wide = width === size.width ? Float32Array.from(data) : resizeColumns(image, tapsOf(width, size.width, kernel));
  if (height === size.height) return wide;
  return resizeRows(wide, tapsOf(height, size.height, kernel), size.width * channels);
}

/** (height, width, channels) -> (height, taps, channels) */
function resizeColumns(image: PixelValues, taps: readonly Taps[]): Float32Array {
  const { data, width, height, channels } = image;
  const result = new Float32Array(height * taps.length * channels);
  let at = 0;
  for (let y = 0; y < height; y++)
    for (const { first, weights } of taps)
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        let source = (y * width + first) * channels + channel;
        for (let i = 0; i < weights.length; i++, source += channels) sum += data[source]! * weights[i]!;
        result[at++] = sum;
      }
  return result;
}

/** (height, columns) -> (taps, columns) */
function resizeRows(data: Float32Array, taps: readonly Taps[], columns: number): Float32Array {
  const result = new Float32Array(taps.length * columns);
  const sums = new Float64Array(columns);
  taps.forEach(({ first, weights }, y) => {
    sums.fill(0);
    for (let i = 0; i < weights.length; i++) {
      const [weight, row] = [weights[i]!, (first + i) * columns];
      for (let x = 0; x < columns; x++) sums[x] = sums[x]! + data[row + x]! * weight;
    }
    result.set(sums, y * columns);
  });
  return result;
}
