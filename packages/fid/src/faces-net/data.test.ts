import { join } from "node:path";
import { DataError, ImageShardWriter, sha256, type ShardImage } from "@madformer/artifacts";
import { rateShare } from "./config.js";
import { arraysOf, batchOf, loadFaces, splitOf, toInput, type FacesData } from "./data.js";
import { inFolder } from "./testing.js";

const signal = new AbortController().signal;

async function shardOf(folder: string, images: readonly Partial<ShardImage>[]): Promise<string> {
  const path = join(folder, "images-00000.arrow");
  await using writer = await ImageShardWriter.create(path);
  for (const [i, image] of images.entries()) {
    const { width = 32, height = 32 } = image;
    const pixels = new Uint8Array(width * height * 3).fill(i);
    const base = { label: null, format: "rgb8" as const, source: sha256(pixels), json: `{"n": ${i}}` };
    await writer.add({ ...base, key: `k${i}`, width, height, image: pixels, ...image });
  }
  await writer.finish();
  return path;
}

describe("loadFaces()", () => {
  test("reads as many as it is allowed to, in order", () =>
    inFolder(async (folder) => {
      const path = await shardOf(folder, [{}, {}, {}, {}]);
      const data = await loadFaces([path], 3, signal);
      expect(data).toMatchObject({
        images: 3,
        sidePixels: 32,
        labels: [{ kind: "number", name: "n", min: 0, max: 2 }],
      });
      expect([...data.targets]).toEqual([-1, 0, 1]);
      expect([0, 3072, 6144].map((at) => data.pixels[at])).toEqual([0, 1, 2]);
      expect(data.pixels.length).toBe(3 * 3072);
    }));

  test.each<[string, readonly Partial<ShardImage>[], string]>([
    ["one image", [{}], "1 images, expected 2 or more"],
    ["an image without attributes", [{}, { json: null }], 'image "k1" has none'],
    ["images of two sizes", [{}, { width: 48, height: 48 }], 'image "k1" is 48 x 48 pixels, expected 32 x 32'],
    ["images that are not square", [{ width: 48 }], "is 48 x 32 pixels, expected 48 x 48"],
    ["images too small", [{ width: 16, height: 16 }], "expected sides from 32 to 128 that 16 divides"],
    ["images too large", [{ width: 144, height: 144 }], "is 144 x 144 pixels, expected sides from 32 to 128"],
    ["sides that do not halve", [{ width: 40, height: 40 }], "is 40 x 40 pixels, expected sides"],
    ["nothing to learn", [{ json: '{"a": 1}' }, { json: '{"a": 1}' }], "none of 1 varies among 2 images"],
  ])("refuses %s", (_, images, message) =>
    inFolder(async (folder) => {
      const path = await shardOf(folder, images);
      await expect(loadFaces([path], 100, signal)).rejects.toThrow(DataError);
      await expect(loadFaces([path], 100, signal)).rejects.toThrow(message);
    }),
  );
});

describe("splitOf()", () => {
  test("parts all images, by the share, at random by the seed", () => {
    const { train, heldOut } = splitOf(100, 0.2, 1);
    expect([...train, ...heldOut].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(heldOut.length).toBe(20);
    expect([...heldOut]).not.toEqual(Array.from({ length: 20 }, (_, i) => heldOut[0]! + i));
    expect(splitOf(100, 0.2, 1).heldOut).toEqual(heldOut);
    expect(splitOf(100, 0.2, 2).heldOut).not.toEqual(heldOut);
  });

  test("leaves one image at least on either side", () => {
    expect(splitOf(5, 0.01, 0).heldOut.length).toBe(1);
    expect(splitOf(5, 0.99, 0).train.length).toBe(1);
  });
});

describe("batchOf()", () => {
  const train = Uint32Array.of(3, 5, 8, 13, 21);

  test("goes through all images, then through all again in another order", () => {
    const seen = Array.from({ length: 10 }, (_, step) => [...batchOf(train, 2, 0, step)]).flat();
    for (const epoch of [0, 1, 2, 3])
      expect(seen.slice(5 * epoch, 5 * epoch + 5).sort((a, b) => a - b)).toEqual([...train]);
    expect(seen.slice(0, 5)).not.toEqual(seen.slice(5, 10));
  });

  test("of a larger size is the same images", () => {
    const small = Array.from({ length: 6 }, (_, step) => [...batchOf(train, 2, 0, step)]).flat();
    expect([...batchOf(train, 12, 0, 0)]).toEqual(small);
  });
});

describe("arraysOf()", () => {
  const data = {
    labels: [
      { kind: "classes", name: "a", values: ["x", "y", "z"] },
      { kind: "number", name: "n", min: 0, max: 1 },
    ],
    leftOut: {},
    targets: Float32Array.of(2, 0.5, NaN, -1, 0, NaN),
    sidePixels: 1,
    pixels: Uint8Array.of(0, 51, 102, 153, 204, 255, 0, 0, 0),
    images: 3,
  } satisfies FacesData;

  test("puts a one at the class, numbers as they are, and nothing where an image has none", () => {
    const { images, targets, known } = arraysOf(data, Uint32Array.of(1, 0, 2));
    expect([...targets]).toEqual([0, 0, 0, -1, 0, 0, 1, 0.5, 1, 0, 0, 0]);
    expect([...known]).toEqual([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    [0.2, 0.6, 1, -1, -0.6, -0.2, -1, -1, -1].forEach((x, i) => expect(images[i]).toBeCloseTo(x, 6));
  });

  test("brings bytes to [-1, 1]", () => {
    const into = new Float32Array(3);
    toInput(Uint8Array.of(0, 255, 127), into);
    expect([...into]).toEqual([-1, 1, Math.fround(127 / 127.5 - 1)]);
  });
});

test("rateShare() rises to 1, then falls to 0", () => {
  const shares = Array.from({ length: 100 }, (_, step) => rateShare(step, 100));
  expect(shares[0]).toBeCloseTo(0.2, 12);
  expect(shares[4]).toBe(1);
  expect(shares[5]).toBe(1);
  for (let step = 6; step < 100; step++) expect(shares[step]).toBeLessThan(shares[step - 1]!);
  expect(shares[99]).toBeGreaterThan(0);
  expect(shares[99]).toBeLessThan(0.001);
  expect(rateShare(0, 1)).toBe(1);
});
