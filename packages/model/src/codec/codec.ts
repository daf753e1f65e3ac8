import * as tf from "@tensorflow/tfjs-core";
import type { Parameters } from "../parameters.js";
import { dims } from "../shape.js";
import { kindOf, latentSize, type CodecConfig } from "./config.js";

/** Distribution of latents, in units in which a channel has about mean 0 and variance 1: (N, h, w, C) each. */
export interface Moments {
  readonly mean: tf.Tensor4D;
  /** Logarithm of the variance, at most e^20; none where the latents are certain. */
  readonly logvar?: tf.Tensor4D;
}

/**
 * Images to the distribution of their latents, normalized:
 *
 *     autoencoder-kl:  z ~ N(f·μ, f²·σ²)      mean = (f·μ - m) / s      logvar = log σ² + 2 log(f / s)
 *     patch-pca:       z = Bᵀ (patch - mean patch)                      mean = (z - m) / s
 *
 * with the autoencoder's scaling factor f, and m, s of the codec's scale. log σ² is clamped to [-30, 20] first.
 *
 * @param p The codec's weights, as `codecSpecs` lists them; of an autoencoder the encoder's are enough. Borrowed.
 * @param images (N, S, S, 3) float32 in [-1, 1]. Borrowed.
 * @throws {ShapeError} If the images do not fit the codec.
 */
export function encodeImages(p: Parameters, codec: CodecConfig, images: tf.Tensor4D): Moments {
  const { S } = dims(images, ["N", "S", images.shape[1], 3], "encodeImages: images");
  latentSize(codec, S);
  const { mean: m, std: s } = codec.scale;
  const { mean, logvar, factor = 1 } = kindOf(codec).encode(p, codec, images);
  const normalized: tf.Tensor4D = tf.div(tf.sub(mean, tf.tensor1d([...m])), tf.tensor1d([...s]));
  if (logvar === undefined) return { mean: normalized };
  const shift = tf.tensor1d(s.map((std) => 2 * Math.log(factor / std)));
  return { mean: normalized, logvar: tf.add(logvar, shift) };
}

/**
 * Normalized latents to images: the inverse of `encodeImages`, as far as there is one.
 *
 * @param latents (N, h, h, C) float32, normalized. Borrowed.
 * @returns (N, S, S, 3) float32, about [-1, 1] and not clamped.
 */
export function decodeToImages(p: Parameters, codec: CodecConfig, latents: tf.Tensor4D): tf.Tensor4D {
  const { mean: m, std: s } = codec.scale;
  dims(latents, ["N", "h", latents.shape[1], m.length], "decodeToImages: latents");
  const z: tf.Tensor4D = tf.add(tf.mul(latents, tf.tensor1d([...s])), tf.tensor1d([...m]));
  return kindOf(codec).decode(p, codec, z);
}
