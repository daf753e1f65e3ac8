import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { inFolder } from "../testing.js";
import { pixelsOfImage } from "./pixels.js";
import { encodePng, imageGrid, writePng } from "./png.js";
import { readRgb } from "./read-rgb.js";

const pixelsOf = (width: number, height: number): Uint8Array =>
  Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i * 31 + 5 * i) % 256);

describe("writePng()", () => {
  test("writes what readRgb() reads, from a path or bytes, the same each time", () =>
    inFolder(async (folder) => {
      const [path, pixels] = [join(folder, "a.png"), pixelsOf(7, 5)];
      await writePng(path, pixels, 7, 5);
      const bytes = await readFile(path);
      expect(bytes.subarray(1, 4).toString()).toBe("PNG");
      expect(await readRgb(path)).toEqual({ width: 7, height: 5, pixels });
      expect(await readRgb(bytes)).toEqual({ width: 7, height: 5, pixels });
      expect(Buffer.from(await encodePng(pixels, 7, 5))).toEqual(bytes);
    }));

  test("refuses pixels that do not fit", async () => {
    await expect(writePng("nowhere.png", pixelsOf(7, 5), 5, 8)).rejects.toThrow("105 bytes are not 5 x 8 pixels of 3");
  });
});

describe("imageGrid()", () => {
  const dot = (value: number) => ({ width: 1, height: 1, pixels: new Uint8Array(3).fill(value) });

  test("lays images out row by row, on white", () => {
    const grid = imageGrid([dot(1), dot(2), dot(3)], 2, 1);
    expect(grid).toMatchObject({ width: 5, height: 5 });
    const red = Array.from({ length: 25 }, (_, i) => grid.pixels[i * 3]);
    const w = 255;
    expect(red).toEqual([w, w, w, w, w, w, 1, w, 2, w, w, w, w, w, w, w, 3, w, w, w, w, w, w, w, w]);
  });

  test("gives each image the place of the largest, and takes no more columns than there are images", () => {
    const tall = { width: 1, height: 2, pixels: new Uint8Array(6).fill(9) };
    const grid = imageGrid([dot(1), tall], 8, 0);
    expect(grid).toMatchObject({ width: 2, height: 2 });
    expect(Array.from({ length: 4 }, (_, i) => grid.pixels[i * 3 + 2])).toEqual([1, 9, 255, 9]);
  });

  test("refuses what is no layout", () => {
    expect(() => imageGrid([], 2)).toThrow("Cannot lay out 0 images");
    expect(() => imageGrid([dot(1)], 0)).toThrow("in 0 columns");
    expect(() => imageGrid([dot(1)], 1, -1)).toThrow("gaps of -1 pixels");
  });
});

describe("pixelsOfImage()", () => {
  const image = { key: "k", label: null, width: 3, height: 2, source: "", json: null };

  test("decodes what is encoded, and takes pixels as they are", async () => {
    const pixels = pixelsOf(3, 2);
    expect(await pixelsOfImage({ ...image, format: "rgb8", image: pixels })).toBe(pixels);
    const png = await encodePng(pixels, 3, 2);
    expect(await pixelsOfImage({ ...image, format: "png", image: png })).toEqual(pixels);
  });

  test("refuses an image of other sizes than its shard says", async () => {
    const png = await encodePng(pixelsOf(2, 3), 2, 3);
    await expect(pixelsOfImage({ ...image, format: "png", image: png })).rejects.toThrow(
      'Cannot use image "k": it is 2 x 3 pixels, its shard says 3 x 2',
    );
  });
});
