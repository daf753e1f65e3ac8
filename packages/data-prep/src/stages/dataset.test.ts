import { mkdir, open, readdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { lookOutside, outsideDigest, parseConfig } from "@madformer/stage";
import { samplesIn } from "../dataset/testing.js";
import { contextIn, datasetOf, digestsOf, inFolder } from "../testing.js";
import { tarOf } from "../webdataset/testing.js";
import { stage, type DatasetSource } from "./dataset.js";

const run = async (source: Record<string, unknown>, out: string, signal?: AbortSignal, onProgress?: () => void) => {
  const context = await contextIn(out, signal, onProgress);
  const facts = await stage.run(parseConfig(stage, { source }), {}, context);
  return { facts, infos: context.infos, warnings: context.warnings };
};

/** What a key says of what a source names outside. */
const outsideOf = async (source: Record<string, unknown>) =>
  outsideDigest(await lookOutside(stage.outside!(parseConfig(stage, { source }))));

/** Writes files, their paths below a folder. */
async function write(folder: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return folder;
}

const json = (path: string): string => JSON.stringify({ path });

describe("stage dataset, from a folder", () => {
  test("packs images as they are, in the order of their paths, with folders as classes", () =>
    inFolder(async (folder) => {
      const path = await write(join(folder, "in"), {
        "dog/a.png": "dog a",
        "cat/deep/b.JPG": "cat b",
        "cat-2/ü ñ\"'.webp": "cat-2",
        "cat/a.jpeg": "cat a",
        "cat/notes.txt": "no image",
        ".hidden/x.png": "hidden",
        "dog/.x.png": "hidden",
      });
      const out = join(folder, "out");
      const { facts, warnings } = await run({ kind: "folder", path, imagesPerShard: 3 }, out);
      expect(facts).toEqual({ source: "folder", images: 4, classes: 3, skipped: 0 });
      expect(await samplesIn(out)).toEqual([
        {
          tar: "00000.tar",
          key: "00000000",
          webp: "cat-2",
          cls: "1",
          json: json("cat-2/ü ñ\"'.webp").replace("ü ñ", "Ã¼ Ã±"),
        },
        { tar: "00000.tar", key: "00000001", jpeg: "cat a", cls: "0", json: json("cat/a.jpeg") },
        { tar: "00000.tar", key: "00000002", jpg: "cat b", cls: "0", json: json("cat/deep/b.JPG") },
        { tar: "00001.tar", key: "00000003", png: "dog a", cls: "2", json: json("dog/a.png") },
      ]);
      expect(JSON.parse(await readFile(join(out, "classes.json"), "utf8"))).toEqual(["cat", "cat-2", "dog"]);
      expect(warnings).toEqual(['passed over 1 files that are no images (1 of txt), such as "cat/notes.txt"']);
    }));

  test("has no classes where images lie beside the folders, or where it is told so", () =>
    inFolder(async (folder) => {
      const path = await write(join(folder, "in"), { "a.png": "a", "x/b.png": "b" });
      const first = await run({ kind: "folder", path }, join(folder, "1"));
      expect(first.facts).toMatchObject({ classes: 0 });
      expect(first.warnings).toEqual([
        '1 images, such as "a.png", lie outside of the 1 folders, so folders are no classes and no image has a label; ' +
          'classes "folders" takes what is in folders, with labels, and "none" says that there are none',
      ]);
      expect(await readdir(join(folder, "1"))).not.toContain("classes.json");
      expect((await samplesIn(join(folder, "1"))).map((sample) => sample["cls"])).toEqual([undefined, undefined]);
      const second = await run({ kind: "folder", path, classes: "folders" }, join(folder, "2"));
      expect(second.facts).toMatchObject({ images: 1, classes: 1 });
      expect(second.warnings).toEqual([
        'passed over 1 images, such as "a.png", that lie in no folder, for folders are classes',
      ]);
      expect((await run({ kind: "folder", path, classes: "none" }, join(folder, "5"))).warnings).toEqual([]);
      await expect(run({ kind: "folder", path: join(path, "x"), classes: "folders" }, folder)).rejects.toThrow(
        /none of its images lies in a folder, and its folders are to be classes/,
      );
      await rm(join(path, "a.png"));
      expect((await run({ kind: "folder", path, classes: "none" }, join(folder, "3"))).facts).toMatchObject({
        classes: 0,
      });
      expect((await run({ kind: "folder", path }, join(folder, "4"))).facts).toMatchObject({ classes: 1 });
    }));

  test("takes image files of every extension that shards decode", () =>
    inFolder(async (folder) => {
      const names = ["a.bmp", "b.PPM", "c.pgm", "d.pbm", "e.pnm", "f.dib", "g.tif", "h.avif", "i.jfif"];
      const path = await write(join(folder, "in"), Object.fromEntries(names.map((name) => [name, name])));
      const { facts, infos, warnings } = await run({ kind: "folder", path }, join(folder, "out"));
      expect(facts).toMatchObject({ images: names.length, skipped: 0 });
      expect(warnings).toEqual([]);
      const each = "1 of bmp, 1 of ppm, 1 of pgm, 1 of pbm, 1 of pnm, 1 of dib, 1 of tif, 1 of avif, 1 of jfif";
      expect(infos).toEqual([`images of ${JSON.stringify(path)}: ${each}`]);
      const kinds = (await samplesIn(join(folder, "out"))).map((sample) => Object.keys(sample).sort()[0]);
      expect(kinds).toEqual(["bmp", "json", "json", "json", "json", "dib", "json", "avif", "jfif"]);
    }));

  test("skips what is empty or too large, and says so", () =>
    inFolder(async (folder) => {
      const path = await write(join(folder, "in"), { "a.png": "a", "b.png": "", "c.png": "" });
      const file = await open(join(path, "c.png"), "r+");
      await file.truncate(61 * 2 ** 20).finally(() => file.close());
      const out = join(folder, "out");
      const { facts, warnings } = await run({ kind: "folder", path }, out);
      expect(facts).toMatchObject({ images: 1, skipped: 2 });
      const reason = "it has 63963136 bytes, more than 62914560";
      expect(warnings).toEqual(['skipped "b.png": it is empty', `skipped "c.png": ${reason}`]);
      expect(await readFile(join(out, "skipped.jsonl"), "utf8")).toBe(
        `{"path":"b.png","reason":"it is empty"}\n{"path":"c.png","reason":"${reason}"}\n`,
      );
      await rm(join(path, "a.png"));
      await expect(run({ kind: "folder", path }, join(folder, "none"))).rejects.toThrow(
        /none of its 2 images; of the first, "b\.png": it is empty/,
      );
    }));

  test("refuses class folders without images, which would renumber those after them", () =>
    inFolder(async (folder) => {
      const path = await write(join(folder, "in"), { "a/1.png": "a", "c/1.png": "c", "__MACOSX/a/x.txt": "" });
      expect((await run({ kind: "folder", path }, join(folder, "0"))).facts).toMatchObject({ classes: 2 });
      await write(path, { "b/1.heic": "no image" });
      for (const classes of ["auto", "folders"])
        await expect(run({ kind: "folder", path, classes }, join(folder, "1"))).rejects.toThrow(
          /^Cannot use ".*in": its folder "b" holds no image, and folders are classes, .*\(classes "none"\)$/,
        );
      expect((await run({ kind: "folder", path, classes: "none" }, join(folder, "2"))).facts).toMatchObject({
        images: 2,
      });
      await rm(join(path, "b"), { recursive: true });
      await symlink("a", join(path, "b")); // a class folder, which is not followed
      await expect(run({ kind: "folder", path }, join(folder, "3"))).rejects.toThrow('its folder "b" holds no image');
    }));

  test.each([
    [["train", "val"], '"train", "val"'],
    [["Training_set", "cat", "test"], '"Training_set", "test"'],
    [["train"], '"train"'],
    [["train", "bus"], undefined],
    [["val", "test", "cat"], undefined],
  ])("warns that %j may be parts of a data set, not classes", (names, said) =>
    inFolder(async (folder) => {
      const path = await write(join(folder, "in"), Object.fromEntries(names.map((name) => [`${name}/x/1.png`, "x"])));
      const { facts, warnings } = await run({ kind: "folder", path }, join(folder, "out"));
      expect(facts).toMatchObject({ classes: names.length });
      const warning = `took the folders ${said} for classes; if they are parts of a data set, name one of them as the source`;
      expect(warnings).toEqual(said === undefined ? [] : [warning]);
    }),
  );

  test("takes links that stay inside, and refuses those that leave, and says how they are followed", () =>
    inFolder(async (folder) => {
      await write(folder, { "in/x/a.png": "a", "secret/s.png": "secret", "in-other/o.png": "other" });
      const path = join(folder, "in");
      await symlink("a.png", join(path, "x", "b.png"));
      await symlink(path, join(path, "x", "loop"));
      const { warnings } = await run({ kind: "folder", path }, join(folder, "out"));
      expect((await samplesIn(join(folder, "out"))).map((sample) => sample["png"])).toEqual(["a", "a"]);
      expect(warnings).toEqual([
        `passed over 1 entries of ${JSON.stringify(path)} that are links to folders, which are followed with followLinks, such as "x/loop"`,
      ]);
      for (const target of ["../../secret/s.png", join(folder, "in-other", "o.png"), "../../secret", ".."]) {
        await symlink(target, join(path, "x", "c.png"));
        const running = run({ kind: "folder", path }, join(folder, "out2"));
        if (target === "..")
          await running; // a link to a folder inside: passed over
        else
          await expect(running).rejects.toThrow(
            /^Cannot read ".*c\.png": it is a link to ".*", outside of ".*in"; with followLinks it is followed$/,
          );
        await rm(join(path, "x", "c.png"));
      }
    }));

  test("follows links to images and class folders elsewhere with followLinks, and none in a circle", () =>
    inFolder(async (folder) => {
      await write(folder, { "in/a/1.png": "a", "else/b/1.png": "b", "else/b/deep/2.png": "b2", "else/o.png": "o" });
      const path = join(folder, "in");
      await symlink("../../else/o.png", join(path, "a", "2.png"));
      await symlink(join(folder, "else", "b"), join(path, "b"));
      await symlink(path, join(folder, "else", "b", "deep", "up"));
      await symlink("a", join(path, "c"));
      const { facts, warnings } = await run({ kind: "folder", path, followLinks: true }, join(folder, "out"));
      expect(facts).toMatchObject({ images: 6, classes: 3 });
      const found = await samplesIn(join(folder, "out"));
      expect(found.map(({ png, cls, json }) => [png, cls, json])).toEqual([
        ["a", "0", json("a/1.png")],
        ["o", "0", json("a/2.png")],
        ["b", "1", json("b/1.png")],
        ["b2", "1", json("b/deep/2.png")],
        ["a", "2", json("c/1.png")],
        ["o", "2", json("c/2.png")],
      ]);
      expect(warnings).toEqual([
        `passed over 1 entries of ${JSON.stringify(path)} that are links to a folder above them, such as "b/deep/up"`,
      ]);
    }));

  test("passes over names that are no UTF-8 and links to nothing, and says so", () =>
    inFolder(async (folder) => {
      const path = await write(join(folder, "in"), { "x/a.png": "a" });
      await writeFile(
        Buffer.concat([Buffer.from(join(path, "x", "caf")), Buffer.from([0xe9]), Buffer.from(".png")]),
        "",
      );
      await symlink("nowhere", join(path, "x", "b.png"));
      await symlink("itself", join(path, "x", "itself"));
      await symlink("a.png/b", join(path, "x", "c.png"));
      for (const followLinks of [false, true]) {
        const { facts, warnings } = await run({ kind: "folder", path, followLinks }, join(folder, `${followLinks}`));
        expect(facts).toMatchObject({ images: 1 });
        expect(warnings).toEqual([
          `passed over 3 entries of ${JSON.stringify(path)} that are links to nothing, such as "x/b.png"`,
          `passed over 1 entries of ${JSON.stringify(path)} whose names are no UTF-8, such as "x/caf\ufffd.png"`,
        ]);
      }
    }));

  test("says that there is no folder, or nothing in it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "in");
      await expect(run({ kind: "folder", path }, folder)).rejects.toThrow(
        /^Cannot read ".*in": there is no such file$/,
      );
      await write(path, { "a.txt": "a" });
      await expect(run({ kind: "folder", path }, folder)).rejects.toThrow(
        /^Cannot use ".*in": it holds no file of webp,/,
      );
      await expect(run({ kind: "folder", path: join(path, "a.txt") }, folder)).rejects.toThrow(
        /a part of its path is no folder/,
      );
    }));

  test("keeps finished tars when it is started again, unless their images changed", () =>
    inFolder(async (folder) => {
      const files = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`${i}.png`, `image ${i}`]));
      const source = { kind: "folder", path: await write(join(folder, "in"), files), imagesPerShard: 20 };
      await run(source, join(folder, "whole"));
      const whole = await digestsOf(join(folder, "whole"));
      const [out, stop] = [join(folder, "out"), new AbortController()];
      let seen = 0;
      const onProgress = (): void => void (++seen === 30 && stop.abort(new Error("stopped")));
      await expect(run(source, out, stop.signal, onProgress)).rejects.toThrow("stopped");
      expect(Object.keys(await digestsOf(out))).toEqual(["00000.tar"]);
      const before = await stat(join(out, "00000.tar"));
      await run(source, out);
      expect(await digestsOf(out)).toEqual(whole);
      expect((await stat(join(out, "00000.tar"))).ino).toBe(before.ino);
      // "0.png" is in the first tar.
      await writeFile(join(source.path, "0.png"), "image X");
      await utimes(join(source.path, "0.png"), 1, 1);
      await run(source, out);
      expect((await samplesIn(out))[0]).toMatchObject({ png: "image X" });
      expect((await digestsOf(out))["00001.tar"]).toBe(whole["00001.tar"]);
    }));

  test("is another stage when names, sizes or times in the folder change", () =>
    inFolder(async (folder) => {
      const path = await write(join(folder, "in"), { "a.png": "a", "b.png": "b" });
      const source = { kind: "folder", path };
      const digests = [await outsideOf(source), await outsideOf(source)];
      expect(digests[1]).toBe(digests[0]);
      await rename(join(path, "a.png"), join(path, "c.png"));
      digests.push(await outsideOf(source));
      await writeFile(join(path, "c.png"), "longer");
      await utimes(join(path, "c.png"), 5, 5);
      digests.push(await outsideOf(source));
      await utimes(join(path, "c.png"), 6, 6);
      digests.push(await outsideOf(source));
      expect(new Set(digests).size).toBe(4);
    }));
});

describe("stage dataset, from tars on this machine", () => {
  const image = (i: number) => ({ [`k${i}`]: { webp: `image ${i}`, cls: String(i) } });

  test("takes them as they are, each once, in order", () =>
    inFolder(async (folder) => {
      await datasetOf(join(folder, "in", "x"), [{ ...image(0), ...image(1) }, image(2), image(3)]);
      const tars = [join(folder, "in", "x", "00002.tar"), join(folder, "in", "**", "{00000..00002}.tar")];
      const out = join(folder, "out");
      const { facts } = await run({ kind: "webdataset", tars }, out);
      expect(facts).toEqual({ source: "webdataset", images: 4 });
      expect((await samplesIn(out)).map((sample) => sample["webp"])).toEqual([3, 0, 1, 2].map((i) => `image ${i}`));
      expect(await readFile(join(out, "00001.tar"))).toEqual(await readFile(join(folder, "in", "x", "00000.tar")));
      await writeFile(join(out, "00000.tar"), "");
      expect((await stat(tars[0]!)).size).toBeGreaterThan(0); // a copy, not a link
      const limited = await run({ kind: "webdataset", tars: tars[1], limit: 2 }, join(folder, "limited"));
      expect(limited.facts).toMatchObject({ images: 3 });
    }));

  test("refuses a range with a hole, and names the tar; takes links to tars, and says which lead to nothing", () =>
    inFolder(async (folder) => {
      const path = join(folder, "in");
      await datasetOf(join(folder, "tars"), [image(0), image(1)]);
      await mkdir(path);
      for (const i of [0, 1]) await symlink(join(folder, "tars", `0000${i}.tar`), join(path, `0000${i}.tar`));
      const range = (last: number): string => join(path, `{00000..0000${last}}.tar`);
      expect((await run({ kind: "webdataset", tars: range(1) }, join(folder, "1"))).facts).toMatchObject({ images: 2 });
      await expect(run({ kind: "webdataset", tars: range(3) }, join(folder, "2"))).rejects.toThrow(
        /^Cannot read ".*\{00000\.\.00003\}\.tar": there is no ".*in\/00002\.tar"$/,
      );
      await symlink("nowhere", join(path, "00004.tar"));
      await symlink("nowhere", join(path, "other.zip"));
      const { facts, warnings } = await run({ kind: "webdataset", tars: join(path, "*.tar") }, join(folder, "3"));
      expect(facts).toMatchObject({ images: 2 });
      expect(warnings).toEqual([
        `passed over 1 entries of ${JSON.stringify(path)} that are links to nothing, such as "00004.tar"`,
      ]);
    }));

  test("is another stage when a tar changes that its paths or patterns name, or comes to be", () =>
    inFolder(async (folder) => {
      const path = (name: string): string => join(folder, "in", name);
      await datasetOf(join(folder, "in"), [image(0)]);
      await writeFile(path("notes.txt"), "");
      const named = [path("00000.tar"), [path("{00000..00003}.tar")], [path("**/*.tar"), path("none.tar")]];
      for (const [i, tars] of named.entries()) {
        const source = { kind: "webdataset", tars };
        const before = await outsideOf(source);
        await writeFile(path("notes.txt"), "no tar");
        expect(await outsideOf(source)).toBe(before);
        await utimes(path("00000.tar"), 7, i);
        const touched = await outsideOf(source);
        expect(touched).not.toBe(before);
        if (typeof tars === "string") continue;
        await writeFile(path("00003.tar"), "");
        expect(await outsideOf(source)).not.toBe(touched);
        await rm(path("00003.tar"));
      }
      expect(await outsideOf({ kind: "s3", uri: "s3://bucket" })).toBeUndefined();
    }));

  test("says what a tar holds that is no image", () =>
    inFolder(async (folder) => {
      const tar = await tarOf([
        { name: "README" },
        { name: "/1.webp" },
        { name: "2.v2.png" },
        { name: "3.bmp" },
        { name: "4.data", content: "GIF89a and so on" },
        { name: "5.txt" },
        { name: "5.json" },
        { name: "6.txt" },
        { name: "7.json" },
        { name: "7.txt" },
        { name: "8.mp4", content: "a film" },
      ]);
      const path = join(folder, "in.tar");
      await writeFile(path, tar);
      const { facts, warnings } = await run({ kind: "webdataset", tars: path }, join(folder, "out"));
      expect(facts).toMatchObject({ images: 4 });
      expect(warnings).toEqual([
        'passed over 1 entries of "in.tar" whose names have no key and extension, such as "README"',
        'renamed 1 entries of "in.tar" whose names are no plain relative paths, such as "/1.webp"',
        'passed over keys of "in.tar" without an image: 2 of json and txt, 1 of txt, 1 of mp4',
      ]);
      await writeFile(path, gzipSync(tar));
      await expect(run({ kind: "webdataset", tars: path }, join(folder, "out"))).rejects.toThrow(
        /^Cannot use "in\.tar": it is compressed with gzip, expected a plain tar: unpack it with gunzip$/,
      );
    }));

  test("says what is wrong with one, and takes it when it is mended", () =>
    inFolder(async (folder) => {
      const [path, out] = [join(folder, "in", "00000.tar"), join(folder, "out")];
      await datasetOf(join(folder, "in"), [image(0)]);
      const whole = await readFile(path);
      const source: Partial<DatasetSource> = { kind: "webdataset", tars: path };
      await writeFile(path, whole.subarray(0, 700));
      await expect(run(source, out)).rejects.toThrow(
        /^Cannot use "00000\.tar": it is damaged or no tar after 1024 bytes/,
      );
      await writeFile(path, "no tar at all".repeat(100));
      await expect(run(source, out)).rejects.toThrow(/^Cannot use "00000\.tar": it is damaged or no tar/);
      await datasetOf(join(folder, "in"), [{ k: { txt: "no image" } }]);
      await expect(run(source, out)).rejects.toThrow(/^Cannot use "00000\.tar": it holds no file of webp, png/);
      await expect(run({ ...source, tars: join(folder, "none.tar") }, out)).rejects.toThrow(
        /none\.tar": there is no such file/,
      );
      await expect(run({ ...source, tars: join(folder, "*.tar") }, out)).rejects.toThrow(/\*\.tar": no file fits it/);
      await expect(run({ ...source, tars: folder }, out)).rejects.toThrow(
        `it is a folder, expected a tar, or a pattern such as ${JSON.stringify(join(folder, "**/*.tar"))}`,
      );
      for (const tars of ["https://example.org/{0..3}.tar", "pipe:cat a.tar"])
        await expect(run({ ...source, tars }, out)).rejects.toThrow(
          "it is no path on this machine; the sources hugging",
        );
      await expect(run({ kind: "folder", path: join(folder, "in") }, out)).rejects.toThrow(
        `it holds 1 tars and no image; the source webdataset takes tars, such as ${JSON.stringify(join(folder, "in/**/*.tar"))}`,
      );
      expect(await digestsOf(out)).toEqual({});
      expect(await readdir(join(out, "tmp"))).toEqual([]);
      await writeFile(path, whole);
      expect((await run(source, out)).facts).toMatchObject({ images: 1 });
    }));
});

describe("stage dataset, drawn", () => {
  test("draws what its config says, and goes on where it was", () =>
    inFolder(async (folder) => {
      const source = { kind: "faces", count: 5, side: 16, imagesPerShard: 2, seed: 3 };
      const { facts } = await run(source, folder);
      expect(facts).toEqual({ images: 5, source: "drawn faces", seed: 3, side: 16 });
      const samples = await samplesIn(folder);
      expect(samples.map((sample) => sample["tar"])).toEqual(["0", "0", "1", "1", "2"].map((i) => `0000${i}.tar`));
      expect(JSON.parse(samples[4]!["json"]!)).toMatchObject({ seed: 3, index: 4 });
      const made = await digestsOf(folder);
      await rm(join(folder, "00001.tar"));
      await run(source, folder);
      expect(await digestsOf(folder)).toEqual(made);
    }));

  test("is what happens where nothing is said, and says what is wrong with what is", () => {
    expect(parseConfig(stage, {}).source).toMatchObject({ kind: "faces", side: 64 });
    expect(() => parseConfig(stage, { source: { kind: "ftp" } })).toThrow(/source\.kind: /);
    expect(() => parseConfig(stage, { source: { kind: "folder" } })).toThrow(/source\.path: /);
    expect(() => parseConfig(stage, { source: { kind: "huggingface", repo: "../x" } })).toThrow("expected owner/name");
  });
});
