import { createHash, randomBytes } from "node:crypto";
import { constants, type BigIntStats } from "node:fs";
import { link, lstat, open, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { reasonOf } from "../file/byte-source.js";
import { Holder, lifeOf } from "./lock-holder.js";

/** A file that says nothing is believed for so long: its writer may be about to write (where `create` has no links). */
const GRACE_MS = 500;

/** No lock file of ours is longer. */
const MAX_BYTES = 4096;

/** What was found at a lock's path. */
export interface Look {
  /** Changes with everything that can be seen of the file: its bytes, its times, which file it is. */
  readonly identity: string;
  /** What it says; undefined if that is nothing. */
  readonly holder: Holder | undefined;
  /** Why it cannot be read, if so. */
  readonly unreadable: string | undefined;
  readonly isFolder: boolean;
}

/**
 * Looks at a lock file, whatever lies there. Nothing is followed, waited for, or read past a few kilobytes.
 *
 * @returns undefined if there is nothing.
 * @throws {Error} If the folder cannot be looked into.
 */
export async function look(path: string): Promise<Look | undefined> {
  const nothing = { holder: undefined, unreadable: undefined };
  try {
    const status = await lstat(path, { bigint: true });
    const isFolder = status.isDirectory();
    if (!status.isFile()) return { ...nothing, identity: identityOf(status), isFolder };
    const { O_RDONLY, O_NONBLOCK = 0, O_NOFOLLOW = 0 } = constants as Partial<typeof constants>;
    const opened = await open(path, (O_RDONLY ?? 0) | O_NONBLOCK | O_NOFOLLOW).catch((error: unknown) => {
      if (isCode(error, "ENOENT")) throw error;
      return reasonOf(error);
    });
    if (typeof opened === "string")
      return { ...nothing, identity: identityOf(status), isFolder: false, unreadable: opened };
    await using file = opened;
    const identity = identityOf(await file.stat({ bigint: true }));
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0);
    const bytes = buffer.subarray(0, bytesRead);
    const digest = createHash("sha256").update(bytes).digest("hex");
    return { ...nothing, identity: `${identity} ${digest}`, isFolder: false, holder: holderOf(bytes) };
  } catch (error) {
    if (isCode(error, "ENOENT")) return undefined;
    throw cannotLock(path, error);
  }
}

const identityOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string =>
  [dev, ino, size, mtimeNs, ctimeNs].join(" ");

function holderOf(bytes: Uint8Array): Holder | undefined {
  try {
    return Holder.parse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch {
    return undefined;
  }
}

/**
 * Creates a file with this text, both at once: it is written under another name and linked.
 *
 * @param second Makes a second name of a file; for tests of disks that have none, where the file is empty for a moment.
 * @returns false if something is there.
 */
export async function create(path: string, text: string, second: typeof link = link): Promise<boolean> {
  const temporary = join(dirname(path), `.lock-${randomBytes(8).toString("hex")}.tmp`);
  try {
    await writeFile(temporary, text, { flag: "wx", mode: 0o644 });
    const linked = await second(temporary, path).then(
      () => true,
      (error: unknown) => {
        if (isCode(error, "EEXIST")) throw error;
        return false;
      },
    );
    if (linked) return true;
    await writeFile(path, text, { flag: "wx", mode: 0o644 });
    // A process that slept long was taken for dead.
    return (await look(path))?.holder?.token === Holder.parse(JSON.parse(text)).token;
  } catch (error) {
    if (isCode(error, "EEXIST")) return false;
    throw cannotLock(path, error);
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

/**
 * What one who waits has seen of lock files. Time is its own and monotonic: clocks are never compared with each other.
 */
export class Watch {
  private readonly seen = new Map<string, { identity: string; quietMs: number; at: number; changed: boolean }>();

  constructor(
    /** A holder that cannot be looked up and shows no sign of life for so long is taken for dead. */
    readonly silentMs: number,
  ) {}

  /** Notes what a file looks like now, and says for how long it has looked so, and whether it ever looked otherwise. */
  note(path: string, { identity }: Look): { readonly quietMs: number; readonly changed: boolean } {
    const at = performance.now();
    const before = this.seen.get(path);
    const same = before?.identity === identity;
    // Who was stopped, or slept with its machine, has not watched meanwhile.
    const quietMs = same ? before.quietMs + Math.min(at - before.at, 2 * POLL_MS) : 0;
    const now = { identity, quietMs, at, changed: before !== undefined && (before.changed || !same) };
    this.seen.set(path, now);
    return now;
  }
}

/** Time between two looks at a lock that is waited for. */
export const POLL_MS = 200;

/** A file that is in the way, and whether its holder is known to live. */
export interface Obstacle {
  readonly path: string;
  readonly found: Look;
  readonly state: "held" | "unknown";
  readonly quietMs: number;
}

/** Whether the holder of a lock file lives, as far as looking at it once more tells. */
export async function judge(
  path: string,
  found: Look,
  me: Holder,
  watch: Watch,
): Promise<{ readonly state: "held" | "unknown" | "dead"; readonly quietMs: number; readonly changed: boolean }> {
  const seen = watch.note(path, found);
  const isSilent = seen.quietMs >= watch.silentMs;
  const { holder, unreadable } = found;
  if (holder === undefined) {
    const isDead = unreadable === undefined ? seen.quietMs >= GRACE_MS : isSilent;
    return { ...seen, state: isDead ? "dead" : "unknown" };
  }
  const life = await lifeOf(holder, me);
  // A guard is held for a moment. One that stays, although its process lives, is held by no one: see `replace`.
  if (life === "alive") return { ...seen, state: isGuard(path) && isSilent ? "dead" : "held" };
  return { ...seen, state: life === "dead" || isSilent ? "dead" : "unknown" };
}

/**
 * Makes the file at `path` name `me`, if nothing is there or its holder is dead.
 *
 * @returns "ours" if it does now; "again" if things changed meanwhile; else what is in the way.
 */
export async function obtain(
  path: string,
  me: Holder & { readonly token: string },
  watch: Watch,
): Promise<"ours" | "again" | Obstacle> {
  const found = await look(path);
  if (found === undefined) return (await create(path, JSON.stringify(me))) ? "ours" : "again";
  if (found.holder?.token === me.token) return "ours";
  const { state, quietMs } = await judge(path, found, me, watch);
  return state === "dead" ? replace(path, found, me, watch) : { path, found, state, quietMs };
}

/**
 * Replaces the file of a dead holder by ours in one step, so that nobody finds the path empty and nobody's fresh lock
 * can be removed. Of several that try, one holds the guard: a file like the lock, that names its holder and is itself
 * taken over when that one has died. The guard becomes the lock by being renamed, so one who took long in here, and
 * whose guard was taken over, has nothing left to rename.
 */
async function replace(
  path: string,
  judged: Look,
  me: Holder & { readonly token: string },
  watch: Watch,
): Promise<"ours" | "again" | Obstacle> {
  return guarded(path, me, watch, async (guard) => {
    if ((await look(path))?.identity !== judged.identity) return "again";
    try {
      await (judged.isFolder ? rmdir(path) : rename(guard, path));
    } catch (error) {
      if (isCode(error, "ENOENT")) return "again";
      if (!judged.isFolder) throw cannotLock(path, error);
      const problem = `Cannot lock ${JSON.stringify(path)}: it is a folder that is not empty, expected a lock file`;
      throw new Error(problem, { cause: error });
    }
    return (await names(path, me)) ? "ours" : "again";
  });
}

/** Removes a lock file if it names `me`: under its guard, so that who takes over just now is not robbed. */
export async function release(path: string, me: Holder & { readonly token: string }): Promise<void> {
  const watch = new Watch(Infinity);
  const removeOurs = async (): Promise<void> => {
    if (await names(path, me)) await rm(path, { force: true });
  };
  try {
    for (let attempt = 0; attempt < 50 && (await names(path, me)); attempt++) {
      const way = await guarded(path, me, watch, async () => {
        await removeOurs();
        return "ours";
      });
      if (way === "ours") return;
      await new Promise((done) => setTimeout(done, 20));
    }
  } catch {
    // no guard can be made: the disk is full
  }
  await removeOurs();
}

/** Does something while this process holds the guard of a lock file, and says what was in the way if it does not. */
async function guarded(
  path: string,
  me: Holder & { readonly token: string },
  watch: Watch,
  run: (guard: string) => Promise<"ours" | "again">,
): Promise<"ours" | "again" | Obstacle> {
  const guard = guardOf(path);
  const way = await obtain(guard, me, watch);
  if (way !== "ours") return way;
  try {
    return await run(guard);
  } finally {
    if (await names(guard, me)) await rm(guard, { force: true });
  }
}

/**
 * Where the guard of a lock file lies: a temporary file, which counts as no output, and never too long a name.
 */
export function guardOf(path: string): string {
  const digest = createHash("sha256").update(basename(path)).digest("hex").slice(0, 16);
  return join(dirname(path), `.lock-${digest}.guard.tmp`);
}

export const isGuard = (path: string): boolean => /^\.lock-[0-9a-f]{16}\.guard\.tmp$/.test(basename(path));

/** Whether a lock file names this holder. */
export async function names(path: string, { token }: { readonly token: string }): Promise<boolean> {
  return (await look(path))?.holder?.token === token;
}

export function isCode(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException).code === code;
}

export function cannotLock(path: string, cause: unknown): Error {
  const { message } = cause as Error;
  return message.startsWith("Cannot lock ")
    ? (cause as Error)
    : new Error(`Cannot lock ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
}
