import {
  compileInference,
  spec,
  type EngineName,
  type Program,
  type SessionOptions,
  type Tensors,
  type TensorSpec,
  type Tree,
} from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { assertFinite, inBatch, type NameOf } from "../finite.js";
import type { Parameters } from "../parameters.js";
import { pixelsOfFloats } from "../pixels.js";
import { ShapeError } from "../shape.js";
import { codecSpecs, kindOf, latentSize, type CodecConfig, type LatentSize } from "./config.js";
import { decodeToImages, encodeImages } from "./codec.js";

/** What a codec's program is compiled for. */
export interface CodecProgramOptions {
  /** Images of one run. */
  readonly batchImages: number;
  /** Side of the images, in pixels. */
  readonly side: number;
  readonly engine?: EngineName;
  readonly session?: SessionOptions;
}

/** Weights by name, laid out as programs take them: `fromStateDict(codecSpecs(codec), ...)`. */
export type CodecWeights = Readonly<Record<string, Float32Array>>;

/** Moments of some images: (n, h, h, C) each. */
export interface MomentArrays {
  readonly mean: Float32Array;
  /** None where the latents are certain. */
  readonly logvar: Float32Array | null;
}

/** A compiled encoder. */
export interface CodecEncoder extends AsyncDisposable {
  readonly batchImages: number;
  /** Size of the latents. */
  readonly latents: LatentSize;
  /** `{ images }` -> `{ mean, logvar? }`, of exactly `batchImages` images. */
  readonly program: Program<{ images: TensorSpec }, { mean: tf.Tensor4D; logvar?: tf.Tensor4D }>;
  /**
   * Encodes 1 to `batchImages` images.
   *
   * @param images (n, S, S, 3) float32 in [-1, 1]. Borrowed.
   * @param nameOf What an error calls an image.
   * @returns Normalized; new arrays.
   * @throws {ShapeError} If these are no whole images, or too many. {RangeError} If a latent is not finite.
   */
  encode(images: Float32Array, nameOf?: NameOf): Promise<MomentArrays>;
}

/** A compiled decoder. */
export interface CodecDecoder extends AsyncDisposable {
  readonly batchImages: number;
  /** Size of the latents. */
  readonly latents: LatentSize;
  /** `{ latents }` -> `{ images }`, of exactly `batchImages` images. */
  readonly program: Program<{ latents: TensorSpec }, { images: tf.Tensor4D }>;
  /**
   * Decodes the latents of 1 to `batchImages` images.
   *
   * @param latents (n, h, h, C) float32, normalized. Borrowed.
   * @param nameOf What an error calls an image.
   * @returns (n, S, S, 3) float32, about [-1, 1] and not clamped. New.
   * @throws {ShapeError} If these are no whole images, or too many. {RangeError} If a pixel is not finite.
   */
  decode(latents: Float32Array, nameOf?: NameOf): Promise<Float32Array>;
  /** As `decode`, as uint8 pixels of files. */
  decodePixels(latents: Float32Array, nameOf?: NameOf): Promise<Uint8Array>;
}

/**
 * Compiles a codec's encoder.
 *
 * @param weights The encoder's; others are left out. Not copied.
 * @throws {ShapeError} If the side is no multiple of what a latent pixel stands for.
 *
 * @example
 * await using encoder = await compileCodecEncoder(codec, weights, { batchImages: 16, side: 64 });
 * const { mean, logvar } = await encoder.encode(floatsOfPixels(pixels));
 */
export async function compileCodecEncoder(
  codec: CodecConfig,
  weights: CodecWeights,
  options: CodecProgramOptions,
): Promise<CodecEncoder> {
  const { batchImages, side } = options;
  const latents = latentSize(codec, side);
  const images = spec([batchImages, side, side, 3] as const);
  const run = (p: Parameters, inputs: { images: tf.Tensor4D }) => ({ ...encodeImages(p, codec, inputs.images) });
  const program = await compilePart("encoder", "decoder", codec, weights, { images }, run, options);
  const encoder: CodecEncoder = {
    batchImages,
    latents,
    program,
    encode: async (images, nameOf = inBatch) => {
      const { n, padded } = wholeBatch("images", images, batchImages, side ** 2 * 3);
      const made = (await encoder.program.run({ images: padded })) as Record<string, Float32Array>;
      const size = n * latents.side ** 2 * latents.channels;
      const part = (name: string): Float32Array | undefined => {
        const values = made[name]?.slice(0, size);
        if (values)
          assertFinite(values, n, (i) => `Cannot encode ${nameOf(i)}: the ${name} of its latents is not finite`);
        return values;
      };
      return { mean: part("mean") as Float32Array, logvar: part("logvar") ?? null };
    },
    [Symbol.asyncDispose]: () => encoder.program.dispose(),
  };
  return encoder;
}

/**
 * Compiles a codec's decoder.
 *
 * @param weights The decoder's; others are left out. Not copied.
 * @throws {ShapeError} If the side is no multiple of what a latent pixel stands for.
 */
export async function compileCodecDecoder(
  codec: CodecConfig,
  weights: CodecWeights,
  options: CodecProgramOptions,
): Promise<CodecDecoder> {
  const { batchImages, side } = options;
  const size = latentSize(codec, side);
  const latents = spec([batchImages, size.side, size.side, size.channels] as const);
  const run = (p: Parameters, inputs: { latents: tf.Tensor4D }) => ({
    images: decodeToImages(p, codec, inputs.latents),
  });
  const program = await compilePart("decoder", "encoder", codec, weights, { latents }, run, options);
  const decoder: CodecDecoder = {
    batchImages,
    latents: size,
    program,
    decode: async (latents, nameOf = inBatch) => {
      const { n, padded } = wholeBatch("latents", latents, batchImages, size.side ** 2 * size.channels);
      const { images } = await decoder.program.run({ latents: padded });
      const pixels = (images as Float32Array).slice(0, n * side ** 2 * 3);
      assertFinite(pixels, n, (image) => `Cannot decode ${nameOf(image)}: its pixels are not finite`);
      return pixels;
    },
    decodePixels: async (latents, nameOf) => pixelsOfFloats(await decoder.decode(latents, nameOf)),
    [Symbol.asyncDispose]: () => decoder.program.dispose(),
  };
  return decoder;
}

/** A batch with zeros where there are fewer images than a run takes. */
function wholeBatch(what: string, values: Float32Array, batchImages: number, imageSize: number) {
  const n = values.length / imageSize;
  if (!Number.isInteger(n) || n < 1 || n > batchImages)
    throw new ShapeError(
      `The codec's ${what} have ${values.length} values, expected 1 to ${batchImages} times ${imageSize}`,
    );
  if (n === batchImages) return { n, padded: values };
  const padded = new Float32Array(batchImages * imageSize);
  padded.set(values);
  return { n, padded };
}

function compilePart<Inputs extends Tree<TensorSpec>, Outputs extends Tree<tf.Tensor>>(
  name: string,
  other: "encoder" | "decoder",
  codec: CodecConfig,
  weights: CodecWeights,
  inputs: Inputs,
  run: (p: Parameters, inputs: Tensors<Inputs>) => Outputs,
  { engine, session }: CodecProgramOptions,
): Promise<Program<Inputs, Outputs>> {
  const unused = kindOf(codec).only[other];
  const used = (key: string): boolean => !unused.some((prefix) => key.startsWith(prefix));
  const specs = Object.entries(codecSpecs(codec)).filter(([key]) => used(key));
  const missing = specs.filter(([key]) => !weights[key]).map(([key]) => `"${key}"`);
  if (missing.length > 0)
    throw new ShapeError(
      `The codec's weights have no ${missing.slice(0, 3).join(", ")}; ${missing.length} are missing`,
    );
  const known = Object.fromEntries(
    specs.map(([key, { shape }]) => [key, { shape, data: weights[key] as Float32Array }]),
  );
  return compileInference(run, known, inputs, { name, engine, session });
}
