import { tapsOf, type PilKernel } from "./pil-taps.js";

/** An image of bytes: rows of pixels, each `channels` values in [0, 255]. */
export interface ByteImage {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

/** Bits of a weight behind the point. */
const PRECISION = 22;

/** What one output pixel is made of: whole-number weights of the pixels from `first` on. */
interface Taps {
  readonly first: number;
  readonly weights: Int32Array;
}

/**
 * Resize with antialiasing, bit for bit as the Python Imaging Library does on images of bytes: columns first, then
 * rows, rounded to bytes in between; whole-number weights. A side that keeps its size is left alone. With c the place
 * of an output pixel in the input and f = max(1, in / out),
 *
 *     weight(x) ~ K((x + 1/2 - c) / f),   c = (dst + 1/2) · in / out
 *     K(u) = max(0, 1 - |u|)  (bilinear)   or   sinc(u) sinc(u / 3), |u| < 3  (lanczos)
 *
 * Source: Pillow, `Resample.c` precompute_coeffs and ImagingResampleHorizontal_8bpc, as torchvision's `Resize` calls it
 * on such images (spec 9); spec section 28 for Lanczos.
 *
 * Columns first, then rows, as the reference's version does. Pillow 13 takes the order that is less work, and where one
 * side grows and the other shrinks its bytes differ by one here and there.
 *
 * @param image Of one to four channels. Borrowed.
 * @returns A new image, its bytes never shared with the given one.
 * @throws {RangeError} If a size is not a positive whole number, or does not fit the bytes.
 */
export function resizePil(
  image: ByteImage,
  size: { readonly width: number; readonly height: number },
  kernel: PilKernel = "bilinear",
): ByteImage & { readonly data: Uint8Array } {
  const { width, height, channels, data } = image;
  for (const [name, value] of Object.entries({ width, height, "new width": size.width, "new height": size.height }))
    if (!Number.isSafeInteger(value) || value <= 0)
      throw new RangeError(`Cannot resize an image: its ${name} is ${value}, expected a positive whole number`);
  if (!(channels >= 1 && channels <= 4) || data.length !== width * height * channels)
    throw new RangeError(
      `Cannot resize an image: ${data.length} bytes are not ${width} x ${height} pixels of ${channels} channels, from 1 to 4`,
    );
  const wide = width === size.width ? Uint8Array.from(data) : resizeColumns(image, size.width, kernel);
  if (height === size.height) return { data: wide, ...size, channels };
  return { data: resizeRows(wide, height, size.height, size.width * channels, kernel), ...size, channels };
}

/** (height, width, channels) -> (height, to, channels) */
function resizeColumns({ data, width, height, channels }: ByteImage, to: number, kernel: PilKernel): Uint8Array {
  const taps = wholeTapsOf(width, to, kernel);
  const result = new Uint8Array(height * to * channels);
  if (channels === 3) resizeRgbColumns(data, width, height, taps, result);
  else resizeAnyColumns(data, width, height, channels, taps, result);
  return result;
}

function resizeAnyColumns(
  data: ByteImage["data"],
  width: number,
  height: number,
  channels: number,
  taps: readonly Taps[],
  result: Uint8Array,
): void {
  let at = 0;
  for (let y = 0; y < height; y++)
    for (const { first, weights } of taps)
      for (let channel = 0; channel < channels; channel++) {
        let sum = 1 << (PRECISION - 1);
        let source = (y * width + first) * channels + channel;
        for (let i = 0; i < weights.length; i++, source += channels) sum += data[source]! * weights[i]!;
        result[at++] = toByte(sum);
      }
}

/** The same for three channels, with each weight read once and nothing but whole numbers of 32 bits: half the time. */
function resizeRgbColumns(
  data: ByteImage["data"],
  width: number,
  height: number,
  taps: readonly Taps[],
  result: Uint8Array,
): void {
  let at = 0;
  for (let y = 0; y < height; y++) {
    const row = y * width * 3;
    for (let x = 0; x < taps.length; x++) {
      const { first, weights } = taps[x]!;
      let red = 1 << (PRECISION - 1);
      let green = red;
      let blue = red;
      let source = row + first * 3;
      for (let i = 0; i < weights.length; i++) {
        const weight = weights[i]!;
        red = (red + Math.imul(data[source]!, weight)) | 0;
        green = (green + Math.imul(data[source + 1]!, weight)) | 0;
        blue = (blue + Math.imul(data[source + 2]!, weight)) | 0;
        source += 3;
      }
      result[at] = toByte(red);
      result[at + 1] = toByte(green);
      result[at + 2] = toByte(blue);
      at += 3;
    }
  }
}

/** (height, columns) -> (to, columns) */
function resizeRows(data: Uint8Array, height: number, to: number, columns: number, kernel: PilKernel): Uint8Array {
  const result = new Uint8Array(to * columns);
  const sums = new Int32Array(columns);
  wholeTapsOf(height, to, kernel).forEach(({ first, weights }, y) => {
    sums.fill(1 << (PRECISION - 1));
    for (let i = 0; i < weights.length; i++) {
      const weight = weights[i]!;
      const row = (first + i) * columns;
      for (let x = 0; x < columns; x++) sums[x] = sums[x]! + Math.imul(data[row + x]!, weight);
    }
    for (let x = 0; x < columns; x++) result[y * columns + x] = toByte(sums[x]!);
  });
  return result;
}

/** Clipped, as PIL does: Lanczos has weights below 0. */
const toByte = (sum: number): number => Math.min(255, Math.max(0, sum >> PRECISION));

/** Weights with `PRECISION` bits behind the point, rounded. */
function wholeTapsOf(from: number, to: number, kernel: PilKernel): Taps[] {
  return tapsOf(from, to, kernel).map(({ first, weights }) => ({
    first,
    weights: Int32Array.from(weights, (weight) => Math.trunc(Math.sign(weight) * 0.5 + weight * 2 ** PRECISION)),
  }));
}
