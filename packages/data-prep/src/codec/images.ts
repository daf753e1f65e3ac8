import { DataError, pixelsOfImage, readImageShards, type Artifact, type ShardImage } from "@madformer/artifacts";
import { floatsOfPixels } from "@madformer/model";

/**
 * Names of an artifact's image shards, in order.
 *
 * @throws {DataError} If there are none.
 */
export function imageShardsOf(shards: Artifact): readonly string[] {
  const names = shards.files.filter((file) => /^images-\d+\.arrow$/.test(file));
  if (names.length > 0) return names;
  throw new DataError("Cannot find images: the artifact has no file such as images-00000.arrow");
}

/** Images of an artifact's shards one after another, all of one side. */
export async function* imagesInShards(
  shards: Artifact,
  signal: AbortSignal,
): AsyncGenerator<ShardImage, void, undefined> {
  let side: number | undefined;
  for (const name of imageShardsOf(shards)) {
    for await (const image of readImageShards([await shards.path(name)], { signal })) {
      side ??= image.width;
      checkSide(image, side);
      yield image;
    }
  }
}

/** @throws {DataError} If an image is no square of this side. */
export function checkSide({ key, width, height }: ShardImage, side: number): void {
  if (width !== side || height !== side)
    throw new DataError(
      `Cannot use image ${JSON.stringify(key)}: it is ${width} x ${height} pixels, expected ${side} x ${side}`,
    );
}

/** Images of an artifact's shards: all, or as many as asked for, evenly spaced. Each is the caller's to keep. */
export async function* someImages(
  shards: Artifact,
  limit: number,
  signal: AbortSignal,
): AsyncGenerator<ShardImage, void, undefined> {
  const fact = shards.manifest.facts["images"];
  const total = typeof fact === "number" ? fact : await countImages(shards, signal);
  const kept = Math.min(limit, total);
  let [seen, given] = [0, 0];
  for await (const image of imagesInShards(shards, signal))
    // What is read lies in batches of other images.
    if (seen++ === Math.floor((given * total) / kept) && given++ < kept) yield { ...image, image: image.image.slice() };
}

async function countImages(shards: Artifact, signal: AbortSignal): Promise<number> {
  let count = 0;
  for await (const _ of imagesInShards(shards, signal)) count++;
  return count;
}

/** Some images of an artifact's shards, held in memory as the shards hold them. */
export class HeldImages {
  private constructor(
    private readonly images: readonly ShardImage[],
    /** Of each image, in pixels. */
    readonly side: number,
  ) {}

  /**
   * @param limit The most images to hold; if there are more, they are evenly spaced.
   * @throws {DataError} If there is no image, or one has another size than the first.
   */
  static async read(shards: Artifact, limit: number, signal: AbortSignal): Promise<HeldImages> {
    const images: ShardImage[] = [];
    for await (const image of someImages(shards, limit, signal)) images.push(image);
    const [first] = images;
    if (first === undefined) throw new DataError("Cannot use the image shards: they hold no image");
    return new HeldImages(images, first.width);
  }

  get length(): number {
    return this.images.length;
  }

  /** Pixels of an image: (side, side, 3) uint8. Borrowed. */
  async pixels(index: number): Promise<Uint8Array> {
    return pixelsOfImage(this.image(index));
  }

  /** What errors call an image: its key in the shards. */
  nameOf(index: number): string {
    return `image ${JSON.stringify(this.image(index).key)}`;
  }

  private image(index: number): ShardImage {
    const image = this.images[index];
    if (image === undefined) throw new RangeError(`There is no image ${index} of ${this.length}`);
    return image;
  }

  /** A batch for a network: (n, side, side, 3) float32 in [-1, 1]. */
  async batch(indices: readonly number[]): Promise<Float32Array> {
    const size = this.side ** 2 * 3;
    const batch = new Float32Array(indices.length * size);
    const all = await Promise.all(indices.map((index) => this.pixels(index)));
    all.forEach((pixels, i) => batch.set(floatsOfPixels(pixels), i * size));
    return batch;
  }

  /** Positions of up to `count` images, evenly spaced. */
  spread(count: number): number[] {
    const kept = Math.min(count, this.length);
    return Array.from({ length: kept }, (_, k) => Math.floor((k * this.length) / kept));
  }
}
