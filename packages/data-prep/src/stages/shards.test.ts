import { createHash } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openFolder, pixelsOfImage, readImageShards, resizePil, type ShardImage } from "@madformer/artifacts";
import sharp from "sharp";
import { contextIn, datasetOf, digestsOf, inFolder, type Files } from "../testing.js";
import { runShards, ShardsConfig, stage } from "./shards.js";

const pixelsOf = (width: number, height: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i * 31 + 5 * i + 17 * seed) % 256);

const imageOf = (width: number, height: number, seed = 0) =>
  sharp(pixelsOf(width, height, seed), { raw: { width, height, channels: 3 } });
const pngOf = (width: number, height: number, seed = 0): Promise<Buffer> =>
  imageOf(width, height, seed).png().toBuffer();

const config = (fields: Partial<ShardsConfig> = {}): ShardsConfig => ShardsConfig.parse({ side: 8, ...fields });

async function imagesIn(folder: string): Promise<ShardImage[]> {
  const paths = (await readdir(folder)).filter((name) => name.endsWith(".arrow")).sort();
  const images: ShardImage[] = [];
  for await (const image of readImageShards(paths.map((name) => join(folder, name)))) images.push(image);
  return images;
}

/** Runs the stage over one tar and gives back what it made. */
async function shardsOf(samples: Readonly<Record<string, Files>>, fields: Partial<ShardsConfig> = {}) {
  return inFolder(async (folder) => {
    const dataset = await datasetOf(join(folder, "dataset"), [samples]);
    const context = await contextIn(join(folder, "out"));
    const facts = await stage.run(config(fields), { dataset }, context);
    const lines = (await readFile(join(context.out, "skipped.jsonl"), "utf8")).split("\n").slice(0, -1);
    const skipped = lines.map(
      (line) => JSON.parse(line) as { tar: string; key: string; path?: string; reason: string },
    );
    return { facts, skipped, warnings: context.warnings, images: await imagesIn(context.out) };
  });
}

/**
 * A TIFF of 8 x 8 pixels, all zero.
 *
 * @param sampleFormat 1 unsigned, 2 signed, 3 float.
 */
function tiffOf(bits: number, sampleFormat: number, bands = 1, extra: readonly number[] = []): Uint8Array {
  const tags = [
    [256, 8],
    [257, 8],
    [258, bits], // given once, which for several bands means the same for all
    [259, 1],
    [262, bands > 2 ? 2 : 1],
    [273, 512],
    [277, bands],
    [278, 8],
    [279, 8 * bits * bands],
    [284, 1],
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

/** The pixels that one image file becomes. */
async function pixelsFrom(file: Uint8Array, fields: Partial<ShardsConfig> = {}): Promise<Uint8Array> {
  const { images } = await shardsOf({ a: { png: file } }, { side: 2, ...fields });
  return images[0]!.image;
}

describe("stage shards", () => {
  test("keeps order, keys, classes, JSON and the digest of each source file, over tars and shards", () =>
    inFolder(async (folder) => {
      const files = await Promise.all(Array.from({ length: 7 }, (_, i) => pngOf(8, 8, i)));
      const sampleOf = (i: number): Files => ({
        ...(i === 4 ? { webp: files[4]!, jpg: "the webp comes first" } : { png: files[i]! }),
        ...(i % 2 === 0 ? { cls: `${i}\n` } : { json: `{"i":${i}}` }),
      });
      const keys = ["b", "a", "0", "x", "y", "z", "w"];
      const samples = keys.map((key, i) => [key, sampleOf(i)] as const);
      const dataset = await datasetOf(join(folder, "dataset"), [
        Object.fromEntries(samples.slice(0, 2)), // "0" would come first among an object's keys
        Object.fromEntries(samples.slice(2)),
      ]);
      const context = await contextIn(join(folder, "out"));
      const facts = await stage.run(config({ imagesPerShard: 3 }), { dataset }, context);
      expect(facts).toEqual({ images: 7, side: 8, skipped: 0, classes: 7, format: "rgb8" });
      expect(await readdir(context.out)).toEqual(
        expect.arrayContaining(["images-00000.arrow", "images-00001.arrow", "images-00002.arrow", "skipped.jsonl"]),
      );
      expect(await readFile(join(context.out, "skipped.jsonl"), "utf8")).toBe("");
      expect(await imagesIn(context.out)).toEqual(
        keys.map((key, i) => ({
          key,
          label: i % 2 === 0 ? i : null,
          json: i % 2 === 0 ? null : `{"i":${i}}`,
          width: 8,
          height: 8,
          format: "rgb8",
          image: pixelsOf(8, 8, i),
          source: createHash("sha256").update(files[i]!).digest("hex"),
        })),
      );
      expect(context.progress.get("images")).toEqual([7, 7]);
      const shard = (name: string) => imagesOfShard(join(context.out, name));
      expect(await Promise.all(["images-00000.arrow", "images-00002.arrow"].map(shard))).toEqual([3, 1]);
    }));

  async function imagesOfShard(path: string): Promise<number> {
    let count = 0;
    for await (const _ of readImageShards([path])) count++;
    return count;
  }

  test("makes the same bytes however many images are decoded at a time, and whatever was interrupted", () =>
    inFolder(async (folder) => {
      const samples: Record<string, Files> = {};
      for (let i = 0; i < 23; i++)
        samples[`k${i}`] = {
          webp: await imageOf(20 + i, 30 - i, i)
            .webp()
            .toBuffer(),
        };
      // Broken in different ways, close together: what is said about one must not be said about another.
      const half = (file: Buffer): Buffer => file.subarray(0, file.length / 2);
      samples["k6"] = { jpg: half(await imageOf(64, 64).jpeg().toBuffer()) };
      samples["k7"] = { webp: "broken" };
      samples["k8"] = { png: half(await pngOf(64, 64)) };
      const dataset = await datasetOf(join(folder, "dataset"), [samples]);
      const fields = config({ imagesPerShard: 5, format: "png" });
      const made: Record<string, string>[] = [];
      for (const atOnce of [1, 4, 50]) {
        const out = join(folder, `out-${atOnce}`);
        await runShards(fields, dataset, await contextIn(out), atOnce);
        made.push(await digestsOf(out));
      }
      expect(Object.keys(made[0]!)).toHaveLength(6);
      expect(made[1]).toEqual(made[0]);
      expect(made[2]).toEqual(made[0]);

      // Stopped in its third shard, then run again.
      const [out, stop] = [join(folder, "resumed"), new AbortController()];
      let seen = 0;
      const stopping = await contextIn(out, stop.signal, () => ++seen === 14 && stop.abort(new Error("stopped")));
      await expect(runShards(fields, dataset, stopping, 4)).rejects.toThrow("stopped");
      expect(Object.keys(await digestsOf(out))).toEqual(["images-00000.arrow", "images-00001.arrow"]);
      const before = await stat(join(out, "images-00001.arrow"));
      const context = await contextIn(out);
      const facts = await runShards(fields, dataset, context, 4);
      expect(facts).toMatchObject({ images: 20, skipped: 3 });
      expect(await digestsOf(out)).toEqual(made[0]);
      expect((await stat(join(out, "images-00001.arrow"))).ino).toBe(before.ino);
      expect(context.warnings).toHaveLength(1); // of the sum: the broken images were in a finished shard
      expect(context.progress.get("images")).toEqual([23, 23]);
    }));

  test("makes a finished shard again that has gone", () =>
    inFolder(async (folder) => {
      const dataset = await datasetOf(join(folder, "dataset"), [{ a: { png: await pngOf(8, 8) } }]);
      const out = join(folder, "out");
      await runShards(config(), dataset, await contextIn(out));
      const made = await digestsOf(out);
      await writeFile(join(out, "images-00000.arrow"), "");
      const { rm } = await import("node:fs/promises");
      await rm(join(out, "images-00000.arrow"));
      await runShards(config(), dataset, await contextIn(out));
      expect(await digestsOf(out)).toEqual(made);
    }));

  test("crops the middle and resizes as PIL does", async () => {
    const [width, height] = [31, 20];
    const { images } = await shardsOf({ a: { png: await pngOf(width, height) } }, { side: 7 });
    const middle = new Uint8Array(20 * 20 * 3);
    for (let y = 0; y < 20; y++)
      middle.set(pixelsOf(width, height).subarray((y * width + 5) * 3, (y * width + 25) * 3), y * 60);
    const square = { data: middle, width: 20, height: 20, channels: 3 };
    expect(images[0]!.image).toEqual(resizePil(square, { width: 7, height: 7 }).data);
  });

  test("stretches the whole image where it is not to be cropped, as the reference does", async () => {
    const { images } = await shardsOf({ a: { png: await pngOf(31, 20) } }, { side: 7, crop: "none" });
    const whole = { data: pixelsOf(31, 20), width: 31, height: 20, channels: 3 };
    expect(images[0]!.image).toEqual(resizePil(whole, { width: 7, height: 7 }).data);
  });

  test("resizes with sharp's kernels, each in its way", async () => {
    const file = await pngOf(40, 20);
    const made = new Map<string, Uint8Array>();
    for (const resize of ["nearest", "linear", "cubic", "mitchell", "lanczos2", "lanczos3"] as const) {
      const pixels = await pixelsFrom(file, { side: 9, resize });
      const expected = await sharp(file)
        .extract({ left: 10, top: 0, width: 20, height: 20 })
        .resize(9, 9, { kernel: resize })
        .raw()
        .toBuffer();
      expect(pixels).toEqual(new Uint8Array(expected));
      made.set(Buffer.from(pixels).toString("hex"), pixels);
    }
    expect(made.size).toBe(6);
  });

  test("turns images upright before it crops them", async () => {
    const upright = imageOf(12, 8);
    for (const [orientation, degrees] of [
      [6, 270],
      [3, 180],
      [8, 90],
    ] as const) {
      const turned = await upright.clone().rotate(degrees).png().toBuffer();
      const tagged = await sharp(turned).withMetadata({ orientation }).png().toBuffer();
      const { images } = await shardsOf({ a: { png: tagged }, b: { png: await pngOf(12, 8) } }, { side: 8 });
      expect(images[0]!.image).toEqual(images[1]!.image);
    }
  });

  test("turns grey, sixteen bits, CMYK, palettes and animations into sRGB", async () => {
    const raw = { width: 2, height: 2 };
    const grey = await sharp(Uint8Array.of(10, 20, 30, 40), { raw: { ...raw, channels: 1 } })
      .toColourspace("b-w")
      .png()
      .toBuffer();
    expect([...(await pixelsFrom(grey))]).toEqual([10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40]);
    const deep = await imageOf(2, 2).toColourspace("rgb16").png().toBuffer();
    expect((await sharp(deep).metadata()).depth).toBe("ushort");
    expect(await pixelsFrom(deep)).toEqual(pixelsOf(2, 2));
    const palette = await imageOf(2, 2).png({ palette: true }).toBuffer();
    expect(await pixelsFrom(palette)).toEqual(pixelsOf(2, 2));
    const red = { create: { width: 2, height: 2, channels: 3, background: "red" } } as const;
    const cmyk = await sharp(red).toColourspace("cmyk").jpeg({ quality: 100 }).toBuffer();
    expect((await sharp(cmyk).metadata()).space).toBe("cmyk");
    const [r, g, b] = await pixelsFrom(cmyk);
    expect(r).toBeGreaterThan(200);
    expect(Math.max(g!, b!)).toBeLessThan(80);
    const frames = Uint8Array.from([...new Uint8Array(12).fill(9), ...new Uint8Array(12).fill(200)]);
    const animation = await sharp(frames, { raw: { width: 2, height: 4, channels: 3, pageHeight: 2 } })
      .gif()
      .toBuffer();
    expect((await sharp(animation).metadata()).pages).toBe(2);
    expect([...(await pixelsFrom(animation))]).toEqual(Array<number>(12).fill(9));
  });

  test("decodes BMP, PBM, PGM and PPM, scales greys of sixteen bits, and crops them as others", async () => {
    const bmp = Buffer.alloc(54 + 2 * 8);
    bmp.write("BM");
    bmp.writeUInt32LE(54, 10);
    for (const [value, at] of [40, 2, 2].map((value, i) => [value, 14 + 4 * i] as const)) bmp.writeUInt32LE(value, at);
    bmp.writeUInt16LE(1, 26);
    bmp.writeUInt16LE(24, 28);
    bmp.set([9, 8, 7, 12, 11, 10, 0, 0, 3, 2, 1, 6, 5, 4], 54); // from the bottom, blue first
    expect([...(await pixelsFrom(bmp))]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    const netpbm = (text: string, side = 2): Promise<Uint8Array> => pixelsFrom(Buffer.from(text), { side });
    expect([...(await netpbm("P3 2 2 255 1 2 3 4 5 6 7 8 9 10 11 12"))]).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ]);
    expect([...(await netpbm("P2 1 1 65535 32896", 1))]).toEqual([128, 128, 128]);
    expect([...(await netpbm("P1 3 1 1 0 1", 1))]).toEqual([255, 255, 255]);
    const { images, skipped } = await shardsOf(
      {
        a: { bmp },
        b: { data: bmp },
        c: { x: "P2 1 1 9 9", txt: "P2 words" },
        d: { bmp: bmp.subarray(0, 60) },
        e: { pgm: "P2 2000 2000 255 0" },
      },
      { maxMegapixels: 1 },
    );
    expect(images.map(({ key }) => key)).toEqual(["a", "b", "c"]);
    expect(skipped.map(({ key, reason }) => [key, reason])).toEqual([
      ["d", "it does not decode: its bmp data ends early"],
      ["e", "it is 2000 x 2000 pixels, more than 1048576 together"],
    ]);
  });

  test("lays what is transparent onto black or white", async () => {
    const file = await sharp(Uint8Array.of(100, 100, 100, 51), { raw: { width: 1, height: 1, channels: 4 } })
      .png()
      .toBuffer();
    expect([...(await pixelsFrom(file, { side: 1, background: "black" }))]).toEqual([20, 20, 20]);
    expect([...(await pixelsFrom(file, { side: 1 }))]).toEqual([224, 224, 224]);
  });

  test("takes no fourth sample of a TIFF for alpha that says nothing of itself", async () => {
    expect([...(await pixelsFrom(tiffOf(8, 1, 4, [0]), { side: 1 }))]).toEqual([0, 0, 0]);
    expect([...(await pixelsFrom(tiffOf(8, 1, 4, [2]), { side: 1 }))]).toEqual([255, 255, 255]);
  });

  test("compresses without loss", async () => {
    for (const [format, stored] of [
      ["png", "png"],
      ["webp-lossless", "webp"],
    ] as const) {
      const { images, facts } = await shardsOf({ a: { png: await pngOf(8, 8) } }, { format });
      expect(facts).toMatchObject({ format });
      expect(images[0]).toMatchObject({ format: stored, width: 8, height: 8 });
      expect((await sharp(images[0]!.image).metadata()).format).toBe(stored);
      expect(await pixelsOfImage(images[0]!)).toEqual(pixelsOf(8, 8));
    }
  });

  test("takes the first images alone where there is a limit", async () => {
    const samples: Record<string, Files> = { a: { cls: "broken" }, b: { cls: "broken" }, c: { cls: "broken" } };
    samples["a"] = { png: await pngOf(8, 8) };
    const { facts, images, skipped } = await shardsOf(samples, { limit: 2 });
    expect(facts).toMatchObject({ images: 1, skipped: 1 });
    expect(images.map((image) => image.key)).toEqual(["a"]);
    expect(skipped.map((line) => line.key)).toEqual(["b"]);
  });

  test("counts the classes that the data set names, or one more than the largest number", () =>
    inFolder(async (folder) => {
      const png = await pngOf(8, 8);
      const tar = { a: { png, cls: "3" }, b: { png, cls: "1" } };
      expect((await shardsOf(tar)).facts).toMatchObject({ classes: 4 });
      expect((await shardsOf({ a: { png } })).facts).toMatchObject({ classes: 0 });
      await datasetOf(folder, [tar]);
      await writeFile(join(folder, "classes.json"), JSON.stringify(["a", "b", "c", "d", "e"]));
      const dataset = await datasetOf(folder, [tar]);
      const facts = await stage.run(config(), { dataset }, await contextIn(join(folder, "out")));
      expect(facts).toMatchObject({ classes: 5 });
    }));
});

describe("stage shards, files beside images", () => {
  test("finds the image under any extension, and the class and JSON of an extension with more dots", async () => {
    const [image, other] = [await pngOf(8, 8, 1), await pngOf(8, 8, 2)];
    const { images, warnings } = await shardsOf({
      a: { "v2.png": image, "v2.cls": "3", cls: "1", "v2.json": "[2]" },
      b: { "2024.01.png": image, cls: "1" },
      c: { img: image },
      d: { data: image, txt: "words" },
      e: { jpe: await imageOf(8, 8).jpeg().toBuffer(), raw: other },
    });
    expect(images.map(({ key, label, json }) => [key, label, json])).toEqual([
      ["a", 3, "[2]"],
      ["b", 1, null],
      ["c", null, null],
      ["d", null, null],
      ["e", null, null],
    ]);
    expect(images.slice(0, 4).map(({ image }) => image)).toEqual(Array(4).fill(pixelsOf(8, 8, 1)));
    expect(warnings).toEqual([]);
  });

  test("says once that keys have several images, and takes the one that is chosen", async () => {
    const [photo, mask] = [await pngOf(8, 8, 1), await pngOf(8, 8, 2)];
    const sample = { gif: photo, png: mask, "left.png": mask };
    const samples = { a: { png: photo }, b: sample, c: sample };
    const first = await shardsOf(samples);
    expect(first.images.map(({ image }) => image)).toEqual([1, 2, 2].map((seed) => pixelsOf(8, 8, seed)));
    expect(first.warnings).toEqual([
      '2 keys have several images, of which one is taken: "b" of "00000.tar", where png is taken before gif, left.png; ' +
        'the field "image" chooses',
    ]);
    const chosen = await shardsOf(samples, { image: "gif,png" });
    expect(chosen.images.map(({ image }) => image)).toEqual([1, 1, 1].map((seed) => pixelsOf(8, 8, seed)));
    expect(chosen.warnings).toEqual([]);
    const one = await shardsOf(samples, { image: "left.png" });
    expect(one.images).toHaveLength(2);
    expect(one.skipped).toMatchObject([{ key: "a", reason: "it has no image, which is a file of left.png" }]);
    for (const image of ["PNG", ",png", "png,", "a b"]) expect(() => config({ image })).toThrow("expected extensions");
  });

  test("loses JSON that cannot be used, not the image, and says so, also when it goes on", () =>
    inFolder(async (folder) => {
      const png = await pngOf(8, 8);
      const dataset = await datasetOf(join(folder, "dataset"), [
        {
          good: { png, json: "{}" },
          nan: { png, json: '{"similarity": NaN}' },
          cut: { png, json: "{" },
          empty: { png, json: "" },
          latin: { png, json: Buffer.from('{"name":"caf\u00e9"}', "latin1") },
          large: { png, json: JSON.stringify("x".repeat(1 << 20)) },
        },
      ]);
      const out = join(folder, "out");
      for (const _ of [1, 2]) {
        const context = await contextIn(out);
        await stage.run(config({ imagesPerShard: 2 }), { dataset }, context);
        expect((await imagesIn(out)).map(({ json }) => json)).toEqual(["{}", null, null, null, null, null]);
        expect(context.warnings).toEqual([
          'passed over 1 entries of "00000.tar" of more than 1048576 bytes, such as "large.json"',
          'left out the JSON of 4 images, such as that of "nan" of "00000.tar": it does not parse, and holds NaN or Infinity',
        ]);
      }
    }));
});

describe("stage shards, an image that cannot be used", () => {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>`;
  const cut = async (file: Promise<Buffer>): Promise<Buffer> => (await file).subarray(0, (await file).length * 0.6);

  test("is skipped with the path that its json names, if it names one", async () => {
    const { skipped, warnings } = await shardsOf({
      a: { png: "", json: JSON.stringify({ path: "cats/tom 1.png" }) },
      b: { png: "", json: JSON.stringify({ path: 7 }) },
      c: { png: "", json: JSON.stringify({ path: "x".repeat(70_000) }) },
      good: { png: await pngOf(8, 8) },
    });
    expect(skipped.map((line) => line.path)).toEqual(["cats/tom 1.png", undefined, undefined]);
    expect(warnings[0]).toMatch(/^skipped image "a" of "00000.tar" \("cats\/tom 1.png"\): it is empty$/);
  });

  test("is skipped, with its key and reason", async () => {
    const good = await pngOf(8, 8);
    const { facts, images, skipped, warnings } = await shardsOf(
      {
        "cut-jpeg": { jpg: await cut(imageOf(64, 64).jpeg().toBuffer()) },
        "cut-png": { png: await cut(pngOf(64, 64)) },
        "cut-webp": { webp: await cut(imageOf(64, 64).webp().toBuffer()) },
        empty: { png: "" },
        good: { png: good, cls: "7" },
        "large-class": { png: good, cls: "1000000" },
        "large-image": { png: await pngOf(1100, 1000) },
        "no-image": { cls: "1" },
        svg: { png: svg },
        text: { webp: "no image" },
        "word-class": { png: good, cls: "cat" },
      },
      { maxMegapixels: 1 },
    );
    expect(images.map((image) => image.key)).toEqual(["good"]);
    expect(facts).toEqual({ images: 1, side: 8, skipped: 10, classes: 8, format: "rgb8" });
    expect(warnings).toHaveLength(11);
    expect(warnings).toContain(
      'skipped image "word-class" of "00000.tar": its class is "cat", expected a number from 0 to 999999',
    );
    expect(warnings.at(-1)).toBe("10 of 11 images were skipped; skipped.jsonl says why");
    expect(new Set(skipped.map((line) => line.tar))).toEqual(new Set(["00000.tar"]));
    expect(Object.fromEntries(skipped.map((line) => [line.key, line.reason]))).toEqual({
      "cut-jpeg": "it does not decode: its jpeg data is damaged or ends early",
      "cut-png": "it does not decode: its png data is damaged or ends early",
      "cut-webp": "it does not decode: it is damaged, or of no known format",
      empty: "it is empty",
      "large-class": 'its class is "1000000", expected a number from 0 to 999999',
      "large-image": "it is 1100 x 1000 pixels, more than 1048576 together",
      "no-image":
        "it has no image, which is a file of webp, png, jpg, jpeg, avif, tif, tiff, gif, jfif, jpe, bmp, dib, ppm, pgm, pbm, pnm",
      svg: "it is of the format svg, expected one of jpeg, png, webp, gif, tiff, heif",
      text: "it does not decode: it is damaged, or of no known format",
      "word-class": 'its class is "cat", expected a number from 0 to 999999',
    });
  });

  test("is skipped where it is of a kind that is not decoded", async () => {
    const ppm = Buffer.concat([Buffer.from("P9 8 8 255\n"), pixelsOf(8, 8)]);
    const { skipped } = await shardsOf({
      a: { img: ppm },
      "b-2": { "v2.bmp": "BM" },
      good: { png: await pngOf(8, 8) },
    });
    expect(skipped.map(({ key }) => key)).toEqual(["a", "b-2"]);
  });

  test("is skipped where nothing says what is black and white in it", async () => {
    const { images, skipped } = await shardsOf({
      byte: { tiff: tiffOf(8, 1) },
      float: { tiff: tiffOf(32, 3) },
      half: { tiff: tiffOf(16, 3) },
      int: { tiff: tiffOf(32, 2) },
      "rgb-float": { tiff: tiffOf(32, 3, 3) },
      short: { tiff: tiffOf(16, 2) },
      signed: { tiff: tiffOf(8, 2) },
      uint: { tiff: tiffOf(32, 1) },
      ushort: { tiff: tiffOf(16, 1) },
    });
    expect(images.map((image) => image.key)).toEqual(["byte", "ushort"]);
    const ofType = (type: string): string =>
      `its samples are of the type ${type}, expected 8 or 16 bits without a sign`;
    expect(Object.fromEntries(skipped.map((line) => [line.key, line.reason]))).toEqual({
      float: ofType("float"),
      half: ofType("float"),
      int: ofType("int"),
      "rgb-float": ofType("float"),
      short: ofType("short"),
      signed: ofType("char"),
      uint: ofType("uint"),
    });
  });

  test("stops the stage where it is strict", async () => {
    const samples = { a: { png: await pngOf(8, 8) }, b: { png: svg } };
    await expect(shardsOf(samples, { strict: true })).rejects.toThrow(
      'Cannot use image "b" of "00000.tar": it is of the format svg',
    );
  });

  test("stops the stage where there is no other", async () => {
    await expect(shardsOf({ a: { png: svg }, b: { png: svg } })).rejects.toThrow(
      'Cannot make shards: none of 2 images can be used; of the first, "a": it is of the format svg',
    );
    await expect(shardsOf({})).rejects.toThrow("the data set has no samples, expected tars of images");
    await inFolder(async (folder) => {
      await writeFile(join(folder, "a.PNG"), await pngOf(8, 8));
      const run = stage.run(config(), { dataset: await openFolder(folder) }, await contextIn(join(folder, "out")));
      await expect(run).rejects.toThrow(
        "expected tars of images; it holds 1 image files, of which the stage dataset makes tars (source folder)",
      );
    });
  });

  test("leaves no shard where all of its images are skipped", () =>
    inFolder(async (folder) => {
      const good = { png: await pngOf(8, 8) };
      const dataset = await datasetOf(join(folder, "dataset"), [{ a: good, b: { png: svg }, c: good }]);
      const out = join(folder, "out");
      for (const _ of [1, 2]) {
        const facts = await stage.run(config({ imagesPerShard: 1 }), { dataset }, await contextIn(out));
        expect(facts).toMatchObject({ images: 2, skipped: 1 });
        const files = ["images-00000.arrow", "images-00002.arrow", "skipped.jsonl"];
        expect(Object.keys(await digestsOf(out))).toEqual(files);
      }
    }));
});
