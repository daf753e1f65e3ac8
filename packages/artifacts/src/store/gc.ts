import { lstat, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { reasonOf } from "../file/byte-source.js";
import { isLockName, removeDeadWork, WorkFiles, type Works } from "./gc-work.js";
import { isGuard } from "./lock-file.js";
import { lockState, type LookOptions } from "./lock.js";
import type { Digest } from "./manifest.js";
import { isRegistration, readRoots, registerRoot, type Root } from "./roots.js";
import type { Made, Store } from "./store.js";

export interface GcOptions extends LookOptions {
  /** The workspace that asks: what it shows stays, registered or not. */
  readonly workspace?: string;
  /** What else is kept in any case. */
  readonly roots?: readonly Made[];
  /** What was made, or worked on, after this is kept too. */
  readonly since: Date;
  /** Only count. */
  readonly dryRun: boolean;
}

export interface GcResult {
  readonly removed: {
    readonly objects: number;
    readonly bytes: number;
    readonly keys: number;
    /** Folders of interrupted stages. */
    readonly works: number;
    /** Locks of dead processes. */
    readonly locks: number;
    /** Files that were being written when their process died. */
    readonly temporaries: number;
  };
  readonly kept: { readonly objects: number; readonly bytes: number; readonly keys: number };
  /** Whose outputs were kept. */
  readonly workspaces: readonly Pick<Root, "host" | "workspace" | "outputs">[];
  /** Workspaces on this machine that are gone, whose outputs nobody shows any more. */
  readonly gone: readonly string[];
  /** What is not the store's, by its path in the store; left alone. */
  readonly strangers: readonly string[];
}

/** All objects that belong to something that was made: its files, its logs, its program. */
function objectsOf({ manifest, record }: Made): Digest[] {
  const files = [...Object.values(manifest.files), ...Object.values(record.logs)];
  return [record.program.sha256, ...files.map(({ sha256 }) => sha256)];
}

/**
 * Removes from a store what nobody asks for: keys that no workspace shows and that are old, objects that no kept key
 * names, folders of interrupted stages that are old and that no process works in, dead locks, and files that were never
 * finished.
 *
 * @throws {DataError} If it cannot be told what some workspace shows; nothing is removed then.
 */
export async function collectGarbage(store: Store, options: GcOptions): Promise<GcResult> {
  const { workspace, since, dryRun, silentMs, onWait } = options;
  await readRoots(store, workspace, false); // before anything is removed
  // In this order: a stage that ends meanwhile is found at work, or among what is shown.
  const look = { ...(silentMs !== undefined && { silentMs }), ...(onWait && { onWait }) };
  const works = await removeDeadWork(store, { since, dryRun, ...look });
  const { roots, gone } = await readRoots(store, workspace, !dryRun);
  const [own] = workspace === undefined ? [] : roots;
  if (own && !dryRun) await registerRoot(store, own.workspace, own.shown);

  const made = [...(options.roots ?? []), ...roots.flatMap((root) => root.made)];
  const rooted = new Set([
    ...made.map(({ record }) => record.key),
    ...roots.flatMap(({ keys }) => keys),
    ...works.held,
  ]);
  const sweep = new Sweep(store, since, dryRun);
  const live = new Set<Digest>(made.flatMap(objectsOf));
  for (const object of await sweep.keys(rooted)) live.add(object);
  await sweep.objects(live, works);
  await sweep.rest();
  return {
    removed: { ...sweep.removed, ...works.removed },
    kept: sweep.kept,
    workspaces: roots.map(({ host, workspace, outputs }) => ({ host, workspace, outputs })),
    gone,
    strangers: sweep.strangers.sort(),
  };
}

/** One walk through a store, that counts what it removes and what stays. */
class Sweep {
  readonly removed = { objects: 0, bytes: 0, keys: 0, temporaries: 0 };
  readonly kept = { objects: 0, bytes: 0, keys: 0 };
  readonly strangers: string[] = [];

  constructor(
    private readonly store: Store,
    private readonly since: Date,
    private readonly dryRun: boolean,
  ) {}

  /**
   * Removes keys that are old and that nobody shows.
   *
   * @returns The objects of those that stay.
   */
  async keys(rooted: ReadonlySet<Digest>): Promise<Digest[]> {
    const live: Digest[] = [];
    for (const name of await this.names("keys")) {
      const path = `keys/${name}`;
      if (!/^[0-9a-f]{64}\.json$/.test(name) || !(await this.status(path))?.isFile()) {
        await this.other(path);
        continue;
      }
      const key = name.slice(0, 64);
      const made = await this.store.lookup(key);
      if (made && (rooted.has(key) || new Date(made.record.finishedAt) >= this.since)) {
        this.kept.keys++;
        live.push(...objectsOf(made));
      } else {
        this.removed.keys++;
        await this.remove(path);
      }
    }
    return live;
  }

  /** Removes objects that no key names that stays, and no work that goes on. */
  async objects(live: ReadonlySet<Digest>, works: Works): Promise<void> {
    const files = await WorkFiles.in(works.kept);
    for (const folder of await this.names("objects")) {
      if (!/^[0-9a-f]{2}$/.test(folder) || !(await this.status(`objects/${folder}`))?.isDirectory()) {
        await this.other(`objects/${folder}`);
        continue;
      }
      for (const name of await this.names(`objects/${folder}`)) {
        const path = `objects/${folder}/${name}`;
        const status = await this.status(path);
        if (status === undefined) continue;
        if (!/^[0-9a-f]{64}$/.test(name) || !name.startsWith(folder) || !status.isFile()) {
          await this.other(path);
          continue;
        }
        // An object of a stage that is running now has no key yet: its inode changed when it was linked.
        const stays = live.has(name) || status.ctime >= this.since || (await files.has(name, status));
        const count = stays ? this.kept : this.removed;
        count.objects++;
        count.bytes += status.size;
        if (!stays) await this.remove(path);
      }
    }
  }

  /** Looks at all else that lies in the store. */
  async rest(): Promise<void> {
    const isOurs: Record<string, (name: string, isFolder: boolean) => boolean> = {
      work: (name, isFolder) => (isFolder ? !name.startsWith(".") : isLockName(name)),
      remotes: (name, isFolder) => !isFolder && /^[0-9a-f]{16}\.txt$/.test(name),
      roots: (name, isFolder) => !isFolder && (isLockName(name) || isRegistration(name)),
    };
    for (const folder of await this.names(".")) {
      const isFolder = (await this.status(folder))?.isDirectory() === true;
      if (isFolder && (folder === "keys" || folder === "objects")) continue;
      const ours = isFolder && Object.hasOwn(isOurs, folder) ? isOurs[folder] : undefined;
      if (ours === undefined) await this.other(folder);
      else
        for (const name of await this.names(folder)) {
          const path = `${folder}/${name}`;
          if (!ours(name, (await this.status(path))?.isDirectory() === true)) await this.other(path);
        }
    }
  }

  /**
   * What is not the store's is left alone, except for what a write left that was cut off: temporary files, when they
   * are old.
   */
  private async other(path: string): Promise<void> {
    const status = await this.status(path);
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (status === undefined) return;
    if (!/^\..*\.tmp$|\.part$|\.lock\.break$/.test(name)) return void this.strangers.push(path);
    if (status.mtime >= this.since) return;
    if (isGuard(name) && (await lockState(join(this.store.root, path), { silentMs: 1000 })) === "held") return;
    this.removed.temporaries++;
    await this.remove(path);
  }

  private async names(folder: string): Promise<string[]> {
    return await readdir(join(this.store.root, folder)).catch(() => []);
  }

  private async status(path: string) {
    return lstat(join(this.store.root, path)).catch(() => undefined);
  }

  private async remove(path: string): Promise<void> {
    if (this.dryRun) return;
    try {
      await rm(join(this.store.root, path), { recursive: true, force: true });
    } catch (cause) {
      throw new Error(`Cannot remove ${JSON.stringify(join(this.store.root, path))}: ${reasonOf(cause)}`, { cause });
    }
  }
}
