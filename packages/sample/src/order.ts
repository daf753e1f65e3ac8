import { imageGrid, type RgbImage } from "@madformer/artifacts";
import { geometryOf, pixelsPerLatent } from "@madformer/model";
import type { TrainedModel } from "./checkpoint.js";
import { imageSide, type ImageSampler, type SampledImage } from "./sample.js";

/** What is not generated yet, in the picture. */
const GRAY = 0xd8;

/**
 * How images come into being: a row for each image, a column for each block, in which the blocks up to it are there.
 * The blocks to come are zero in the latents, and gray in the picture.
 *
 * @param images At least one.
 */
export async function orderPicture(
  sampler: ImageSampler,
  checkpoint: Pick<TrainedModel, "model" | "codec">,
  images: readonly SampledImage[],
): Promise<RgbImage> {
  const { T, P, grid } = geometryOf(checkpoint.model);
  const side = imageSide(checkpoint);
  const blockPixels = checkpoint.model.blockSide * pixelsPerLatent(checkpoint.codec);
  const cells: RgbImage[] = [];
  for (const { seed, latents } of images)
    for (let done = 1; done <= T; done++) {
      const partial = new Float32Array(latents.length);
      partial.set(latents.subarray(0, done * P * checkpoint.model.latentChannels));
      const pixels = (await sampler.decode(partial, () => `${done} of ${T} blocks of seed ${seed}`)).slice();
      for (let block = done; block < T; block++) {
        const [top, left] = [Math.floor(block / grid) * blockPixels, (block % grid) * blockPixels];
        for (let y = top; y < top + blockPixels; y++)
          pixels.fill(GRAY, (y * side + left) * 3, (y * side + left + blockPixels) * 3);
      }
      cells.push({ width: side, height: side, pixels });
    }
  return imageGrid(cells, T, 2);
}
