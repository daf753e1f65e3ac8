import { InceptionExtractor } from "./extractor.js";
import { drawnTensors, sourceOf } from "./testing.js";
import { readInceptionWeights, type InceptionWeights } from "./weights.js";

const [height, width] = [40, 50];
const SIZE = height * width * 3;
const images = Uint8Array.from({ length: 5 * SIZE }, (_, i) => (i * 7 + ((i * i) >> 5)) % 256);

describe("InceptionExtractor", () => {
  let weights: InceptionWeights;
  beforeAll(async () => void (weights = await readInceptionWeights(sourceOf(drawnTensors(192)), 192)));
  const create = (options: object = {}) =>
    InceptionExtractor.create(weights, { imageSize: { height, width }, batchImages: 2, engine: "onnx", ...options });

  test("takes features as far as the weights reach, or before", async () => {
    await using far = await create();
    await using near = await create({ dims: 64 });
    expect([far.dims, near.dims]).toEqual([192, 64]);
    const one = images.subarray(0, SIZE);
    expect((await far.features(one)).length).toBe(192);
    expect((await near.features(one)).length).toBe(64);
    await expect(create({ dims: 768 })).rejects.toThrow("features of 768 channels: the weights reach 192");
  });

  test("gives an image the same features in any company, and a short batch too", async () => {
    await using extractor = await create({ dims: 64 });
    const together = await extractor.features(images);
    expect(together.length).toBe(5 * 64);
    for (const image of [4, 0]) {
      const alone = await extractor.features(images.subarray(image * SIZE, (image + 1) * SIZE));
      const row = together.subarray(image * 64, (image + 1) * 64);
      alone.forEach((x, i) => expect(Math.abs(x - row[i]!)).toBeLessThan(1e-5));
    }
    const [first, last] = [together.subarray(0, 64), together.subarray(4 * 64)];
    expect(Math.max(...first.map((x, i) => Math.abs(x - last[i]!)))).toBeGreaterThan(1e-3); // images do differ
    expect(await extractor.features(new Uint8Array(0))).toEqual(new Float32Array(0));
  });

  test("takes bytes and fractions for the same", async () => {
    await using extractor = await create({ dims: 64 });
    const expected = await extractor.features(images.subarray(0, 3 * SIZE));
    const fractions = Float32Array.from(images.subarray(0, 3 * SIZE), (byte) => byte / 255);
    expect(await extractor.features(fractions)).toEqual(expected);
    expect(await extractor.features(Uint8ClampedArray.from(images.subarray(0, 3 * SIZE)))).toEqual(expected);
  });

  test("says what does not fit", async () => {
    await using extractor = await create({ dims: 64 });
    await expect(extractor.features(new Uint8Array(SIZE + 1))).rejects.toThrow(
      `${SIZE + 1} elements are no whole number of images of ${SIZE}`,
    );
    await expect(create({ batchImages: 0 })).rejects.toThrow("batchImages is 0, expected a positive whole number");
    await expect(create({ imageSize: { height: 1.5, width } })).rejects.toThrow("height is 1.5");
  });

  test("ends", async () => {
    const extractor = await create({ dims: 64 });
    await extractor.dispose();
    await extractor[Symbol.asyncDispose]();
    await expect(extractor.features(images)).rejects.toThrow("disposed");
  });
});
