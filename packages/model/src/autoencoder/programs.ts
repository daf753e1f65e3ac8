import {
  compile,
  spec,
  type EngineName,
  type Program,
  type SessionOptions,
  type Tensors,
  type TensorSpec,
  type Tree,
} from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import type { Parameters } from "../parameters.js";
import { ShapeError } from "../shape.js";
import { autoencoderSpecs, decodeLatents, encodeMoments } from "./autoencoder.js";
import { downsamplingFactor, type AutoencoderConfig } from "./config.js";

/** Sizes that a compiled encoder or decoder is made for. */
export interface ImageSize {
  readonly batchImages: number;
  /** In image pixels; multiples of the downsampling factor. */
  readonly height: number;
  readonly width: number;
}

export interface CodecOptions {
  readonly engine?: EngineName;
  readonly session?: SessionOptions;
}

/** Weights by key, laid out as programs take them. */
type Weights = Readonly<Record<string, Float32Array>>;

/**
 * The encoder, compiled: `run({ images })` -> `{ moments }`, the arrays as `encodeMoments` describes them.
 *
 * @param weights All of the autoencoder's, or the encoder's and `quant_conv` alone. Not copied.
 * @throws {ShapeError} If the size is no multiple of the downsampling factor.
 */
export async function compileEncoder(
  config: AutoencoderConfig,
  weights: Weights,
  size: ImageSize,
  options: CodecOptions = {},
): Promise<Program<{ images: TensorSpec }, { moments: tf.Tensor4D }>> {
  const images = spec([size.batchImages, ...sides(config, size, 1), config.imageChannels]);
  const fn = (p: Parameters, inputs: { images: tf.Tensor4D }) => ({ moments: encodeMoments(p, config, inputs.images) });
  return compilePart("encoder", ["encoder.", "quant_conv."], config, weights, { images }, fn, options);
}

/**
 * The decoder, compiled: `run({ latents })` -> `{ images }`, the arrays as `decodeLatents` describes them.
 *
 * @param weights All of the autoencoder's, or the decoder's and `post_quant_conv` alone. Not copied.
 * @throws {ShapeError} If the size is no multiple of the downsampling factor.
 */
export async function compileDecoder(
  config: AutoencoderConfig,
  weights: Weights,
  size: ImageSize,
  options: CodecOptions = {},
): Promise<Program<{ latents: TensorSpec }, { images: tf.Tensor4D }>> {
  const latents = spec([size.batchImages, ...sides(config, size, downsamplingFactor(config)), config.latentChannels]);
  const fn = (p: Parameters, inputs: { latents: tf.Tensor4D }) => ({
    images: decodeLatents(p, config, inputs.latents),
  });
  const prefixes = ["decoder.", "post_quant_conv."];
  return compilePart("decoder", prefixes, config, weights, { latents }, fn, options);
}

function sides(config: AutoencoderConfig, { height, width }: ImageSize, divisor: number): [number, number] {
  const factor = downsamplingFactor(config);
  if (height % factor !== 0 || width % factor !== 0)
    throw new ShapeError(`The autoencoder's images are ${width} x ${height}, expected multiples of ${factor}`);
  return [height / divisor, width / divisor];
}

function compilePart<Inputs extends Tree<TensorSpec>, Outputs extends Tree<tf.Tensor>>(
  name: string,
  prefixes: readonly string[],
  config: AutoencoderConfig,
  weights: Weights,
  inputs: Inputs,
  fn: (p: Parameters, inputs: Tensors<Inputs>) => Outputs,
  options: CodecOptions,
): Promise<Program<Inputs, Outputs>> {
  const mine = ([key]: readonly [string, unknown]): boolean => prefixes.some((prefix) => key.startsWith(prefix));
  const specs = Object.fromEntries(
    Object.entries(autoencoderSpecs(config))
      .filter(mine)
      .map(([key, { shape }]) => [key, spec(shape)]),
  );
  const constants = Object.fromEntries(Object.entries(weights).filter(mine));
  return compile(
    (p: Parameters, inputs: Tensors<Inputs>) => ({ outputs: fn(p, inputs) }),
    { state: specs, inputs },
    { name, constants, ...options },
  );
}
