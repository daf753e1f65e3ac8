import * as tf from "@tensorflow/tfjs-core";
import { decodeLatents, encodeMoments } from "../autoencoder/autoencoder.js";
import { Scope, type Parameters } from "../parameters.js";
import { dims } from "../shape.js";
import { latentSize, valuesOfPatch, type CodecConfig, type PatchPcaConfig } from "./config.js";

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
  const normalized = (z: tf.Tensor4D): tf.Tensor4D => tf.div(tf.sub(z, tf.tensor1d([...m])), tf.tensor1d([...s]));
  if (codec.kind === "patch-pca") return { mean: normalized(patchCoefficients(new Scope(p), codec, images)) };
  const factor = codec.config.scalingFactor;
  const [mean, logVariance] = tf.split(encodeMoments(p, codec.config, images), 2, 3) as [tf.Tensor4D, tf.Tensor4D];
  const shift = tf.tensor1d(s.map((std) => 2 * Math.log(factor / std)));
  return {
    mean: normalized(tf.mul(mean, factor)),
    logvar: tf.add(tf.clipByValue(logVariance, -30, 20), shift),
  };
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
  return codec.kind === "patch-pca" ? pixelsOfPatches(new Scope(p), codec, z) : decodeLatents(p, codec.config, z);
}

/** Images (N, S, S, 3) to coefficients (N, h, h, C) of their patches. */
function patchCoefficients(p: Scope, { patch, channels }: PatchPcaConfig, images: tf.Tensor4D): tf.Tensor4D {
  const [N, S] = images.shape;
  const h = S / patch;
  // Rows of a patch lie p pixels apart: (N, h, p, w, p, 3) -> (N, h, w, p, p, 3), in two steps of rank 5.
  const rows = tf.reshape<tf.Rank.R5>(images, [N * h, patch, h, patch, 3]);
  const patches = tf.reshape<tf.Rank.R2>(tf.transpose(rows, [0, 2, 1, 3, 4]), [N * h * h, valuesOfPatch({ patch })]);
  const centered = tf.sub<tf.Tensor2D>(patches, p.get("mean"));
  return tf.reshape(tf.matMul(centered, p.get<tf.Tensor2D>("basis")), [N, h, h, channels]); // (N h w, 3 p²) x (3 p², C)
}

/** Coefficients (N, h, h, C) of patches to images (N, S, S, 3). */
function pixelsOfPatches(p: Scope, { patch, channels }: PatchPcaConfig, z: tf.Tensor4D): tf.Tensor4D {
  const [N, h] = z.shape;
  const flat = tf.reshape<tf.Rank.R2>(z, [N * h * h, channels]);
  const patches = tf.add(tf.matMul(flat, p.get<tf.Tensor2D>("basis"), false, true), p.get("mean")); // (N h w, 3 p²)
  const rows = tf.transpose(tf.reshape<tf.Rank.R5>(patches, [N * h, h, patch, patch, 3]), [0, 2, 1, 3, 4]);
  return tf.reshape(rows, [N, h * patch, h * patch, 3]);
}
