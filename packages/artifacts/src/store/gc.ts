import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "./manifest.js";
import type { Made, Store } from "./store.js";

export interface GcOptions {
  /** What is kept in any case: what pipelines show as their output now. */
  readonly roots: readonly Made[];
  /** What was made, or worked on, after this is kept too. */
  readonly since: Date;
  /** Only count. */
  readonly dryRun: boolean;
}

export interface GcResult {
  readonly removed: { readonly objects: number; readonly bytes: number; readonly keys: number; readonly works: number };
  readonly kept: { readonly objects: number; readonly bytes: number; readonly keys: number };
}

/** All objects that belong to something that was made: its files, its logs, its program. */
function objectsOf({ manifest, record }: Made): Digest[] {
  const files = [...Object.values(manifest.files), ...Object.values(record.logs)];
  return [record.program.sha256, ...files.map(({ sha256 }) => sha256)];
}

/**
 * Removes from a store what nobody asks for: keys that no pipeline shows and that are old, objects that no kept key names,
 * folders of interrupted stages that are old and that no process works in.
 */
export async function collectGarbage(store: Store, { roots, since, dryRun }: GcOptions): Promise<GcResult> {
  const live = new Set<Digest>(roots.flatMap(objectsOf));
  const rooted = new Set(roots.map(({ record }) => record.key));
  const old: Digest[] = [];
  const keys = await store.keys();
  for (const key of keys) {
    const made = await store.lookup(key);
    if (made && (rooted.has(key) || new Date(made.record.finishedAt) >= since))
      for (const object of objectsOf(made)) live.add(object);
    else old.push(key);
  }
  const remove = async (path: string): Promise<void> => {
    if (!dryRun) await rm(path, { recursive: true, force: true });
  };
  for (const key of old) await remove(join(store.root, "keys", `${key}.json`));

  const [removed, kept] = [
    { objects: 0, bytes: 0 },
    { objects: 0, bytes: 0 },
  ];
  for (const folder of await names(join(store.root, "objects")))
    for (const object of await names(join(store.root, "objects", folder))) {
      const path = join(store.root, "objects", folder, object);
      const status = await stat(path);
      // An object of a stage that is running now has no key yet: its inode changed when it was linked.
      const count = live.has(object) || status.ctime >= since ? kept : removed;
      count.objects++;
      count.bytes += status.size;
      if (count === removed) await remove(path);
    }

  let works = 0;
  const entries = await names(join(store.root, "work"));
  for (const name of entries) {
    if (name.endsWith(".lock") || entries.includes(`${name}.lock`)) continue;
    const path = join(store.root, "work", name);
    const { mtime } = await stat(join(path, "attempt.json")).catch(() => stat(path));
    if (mtime >= since) continue;
    works++;
    await remove(path);
  }
  return { removed: { ...removed, keys: old.length, works }, kept: { ...kept, keys: keys.length - old.length } };
}

async function names(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => []);
}
