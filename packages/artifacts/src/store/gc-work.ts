import { randomBytes } from "node:crypto";
import { lstat, readdir, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { digestFile } from "./files.js";
import { lockState, tryLock, type LookOptions } from "./lock.js";
import type { Digest } from "./manifest.js";
import type { Store } from "./store.js";

export interface DeadWorkOptions extends LookOptions {
  /** Work that was touched after this stays. */
  readonly since: Date;
  readonly dryRun: boolean;
}

/** What was found where processes work. */
export interface Works {
  /** Names that a process holds now: keys. */
  readonly held: ReadonlySet<string>;
  /** Folders of work that stay. */
  readonly kept: readonly string[];
  /** How many folders of work were removed, and how many dead locks. */
  readonly removed: { readonly works: number; readonly locks: number };
}

/**
 * Removes the work of interrupted stages that is old, and locks whose processes are dead. Whoever wants to go on with
 * such work waits meanwhile, and then begins anew.
 */
export async function removeDeadWork(store: Store, { since, dryRun, ...look }: DeadWorkOptions): Promise<Works> {
  const held = new Set<string>();
  const kept: string[] = [];
  const removed = { works: 0, locks: 0 };
  const isOld = async (folder: string): Promise<boolean> => {
    const status = await lstat(join(folder, "attempt.json")).catch(() => lstat(folder).catch(() => undefined));
    return status !== undefined && status.mtime < since;
  };
  const removeIfDead = async (folder: string, isWork: boolean, isLocked: boolean): Promise<void> => {
    const mayGo = isWork && (await isOld(folder));
    if (isLocked || mayGo) {
      // What is removed is locked, so that nobody begins to work in it; what is only counted is looked at.
      await using lock = dryRun ? undefined : await tryLock(`${folder}.lock`, look);
      const isHeld = dryRun ? (await lockState(`${folder}.lock`, look)) === "held" : lock === undefined;
      if (isHeld) held.add(basename(folder));
      else {
        if (isLocked) removed.locks++;
        if (mayGo && (await isOld(folder))) {
          removed.works++;
          if (!dryRun) await removeWork(folder);
          return;
        }
      }
    }
    if (isWork) kept.push(folder);
  };
  const found = await worksIn(join(store.root, "work"));
  const locks = await worksIn(join(store.root, "roots"));
  await Promise.all([
    ...[...found].map(([folder, { isWork, isLocked }]) => removeIfDead(folder, isWork, isLocked)),
    ...[...locks].filter(([, { isLocked }]) => isLocked).map(([folder]) => removeIfDead(folder, false, true)),
  ]);
  return { held, kept, removed };
}

/** The folders of work in a folder, and the locks of such folders, by the path that work and lock have in common. */
async function worksIn(parent: string): Promise<Map<string, { isWork: boolean; isLocked: boolean }>> {
  const entries = await readdir(parent, { withFileTypes: true }).catch(() => []);
  const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("."));
  const locks = entries.filter((entry) => entry.isFile() && isLockName(entry.name));
  const names = new Set([
    ...folders.map(({ name }) => name),
    ...locks.map(({ name }) => name.slice(0, -".lock".length)),
  ]);
  return new Map(
    [...names].map((name) => [
      join(parent, name),
      {
        isWork: folders.some((folder) => folder.name === name),
        isLocked: locks.some((lock) => lock.name === `${name}.lock`),
      },
    ]),
  );
}

export const isLockName = (name: string): boolean => /^[^.].*\.lock$/.test(name);

/** Renames it first: half of it must not be taken for work that can be gone on with. */
async function removeWork(folder: string): Promise<void> {
  const doomed = join(folder, "..", `.gc-${randomBytes(8).toString("hex")}.tmp`);
  await rename(folder, doomed);
  await rm(doomed, { recursive: true, force: true });
}

/**
 * The files of work that stays. What a running stage has just put into the store has no key yet; it is known by its
 * second name in the stage's folder, or by its bytes, and not by its time alone: clocks are set back.
 */
export class WorkFiles {
  private readonly inodes = new Set<string>();
  private readonly bySize = new Map<number, string[]>();
  private readonly digests = new Map<string, Promise<Digest | undefined>>();

  static async in(folders: readonly string[]): Promise<WorkFiles> {
    const files = new WorkFiles();
    for (const folder of folders) await files.add(folder);
    return files;
  }

  private async add(folder: string): Promise<void> {
    for (const name of await readdir(folder).catch(() => [] as string[])) {
      const path = join(folder, name);
      const status = await lstat(path).catch(() => undefined);
      if (status?.isDirectory()) await this.add(path);
      if (!status?.isFile()) continue;
      this.inodes.add(`${status.dev} ${status.ino}`);
      this.bySize.set(status.size, [...(this.bySize.get(status.size) ?? []), path]);
    }
  }

  /** Whether an object is one of these files. Only files of its size are hashed, each once. */
  async has(object: Digest, { dev, ino, size }: { readonly dev: number; readonly ino: number; readonly size: number }) {
    if (this.inodes.has(`${dev} ${ino}`)) return true;
    for (const path of this.bySize.get(size) ?? []) if ((await this.digestOf(path)) === object) return true;
    return false;
  }

  private digestOf(path: string): Promise<Digest | undefined> {
    const digest =
      this.digests.get(path) ??
      digestFile(path).then(
        ({ sha256 }) => sha256,
        () => undefined, // it is gone
      );
    this.digests.set(path, digest);
    return digest;
  }
}
