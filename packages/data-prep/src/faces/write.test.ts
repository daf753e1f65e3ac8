import { readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError, digestFile } from "@madformer/artifacts";
import { readWebDataset } from "../webdataset/read.js";
import { inFolder } from "../webdataset/testing.js";
import { faceAttributes } from "./attributes.js";
import { FaceRecord } from "./record.js";
import { renderFace } from "./render.js";
import { writeFaces, type WriteFacesOptions } from "./write.js";

const FACES = { seed: 7, count: 22, sidePixels: 16, perShard: 8 } satisfies Omit<WriteFacesOptions, "out">;
const SHARDS = ["00000.tar", "00001.tar", "00002.tar"];

async function digests(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).sort();
  return Promise.all(names.map(async (name) => `${name} ${(await digestFile(join(folder, name))).sha256}`));
}

/** Digests of an uninterrupted run. */
const EXPECTED = await inFolder(async (out) => {
  await writeFaces({ ...FACES, out });
  return digests(out);
});

describe("writeFaces()", () => {
  test("writes every face with its record, in shards of a fixed count", async () => {
    await inFolder(async (folder) => {
      const out = join(folder, "made", "here");
      expect(await writeFaces({ ...FACES, out, quality: 80 })).toEqual({ shards: SHARDS, reused: 0 });
      expect((await readdir(out)).sort()).toEqual(SHARDS);
      let index = 0;
      for (const [shard, name] of SHARDS.entries()) {
        for await (const { key, files } of readWebDataset(join(out, name))) {
          expect(Math.floor(index / FACES.perShard)).toBe(shard);
          expect(key).toBe(`000000${String(index).padStart(2, "0")}`);
          expect([...files.keys()]).toEqual(["webp", "json"]);
          const record = FaceRecord.parse(JSON.parse(Buffer.from(files.get("json")!).toString()));
          expect(record).toEqual({ seed: 7, index, attributes: faceAttributes(7, index) });
          expect(files.get("webp")).toEqual(new Uint8Array(await renderFace(record.attributes, 16, 80)));
          index++;
        }
      }
      expect(index).toBe(22);
    });
  });

  test.each([1, 2, 7, 50])("makes the same bytes with %i faces in flight", async (inFlight) => {
    await inFolder(async (out) => {
      await writeFaces({ ...FACES, out, inFlight });
      expect(await digests(out)).toEqual(EXPECTED);
    });
  });

  test("reports each face once, up to the last", async () => {
    await inFolder(async (out) => {
      const seen: number[] = [];
      await writeFaces({ ...FACES, out, onProgress: (done, count) => seen.push(count === 22 ? done : -1) });
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
      expect(new Set(seen)).toEqual(new Set(Array.from({ length: 22 }, (_, i) => i + 1)));
    });
  });

  test("resumes after it was aborted: keeps finished shards, leaves nothing else, ends in the same bytes", async () => {
    await inFolder(async (out) => {
      const controller = new AbortController();
      const onProgress = (done: number) => done === 12 && controller.abort(new Error("stop here"));
      await expect(writeFaces({ ...FACES, out, signal: controller.signal, onProgress })).rejects.toThrow("stop here");
      expect(await readdir(out)).toEqual(["00000.tar"]);
      const { ino } = await stat(join(out, "00000.tar"));

      expect(await writeFaces({ ...FACES, out })).toEqual({ shards: SHARDS, reused: 1 });
      expect((await stat(join(out, "00000.tar"))).ino).toBe(ino);
      expect(await digests(out)).toEqual(EXPECTED);
      expect(await writeFaces({ ...FACES, out })).toEqual({ shards: SHARDS, reused: 3 });
    });
  });

  test("does nothing once aborted", async () => {
    await inFolder(async (out) => {
      const signal = AbortSignal.abort(new Error("too late"));
      await expect(writeFaces({ ...FACES, out, signal })).rejects.toThrow("too late");
      expect(await readdir(out)).toEqual([]);
    });
  });

  test.each<[string, Partial<WriteFacesOptions>, number]>([
    ["another seed", { seed: 8 }, 0],
    ["another size", { sidePixels: 24 }, 0],
    ["another quality", { quality: 50 }, 0],
    ["fewer faces in the last shard", { count: 20 }, 2],
    ["fewer faces in each shard", { perShard: 7 }, 0], // and 00003.tar is one too many
  ])("makes again what was written with %s", async (_, before, reused) => {
    await inFolder(async (out) => {
      await writeFaces({ ...FACES, ...before, out });
      await rm(join(out, "00003.tar"), { force: true });
      expect(await writeFaces({ ...FACES, out })).toEqual({ shards: SHARDS, reused });
      expect(await digests(out)).toEqual(EXPECTED);
    });
  });

  test("makes again what is damaged or cut short", async () => {
    await inFolder(async (out) => {
      await writeFaces({ ...FACES, out });
      const [first, second, third] = SHARDS.map((name) => join(out, name)) as [string, string, string];
      await truncate(first, (await stat(first)).size - 1024);
      const bytes = await readFile(second);
      bytes[bytes.indexOf(`"skinTone":`) + 13] = "?".charCodeAt(0);
      await writeFile(second, bytes);
      await writeFile(third, "");
      expect(await writeFaces({ ...FACES, out })).toEqual({ shards: SHARDS, reused: 0 });
      expect(await digests(out)).toEqual(EXPECTED);
    });
  });

  test("refuses a folder that holds other tars, and leaves them", async () => {
    await inFolder(async (out) => {
      await writeFile(join(out, "00003.tar"), "mine");
      await expect(writeFaces({ ...FACES, out })).rejects.toThrow(DataError);
      await expect(writeFaces({ ...FACES, out })).rejects.toThrow(
        'it holds "00003.tar", expected "00000.tar" to "00002.tar" alone',
      );
      expect(await readdir(out)).toEqual(["00003.tar"]);
    });
  });

  test.each<[keyof WriteFacesOptions, number]>([
    ["seed", -1],
    ["count", 0],
    ["count", 1e8],
    ["sidePixels", 7],
    ["sidePixels", 4097],
    ["perShard", 0],
    ["perShard", 1.5],
    ["quality", 0],
    ["quality", 101],
    ["inFlight", 0],
  ])("refuses %s %p", async (name, value) => {
    await inFolder(async (folder) => {
      const out = join(folder, "faces");
      await expect(writeFaces({ ...FACES, out, [name]: value })).rejects.toThrow(
        new RegExp(`^Cannot write faces: ${name} is ${value}, expected an integer in \\[`),
      );
      expect(await readdir(folder)).toEqual([]);
    });
  });
});
