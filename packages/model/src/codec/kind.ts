import type * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import type { Parameters, ParameterSpecs } from "../parameters.js";

/** What brings each channel of the latents to mean 0 and variance 1: a network sees (z - mean) / std. */
export const Scale = z
  .strictObject({
    mean: z.array(z.number()).readonly().describe("Mean of z by channel"),
    std: z.array(z.number().positive()).readonly().describe("Standard deviation of z by channel"),
  })
  .readonly();
export type Scale = z.infer<typeof Scale>;

/** Latents before they are normalized. */
export interface Encoded {
  /** (N, h, w, C): z, or its mean where latents have a distribution. */
  readonly mean: tf.Tensor4D;
  /** (N, h, w, C): the logarithm of the variance of z / factor; none where the latents are certain. */
  readonly logvar?: tf.Tensor4D;
  /** 1 unless said. */
  readonly factor?: number;
}

/** A kind of codec. Images are (N, S, S, 3) in [-1, 1], all tensors are borrowed, results are the caller's. */
export interface CodecKindOf<Config> {
  /** Channels of a latent pixel. */
  channels(codec: Config): number;
  /** Image pixels along a side of a latent pixel. */
  pixelsPerLatent(codec: Config): number;
  /** Its weights. */
  specs(codec: Config): ParameterSpecs;
  encode(p: Parameters, codec: Config, images: tf.Tensor4D): Encoded;
  /** @param z (N, h, w, C) */
  decode(p: Parameters, codec: Config, z: tf.Tensor4D): tf.Tensor4D;
  /** How names of weights begin that only one of its two programs uses. */
  readonly only: Readonly<Record<"encoder" | "decoder", readonly string[]>>;
  /** Whether the latents of a mirrored image are the mirrored latents, or about so: then training may flip latents. */
  readonly mirrors: boolean;
}
