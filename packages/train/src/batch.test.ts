import { fromBlocks, toBlocks } from "@madformer/model";
import { integers, normal, randomKey, uniform } from "@madformer/engine";
import { batchOf, imageAt, type LatentSource } from "./batch.js";
import { CHANNELS, SIDE, TINY_MODEL, tinyConfig } from "./testing.js";

const SIZE = SIDE * SIDE * CHANNELS;
const { model } = tinyConfig({ model: TINY_MODEL });
const IMAGES = 5;

/** Latents that say which image, row, column and channel they are of. */
function source(logvar: number | null): LatentSource {
  const mean = (image: number): Float32Array => Float32Array.from({ length: SIZE }, (_, i) => 1000 * image + i);
  return {
    length: IMAGES,
    height: SIDE,
    width: SIDE,
    channels: CHANNELS,
    read: async (index) => ({
      mean: mean(index),
      logvar: logvar === null ? null : new Float32Array(SIZE).fill(logvar),
    }),
  };
}
const settings = { seed: 3, batchImages: 2, accumulate: 1, flip: false };
const imageOf = (blocks: Float32Array, i: number): Float32Array => {
  const image = new Float32Array(SIZE);
  fromBlocks(model, blocks.subarray(i * SIZE, (i + 1) * SIZE), image);
  return image;
};

test("toBlocks() cuts an image into blocks, row by row, and fromBlocks() puts it together", () => {
  const image = Float32Array.from({ length: SIZE }, (_, i) => i);
  const blocks = new Float32Array(SIZE);
  toBlocks(model, image, blocks);
  const pixel = (row: number, column: number, channel: number): number => (row * SIDE + column) * CHANNELS + channel;
  const at = (block: number, p: number, channel: number): number => blocks[(block * 16 + p) * CHANNELS + channel]!;
  expect([at(0, 0, 0), at(0, 5, 2), at(1, 0, 0), at(1, 7, 1), at(2, 0, 0), at(3, 15, 2)]).toEqual([
    pixel(0, 0, 0),
    pixel(1, 1, 2),
    pixel(0, 4, 0),
    pixel(1, 7, 1),
    pixel(4, 0, 0),
    pixel(7, 7, 2),
  ]);
  const back = new Float32Array(SIZE);
  fromBlocks(model, blocks, back);
  expect(back).toEqual(image);
});

describe("imageAt()", () => {
  test("sees each image once in an epoch, in an order of its own", () => {
    const epochs = [0, 1, 2, 3].map((epoch) =>
      Array.from({ length: IMAGES }, (_, i) => imageAt(3, IMAGES, epoch * IMAGES + i)),
    );
    for (const epoch of epochs) expect([...epoch].sort()).toEqual([0, 1, 2, 3, 4]);
    expect(new Set(epochs.map(String)).size).toBeGreaterThan(1);
  });
});

describe("batchOf()", () => {
  test("goes through the stream of images, across the end of an epoch", async () => {
    const seen: number[] = [];
    for (let run = 0; run < 5; run++) {
      const { latents } = await batchOf(source(null), model, settings, run);
      for (const i of [0, 1]) {
        const image = imageOf(latents, i);
        seen.push(image[0]! / 1000);
        expect(image[SIZE - 1]).toBe(image[0]! + SIZE - 1);
      }
    }
    expect(seen).toEqual(Array.from({ length: 10 }, (_, place) => imageAt(3, IMAGES, place)));
  });

  test("draws noise, timesteps and the posterior by seed, step and position", async () => {
    const { latents, noise, t } = await batchOf(source(-2), model, settings, 6);
    for (const position of [0, 1]) {
      const key = (purpose: string) => randomKey(3, purpose, [7, position]); // run 6 is step 7
      expect(noise.subarray(position * SIZE, (position + 1) * SIZE)).toEqual(normal(key("noise"), { size: SIZE }));
      expect(t.subarray(4 * position, 4 * (position + 1))).toEqual(integers(key("timesteps"), 0, 1000, { size: 4 }));
      const posterior = normal(key("posterior"), { size: SIZE });
      const base = 1000 * imageAt(3, IMAGES, 12 + position);
      expect(imageOf(latents, position)).toEqual(posterior.map((e, i) => base + i + Math.exp(-1) * e));
    }
  });

  test("gives an image the same, whether its step is one run or several", async () => {
    const whole = await batchOf(source(-2), model, { ...settings, batchImages: 6, flip: true }, 1);
    for (const part of [0, 1, 2]) {
      const cut = await batchOf(
        source(-2),
        model,
        { ...settings, batchImages: 2, accumulate: 3, flip: true },
        3 + part,
      );
      expect(cut.latents).toEqual(whole.latents.slice(2 * part * SIZE, 2 * (part + 1) * SIZE));
      expect(cut.noise).toEqual(whole.noise.slice(2 * part * SIZE, 2 * (part + 1) * SIZE));
      expect(cut.t).toEqual(whole.t.slice(8 * part, 8 * (part + 1)));
    }
  });

  test("names the image and the step of a latent that is not finite, or becomes so when it is drawn", async () => {
    const image = imageAt(3, IMAGES, 5); // the second image of step 3
    const broken: LatentSource = {
      ...source(null),
      read: async (index) => {
        const { mean } = await source(null).read(index);
        if (index === image) mean[7] = NaN;
        return { mean, logvar: null };
      },
    };
    await expect(batchOf(broken, model, settings, 2)).rejects.toThrow(
      `Cannot train on image ${image} at step 3: its latent is not finite: 1 of ${SIZE} elements, the first is NaN at index 7`,
    );
    await expect(batchOf(source(300), model, settings, 0)).rejects.toThrow(
      `Cannot train on image ${imageAt(3, IMAGES, 0)} at step 1: its latent is not finite: ${SIZE} of ${SIZE} elements`,
    );
  });

  test("leaves the latents that it was given as they are", async () => {
    const mean = Float32Array.from({ length: SIZE }, (_, i) => i);
    const data = { ...source(null), read: async () => ({ mean, logvar: null }) };
    for (let run = 0; run < 4; run++) {
      await batchOf(data, model, { ...settings, flip: true }, run);
      expect(mean).toEqual(Float32Array.from({ length: SIZE }, (_, i) => i));
    }
  });

  test("mirrors about half of the images, each as a whole, when asked to", async () => {
    let mirrored = 0;
    for (let run = 0; run < 20; run++) {
      const [plain, flipped] = [
        await batchOf(source(null), model, settings, run),
        await batchOf(source(null), model, { ...settings, flip: true }, run),
      ];
      for (const i of [0, 1]) {
        const [a, b] = [imageOf(plain.latents, i), imageOf(flipped.latents, i)];
        const [coin = NaN] = uniform(randomKey(3, "flip", [run + 1, i]), { size: 1 });
        if (coin < 0.5) mirrored++;
        const expected = Float32Array.from({ length: SIZE }, (_, at) => {
          const [channel, pixel] = [at % CHANNELS, Math.floor(at / CHANNELS)];
          const [row, column] = [Math.floor(pixel / SIDE), pixel % SIDE];
          return a[(row * SIDE + (SIDE - 1 - column)) * CHANNELS + channel]!;
        });
        expect(b).toEqual(coin < 0.5 ? expected : a);
      }
    }
    expect(mirrored).toBeGreaterThan(10); // of 40
    expect(mirrored).toBeLessThan(30);
  });
});
