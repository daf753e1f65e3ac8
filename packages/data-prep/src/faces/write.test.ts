import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { contextIn, digestsOf, inFolder } from "../testing.js";
import { readWebDataset } from "../webdataset/read.js";
import { faceAttributes } from "./attributes.js";
import { FaceRecord } from "./record.js";
import { renderFace } from "./render.js";
import { writeFaces, type WriteFacesOptions } from "./write.js";

const FACES = { seed: 7, count: 22, sidePixels: 16, perShard: 8 } satisfies WriteFacesOptions;
const SHARDS = ["00000.tar", "00001.tar", "00002.tar"];

/** Digests of an uninterrupted run. */
const EXPECTED = await inFolder(async (out) => {
  await writeFaces(FACES, await contextIn(out));
  return digestsOf(out);
});

describe("writeFaces()", () => {
  test("writes every face with its record, in shards of a fixed count", () =>
    inFolder(async (out) => {
      expect(await writeFaces({ ...FACES, quality: 80 }, await contextIn(out))).toEqual(SHARDS);
      expect(Object.keys(await digestsOf(out))).toEqual(SHARDS);
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
    }));

  test.each([1, 2, 7, 50])("makes the same bytes with %i faces in flight", (inFlight) =>
    inFolder(async (out) => {
      await writeFaces({ ...FACES, inFlight }, await contextIn(out));
      expect(await digestsOf(out)).toEqual(EXPECTED);
    }),
  );

  test("reports each face once, up to the last", () =>
    inFolder(async (out) => {
      const seen: number[] = [];
      const onProgress = (done: number, count: number) => seen.push(count === 22 ? done : -1);
      await writeFaces({ ...FACES, onProgress }, await contextIn(out));
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
      expect(new Set(seen)).toEqual(new Set(Array.from({ length: 22 }, (_, i) => i + 1)));
    }));

  test("resumes after it was aborted: keeps finished shards, leaves nothing else, ends in the same bytes", () =>
    inFolder(async (out) => {
      const controller = new AbortController();
      const onProgress = (done: number) => done === 12 && controller.abort(new Error("stop here"));
      const aborted = writeFaces({ ...FACES, onProgress }, await contextIn(out, controller.signal));
      await expect(aborted).rejects.toThrow("stop here");
      expect(Object.keys(await digestsOf(out))).toEqual(["00000.tar"]);
      expect(await readdir(join(out, "tmp"))).toEqual([]);
      const { ino } = await stat(join(out, "00000.tar"));

      expect(await writeFaces(FACES, await contextIn(out))).toEqual(SHARDS);
      expect((await stat(join(out, "00000.tar"))).ino).toBe(ino);
      expect(await digestsOf(out)).toEqual(EXPECTED);
    }));

  test("does nothing once aborted", () =>
    inFolder(async (out) => {
      const signal = AbortSignal.abort(new Error("too late"));
      await expect(writeFaces(FACES, await contextIn(out, signal))).rejects.toThrow("too late");
      expect(await digestsOf(out)).toEqual({});
    }));

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
  ])("refuses %s %p", (name, value) =>
    inFolder(async (out) => {
      await expect(writeFaces({ ...FACES, [name]: value }, await contextIn(out))).rejects.toThrow(
        new RegExp(`^Cannot write faces: ${name} is ${value}, expected an integer in \\[`),
      );
      expect(await digestsOf(out)).toEqual({});
    }),
  );
});
