import { constants } from "node:fs";
import { chmod, copyFile, link, mkdir, readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { DataError } from "../data-error.js";
import { reasonOf } from "../file/byte-source.js";
import type { Artifact } from "./artifact.js";
import { digestFile, writeText } from "./files.js";
import { canonicalJson, Manifest, manifestDigest, type Digest } from "./manifest.js";
import { StageRecord } from "./record.js";

/** What the store remembers of a stage key. */
export interface Made {
  readonly manifest: Manifest;
  readonly record: StageRecord;
}

const MadeText = z.strictObject({ manifest: Manifest, record: StageRecord });

/**
 * Every object has this time of change. A program that writes to one changes it, and then the object's bytes are hashed
 * again before anyone trusts them; else looking at size and time is enough to know that nothing was touched.
 */
const OBJECT_TIME = new Date("2000-01-01T00:00:00Z");

/**
 * The content-addressed store: a folder in which each file lies under the SHA-256 of its bytes, read-only and once.
 *
 *     objects/ab/abcdef...   files
 *     keys/<key>.json        what a stage made, by the digest of its program, config and inputs
 *     work/<key>/            stages that are being made, or were interrupted
 */
export class Store {
  readonly root: string;
  /** Objects whose bytes this process has hashed. */
  private readonly verified = new Set<Digest>();

  /** @param root Its folder; made when something is written. */
  constructor(root: string) {
    this.root = resolve(root);
  }

  /** The store that the environment names in `MADFORMER_STORE`, or `.madformer/store` below a folder. */
  static at(workspace: string): Store {
    return new Store(resolve(workspace, process.env["MADFORMER_STORE"] ?? ".madformer/store"));
  }

  objectPath(sha256: Digest): string {
    return join(this.root, "objects", sha256.slice(0, 2), sha256);
  }

  /** The folder in which a stage with this key works. */
  workPath(key: Digest): string {
    return join(this.root, "work", key);
  }

  private keyPath(key: Digest): string {
    return join(this.root, "keys", `${key}.json`);
  }

  /**
   * Takes a file in. The file itself becomes the object (a second name of it, or a copy where that is impossible), so it
   * must not be written to any more.
   *
   * @returns Its digest and size.
   * @throws {Error} If it cannot be read or stored.
   */
  async add(file: string): Promise<{ sha256: Digest; bytes: number }> {
    const ref = await digestFile(file);
    if (await this.intact(ref)) return ref;
    const path = this.objectPath(ref.sha256);
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    try {
      await link(file, path).catch(async (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === "EEXIST") return; // another process has just added the same bytes
        await copyFile(file, `${path}.part`, constants.COPYFILE_FICLONE);
        await link(`${path}.part`, path).catch(() => undefined);
        await rm(`${path}.part`);
      });
      await chmod(path, 0o444);
      await utimes(path, OBJECT_TIME, OBJECT_TIME);
    } catch (cause) {
      throw new Error(`Cannot store ${JSON.stringify(file)} in ${JSON.stringify(this.root)}: ${reasonOf(cause)}`, {
        cause,
      });
    }
    this.verified.add(ref.sha256);
    return ref;
  }

  /**
   * Whether an object is there with the bytes it should have. One that was touched is hashed; if it is damaged it is
   * removed, so that it will be made again.
   *
   * @param thorough Hash it in any case.
   */
  async intact({ sha256, bytes }: { sha256: Digest; bytes: number }, thorough = false): Promise<boolean> {
    const path = this.objectPath(sha256);
    const status = await stat(path).catch(() => undefined);
    if (status === undefined) return false;
    const untouched = status.size === bytes && status.mtimeMs === OBJECT_TIME.getTime();
    if (untouched && (!thorough || this.verified.has(sha256))) return true;
    const found = await digestFile(path).catch(() => undefined);
    if (found?.sha256 !== sha256) {
      await rm(path, { force: true });
      this.verified.delete(sha256);
      return false;
    }
    await utimes(path, OBJECT_TIME, OBJECT_TIME);
    this.verified.add(sha256);
    return true;
  }

  /** The names of those files of a manifest that are missing or damaged (and removed). */
  async missing(manifest: Manifest, thorough = false): Promise<string[]> {
    const names: string[] = [];
    for (const [name, ref] of Object.entries(manifest.files)) if (!(await this.intact(ref, thorough))) names.push(name);
    return names;
  }

  /** What a stage with this key made, if it is known. Its objects may be missing. */
  async lookup(key: Digest): Promise<Made | undefined> {
    const path = this.keyPath(key);
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text === undefined) return undefined;
    try {
      const made = MadeText.parse(JSON.parse(text));
      if (made.record.key === key && made.record.manifest === manifestDigest(made.manifest)) return made;
    } catch {
      // damaged: as good as unknown
    }
    await rm(path, { force: true });
    return undefined;
  }

  async remember(made: Made): Promise<void> {
    const path = this.keyPath(made.record.key);
    await mkdir(dirname(path), { recursive: true });
    await writeText(path, `${canonicalJson(made)}\n`);
  }

  /** All keys that are remembered. */
  async keys(): Promise<Digest[]> {
    const names = await readdir(join(this.root, "keys")).catch(() => [] as string[]);
    return names.filter((name) => /^[0-9a-f]{64}\.json$/.test(name)).map((name) => name.slice(0, 64));
  }

  /** What a stage made, to be read from this store. */
  artifact({ manifest, record }: { readonly manifest: Manifest; readonly record?: StageRecord | undefined }): Artifact {
    return {
      digest: manifestDigest(manifest),
      manifest,
      record,
      files: Object.keys(manifest.files).sort(),
      path: async (file) => {
        const ref = Object.hasOwn(manifest.files, file) ? manifest.files[file] : undefined;
        if (ref === undefined)
          throw new DataError(`Artifact of stage "${manifest.stage}" has no file ${JSON.stringify(file)}`);
        if (await this.intact(ref, true)) return this.objectPath(ref.sha256);
        throw new DataError(
          `${JSON.stringify(file)} of stage "${manifest.stage}" is missing or damaged in ${JSON.stringify(this.root)} ` +
            `(${ref.sha256.slice(0, 12)}); the same command again makes it anew`,
        );
      },
    };
  }
}
