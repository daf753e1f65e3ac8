import {
  classesOf,
  compileCodecDecoder,
  fromBlocks,
  geometryOf,
  noiseOfSeeds,
  pixelsPerLatent,
  Sampler,
  textOfSeeds,
  type CodecDecoder,
  type MadformerConfig,
  type NameOf,
  type SolverPlan,
} from "@madformer/model";
import type { TrainedModel, Weights } from "./checkpoint.js";

/** An image with its seed, and the latents it was decoded from. */
export interface SampledImage {
  readonly seed: number;
  /** (side, side, 3) uint8. */
  readonly pixels: Uint8Array;
  /** (T, P, channels) float32, block by block. */
  readonly latents: Float32Array;
}

/** Side of the images that a checkpoint makes, in pixels. */
export function imageSide({ model, codec }: Pick<TrainedModel, "model" | "codec">): number {
  return geometryOf(model).latentSide * pixelsPerLatent(codec);
}

/** Weights of one checkpoint, compiled: makes images of seeds, a batch at a time. */
export class ImageSampler implements AsyncDisposable {
  private constructor(
    private readonly model: MadformerConfig,
    private readonly sampler: Sampler,
    private readonly decoder: CodecDecoder,
    private readonly plan: SolverPlan,
    private readonly batchImages: number,
    private readonly classes: readonly number[],
  ) {}

  /** @param classes Those that take turns by seed, for a model that has classes; all of them unless given. */
  static async create(
    checkpoint: Pick<TrainedModel, "model" | "codec" | "codecWeights">,
    weights: Weights,
    plan: SolverPlan,
    batchImages: number,
    classes: readonly number[] = classesOf(checkpoint.model),
  ): Promise<ImageSampler> {
    const { model, codec, codecWeights } = checkpoint;
    const sampler = await Sampler.create(model, weights, { batchImages });
    const decoder = await compileCodecDecoder(codec, codecWeights, { batchImages, side: imageSide(checkpoint) });
    return new ImageSampler(model, sampler, decoder, plan, batchImages, classes);
  }

  /**
   * Images of seeds, in their order. Every batch has the same size, the last one filled up with its first seed:
   * programs have fixed shapes, and an image must not depend on how many are made with it.
   *
   * @throws {RangeError} If latents or pixels are not finite: with the seed.
   */
  async *images(seeds: readonly number[], signal?: AbortSignal): AsyncGenerator<SampledImage> {
    const { model, batchImages } = this;
    const { T, P } = geometryOf(model);
    const size = T * P * model.latentChannels;
    for (let first = 0; first < seeds.length; first += batchImages) {
      const batch = seeds.slice(first, first + batchImages);
      const filled = Array.from({ length: batchImages }, (_, i) => (batch[i] ?? batch[0]) as number);
      const noise = noiseOfSeeds(model, filled);
      const nameOf = (i: number): string => `seed ${filled[i]}`;
      const latents = await this.sampler.sample(this.plan, noise, {
        nameOf,
        ...textOfSeeds(model, filled, this.classes),
        ...(signal ? { signal } : {}),
      });
      const pixels = await this.decode(latents, nameOf);
      const pixelsOfImage = pixels.length / batchImages;
      for (const [i, seed] of batch.entries())
        yield {
          seed,
          pixels: pixels.subarray(i * pixelsOfImage, (i + 1) * pixelsOfImage),
          latents: latents.subarray(i * size, (i + 1) * size),
        };
    }
  }

  /**
   * Latents to pixels.
   *
   * @param latents (n, T, P, channels), at most `batchImages` images.
   * @param nameOf What an error calls an image.
   * @returns (n, side, side, 3) uint8.
   * @throws {RangeError} If a pixel is not finite.
   */
  async decode(latents: Float32Array, nameOf: NameOf): Promise<Uint8Array> {
    const { T, P } = geometryOf(this.model);
    const size = T * P * this.model.latentChannels;
    const images = new Float32Array(latents.length);
    for (let at = 0; at < latents.length; at += size)
      fromBlocks(this.model, latents.subarray(at, at + size), images.subarray(at, at + size));
    return await this.decoder.decodePixels(images, nameOf);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sampler[Symbol.asyncDispose]();
    await this.decoder[Symbol.asyncDispose]();
  }
}
