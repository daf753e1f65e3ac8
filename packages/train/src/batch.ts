import { DataError, notFinite } from "@madformer/artifacts";
import { integers, normal, permutationAt, randomKey, uniform } from "@madformer/engine";
import {
  classTokens,
  geometryOf,
  hasText,
  type MadformerConfig,
  type TextConfig,
  toBlocks,
  TRAIN_TIMESTEPS,
} from "@madformer/model";
import type { TrainConfig } from "./config.js";

/** Latents to train on: a distribution, or a point, for each image. Of `LatentShards`, what is used here. */
export interface LatentSource {
  readonly length: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Arrays are (height, width, channels). */
  read(index: number): Promise<{
    readonly mean: Float32Array;
    readonly logvar: Float32Array | null;
    /** The image's class, where it has one. */
    readonly label?: number | null;
  }>;
}

/** What a run of the network takes: N images. */
export interface Batch {
  /** (N, T, P, C) */
  readonly latents: Float32Array;
  /** (N, T, P, C) standard normal. */
  readonly noise: Float32Array;
  /** (N, T) int32 in [0, 1000). */
  readonly t: Int32Array;
  /** (N, tokens) int32: the images' classes in words, for a model that is told them. */
  readonly text?: Int32Array;
}

/**
 * The image at a place of the stream of all images that a run sees: one shuffled epoch after another.
 *
 * @param place Images seen before, from 0.
 */
export function imageAt(seed: number, images: number, place: number): number {
  const epoch = Math.floor(place / images);
  return permutationAt(randomKey(seed, "shuffle", [epoch]), images, place % images);
}

/**
 * Makes the batch of one run of the network. Everything in it is a function of the seed, the step and the position in
 * the step's batch: which image, its posterior noise, whether it is mirrored, the noise that is added, and its blocks'
 * timesteps. So neither resuming nor cutting a batch into more parts changes what an image gets.
 *
 * @param run Which run of the network, from 0: step k has the runs (k-1)·accumulate up to k·accumulate - 1.
 * @throws {DataError} If a latent is not finite, or an image is of no class that the model has: with the image's number
 *   and the step.
 */
export async function batchOf(
  data: LatentSource,
  model: MadformerConfig,
  { seed, batchImages: N, accumulate, flip }: Pick<TrainConfig, "seed" | "batchImages" | "accumulate" | "flip">,
  run: number,
): Promise<Batch> {
  const { T } = geometryOf(model);
  const size = data.height * data.width * data.channels;
  const step = Math.floor(run / accumulate) + 1;
  const batch: Batch = {
    latents: new Float32Array(N * size),
    noise: new Float32Array(N * size),
    t: new Int32Array(N * T),
    ...(hasText(model) ? { text: new Int32Array(N * model.text.tokens) } : {}),
  };
  for (let i = 0; i < N; i++) {
    const position = (run % accumulate) * N + i;
    const key = (purpose: string) => randomKey(seed, purpose, [step, position]);
    const image = imageAt(seed, data.length, run * N + i);
    const { mean, logvar, label } = await data.read(image);
    if (hasText(model)) batch.text?.set(wordsOf(model.text, label, image, step), i * model.text.tokens);
    const latent = drawn(mean, logvar, () => normal(key("posterior"), { size }));
    const bad = notFinite(latent);
    if (bad) throw new DataError(`Cannot train on image ${image} at step ${step}: its latent is not finite: ${bad}`);
    const [coin = 1] = flip ? uniform(key("flip"), { size: 1 }) : [];
    if (coin < 0.5) mirror(latent, data);
    toBlocks(model, latent, batch.latents.subarray(i * size, (i + 1) * size));
    normal(key("noise"), { into: batch.noise.subarray(i * size, (i + 1) * size) });
    integers(key("timesteps"), 0, TRAIN_TIMESTEPS, { into: batch.t.subarray(i * T, (i + 1) * T) });
  }
  return batch;
}

/** @throws {DataError} If the image is of no class that the model has. */
function wordsOf(text: TextConfig, label: number | null | undefined, image: number, step: number): Int32Array {
  if (typeof label === "number" && label < text.classes) return classTokens(text, [label]);
  const found = typeof label === "number" ? `it is of class ${label}` : "it has no class";
  throw new DataError(
    `Cannot train on image ${image} at step ${step}: ${found}, expected one from 0 to ${text.classes - 1}`,
  );
}

/** mean + exp(logvar / 2) · noise; a copy of the mean where there is no variance. */
function drawn(mean: Float32Array, logvar: Float32Array | null, noise: () => Float32Array): Float32Array {
  if (logvar === null) return mean.slice();
  const values = noise();
  for (let i = 0; i < values.length; i++)
    values[i] = (mean[i] ?? 0) + Math.exp((logvar[i] ?? 0) / 2) * (values[i] ?? 0);
  return values;
}

/** Mirrors (height, width, channels) left to right, in place. */
function mirror(x: Float32Array, { height, width, channels }: Omit<LatentSource, "read">): void {
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width >> 1; column++) {
      const left = (row * width + column) * channels;
      const right = (row * width + (width - 1 - column)) * channels;
      const pixel = x.slice(left, left + channels);
      x.copyWithin(left, right, right + channels);
      x.set(pixel, right);
    }
}
