import { randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { link, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Blob, BlobStore, Content } from "./blob-store.js";

/** What a write that was cut off left behind goes after a day. */
const LEFT_BEHIND_MS = 24 * 3600 * 1000;

/** A folder, whose files have the names of the things. */
export class FolderStore implements BlobStore {
  private constructor(readonly name: string) {}

  /** @throws {Error} If the folder cannot be made, or be written to. */
  static async open(path: string): Promise<FolderStore> {
    const folder = resolve(path);
    const partial = join(folder, PARTIAL);
    try {
      await mkdir(partial, { recursive: true });
      for (const name of await readdir(partial)) {
        const age = Date.now() - (await stat(join(partial, name))).mtimeMs;
        if (age > LEFT_BEHIND_MS) await rm(join(partial, name), { force: true });
      }
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      throw new Error(`Cannot use ${JSON.stringify(path)} as a store: ${code ?? message}`, { cause });
    }
    return new FolderStore(folder);
  }

  async read(name: string): Promise<Blob | undefined> {
    const file = await orNothing(open(join(this.name, name)));
    if (file === undefined) return undefined;
    try {
      const bytes = (await file.stat()).size;
      return { bytes, body: file.createReadStream({ highWaterMark: 2 ** 18 }) }; // which closes it
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async size(name: string): Promise<number | undefined> {
    return (await orNothing(stat(join(this.name, name))))?.size;
  }

  async write(name: string, content: Content, once: boolean, signal: AbortSignal): Promise<boolean> {
    const path = join(this.name, name);
    const partial = join(this.name, PARTIAL, randomBytes(12).toString("hex"));
    try {
      await pipeline(content.open(), createWriteStream(partial, { flags: "wx" }), { signal });
      const { size } = await stat(partial);
      if (size !== content.bytes) throw new Error(`${size} bytes were written, expected ${content.bytes}`);
      await mkdir(dirname(path), { recursive: true });
      if (once) await link(partial, path);
      else await rename(partial, path);
      return true;
    } catch (error) {
      if (once && (error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    } finally {
      await rm(partial, { force: true });
    }
  }

  async close(): Promise<void> {}
}

const PARTIAL = "partial";

async function orNothing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
