import type { ShardImage } from "../arrow/image-shards.js";
import { DataError } from "../data-error.js";
import { readRgb } from "./read-rgb.js";

/**
 * The pixels of an image from a shard, decoded if they have to be.
 *
 * @returns (height, width, 3) uint8, RGB. Yours, unless the image is plain pixels already: then they are the image's.
 * @throws {DataError} If it does not decode, or to other sizes than it says.
 */
export async function pixelsOfImage(image: ShardImage): Promise<Uint8Array> {
  if (image.format === "rgb8") return image.image;
  const { width, height, pixels } = await readRgb(image.image, `image ${JSON.stringify(image.key)}`);
  if (width !== image.width || height !== image.height)
    throw new DataError(
      `Cannot use image ${JSON.stringify(image.key)}: it is ${width} x ${height} pixels, its shard says ${image.width} x ${image.height}`,
    );
  return pixels;
}
