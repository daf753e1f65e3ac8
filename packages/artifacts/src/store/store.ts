import { constants, type BigIntStats } from "node:fs";
import { chmod, copyFile, link, lstat, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { DataError } from "../data-error.js";
import { reasonOf } from "../file/byte-source.js";
import type { Artifact } from "./artifact.js";
import { digestFile, makeFolder, statusAt, writeText } from "./files.js";
import { canonicalJson, Manifest, manifestDigest, type Digest } from "./manifest.js";
import { isSealed, StageRecord } from "./record.js";

/** What the store remembers of a stage key. */
export interface Made {
  readonly manifest: Manifest;
  readonly record: StageRecord;
}

const MadeText = z.strictObject({ manifest: Manifest, record: StageRecord });

/** A file by the digest and the size of its bytes. */
export interface ObjectRef {
  readonly sha256: Digest;
  readonly bytes: number;
}

const EPOCH_MS = Date.parse("2000-01-01T00:00:00Z");

/**
 * The time of change that an object gets, in whole seconds from the first 28 bits of its digest. Whoever writes to it
 * changes that time, and who puts another object in its place brings another time along: so looking at size and time is
 * enough to know that an object is as the store left it, and one that is not is hashed before anyone trusts it.
 */
export function objectTime(sha256: Digest): Date {
  return new Date(EPOCH_MS + parseInt(sha256.slice(0, 7), 16) * 1000);
}

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
   * Takes a file in. The file itself becomes the object (a second name of it, or a copy where that is impossible), so
   * it must not be written to any more.
   *
   * @returns Its digest and size.
   * @throws {DataError} If it is written to meanwhile. {Error} If it cannot be read or stored.
   */
  async add(file: string): Promise<ObjectRef> {
    const before = await stat(file, { bigint: true }).catch(() => undefined);
    const ref = await digestFile(file);
    if (await this.intact(ref)) {
      await this.settle(ref.sha256); // its inode changes: to `collectGarbage` it is young
      return ref;
    }
    const path = this.objectPath(ref.sha256);
    try {
      await makeFolder(this.root, `objects/${ref.sha256.slice(0, 2)}`);
      await link(file, path).catch(async (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === "EEXIST") return; // another process has just added the same bytes
        const part = `${path}.${process.pid}.part`;
        await copyFile(file, part, constants.COPYFILE_FICLONE);
        await rename(part, path);
      });
      // What was hashed is what was linked, or the object belongs to no file: its time is not set before this is known.
      const after = await stat(file, { bigint: true });
      if (before === undefined || !sameContent(before, after)) {
        await rm(path, { force: true });
        throw new DataError("something writes to it");
      }
      await this.settle(ref.sha256);
    } catch (cause) {
      const Kind = cause instanceof DataError ? DataError : Error;
      throw new Kind(`Cannot store ${JSON.stringify(file)} in ${JSON.stringify(this.root)}: ${reasonOf(cause)}`, {
        cause,
      });
    }
    this.verified.add(ref.sha256);
    return ref;
  }

  /**
   * Makes an object of a file in this store whose digest its writer has just computed. The file goes.
   *
   * @param part On the same disk.
   */
  async adopt(part: string, ref: ObjectRef): Promise<void> {
    const path = this.objectPath(ref.sha256);
    if (await this.intact(ref)) await rm(part, { force: true });
    else await rename(part, path);
    await this.settle(ref.sha256);
    this.verified.add(ref.sha256);
  }

  /** How many bytes an object has; undefined if it is not there. */
  async sizeOf(sha256: Digest): Promise<number | undefined> {
    const status = await lstat(this.objectPath(sha256)).catch(() => undefined);
    return status?.isFile() ? status.size : undefined;
  }

  /** Whether an object is there as the store left it, by its size and time alone. */
  untouched({ sha256, bytes }: ObjectRef): boolean {
    const status = statusAt(this.objectPath(sha256));
    return status !== undefined && isUntouched(status, sha256, bytes);
  }

  /**
   * Whether an object is there with the bytes it should have. One that was touched is hashed; if it is damaged it is
   * removed, so that it will be made again.
   *
   * @param thorough Hash it in any case.
   */
  async intact(ref: ObjectRef, thorough = false): Promise<boolean> {
    const state = await this.examine(ref, thorough);
    if (state === "damaged") await this.remove(ref.sha256);
    if (state === "touched") await this.settle(ref.sha256);
    return state === "whole" || state === "touched";
  }

  /**
   * What became of an object: `touched` if its bytes are right and its time is not. Changes nothing.
   *
   * @param thorough Hash it even if its size and time are right, unless this process has done so.
   */
  async examine({ sha256, bytes }: ObjectRef, thorough: boolean): Promise<"whole" | "touched" | "damaged" | "missing"> {
    const path = this.objectPath(sha256);
    const status = await lstat(path).catch(() => undefined);
    if (status === undefined) return "missing";
    const untouched = isUntouched(status, sha256, bytes);
    if (untouched && (!thorough || this.verified.has(sha256))) return "whole";
    const found = status.isFile() ? await digestFile(path).catch(() => undefined) : undefined;
    if (found?.sha256 !== sha256) return "damaged";
    this.verified.add(sha256);
    return untouched ? "whole" : "touched";
  }

  /** Hashes an object about which somebody has doubts, whatever is known; a damaged one is removed. */
  async doubt(ref: ObjectRef): Promise<void> {
    this.verified.delete(ref.sha256);
    await this.intact(ref, true);
  }

  /** Removes an object, and whatever else lies in its place. */
  async remove(sha256: Digest): Promise<void> {
    this.verified.delete(sha256);
    await rm(this.objectPath(sha256), { recursive: true, force: true });
  }

  /** Gives an object whose bytes are right the time and the mode that say so. */
  async settle(sha256: Digest): Promise<void> {
    const time = objectTime(sha256);
    await chmod(this.objectPath(sha256), 0o444);
    await utimes(this.objectPath(sha256), time, time);
  }

  /** The names of those files of a manifest that are missing or damaged (and removed). */
  async missing(manifest: Manifest, thorough = false): Promise<string[]> {
    const names: string[] = [];
    for (const [name, ref] of Object.entries(manifest.files)) if (!(await this.intact(ref, thorough))) names.push(name);
    return names;
  }

  /** What a stage with this key made, if it is known. Its objects may be missing. A damaged note is removed. */
  async lookup(key: Digest): Promise<Made | undefined> {
    const made = await this.peek(key);
    if (made === "damaged") await this.forget(key);
    return made === "damaged" ? undefined : made;
  }

  /** The same, and changes nothing. */
  async peek(key: Digest): Promise<Made | "damaged" | undefined> {
    const text = await readFile(this.keyPath(key), "utf8").catch((error: unknown) => {
      return ["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "") ? undefined : "";
    });
    if (text === undefined) return undefined;
    try {
      const made = MadeText.parse(JSON.parse(text));
      return made.record.key === key && isConsistent(made) ? made : "damaged";
    } catch {
      return "damaged";
    }
  }

  async forget(key: Digest): Promise<void> {
    await rm(this.keyPath(key), { recursive: true, force: true });
  }

  async remember(made: Made): Promise<void> {
    const path = this.keyPath(made.record.key);
    await makeFolder(this.root, "keys");
    if ((await lstat(path).catch(() => undefined))?.isDirectory()) await rm(path, { recursive: true });
    await writeText(path, `${canonicalJson(made)}\n`);
  }

  /** All keys that are remembered. */
  async keys(): Promise<Digest[]> {
    const names = await readdir(join(this.root, "keys")).catch(() => [] as string[]);
    return names.filter((name) => /^[0-9a-f]{64}\.json$/.test(name)).map((name) => name.slice(0, 64));
  }

  /** Whatever lies among the objects, by folder and name. */
  async objectNames(): Promise<string[]> {
    const folders = await readdir(join(this.root, "objects")).catch(() => [] as string[]);
    const names = folders.map(async (folder) => {
      const below = await readdir(join(this.root, "objects", folder)).catch(() => undefined);
      return below?.map((name) => `${folder}/${name}`) ?? [folder];
    });
    return (await Promise.all(names)).flat().sort();
  }

  /**
   * What a stage made, to be read from this store.
   *
   * @param fetch Brings an object that is not here, and says whether it could.
   */
  artifact(
    { manifest, record }: { readonly manifest: Manifest; readonly record?: StageRecord | undefined },
    fetch?: (ref: ObjectRef) => Promise<boolean>,
  ): Artifact {
    const handedOut = new Map<string, ObjectRef>();
    return {
      digest: manifestDigest(manifest),
      manifest,
      record,
      files: Object.keys(manifest.files).sort(),
      path: async (file) => {
        const ref = Object.hasOwn(manifest.files, file) ? manifest.files[file] : undefined;
        if (ref === undefined)
          throw new DataError(`Artifact of stage "${manifest.stage}" has no file ${JSON.stringify(file)}`);
        if ((await this.intact(ref, true)) || ((await fetch?.(ref)) && (await this.intact(ref, true)))) {
          handedOut.set(file, ref);
          return this.objectPath(ref.sha256);
        }
        throw new DataError(
          `${JSON.stringify(file)} of stage "${manifest.stage}" is missing or damaged in ${JSON.stringify(this.root)} ` +
            `(${ref.sha256.slice(0, 12)}); the same command again makes it anew, or \`madformer pull\` gets it where a remote store has it`,
        );
      },
      changed: async () => [...handedOut].filter(([, ref]) => !this.untouched(ref)).map(([file]) => file),
    };
  }
}

function isUntouched(
  status: { isFile(): boolean; readonly size: number; readonly mtimeMs: number },
  sha256: Digest,
  bytes: number,
): boolean {
  return status.isFile() && status.size === bytes && status.mtimeMs === objectTime(sha256).getTime();
}

/** Whether a file is the same one, and nobody has written to it, between two looks at it. */
export function sameContent(before: BigIntStats, after: BigIntStats): boolean {
  return before.ino === after.ino && before.size === after.size && before.mtimeNs === after.mtimeNs;
}

/** Whether a manifest is the one that its record was written about, and the record says what it said then. */
export function isConsistent({ manifest, record }: Made): boolean {
  return isSealed(record) && record.manifest === manifestDigest(manifest);
}
