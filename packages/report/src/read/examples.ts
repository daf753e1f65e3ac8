import { type Artifact, pixelsOfImage, readImageShards } from "@madformer/artifacts";
import { pictureOfPixels, type Picture } from "./pictures.js";

/** An image of the data set. */
export interface Example {
  readonly key: string;
  readonly label: number | null;
  readonly picture: Picture;
}

/**
 * The first images of a shards artifact, in its order: what a person would see first, chosen by nobody.
 *
 * @param maxSide Longer images are reduced by a whole factor.
 */
export async function readExamples(
  shards: Artifact,
  images: number,
  maxSide: number,
  signal: AbortSignal,
): Promise<Example[]> {
  const examples: Example[] = [];
  for (const file of shards.files.filter((name) => name.endsWith(".arrow"))) {
    if (examples.length >= images) break;
    for await (const image of readImageShards([await shards.path(file)], { signal })) {
      if (examples.length >= images) break;
      const pixels = await pixelsOfImage(image);
      const picture = await pictureOfPixels(pixels, image.width, image.height, maxSide);
      examples.push({ key: image.key, label: image.label, picture });
    }
  }
  return examples;
}
