import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { DataError } from "../data-error.js";
import { inFolder } from "../testing.js";
import { encodePng } from "./png.js";
import { PIXEL_RULES, readRgb } from "./read-rgb.js";

const pixelsOf = (width: number, height: number): Uint8Array =>
  Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i * 31 + 5 * i) % 256);

/**
 * A TIFF of 8 x 8 pixels, all zero.
 *
 * @param sampleFormat 1 unsigned, 2 signed, 3 float.
 */
function tiffOf(
  bits: number,
  sampleFormat: number,
  { photometric = 1, bands = 1, compression = 1, planar = 1, extra = [] as readonly number[] } = {},
): Uint8Array {
  const tags = [
    [256, 8],
    [257, 8],
    [258, bits], // given once, which for several bands means the same for all
    [259, compression],
    [262, photometric],
    [273, 512],
    [277, bands],
    [278, 8],
    [279, 8 * bits * bands],
    [284, planar],
    ...extra.map((value) => [338, value] as const),
    [339, sampleFormat],
  ] as const;
  const file = Buffer.alloc(512 + 8 * bits * bands);
  file.write("II*\0");
  file.writeUInt32LE(8, 4);
  file.writeUInt16LE(tags.length, 8);
  for (const [i, [tag, value]] of tags.entries()) {
    file.writeUInt16LE(tag, 10 + i * 12);
    file.writeUInt16LE(3, 12 + i * 12);
    file.writeUInt32LE(1, 14 + i * 12);
    file.writeUInt16LE(value, 18 + i * 12);
  }
  return file;
}

/** A bitmap of 1 pixel, or one that says something else. */
function bmpOf({ bits = 24, compression = 0, width = 1 }): Uint8Array {
  const file = Buffer.alloc(54 + 12 + 3);
  file.write("BM");
  file.writeUInt32LE(66, 10);
  file.writeUInt32LE(40, 14);
  file.writeUInt32LE(width, 18);
  file.writeInt32LE(1, 22);
  file.writeUInt16LE(bits, 28);
  file.writeUInt32LE(compression, 30);
  return file;
}

describe("readRgb()", () => {
  test("turns grey, alpha, sixteen bits and other colour spaces into three bytes", async () => {
    const raw = { width: 2, height: 1 };
    const grey = await sharp(Uint8Array.of(10, 200), { raw: { ...raw, channels: 1 } })
      .toColourspace("b-w")
      .png()
      .toBuffer();
    expect([...(await readRgb(grey)).pixels]).toEqual([10, 10, 10, 200, 200, 200]);
    const alpha = await sharp(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 255), { raw: { ...raw, channels: 4 } })
      .png()
      .toBuffer();
    expect([...(await readRgb(alpha)).pixels]).toEqual([1, 2, 3, 5, 6, 7]);
    const deep = await sharp(Uint8Array.of(1, 2, 3, 250, 251, 252), { raw: { ...raw, channels: 3 } })
      .toColourspace("rgb16")
      .png()
      .toBuffer();
    expect((await sharp(deep).metadata()).depth).toBe("ushort");
    expect([...(await readRgb(deep)).pixels]).toEqual([1, 2, 3, 250, 251, 252]);
    const cmyk = await sharp({ create: { width: 2, height: 1, channels: 3, background: "red" } })
      .toColourspace("cmyk")
      .jpeg()
      .toBuffer();
    expect((await readRgb(cmyk)).pixels).toHaveLength(6);
  });

  test("says in a sentence what it cannot read", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.png");
      await expect(readRgb(path)).rejects.toThrow(/^Cannot read ".*a\.png": there is no such file$/);
      await writeFile(path, "no image");
      await expect(readRgb(path)).rejects.toThrow(DataError);
      await expect(readRgb(path)).rejects.toThrow(
        /^Cannot read ".*a\.png": it is damaged, or an image of no known format/,
      );
      const png = await encodePng(pixelsOf(30, 30), 30, 30);
      await expect(readRgb(png.subarray(0, png.length / 2), "the second half")).rejects.toThrow(
        "Cannot read the second half: its png data is damaged or ends early",
      );
    }));

  test("decodes nothing that sharp would draw, or whose black and white no file says", async () => {
    const svg = Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>',
    );
    for (const rule of PIXEL_RULES) {
      await expect(readRgb(svg, "a.png", rule)).rejects.toThrow(
        "Cannot read a.png: it is of the format svg, expected one of jpeg, png, webp, gif, tiff, heif",
      );
      for (const [bits, sampleFormat, type] of [
        [32, 3, "float"],
        [16, 3, "float"],
        [32, 2, "int"],
        [32, 1, "uint"],
        [16, 2, "short"],
        [8, 2, "char"],
      ] as const)
        await expect(readRgb(tiffOf(bits, sampleFormat), "a.tif", rule)).rejects.toThrow(
          `Cannot read a.tif: its samples are of the type ${type}, expected 8 or 16 bits without a sign`,
        );
      expect(await readRgb(tiffOf(16, 1), "a.tif", rule)).toMatchObject({ width: 8, height: 8 });
      for (const [file, reason] of [
        [tiffOf(8, 1, { photometric: 6, bands: 3 }), "it is a TIFF of YCbCr samples that are not JPEG's"],
        [
          tiffOf(8, 1, { photometric: 8, bands: 3 }),
          "it is a TIFF of CIE L*a*b*, expected grey, RGB, CMYK or a palette",
        ],
        [tiffOf(8, 1, { photometric: 77 }), "it is a TIFF of photometric interpretation 77, expected grey"],
        [tiffOf(8, 1, { compression: 34925 }), "it is a TIFF compressed by LZMA, expected LZW, Deflate, JPEG"],
        [tiffOf(8, 1, { compression: 50000 }), "it is a TIFF compressed by Zstandard, expected LZW"],
        [tiffOf(8, 1, { compression: 50001 }), "it is a TIFF compressed by WebP, expected LZW"],
        [tiffOf(8, 1, { compression: 77 }), "it is a TIFF compressed by method 77, expected LZW"],
        [tiffOf(12, 1), "its samples are of the type uint of 12 bits, expected 8 or 16 bits without a sign"],
        [tiffOf(24, 3), "its samples are of the type float, expected 8 or 16 bits without a sign"],
      ] as const)
        await expect(readRgb(file, "a.tif", rule)).rejects.toThrow(`Cannot read a.tif: ${reason}`);
      await expect(readRgb(new Uint8Array(0), "a.png", rule)).rejects.toThrow("Cannot read a.png: it is empty");
    }
  });

  test.each([
    ["JPEG 2000", "\0\0\0\x0cjP  \r\n"],
    ["JPEG XL", "\xff\x0a\0"],
    ["HEIC", "\0\0\0\x18ftypheic\0"],
    ["an icon", "\0\0\x01\0\x01\0"],
    ["PFM, of floats", "Pf\n1 1\n-1\n"],
    ["compressed by gzip", "\x1f\x8b\x08"],
    ["an HTML page", "\n<!DOCTYPE html><title>404</title>"],
    ["a pointer of Git LFS, for which git lfs pull brings the file", "version https://git-lfs.github.com/spec/v1\n"],
  ])("calls a file what it is: %s", async (kind, start) => {
    await expect(readRgb(Buffer.from(start, "latin1"), "a.png")).rejects.toThrow(
      `Cannot read a.png: it is ${kind}, expected one of JPEG, PNG, WebP, GIF, TIFF, AVIF, BMP, PBM, PGM or PPM`,
    );
  });

  test("does not guess what PIL's pixels of AVIFs and transparent GIFs are", async () => {
    const image = sharp(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 0), { raw: { width: 2, height: 1, channels: 4 } });
    for (const file of [await image.clone().gif().toBuffer(), await image.clone().avif().toBuffer()]) {
      await expect(readRgb(file, "a.png")).rejects.toThrow(
        "of which PIL's pixels are not known; expected another format",
      );
      expect(await readRgb(file, "a.png", "srgb")).toMatchObject({ width: 2, height: 1 });
    }
  });

  test("does not give what PIL makes of TIFFs whose planes or greys it misreads", async () => {
    const planes = tiffOf(16, 1, { photometric: 2, bands: 3, planar: 2 });
    await expect(readRgb(planes, "a.tif")).rejects.toThrow("a TIFF of 16 bits whose colours lie apart, of which PIL's");
    const greys = tiffOf(8, 1, { bands: 2, extra: [1] });
    await expect(readRgb(greys, "a.tif")).rejects.toThrow("a TIFF of greys times alpha, of which PIL's pixels are not");
    expect(await readRgb(greys, "a.tif", "srgb")).toMatchObject({ width: 8, height: 8 });
  });

  test("takes no fourth sample for alpha that says nothing of itself, by either rule", async () => {
    const colors = (extra: readonly number[]) => tiffOf(8, 1, { photometric: 2, bands: 4, extra });
    for (const rule of PIXEL_RULES) {
      const { pixels } = await readRgb(colors([0]), "a.tif", rule);
      expect([pixels.length, ...new Set(pixels)]).toEqual([8 * 8 * 3, 0]);
    }
    expect([...new Set((await readRgb(colors([2]), "a.tif", "srgb")).pixels)]).toEqual([255]);
  });

  test("says where PIL cuts greys that would be white", async () => {
    const netpbm = (grey: number): Uint8Array => Buffer.from(`P2 2 1 65535 0 ${grey}\n`);
    const tiff = tiffOf(16, 1);
    const bright = Uint8Array.from(tiff);
    bright[513] = 1; // 256
    for (const [dark, light] of [
      [netpbm(255), netpbm(256)],
      [tiff, bright],
    ] as const) {
      expect((await readRgb(dark)).cut).toBeUndefined();
      expect((await readRgb(light)).cut).toBe(true);
      expect((await readRgb(light, "a", "srgb")).cut).toBeUndefined();
    }
  });

  test("by the rule srgb, turns images upright, brings greys of 16 bits to 8, and lays what is transparent onto white", async () => {
    const raw = { width: 2, height: 1 };
    const alpha = await sharp(Uint8Array.of(1, 2, 3, 255, 5, 6, 7, 0), { raw: { ...raw, channels: 4 } })
      .withMetadata({ orientation: 6 })
      .png()
      .toBuffer();
    const upright = { width: 1, height: 2, pixels: Uint8Array.of(1, 2, 3, 255, 255, 255) };
    expect(await readRgb(alpha, "a", "srgb")).toEqual(upright);
    expect(await readRgb(alpha, "a")).toEqual({ ...raw, pixels: Uint8Array.of(1, 2, 3, 5, 6, 7) });
    const grey = Buffer.concat([Buffer.from("P5 2 1 65535\n"), Buffer.from([0x80, 0x80, 0, 100])]);
    expect([...(await readRgb(grey, "a", "srgb")).pixels]).toEqual([128, 128, 128, 0, 0, 0]);
    expect([...(await readRgb(grey, "a")).pixels]).toEqual([255, 255, 255, 100, 100, 100]);
  });

  test.each([
    ["BM", "its bmp header has 0 bytes, expected 12, 40, 52, 56, 64, 108, 124"],
    [bmpOf({}).subarray(0, 50), "its bmp data ends early"],
    [bmpOf({}).subarray(0, -1), "its bmp data ends early"],
    [bmpOf({ bits: 2 }), "it is a bmp of 2 bits for a pixel, expected 1, 4, 8, 16, 24 or 32"],
    [bmpOf({ compression: 4 }), "it is a bmp of compression 4 and 24 bits for a pixel, which is not read"],
    [bmpOf({ compression: 3 }), "it is a bmp with masks 0,0,0, which is not read"],
    [bmpOf({ width: 2 ** 31 }), "it is 2147483648 x 1 pixels, expected 1 to 268435456 together"],
    [bmpOf({ bits: 8, compression: 1, width: 9999 }), "its bmp data ends early"],
    ["P6 2 1 255\n12345", "its data ends early"],
    ["P3 2 1 255 1 2 3 4 5", "its data ends early"],
    ["P3 2 1 9 1 2 3 4 5 x", "its text holds what is no number"],
    ["P2 1 1 9 10", "it holds 10, more than its largest value 9"],
    ["P5 2 x 255 12", 'its height is "x", expected a number'],
    ["P5 2 1 65536 12", "its largest value is 65536, expected 1 to 65535"],
    ["P5 99999 99999 255 12", "it is 99999 x 99999 pixels, expected 1 to 268435456 together"],
    ["P5 9999 9999 255 12", "its data ends early"],
    ["P2 # a comment without an end", 'its width is "", expected a number'],
  ])("refuses a damaged bitmap, %#", async (file, reason) => {
    const bytes = typeof file === "string" ? Buffer.from(file) : file;
    await expect(readRgb(bytes, "a.bmp")).rejects.toThrow(`Cannot read a.bmp: ${reason}`);
  });

  test("decodes no image of more pixels than it allows", async () => {
    // A PNG header of 65,500 x 65,500 pixels, and nothing behind it.
    const png = Buffer.from(await encodePng(pixelsOf(1, 1), 1, 1));
    png.writeUInt32BE(65_500, 16);
    png.writeUInt32BE(65_500, 20);
    await expect(readRgb(png)).rejects.toThrow(
      "Cannot read an image: it is 65500 x 65500 pixels, more than 268435456 together",
    );
  });

  test("reads the first frame of an animation", async () => {
    const frames = Uint8Array.from([...new Uint8Array(12).fill(9), ...new Uint8Array(12).fill(200)]);
    const raw = { width: 2, height: 4, channels: 3, pageHeight: 2 } as const;
    const animation = await sharp(frames, { raw }).gif().toBuffer();
    expect((await sharp(animation).metadata()).pages).toBe(2);
    expect(await readRgb(animation)).toEqual({ width: 2, height: 2, pixels: new Uint8Array(12).fill(9) });
  });
});
