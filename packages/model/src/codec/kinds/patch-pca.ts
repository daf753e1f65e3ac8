import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import { Scope } from "../../parameters.js";
import { Scale, type CodecKindOf } from "../kind.js";

/** The largest patch: its covariance has (3 · 16²)² elements, and its eigenvectors take 40 s (of 8 x 8: 0.4 s). */
export const MAX_PATCH = 16;

export const PatchPca = z
  .strictObject({
    kind: z.literal("patch-pca"),
    patch: z
      .int()
      .min(1)
      .max(MAX_PATCH)
      .describe("Side of a patch in pixels, p: a latent pixel stands for p x p of them"),
    channels: z.int().positive().describe("Channels of a latent pixel, C: at most 3 · p²"),
    side: z.int().positive().describe("Side of the images it was fitted on, in pixels; others work too"),
    scale: Scale,
  })
  .refine((c) => c.channels <= valuesOfPatch(c), {
    path: ["channels"],
    error: "a patch of p x p pixels has 3 · p² values, and no more channels",
  })
  .readonly();
export type PatchPca = z.infer<typeof PatchPca>;

/** Values of a patch: three colours of p x p pixels. */
export function valuesOfPatch({ patch }: { readonly patch: number }): number {
  return 3 * patch ** 2;
}

/**
 * The first principal components of each patch, z = Bᵀ (patch - mean patch): an orthogonal map, whose transpose leads
 * back. Its weights are fitted (`PatchPcaFit`), not trained:
 *
 *     mean   (3 p²)     the mean patch: rows, columns, colours
 *     basis  (3 p², C)  orthonormal columns, in the order of falling variance
 */
export const patchPca: CodecKindOf<PatchPca> = {
  channels: ({ channels }) => channels,
  pixelsPerLatent: ({ patch }) => patch,
  specs(codec) {
    const [values, initializer] = [valuesOfPatch(codec), { kind: "constant", value: 0 } as const];
    return {
      mean: { shape: [values], initializer },
      basis: { shape: [values, codec.channels], initializer },
    };
  },
  encode: (p, codec, images) => ({ mean: patchCoefficients(new Scope(p), codec, images) }),
  decode: (p, codec, z) => pixelsOfPatches(new Scope(p), codec, z),
  only: { encoder: [], decoder: [] },
  mirrors: false,
};

/** Images (N, S, S, 3) to coefficients (N, h, h, C) of their patches. */
function patchCoefficients(p: Scope, { patch, channels }: PatchPca, images: tf.Tensor4D): tf.Tensor4D {
  const [N, S] = images.shape;
  const h = S / patch;
  // Rows of a patch lie p pixels apart: (N, h, p, w, p, 3) -> (N, h, w, p, p, 3), in two steps of rank 5.
  const rows = tf.reshape<tf.Rank.R5>(images, [N * h, patch, h, patch, 3]);
  const patches = tf.reshape<tf.Rank.R2>(tf.transpose(rows, [0, 2, 1, 3, 4]), [N * h * h, valuesOfPatch({ patch })]);
  const centered = tf.sub<tf.Tensor2D>(patches, p.get("mean"));
  return tf.reshape(tf.matMul(centered, p.get<tf.Tensor2D>("basis")), [N, h, h, channels]); // (N h w, 3 p²) x (3 p², C)
}

/** Coefficients (N, h, h, C) of patches to images (N, S, S, 3). */
function pixelsOfPatches(p: Scope, { patch, channels }: PatchPca, z: tf.Tensor4D): tf.Tensor4D {
  const [N, h] = z.shape;
  const flat = tf.reshape<tf.Rank.R2>(z, [N * h * h, channels]);
  const patches = tf.add(tf.matMul(flat, p.get<tf.Tensor2D>("basis"), false, true), p.get("mean")); // (N h w, 3 p²)
  const rows = tf.transpose(tf.reshape<tf.Rank.R5>(patches, [N * h, h, patch, patch, 3]), [0, 2, 1, 3, 4]);
  return tf.reshape(rows, [N, h * patch, h * patch, 3]);
}
