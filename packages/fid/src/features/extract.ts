import { DataError } from "@madformer/artifacts";
import type { ImageGroup } from "../images/groups.js";
import type { FeatureExtractor, FeatureNetwork } from "./network.js";

export interface ExtractOptions {
  /** Images that are handed to the network together. */
  readonly batchImages: number;
  /** Images that are taken at most: the first. 0: all. */
  readonly limit: number;
  readonly signal: AbortSignal;
  /** Called with how many images are done. */
  readonly progress?: (images: number) => void;
}

/**
 * Features of a group's images, in their order, a batch at a time.
 *
 * @returns Parts of (n, dims), row-major.
 * @throws {DataError} If the images are not all of one size, or there are none.
 */
export async function* extractFeatures(
  network: FeatureNetwork,
  group: ImageGroup,
  { batchImages, limit, signal, progress }: ExtractOptions,
): AsyncGenerator<Float32Array, void, undefined> {
  let extractor: FeatureExtractor | undefined;
  let batch = new Uint8Array(0);
  let [first, waiting, done] = [{ name: "", width: 0, height: 0 }, 0, 0];
  try {
    for await (const image of group.images(signal)) {
      const { name, width, height, pixels } = image;
      if (!extractor) {
        extractor = await network.open(image);
        first = { name, width, height };
        batch = new Uint8Array(batchImages * pixels.length);
      }
      if (width !== first.width || height !== first.height)
        throw new DataError(
          `Cannot extract features: ${name} is ${width} x ${height} pixels, expected ${first.width} x ${first.height} as ${first.name}`,
        );
      batch.set(pixels, waiting++ * pixels.length);
      if (waiting === batchImages || done + waiting === limit) {
        signal.throwIfAborted();
        yield await extractor.features(batch.subarray(0, waiting * pixels.length));
        done += waiting;
        waiting = 0;
        progress?.(done);
        if (done === limit) return;
      }
    }
    if (!extractor) throw new DataError(`Cannot extract features: group "${group.name}" holds no images`);
    if (waiting === 0) return;
    yield await extractor.features(batch.subarray(0, waiting * first.width * first.height * 3));
    progress?.(done + waiting);
  } finally {
    await extractor?.[Symbol.asyncDispose]();
  }
}
