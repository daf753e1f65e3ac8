import { z } from "zod";
import { ModelConfigError } from "../config.js";
import type { ParameterSpecs } from "../parameters.js";
import { ShapeError } from "../shape.js";
import type { CodecKindOf } from "./kind.js";
import { AutoencoderKl, autoencoderKl } from "./kinds/autoencoder-kl.js";
import { PatchPca, patchPca } from "./kinds/patch-pca.js";

export type { Scale } from "./kind.js";

/** What each kind of codec does: a new one is a file of `kinds/`, its schema and its line here. */
const KINDS = { "autoencoder-kl": autoencoderKl, "patch-pca": patchPca };
const Kinds = z.discriminatedUnion("kind", [AutoencoderKl, PatchPca]);

/**
 * A codec: what turns images into latents and back, except for its weights. This is the content of `codec.json`.
 *
 * - `autoencoder-kl`: a distribution for each latent pixel, by a convolutional network.
 * - `patch-pca`: the first principal components of each patch; an orthogonal map, whose transpose leads back.
 */
export const CodecConfig = Kinds.refine(
  (codec) => [codec.scale.mean, codec.scale.std].every(({ length }) => length === kindOf(codec).channels(codec)),
  { path: ["scale"], error: "mean and std must have one number for each channel" },
);
export type CodecConfig = z.infer<typeof Kinds>;

/** What the kind of a codec does. */
export function kindOf({ kind }: CodecConfig): CodecKindOf<CodecConfig> {
  return KINDS[kind]; // of the same kind, which no type can say
}

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
  return { side: side / factor, channels: kindOf(codec).channels(codec) };
}

/** Image pixels along a side of a latent pixel. */
export function pixelsPerLatent(codec: CodecConfig): number {
  return kindOf(codec).pixelsPerLatent(codec);
}

/** Whether the latents of a mirrored image are the mirrored latents, or about so. */
export function latentsMirror(codec: CodecConfig): boolean {
  return kindOf(codec).mirrors;
}

/** A codec's weights by name: what `codec.safetensors` holds, by way of `fromStateDict` and `toStateDict`. */
export function codecSpecs(codec: CodecConfig): ParameterSpecs {
  return kindOf(codec).specs(codec);
}
