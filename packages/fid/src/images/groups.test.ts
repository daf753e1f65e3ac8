import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DataError, encodePng, openFolder, type Artifact } from "@madformer/artifacts";
import { artifactOf, inFolder, squarePixels, squareShards } from "../faces-net/testing.js";
import { imageGroups, type ImageGroup, type ImageOptions } from "./groups.js";

const signal = new AbortController().signal;

async function namesOf(group: ImageGroup): Promise<string[]> {
  const names = [];
  for await (const { name, width, height, pixels } of group.images(signal)) {
    expect(pixels.length).toBe(width * height * 3);
    names.push(name);
  }
  return names;
}

/** Tiny images at paths below a folder. */
async function write(folder: string, ...paths: string[]): Promise<void> {
  for (const [i, path] of paths.entries()) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), await encodePng(new Uint8Array(12).fill(i), 2, 2));
  }
}

const sampleOf = (folder: string, groups: unknown): Promise<Artifact> =>
  artifactOf(folder, "sample", { groups } as Artifact["manifest"]["facts"]);

describe("imageGroups()", () => {
  test("takes shards as one group, in their order, with the count of the manifest", () =>
    inFolder(async (folder) => {
      await squareShards(folder, 130, 32);
      const [group, ...others] = imageGroups(await artifactOf(folder, "shards", { images: 130 }));
      expect(others).toEqual([]);
      expect(group).toMatchObject({ name: "images", count: 130 });
      const images = [];
      for await (const image of group!.images(signal)) images.push(image);
      expect(images.map(({ name }) => name)).toEqual(Array.from({ length: 130 }, (_, i) => `"square-${i}"`));
      expect(images[129]!.pixels).toEqual(squarePixels(130, 32).pixels);
    }));

  test("takes the folders that a sampler names, in its order, and what it says of them", () =>
    inFolder(async (folder) => {
      const files = ["images/1.png", "images/0.png", "steps/5/images/0.png", "images/deep/9.png", "grid.png"];
      await write(folder, ...files, ...Array.from({ length: 12 }, (_, i) => `steps/7/1${i}.png`));
      const groups = imageGroups(
        await sampleOf(folder, [
          { name: "final", folder: "images", weights: "ema", images: 2 },
          { name: "step-5", step: 5, folder: "steps/5/images/", images: 1 },
          { name: "step-7", step: 7, folder: "steps/7" },
        ]),
      );
      expect(groups.map(({ name, step, weights, count }) => [name, step, weights, count])).toEqual([
        ["final", undefined, "ema", 2],
        ["step-5", 5, undefined, 1],
        ["step-7", 7, undefined, 12],
      ]);
      expect(await namesOf(groups[0]!)).toEqual(['"images/0.png"', '"images/1.png"']);
      expect(await namesOf(groups[1]!)).toEqual(['"steps/5/images/0.png"']);
      expect(await namesOf(groups[2]!)).toHaveLength(12);
    }));

  test("takes the images that lie directly in any folder, by name", () =>
    inFolder(async (folder) => {
      await write(folder, "b.PNG", "a.jpeg", "c.webp", "d.tif", "notes.txt", "x.gif", "y.gif", "z", "below/e.png");
      await writeFile(join(folder, "e.pgm"), "P2 1 1 9 9");
      const said: string[] = [];
      const [group] = imageGroups(await openFolder(folder), { warn: (message) => said.push(message) });
      expect(await namesOf(group!)).toEqual(['"a.jpeg"', '"b.PNG"', '"c.webp"', '"d.tif"', '"e.pgm"']);
      expect(said).toEqual([
        "left out 5 files (2 .gif, 1 .txt, 1 without an extension, 1 in folders below): taken are, as pytorch-fid does, " +
          "the 5 bmp, jpg, jpeg, pgm, png, ppm, tif, tiff and webp at the top",
      ]);
    }));

  test("takes every kind of file that pytorch-fid takes, and follows links to them", () =>
    inFolder(async (folder) => {
      const kinds = ["bmp", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp"];
      await write(folder, ...kinds.map((kind) => `in/image.${kind}`), "elsewhere/z.png");
      await symlink(join("..", "elsewhere", "z.png"), join(folder, "in", "z.png"));
      const [group] = imageGroups(await openFolder(join(folder, "in")), { warn: (message) => fail(message) });
      expect(await namesOf(group!)).toEqual([...kinds.map((kind) => `"image.${kind}"`), '"z.png"']);
    }));

  test("gives PIL's pixels or those of the stage shards, as it is asked", () =>
    inFolder(async (folder) => {
      await writeFile(join(folder, "a.pgm"), "P2 2 1 65535 100 32896");
      const read = async (options: ImageOptions): Promise<unknown> => {
        const [group] = imageGroups(await openFolder(folder), options);
        for await (const { width, height, pixels } of group!.images(signal))
          return { width, height, pixels: [...pixels] };
        return undefined;
      };
      const cut = { width: 2, height: 1, pixels: [100, 100, 100, 255, 255, 255] };
      expect(await read({})).toEqual(cut);
      expect(await read({ pixels: "pil" })).toEqual(cut);
      expect(await read({ pixels: "srgb" })).toEqual({ ...cut, pixels: [0, 0, 0, 128, 128, 128] });
    }));

  test("refuses to give shards other pixels than they hold", () =>
    inFolder(async (folder) => {
      const shards = await squareShards(folder, 2, 32);
      expect(() => imageGroups(shards, { pixels: "srgb" })).toThrow(DataError);
      expect(() => imageGroups(shards, { pixels: "srgb" })).toThrow(
        'Cannot read image shards with the pixels "srgb": the stage shards made them so already',
      );
    }));

  test("says once which images PIL makes white", () =>
    inFolder(async (folder) => {
      for (const [name, grey] of Object.entries({ a: 255, b: 9000, c: 256 }))
        await writeFile(join(folder, `${name}.pgm`), `P2 1 1 65535 ${grey}`);
      const said: string[] = [];
      const warn = (message: string): void => void said.push(message);
      for (const pixels of ["pil", "srgb"] as const) {
        const [group] = imageGroups(await openFolder(folder), { pixels, warn });
        expect(await namesOf(group!)).toHaveLength(3);
      }
      expect(said).toEqual([
        '2 images of "images", such as "b.pgm", are greys of 16 bits: PIL, and so pytorch-fid, cuts them to 255, nearly all ' +
          'white; the pixels "srgb" scale them',
      ]);
    }));

  test("refuses what is none of them", () =>
    inFolder(async (folder) => {
      await write(folder, "below/e.png");
      await writeFile(join(folder, "notes.txt"), "");
      const plain = await openFolder(folder);
      expect(() => imageGroups(plain)).toThrow(DataError);
      expect(() => imageGroups(plain)).toThrow("2 files (1 in folders below), among them no images-*.arrow and no PNG");
    }));

  test.each([
    ["no list", { name: "a" }, "not what a sampler writes"],
    ["nothing", [], "not what a sampler writes"],
    ["a name that leads elsewhere", [{ name: "../a", folder: "below" }], "not what a sampler writes"],
    ["a hidden name", [{ name: ".a", folder: "below" }], "not what a sampler writes"],
    ["no step", [{ name: "a", step: 1.5, folder: "below" }], "not what a sampler writes"],
    ["an empty folder", [{ name: "a", folder: "above" }], 'group "a" has none in "above"'],
    ["a folder elsewhere", [{ name: "a", folder: "../below" }], 'group "a" has none in "../below"'],
    ["a name twice", [1, 2].map(() => ({ name: "a", folder: "below" })), "two groups have one name"],
  ])("refuses groups with %s", (_, groups, message) =>
    inFolder(async (folder) => {
      await write(folder, "below/e.png");
      const artifact = await sampleOf(folder, groups);
      expect(() => imageGroups(artifact)).toThrow(DataError);
      expect(() => imageGroups(artifact)).toThrow(message);
    }),
  );

  test.each([
    ["is no image", "no image", "it is damaged, or an image of no known format"],
    ["is empty", "", "it is empty"],
    ["is a drawing", '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>', "it is of the format svg"],
  ])("names the file that %s", (_, content, reason) =>
    inFolder(async (folder) => {
      await write(folder, "a.png");
      await writeFile(join(folder, "b.png"), content);
      const [group] = imageGroups(await openFolder(folder));
      await expect(namesOf(group!)).rejects.toThrow(`Cannot read "b.png": ${reason}`);
    }),
  );
});
