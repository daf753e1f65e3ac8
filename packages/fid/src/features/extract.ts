import { DataError, notFinite } from "@madformer/artifacts";
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
 * @throws {DataError} If the images are not all of one size, there are none, or features are not finite.
 */
export async function* extractFeatures(
  network: FeatureNetwork,
  group: ImageGroup,
  { batchImages, limit, signal, progress }: ExtractOptions,
): AsyncGenerator<Float32Array, void, undefined> {
  let extractor: FeatureExtractor | undefined;
  let batch = new Uint8Array(0);
  let names: string[] = [];
  let [first, done] = [{ name: "", width: 0, height: 0 }, 0];
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
      batch.set(pixels, names.length * pixels.length);
      names.push(name);
      if (names.length === batchImages || done + names.length === limit) {
        signal.throwIfAborted();
        yield await featuresOf(extractor, batch.subarray(0, names.length * pixels.length), names);
        done += names.length;
        names = [];
        progress?.(done);
        if (done === limit) return;
      }
    }
    if (!extractor) throw new DataError(`Cannot extract features: group "${group.name}" holds no images`);
    if (names.length === 0) return;
    yield await featuresOf(extractor, batch.subarray(0, names.length * first.width * first.height * 3), names);
    progress?.(done + names.length);
  } finally {
    await extractor?.[Symbol.asyncDispose]();
  }
}

/** @throws {DataError} If they are not finite: with the name of the first such image. */
async function featuresOf(
  extractor: FeatureExtractor,
  images: Uint8Array,
  names: readonly string[],
): Promise<Float32Array> {
  const features = await extractor.features(images);
  const dims = features.length / names.length;
  for (const [i, name] of names.entries()) {
    const bad = notFinite(features.subarray(i * dims, (i + 1) * dims));
    if (bad) throw new DataError(`Cannot extract features: those of ${name} are not finite: ${bad}`);
  }
  return features;
}
