import { DataError, notFinite } from "@madformer/artifacts";
import type { GroupImage, ImageGroup } from "../images/groups.js";
import type { AnySize, FeatureNetwork, Features } from "./network.js";

export interface ExtractOptions {
  /** Images that are handed to the network together. */
  readonly batchImages: number;
  /** Images that are taken at most: the first. 0: all. */
  readonly limit: number;
  readonly signal: AbortSignal;
  /** Called with how many images are done. */
  readonly progress?: (images: number) => void;
  /** Told once if images differ in size: which, and how. */
  readonly onMixed?: (sizes: string) => void;
}

/**
 * Features of a group's images, in their order, a batch at a time. Images of one size go through a program for that
 * size, in which they are resized; from the first on that has another, each is resized by itself, if the network sees
 * any size.
 *
 * @returns Parts of (n, dims), row-major, and of spatial features where the network makes them.
 * @throws {DataError} If the images are not all of one size and the network needs that, there are none, or features are
 *   not finite.
 */
export async function* extractFeatures(
  network: FeatureNetwork,
  group: ImageGroup,
  { batchImages, limit, signal, progress, onMixed }: ExtractOptions,
): AsyncGenerator<Features, void, undefined> {
  let batch: Batch | undefined;
  let [first, isMixed, done] = [{ name: "", width: 0, height: 0 }, false, 0];
  try {
    for await (const image of group.images(signal)) {
      const { name, width, height } = image;
      if (!batch) {
        first = { name, width, height };
        isMixed = network.anySize?.isAlways === true; // each is resized by itself, whatever its size
        batch =
          network.anySize && isMixed
            ? await batchOfAnySize(network.anySize, batchImages)
            : await batchOfSize(network, image, batchImages);
      }
      if (!isMixed && (width !== first.width || height !== first.height)) {
        const sizes = `${name} is ${width} x ${height} pixels, ${first.name} ${first.width} x ${first.height}`;
        if (!network.anySize) throw new DataError(`Cannot extract features: ${sizes}; expected images of one size`);
        if (batch.names.length > 0) {
          yield await featuresOf(batch);
          done += batch.names.length;
        }
        await batch[Symbol.asyncDispose]();
        batch = await batchOfAnySize(network.anySize, batchImages);
        isMixed = true;
        onMixed?.(sizes);
      }
      batch.add(image);
      if (batch.names.length === batchImages || done + batch.names.length === limit) {
        signal.throwIfAborted();
        yield await featuresOf(batch);
        done += batch.names.length;
        batch.names.length = 0;
        progress?.(done);
        if (done === limit) return;
      }
    }
    if (!batch) throw new DataError(`Cannot extract features: group "${group.name}" holds no images`);
    if (batch.names.length === 0) return;
    yield await featuresOf(batch);
    progress?.(done + batch.names.length);
  } finally {
    await batch?.[Symbol.asyncDispose]();
  }
}

/** Images that go through a program together. */
interface Batch extends AsyncDisposable {
  /** Of those that are in it; to empty it, remove them. */
  readonly names: string[];
  readonly add: (image: GroupImage) => void;
  readonly features: () => Promise<Features>;
}

async function batchOfSize(network: FeatureNetwork, size: GroupImage, batchImages: number): Promise<Batch> {
  const extractor = await network.open(size);
  const bytes = size.pixels.length;
  const [names, images] = [[] as string[], new Uint8Array(batchImages * bytes)];
  return {
    names,
    add: ({ name, pixels }) => void images.set(pixels, (names.push(name) - 1) * bytes),
    features: () => extractor.run(images.subarray(0, names.length * bytes)),
    [Symbol.asyncDispose]: () => extractor[Symbol.asyncDispose](),
  };
}

async function batchOfAnySize({ side, resize, open }: AnySize, batchImages: number): Promise<Batch> {
  const extractor = await open();
  const elements = side * side * 3;
  const [names, images] = [[] as string[], new Float32Array(batchImages * elements)];
  return {
    names,
    add: ({ name, pixels, ...size }) => {
      const i = names.push(name) - 1;
      resize(pixels, size, images.subarray(i * elements, (i + 1) * elements));
    },
    features: () => extractor.run(images.subarray(0, names.length * elements)),
    [Symbol.asyncDispose]: () => extractor[Symbol.asyncDispose](),
  };
}

/** @throws {DataError} If they are not finite: with the name of the first such image. */
async function featuresOf({ names, features: run }: Batch): Promise<Features> {
  const { features, spatial } = await run();
  for (const values of spatial ? [features, spatial] : [features]) {
    const dims = values.length / names.length;
    for (const [i, name] of names.entries()) {
      const bad = notFinite(values.subarray(i * dims, (i + 1) * dims));
      if (bad) throw new DataError(`Cannot extract features: those of ${name} are not finite: ${bad}`);
    }
  }
  return { features, spatial };
}
