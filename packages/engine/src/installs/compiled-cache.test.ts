import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CompiledCache, keyOf } from "./compiled-cache.js";

let folder = "";
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "compiled-"))));
afterEach(() => rm(folder, { recursive: true, force: true }));

function cacheOf(maxBytes?: number): CompiledCache {
  const cache = new CompiledCache("any", maxBytes);
  cache.moveTo(folder);
  return cache;
}

/** Takes whatever it is given. */
const bytesOf = async (cache: CompiledCache, key: string): Promise<string | undefined> =>
  cache.find(key, async (bytes) => Buffer.from(bytes).toString());

describe("CompiledCache", () => {
  test("finds what was kept by its key, and nothing by another", async () => {
    const cache = cacheOf();
    await cache.keep(keyOf(["a", 1]), Buffer.from("first"));
    await cache.keep(keyOf(["a", 2]), (path) => writeFile(path, "second"));
    expect(await bytesOf(cache, keyOf(["a", 1]))).toBe("first");
    expect(await bytesOf(cacheOf(), keyOf(["a", 2]))).toBe("second");
    expect(await bytesOf(cache, keyOf(["a", 3]))).toBeUndefined();
  });

  test("removes what is damaged, though it could be loaded, and what cannot be loaded", async () => {
    const cache = cacheOf();
    const key = keyOf("x");
    await cache.keep(key, Buffer.from("whole"));
    const [name] = await readdir(folder);
    const path = join(folder, name!);
    await writeFile(path, (await readFile(path, "utf8")).replace("w", "W"));
    expect(await bytesOf(cache, key)).toBeUndefined();
    expect(await readdir(folder)).toEqual([]);
    await cache.keep(key, Buffer.from("whole"));
    expect(await cache.find(key, () => Promise.reject(new Error("of another version")))).toBeUndefined();
    expect(await readdir(folder)).toEqual([]);
  });

  test("gives up what was used longest ago where there is too much", async () => {
    const cache = cacheOf(20);
    const days = [
      ["old", 2],
      ["older", 1],
      ["new", 3],
    ] as const;
    for (const [key, day] of days) {
      await cache.keep(keyOf(key), Buffer.alloc(10, day));
      const [name] = (await readdir(folder)).filter((one) => one.startsWith(keyOf(key)));
      const used = new Date(2020, 0, day);
      if (key !== "new") await utimes(join(folder, name!), used, used);
    }
    expect(await bytesOf(cache, keyOf("older"))).toBeUndefined();
    expect(await bytesOf(cache, keyOf("old"))).toBeDefined();
    expect(await bytesOf(cache, keyOf("new"))).toBeDefined();
  });

  test("that cannot be written to is no error", async () => {
    const cache = new CompiledCache("any");
    cache.moveTo(join(folder, "file", "below"));
    await writeFile(join(folder, "file"), "");
    await cache.keep(keyOf("x"), Buffer.from("x"));
    expect(await bytesOf(cache, keyOf("x"))).toBeUndefined();
  });
});
