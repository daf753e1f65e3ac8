import { z } from "zod";
import { autoencoderSpecs } from "../autoencoder/autoencoder.js";
import { AutoencoderConfig, downsamplingFactor } from "../autoencoder/config.js";
import { ModelConfigError } from "../config.js";
import type { ParameterSpecs } from "../parameters.js";
import { ShapeError } from "../shape.js";

/** What brings each channel of the latents to mean 0 and variance 1: a network sees (z - mean) / std. */
const Scale = z
  .strictObject({
    mean: z.array(z.number()).readonly().describe("Mean of z by channel"),
    std: z.array(z.number().positive()).readonly().describe("Standard deviation of z by channel"),
  })
  .readonly();
export type Scale = z.infer<typeof Scale>;

/** The largest patch: its covariance has (3 · 16²)² elements, and its eigenvectors take 40 s (of 8 x 8: 0.4 s). */
export const MAX_PATCH = 16;

const Autoencoder = z
  .strictObject({
    kind: z.literal("autoencoder-kl"),
    config: AutoencoderConfig.describe("The autoencoder; z is its latent times its scalingFactor"),
    scale: Scale,
  })
  .readonly();

const PatchPca = z
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
export type PatchPcaConfig = z.infer<typeof PatchPca>;
type Kinds = z.infer<typeof Autoencoder> | PatchPcaConfig;

/**
 * A codec: what turns images into latents and back, except for its weights. This is the content of `codec.json`.
 *
 * - `autoencoder-kl`: a distribution for each latent pixel, by a convolutional network.
 * - `patch-pca`: the first principal components of each patch; an orthogonal map, whose transpose leads back.
 */
export const CodecConfig = z
  .discriminatedUnion("kind", [Autoencoder, PatchPca])
  .refine((codec) => [codec.scale.mean, codec.scale.std].every(({ length }) => length === channelsOf(codec)), {
    path: ["scale"],
    error: "mean and std must have one number for each channel",
  });
export type CodecConfig = z.infer<typeof CodecConfig>;
export type CodecKind = CodecConfig["kind"];

/**
 * Checks what a `codec.json` says.
 *
 * @throws {ModelConfigError} If it describes no codec; the message lists what is wrong.
 */
export function codecConfig(json: unknown): CodecConfig {
  const parsed = CodecConfig.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join(".") || "codec"}: ${message}`);
  throw new ModelConfigError(`The codec is not one that can be used: ${problems.join("; ")}`, { cause: parsed.error });
}

/** Values of a patch: three colours of p x p pixels. */
export function valuesOfPatch({ patch }: { readonly patch: number }): number {
  return 3 * patch ** 2;
}

/** Channels of a latent pixel. */
export function channelsOf(codec: Kinds): number {
  return codec.kind === "autoencoder-kl" ? codec.config.latentChannels : codec.channels;
}

/** Size of latents: `side` x `side` pixels of `channels`. */
export interface LatentSize {
  readonly side: number;
  readonly channels: number;
}

/**
 * Size of the latents of square images.
 *
 * @param side Of the images, in pixels.
 * @throws {ShapeError} If it is no multiple of what a latent pixel stands for.
 */
export function latentSize(codec: CodecConfig, side: number): LatentSize {
  const factor = pixelsPerLatent(codec);
  if (side <= 0 || side % factor !== 0)
    throw new ShapeError(`The codec's images have side ${side}, expected a multiple of ${factor}`);
  return { side: side / factor, channels: channelsOf(codec) };
}

/** Image pixels along a side of a latent pixel. */
export function pixelsPerLatent(codec: CodecConfig): number {
  return codec.kind === "autoencoder-kl" ? downsamplingFactor(codec.config) : codec.patch;
}

/**
 * A codec's weights by name: what `codec.safetensors` holds, by way of `fromStateDict` and `toStateDict`. Those of
 * `patch-pca` are fitted, not trained:
 *
 *     mean   (3 p²)     the mean patch: rows, columns, colours
 *     basis  (3 p², C)  orthonormal columns, in the order of falling variance
 */
export function codecSpecs(codec: CodecConfig): ParameterSpecs {
  if (codec.kind === "autoencoder-kl") return autoencoderSpecs(codec.config);
  const [values, initializer] = [valuesOfPatch(codec), { kind: "constant", value: 0 } as const];
  return {
    mean: { shape: [values], initializer },
    basis: { shape: [values, codec.channels], initializer },
  };
}
