import { DataError } from "@madformer/artifacts";
import type { GroupImage, ImageGroup } from "../images/groups.js";
import { extractFeatures, type ExtractOptions } from "./extract.js";
import type { AnySize, FeatureNetwork } from "./network.js";

/** Its features are the first byte of an image and its width; it remembers what it was asked. */
function firstBytes() {
  const asked: number[] = [];
  const opened: string[] = [];
  let disposed = 0;
  const network: FeatureNetwork = {
    name: "faces-net",
    digest: "",
    isPublished: false,
    dims: 2,
    resize: "",
    open: async ({ width, height }) => {
      opened.push(`${width} x ${height}`);
      return {
        run: async (images) => {
          const size = width * height * 3;
          asked.push(images.length / size);
          const features = Float32Array.from({ length: (2 * images.length) / size }, (_, i) =>
            i % 2 === 0 ? images[(i / 2) * size]! : width,
          );
          return { features };
        },
        [Symbol.asyncDispose]: async () => void disposed++,
      };
    },
  };
  return { network, asked, opened, disposed: () => disposed };
}

function groupOf(count: number, sizeOf = (_: number): [number, number] => [3, 2]): ImageGroup & { read: () => number } {
  let read = 0;
  async function* images(signal: AbortSignal): AsyncGenerator<GroupImage, void, undefined> {
    const pixels = new Uint8Array(100);
    for (let i = 0; i < count; i++) {
      signal.throwIfAborted();
      read++;
      const [width, height] = sizeOf(i);
      pixels[0] = i;
      yield { name: `image ${i}`, width, height, pixels: pixels.slice(0, width * height * 3) };
    }
  }
  return { name: "some", images, read: () => read };
}

const collect = async (network: FeatureNetwork, group: ImageGroup, options: Partial<ExtractOptions> = {}) => {
  const parts: number[] = [];
  const defaults = { batchImages: 4, limit: 0, signal: new AbortController().signal };
  for await (const part of extractFeatures(network, group, { ...defaults, ...options })) parts.push(...part.features);
  return parts;
};

describe("extractFeatures()", () => {
  test.each([1, 3, 4, 10, 11])("gives features in the images' order, whatever the batch: %d", async (batchImages) => {
    const { network, asked, opened, disposed } = firstBytes();
    const done: number[] = [];
    const found = await collect(network, groupOf(10), { batchImages, progress: (images) => void done.push(images) });
    expect(found).toEqual(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? i / 2 : 3)));
    expect(Math.max(...asked)).toBeLessThanOrEqual(batchImages);
    expect(Math.min(...asked)).toBeGreaterThan(0);
    expect(asked.reduce((a, b) => a + b)).toBe(10);
    expect(done.at(-1)).toBe(10);
    expect([opened, disposed()]).toEqual([["3 x 2"], 1]);
  });

  test.each([
    [1, 1],
    [4, 4],
    [6, 6],
    [10, 10],
    [12, 10],
  ])("stops after the limit, and reads no further: %d", async (limit, expected) => {
    const { network, disposed } = firstBytes();
    const group = groupOf(10);
    const found = await collect(network, group, { limit });
    expect(found.length / 2).toBe(expected);
    expect(group.read()).toBe(expected);
    expect(disposed()).toBe(1);
  });

  test.each([1, 2, 4, 7])(
    "resizes images that differ in size by themselves, in order: batches of %d",
    async (batchImages) => {
      const { network, asked, opened, disposed } = firstBytes();
      const any: AnySize = {
        isAlways: false,
        side: 1,
        resize: (pixels, { width, height }, result) => result.set([pixels[0]!, width, height]),
        open: async () => ({
          run: async (images) => {
            asked.push(images.length / 3);
            return { features: images.filter((_, i) => i % 3 < 2) };
          },
          [Symbol.asyncDispose]: async () => void opened.push("closed"),
        }),
      };
      const sizeOf = (i: number): [number, number] => (i === 3 || i === 5 ? [2, 4] : [3, 2]);
      const said: string[] = [];
      const options = { batchImages, onMixed: (sizes: string) => void said.push(sizes) };
      const found = await collect({ ...network, anySize: any }, groupOf(8, sizeOf), options);
      expect(found).toEqual([0, 1, 2, 3, 4, 5, 6, 7].flatMap((i) => [i, sizeOf(i)[0]]));
      expect(asked.reduce((a, b) => a + b)).toBe(8);
      expect(Math.max(...asked)).toBeLessThanOrEqual(batchImages);
      expect([opened, disposed()]).toEqual([["3 x 2", "closed"], 1]);
      expect(said).toEqual(["image 3 is 2 x 4 pixels, image 0 3 x 2"]);
      const few = await collect({ ...network, anySize: any }, groupOf(8, sizeOf), { batchImages, limit: 4 });
      expect(few).toEqual(found.slice(0, 8));
    },
  );

  test("resizes images of one size by themselves, too, where the network cannot", async () => {
    const { network, opened } = firstBytes();
    const anySize: AnySize = {
      isAlways: true,
      side: 1,
      resize: (pixels, { width, height }, result) => result.set([pixels[0]!, 10 * width, height]),
      open: async () => ({
        run: async (images) => ({ features: images.filter((_, i) => i % 3 < 2) }),
        [Symbol.asyncDispose]: async () => void opened.push("closed"),
      }),
    };
    const said: string[] = [];
    const found = await collect({ ...network, anySize }, groupOf(5), { onMixed: (sizes) => void said.push(sizes) });
    expect(found).toEqual([0, 1, 2, 3, 4].flatMap((i) => [i, 30]));
    expect([opened, said]).toEqual([["closed"], []]);
  });

  test("names the image whose spatial features are not finite", async () => {
    const { network } = firstBytes();
    const open: FeatureNetwork["open"] = async (size) => {
      const extractor = await network.open(size);
      const run = async (images: Uint8Array) => {
        const { features } = await extractor.run(images);
        return { features, spatial: features.map((x, i) => (i === 5 ? NaN : x)) };
      };
      return { ...extractor, run };
    };
    await expect(collect({ ...network, open }, groupOf(4))).rejects.toThrow("those of image 2 are not finite");
  });

  test("refuses images of different sizes, and none", async () => {
    const { network, disposed } = firstBytes();
    const tall = groupOf(5, (i) => (i === 3 ? [2, 3] : [3, 2]));
    await expect(collect(network, tall)).rejects.toThrow(DataError);
    await expect(collect(network, tall)).rejects.toThrow(
      "image 3 is 2 x 3 pixels, image 0 3 x 2; expected images of one size",
    );
    expect(disposed()).toBe(2);
    const taller = groupOf(5, (i) => [3, i === 4 ? 4 : 2]);
    await expect(collect(network, taller)).rejects.toThrow("image 4 is 3 x 4 pixels, image 0 3 x 2");
    await expect(collect(network, groupOf(0))).rejects.toThrow('group "some" holds no images');
  });

  test.each([1, 4, 7])("names the image whose features are not finite: batches of %d", async (batchImages) => {
    const { network, disposed } = firstBytes();
    const open: FeatureNetwork["open"] = async (size) => {
      const extractor = await network.open(size);
      const run = async (images: Uint8Array) => {
        const { features } = await extractor.run(images);
        return { features: features.map((x, i) => (i % 2 === 0 && x >= 5 ? NaN : x)) };
      };
      return { ...extractor, run };
    };
    await expect(collect({ ...network, open }, groupOf(7), { batchImages })).rejects.toThrow(
      new DataError(
        "Cannot extract features: those of image 5 are not finite: 1 of 2 elements, the first is NaN at index 0",
      ),
    );
    expect(disposed()).toBe(1);
  });

  test("stops when it is told to", async () => {
    const { network, asked } = firstBytes();
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(collect(network, groupOf(5), { signal })).rejects.toThrow("enough");
    expect(asked).toEqual([]);
  });
});
