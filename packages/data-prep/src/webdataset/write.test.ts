import { execFileSync } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readWebDataset } from "./read.js";
import { shardName, type WebDatasetSample } from "./sample.js";
import { inFolder, sampleOf, textOf } from "./testing.js";
import { writeShard } from "./write.js";

const SAMPLES = [
  sampleOf("0001", { webp: "picture", json: "{}" }),
  sampleOf("0002", { webp: "x".repeat(200_000), cls: "7", "left.txt": "" }),
];

async function* failing(): AsyncGenerator<WebDatasetSample, void, undefined> {
  yield* SAMPLES;
  throw new Error("no more paper");
}

describe("writeShard()", () => {
  test("writes what readWebDataset() reads", async () => {
    await inFolder(async (folder) => {
      const path = join(folder, shardName(0));
      expect(await writeShard(path, SAMPLES)).toBe(2);
      expect(await textOf(readWebDataset(path))).toEqual([
        ["0001", { webp: "picture", json: "{}" }],
        ["0002", { webp: "x".repeat(200_000), cls: "7", "left.txt": "" }],
      ]);
    });
  });

  test("says the same of every file, so that bytes depend on samples alone", async () => {
    await inFolder(async (folder) => {
      const [a, b] = [join(folder, "a.tar"), join(folder, "b.tar")];
      await writeShard(a, SAMPLES);
      await new Promise((resolve) => setTimeout(resolve, 1100)); // tar's clock counts seconds
      await writeShard(b, SAMPLES);
      expect(Buffer.compare(await readFile(a), await readFile(b))).toBe(0);
      const listing = execFileSync("tar", ["--utc", "--full-time", "--numeric-owner", "-tvf", a], { encoding: "utf8" });
      const lines = listing.trim().split("\n");
      expect(lines).toHaveLength(5);
      for (const line of lines) expect(line).toMatch(/^-rw-r--r-- 0\/0 +\d+ 1970-01-01 00:00:00 000[12]\.[a-z.]+$/);
    });
  });

  test("is whole or absent: what fails on the way leaves the old file and nothing else", async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "a.tar");
      await expect(writeShard(path, failing())).rejects.toThrow("no more paper");
      expect(await readdir(folder)).toEqual([]);
      await writeFile(path, "old");
      await expect(writeShard(path, failing())).rejects.toThrow("no more paper");
      expect(await readdir(folder)).toEqual(["a.tar"]);
      expect(await readFile(path, "utf8")).toBe("old");
    });
  });

  test("says which file cannot be written", async () => {
    await inFolder(async (folder) => {
      await expect(writeShard(join(folder, "none", "a.tar"), SAMPLES)).rejects.toThrow(/^Cannot write ".*a\.tar": /);
    });
  });

  test.each<[string, WebDatasetSample[], string]>([
    ["a key with a dot", [sampleOf("a.b", { png: "" })], 'key is "a.b", expected'],
    ["a key that leaves its folder", [sampleOf("../a", { png: "" })], 'key is "../a", expected'],
    ["an empty key", [sampleOf("", { png: "" })], 'key is "", expected'],
    ["an extension in capitals", [sampleOf("a", { PNG: "" })], 'extension is "PNG", expected'],
    ["an empty extension", [sampleOf("a", { "": "" })], 'extension is "", expected'],
    ["a key that comes twice", [sampleOf("a", { png: "" }), sampleOf("a", { json: "" })], 'key "a" comes twice'],
  ])("refuses %s", async (_, samples, message) => {
    await inFolder(async (folder) => {
      const path = join(folder, "a.tar");
      await expect(writeShard(path, samples)).rejects.toThrow(RangeError);
      await expect(writeShard(path, samples)).rejects.toThrow(message);
      expect(await readdir(folder)).toEqual([]);
    });
  });
});

describe("shardName()", () => {
  test("sorts as numbers do", () => {
    expect([0, 17, 99_999].map(shardName)).toEqual(["00000.tar", "00017.tar", "99999.tar"]);
  });
});
