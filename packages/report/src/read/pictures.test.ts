import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Artifact, DataError, encodePng, openFolder, readRgb } from "@madformer/artifacts";
import sharp from "sharp";
import { pictureOfPixels, readPicture } from "./pictures.js";

/** (4, 6, 3) uint8: left half black, right half white. */
const PIXELS = Uint8Array.from({ length: 4 * 6 * 3 }, (_, i) => (Math.floor(i / 3) % 6 < 3 ? 0 : 255));
const bytesOf = (src: string): Buffer => Buffer.from(src.split(",")[1] ?? "", "base64");

let folder: string;
let artifact: Artifact;
let png: Uint8Array;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "report-"));
  png = await encodePng(PIXELS, 6, 4);
  await writeFile(join(folder, "a.png"), png);
  await writeFile(join(folder, "cut.png"), png.subarray(0, png.length - 30));
  await writeFile(join(folder, "webp.png"), await sharp(png).webp().toBuffer());
  await writeFile(join(folder, "text.png"), "no image");
  artifact = await openFolder(folder);
});
afterAll(() => rm(folder, { recursive: true }));

describe("readPicture()", () => {
  test("gives a small image's own bytes", async () => {
    const picture = await readPicture(artifact, "a.png", 6);
    expect(picture).toMatchObject({ width: 6, height: 4, reduced: 1 });
    expect(picture.src.startsWith("data:image/png;base64,")).toBe(true);
    expect(bytesOf(picture.src).equals(png)).toBe(true);
  });

  test("reduces a larger one by the least whole factor", async () => {
    const picture = await readPicture(artifact, "a.png", 5);
    expect(picture).toMatchObject({ width: 3, height: 2, reduced: 2 });
    const { width, height, pixels } = await readRgb(bytesOf(picture.src));
    expect([width, height]).toEqual([3, 2]);
    expect(pixels[0]).toBeLessThan(64);
    expect(pixels.at(-1)).toBeGreaterThan(192);
  });

  test.each([
    ["webp.png", /Cannot show "webp.png" of folder: found webp, expected png/],
    ["cut.png", /Cannot show "cut.png" of folder: /],
    ["text.png", /Cannot show "text.png" of folder: /],
  ])("refuses %s", async (file, message) => {
    await expect(readPicture(artifact, file, 64)).rejects.toThrow(message);
    await expect(readPicture(artifact, file, 64)).rejects.toBeInstanceOf(DataError);
  });

  test("refuses, unread, a file that is too large for a page", async () => {
    const files = { "a.png": { sha256: "0".repeat(64), bytes: 2 ** 30 } };
    const huge = {
      ...artifact,
      manifest: { ...artifact.manifest, files },
      path: () => Promise.reject(new Error("read")),
    };
    await expect(readPicture(huge, "a.png", 64)).rejects.toThrow(/it has 1073741824 bytes, at most/);
  });
});

describe("pictureOfPixels()", () => {
  test("keeps pixels as they are where they fit", async () => {
    const picture = await pictureOfPixels(PIXELS, 6, 4, 6);
    expect(picture).toMatchObject({ width: 6, height: 4, reduced: 1 });
    expect(await readRgb(bytesOf(picture.src))).toEqual({ width: 6, height: 4, pixels: PIXELS });
  });

  test("never reduces a side to nothing", async () => {
    expect(await pictureOfPixels(new Uint8Array(3 * 40), 40, 1, 4)).toMatchObject({ width: 4, height: 1, reduced: 10 });
  });
});
