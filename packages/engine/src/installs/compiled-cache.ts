import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { enginesFolder } from "./folder.js";

/** What a cache may take; what was used longest ago goes first. */
const MAX_BYTES = 4 * 2 ** 30;

/**
 * What an engine has compiled, kept for later processes in `<engines>/cache/<engine>`. The name of a file holds what it
 * was compiled from and the digest of its bytes: a damaged one is removed, never used. A cache that cannot be written
 * to is no error.
 */
export class CompiledCache {
  private readonly engine: string;
  private readonly maxBytes: number;
  private moved: string | undefined;

  constructor(engine: string, maxBytes = MAX_BYTES) {
    this.engine = engine;
    this.maxBytes = maxBytes;
  }

  get folder(): string {
    return this.moved ?? join(enginesFolder(), "cache", this.engine);
  }

  /** Keeps its files somewhere else, in this process. */
  moveTo(folder: string | undefined): void {
    this.moved = folder;
  }

  /**
   * What an earlier process compiled.
   *
   * @param key See `keyOf`.
   * @param load Makes something of the bytes; if it cannot, they are removed.
   */
  async find<T>(key: string, load: (bytes: Uint8Array<ArrayBuffer>) => Promise<T>): Promise<T | undefined> {
    for (const name of await namesIn(this.folder)) {
      const [, of, digest] = /^([0-9a-f]{32})-([0-9a-f]{32})\.blob$/.exec(name) ?? [];
      if (of !== key) continue;
      const path = join(this.folder, name);
      try {
        const bytes = await readFile(path);
        if (digestOf(bytes) !== digest) throw new Error("it is damaged");
        const loaded = await load(bytes);
        const now = new Date();
        await utimes(path, now, now).catch(() => undefined);
        return loaded;
      } catch {
        await rm(path, { force: true }).catch(() => undefined);
      }
    }
    return undefined;
  }

  /** Keeps what was compiled: bytes, or what writes them to a file. */
  async keep(key: string, compiled: Uint8Array | ((path: string) => Promise<void>)): Promise<void> {
    const { folder } = this;
    const temporary = join(folder, `.${process.pid}.${Date.now()}.tmp`);
    try {
      await mkdir(folder, { recursive: true });
      if (typeof compiled === "function") await compiled(temporary);
      else await writeFile(temporary, compiled);
      const digest = digestOf(await readFile(temporary));
      await rename(temporary, join(folder, `${key}-${digest}.blob`));
      await this.makeRoom();
    } catch {
      await rm(temporary, { force: true }).catch(() => undefined);
    }
  }

  private async makeRoom(): Promise<void> {
    const files = await Promise.all(
      (await namesIn(this.folder)).map(async (name) => {
        const status = await stat(join(this.folder, name)).catch(() => undefined);
        return { name, size: status?.isFile() === true ? status.size : 0, usedMs: status?.mtimeMs ?? 0 };
      }),
    );
    let total = files.reduce((sum, { size }) => sum + size, 0);
    for (const { name, size } of files.filter(({ size }) => size > 0).sort((a, b) => a.usedMs - b.usedMs)) {
      if (total <= this.maxBytes) return;
      await rm(join(this.folder, name), { force: true });
      total -= size;
    }
  }
}

/** The key of what is compiled from some parts: all that it depends on. */
export const keyOf = (parts: unknown): string => digestOf(Buffer.from(JSON.stringify(parts)));

/** The first 128 bits of the SHA-256. */
export const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex").slice(0, 32);

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
