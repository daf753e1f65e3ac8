import { readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { inFolder } from "../testing.js";
import { FolderStore } from "./folder.js";

const LIVE = new AbortController().signal;
const contentOf = (text: string, bytes = text.length) => ({
  bytes,
  open: () => Readable.from([Buffer.from(text)], { objectMode: false }),
});

async function read(store: FolderStore, name: string): Promise<string | undefined> {
  const blob = await store.read(name);
  if (blob === undefined) return undefined;
  let text = "";
  for await (const chunk of blob.body) text += Buffer.from(chunk).toString();
  return text;
}

describe("FolderStore", () => {
  test("keeps what has a name, when it is asked to", () =>
    inFolder(async (folder) => {
      const store = await FolderStore.open(folder);
      expect(await read(store, "keys/1")).toBeUndefined();
      expect(await store.size("keys/1")).toBeUndefined();
      expect(await store.write("keys/1", contentOf("first"), true, LIVE)).toBe(true);
      expect(await store.write("keys/1", contentOf("second"), true, LIVE)).toBe(false);
      expect(await read(store, "keys/1")).toBe("first");
      expect(await store.write("keys/1", contentOf("third!"), false, LIVE)).toBe(true);
      expect(await read(store, "keys/1")).toBe("third!");
      expect(await store.size("keys/1")).toBe(6);
      expect(await readdir(join(folder, "partial"))).toEqual([]);
    }));

  test("writes nothing of a content that fails, is cut or is aborted", () =>
    inFolder(async (folder) => {
      const store = await FolderStore.open(folder);
      const failing = { bytes: 9, open: () => new Readable({ read() { this.destroy(new Error("no more")); } }) }; // prettier-ignore
      await expect(store.write("1", failing, false, LIVE)).rejects.toThrow("no more");
      await expect(store.write("1", contentOf("half", 8), false, LIVE)).rejects.toThrow(
        "4 bytes were written, expected 8",
      );
      await expect(store.write("1", contentOf("all"), false, AbortSignal.abort())).rejects.toThrow("abort");
      expect(await store.size("1")).toBeUndefined();
      expect(await readdir(join(folder, "partial"))).toEqual([]);
    }));

  test("clears away what a killed one left a day ago, and nothing newer", () =>
    inFolder(async (folder) => {
      await FolderStore.open(folder);
      for (const name of ["old", "new"]) await writeFile(join(folder, "partial", name), "half of so");
      const before = new Date(Date.now() - 25 * 3600 * 1000);
      await utimes(join(folder, "partial", "old"), before, before);
      await FolderStore.open(folder);
      expect(await readdir(join(folder, "partial"))).toEqual(["new"]);
    }));

  test("does not open where no folder can be", () =>
    inFolder(async (folder) => {
      const path = join(folder, "file");
      await writeFile(path, "");
      await expect(FolderStore.open(path)).rejects.toThrow(`Cannot use ${JSON.stringify(path)} as a store: ENOTDIR`);
    }));
});
