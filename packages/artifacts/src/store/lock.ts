import { mkdir, open, readFile, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { reasonOf } from "../file/byte-source.js";

const Holder = z.object({ pid: z.int(), host: z.string(), started: z.string() });
type Holder = z.infer<typeof Holder>;

/** A lock on a path: a file that names the process that holds it. */
export interface Lock extends AsyncDisposable {
  readonly path: string;
}

/**
 * Takes a lock, waiting while a living process holds it. A process that died, however it died, holds nothing: its number
 * is looked up, and the time it started (numbers are used again). A holder on another machine cannot be looked up and is
 * believed; the message says which file to remove.
 *
 * @param onWait Called once if it must wait, with what is waited for.
 * @throws `signal.reason` if aborted while waiting.
 */
export async function takeLock(
  path: string,
  options: { readonly signal?: AbortSignal; readonly onWait?: (message: string) => void } = {},
): Promise<Lock> {
  await mkdir(dirname(path), { recursive: true });
  const me: Holder = { pid: process.pid, host: hostname(), started: (await startOf(process.pid)) ?? "" };
  for (let waiting = false; ;) {
    options.signal?.throwIfAborted();
    if (await create(path, JSON.stringify(me))) return { path, [Symbol.asyncDispose]: () => rm(path, { force: true }) };
    const holder = await holderOf(path);
    if (holder === undefined || (await isGone(holder))) {
      await breakLock(path);
      continue;
    }
    if (!waiting) {
      waiting = true;
      const where = holder.host === me.host ? "" : ` on ${holder.host} (if it is gone, remove ${JSON.stringify(path)})`;
      options.onWait?.(`Waiting for process ${holder.pid}${where}, which is making the same`);
    }
    await sleep(200, undefined, options.signal ? { signal: options.signal } : {}).catch(() => undefined);
  }
}

/** Creates a file with this text; false if it exists. */
async function create(path: string, text: string): Promise<boolean> {
  try {
    const file = await open(path, "wx");
    await file.writeFile(text).finally(() => file.close());
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new Error(`Cannot lock ${JSON.stringify(path)}: ${reasonOf(error)}`, { cause: error });
  }
}

/**
 * Removes the lock of a dead process. Of several that try, one does: a second could remove the lock that the first has
 * taken since. Who dies in here is forgotten after five seconds.
 */
async function breakLock(path: string): Promise<void> {
  const guard = `${path}.break`;
  if (await create(guard, "")) {
    const holder = await holderOf(path);
    if (holder === undefined || (await isGone(holder))) await rm(path, { force: true });
    await rm(guard, { force: true });
    return;
  }
  const age = Date.now() - ((await stat(guard).catch(() => undefined))?.mtimeMs ?? Date.now());
  if (age > 5000) await rm(guard, { force: true });
  await sleep(50);
}

/** Who holds a lock; undefined if the file says nothing (its writer was killed on the way) for half a second. */
async function holderOf(path: string): Promise<Holder | undefined> {
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      return Holder.parse(JSON.parse(await readFile(path, "utf8")));
    } catch {
      await sleep(100);
    }
  }
  return undefined;
}

async function isGone(holder: Holder): Promise<boolean> {
  if (holder.host !== hostname()) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
  const started = await startOf(holder.pid);
  if (started === "zombie") return true;
  return started !== undefined && holder.started !== "" && started !== holder.started;
}

/** When a process started, in the kernel's clock ticks; "zombie" if it has ended; undefined where there is no /proc. */
async function startOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields?.[0] === "Z" ? "zombie" : fields?.[19];
}
