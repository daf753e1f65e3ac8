import { DataError, imageGrid, writePng, type RgbImage } from "@madformer/artifacts";
import {
  compileCodecDecoder,
  compileCodecEncoder,
  floatsOfPixels,
  type AutoencoderConfig,
  type CodecConfig,
  type Scale,
} from "@madformer/model";
import type { Codec } from "./files.js";
import type { HeldImages } from "./images.js";

interface MeasureOptions {
  readonly batchImages: number;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

/** An autoencoder as a codec with the units that it was made with. */
export function unscaled(config: AutoencoderConfig): CodecConfig {
  const { latentChannels: C } = config;
  return { kind: "autoencoder-kl", config, scale: { mean: Array<number>(C).fill(0), std: Array<number>(C).fill(1) } };
}

/**
 * Mean and standard deviation of latents by channel, over all pixels of some images: of draws from their distributions,
 *
 *     mean = E μ        std² = E μ² - mean² + E σ²
 *
 * @param codec With a scale of mean 0 and deviation 1.
 * @param indices Of the images.
 * @throws {RangeError} If the latents of an image are not finite. {DataError} If a channel has no deviation to divide
 *   by.
 */
export async function measureScale(
  { codec, weights }: Codec,
  images: HeldImages,
  indices: readonly number[],
  { batchImages, signal, onProgress }: MeasureOptions,
): Promise<Scale> {
  await using encoder = await compileCodecEncoder(codec, weights, { batchImages, side: images.side });
  const C = encoder.latents.channels;
  const [sums, squares] = [new Float64Array(C), new Float64Array(C)];
  let pixels = 0;
  for (let at = 0; at < indices.length; at += batchImages) {
    signal.throwIfAborted();
    const batch = await images.batch(indices.slice(at, at + batchImages));
    const { mean, logvar } = await encoder.encode(batch, (i) => images.nameOf(indices[at + i] as number));
    mean.forEach((x, i) => {
      sums[i % C] = (sums[i % C] as number) + x;
      squares[i % C] = (squares[i % C] as number) + x * x + (logvar ? Math.exp(logvar[i] as number) : 0);
    });
    pixels += mean.length / C;
    onProgress(Math.min(at + batchImages, indices.length), indices.length);
  }
  const mean = Array.from(sums, (sum) => sum / pixels);
  const std = Array.from(squares, (sum, c) => Math.sqrt(sum / pixels - (mean[c] as number) ** 2));
  const bad = std.findIndex((value) => !(value > 0 && value < Infinity));
  if (bad >= 0)
    throw new DataError(
      `Cannot measure the latents: over ${indices.length} images channel ${bad} has the mean ${mean[bad]} and ` +
        `the standard deviation ${std[bad]}, expected a positive number`,
    );
  return { mean, std };
}

/** Pairs of images and what the codec makes of them. */
export interface Reconstructions {
  /** Original, reconstruction, original, ... */
  readonly pairs: readonly RgbImage[];
  /** Peak signal-to-noise ratio over all of them, in dB; Infinity where nothing differs. */
  readonly psnr: number;
}

/**
 * Encodes and decodes images, by the means of their latents.
 *
 * @throws {RangeError} If latents or pixels are not finite: with the image's key.
 */
export async function reconstruct(
  { codec, weights }: Codec,
  images: HeldImages,
  indices: readonly number[],
  { batchImages, signal, onProgress }: MeasureOptions,
): Promise<Reconstructions> {
  const { side } = images;
  await using encoder = await compileCodecEncoder(codec, weights, { batchImages, side });
  await using decoder = await compileCodecDecoder(codec, weights, { batchImages, side });
  const pairs: RgbImage[] = [];
  let squares = 0;
  for (let at = 0; at < indices.length; at += batchImages) {
    signal.throwIfAborted();
    const originals = await Promise.all(indices.slice(at, at + batchImages).map((index) => images.pixels(index)));
    const size = side ** 2 * 3;
    const batch = new Float32Array(originals.length * size);
    originals.forEach((pixels, i) => batch.set(floatsOfPixels(pixels), i * size));
    const nameOf = (i: number): string => images.nameOf(indices[at + i] as number);
    const decoded = await decoder.decodePixels((await encoder.encode(batch, nameOf)).mean, nameOf);
    originals.forEach((original, n) => {
      const pixels = decoded.subarray(n * size, (n + 1) * size);
      original.forEach((x, i) => (squares += (x - (pixels[i] as number)) ** 2));
      for (const picture of [original, pixels]) pairs.push({ width: side, height: side, pixels: picture });
    });
    onProgress(Math.min(at + batchImages, indices.length), indices.length);
  }
  return { pairs, psnr: 10 * Math.log10(255 ** 2 / (squares / (indices.length * side ** 2 * 3))) };
}

/** Writes pairs as one picture, four pairs in a row. */
export async function writePairs(path: string, pairs: readonly RgbImage[]): Promise<void> {
  const { pixels, width, height } = imageGrid(pairs, 8);
  await writePng(path, pixels, width, height);
}
