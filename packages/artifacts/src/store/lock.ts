import { lutimes, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { reasonOf } from "../file/byte-source.js";
import { judge, look, names, obtain, POLL_MS, release, Watch } from "./lock-file.js";
import { newHolder, type Holder } from "./lock-holder.js";
import { nameOf, nextNotice, notice, watchNotice } from "./lock-notice.js";

/** Time between two signs of life of a holder. */
const BEAT_MS = 5000;

/** A lock on a path: a file that names the process that holds it. */
export interface Lock extends AsyncDisposable {
  readonly path: string;
  /** Aborted, with an Error that says so, when this process finds that it has lost the lock. */
  readonly signal: AbortSignal;
  /** @throws {Error} If the file is gone, or names somebody else. */
  assertHeld(): Promise<void>;
}

export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called at once if it must wait, and at growing intervals, with what is waited for. */
  readonly onWait?: (message: string) => void;
  /**
   * A holder that cannot be looked up and shows no sign of life for so long is taken for dead; the same for all who
   * lock.
   */
  readonly silentMs?: number;
}

/**
 * Takes a lock, waiting while a living process holds it. A process that died, however it died, holds nothing: its
 * number is looked up, and the time it started (numbers are used again). A holder on another machine, or in another
 * container, cannot be looked up: it touches its lock every few seconds, and when it has not done so for two minutes,
 * by the clock of the process that waits, its lock is taken over. Should it live all the same (its machine slept, or
 * its event loop was busy for that long), its `signal` tells it.
 *
 * @throws `signal.reason` if aborted while waiting.
 * @throws {Error} If the folder of the lock cannot be made or written to.
 */
export async function takeLock(path: string, options: LockOptions = {}): Promise<Lock> {
  const { signal, onWait, silentMs = 120_000 } = options;
  signal?.throwIfAborted();
  await makeFolder(path);
  const me = await newHolder();
  const watch = new Watch(silentMs);
  const begun = performance.now();
  for (let nextMs = 0; ;) {
    signal?.throwIfAborted();
    const way = await obtain(path, me, watch);
    if (way === "ours") return new HeldLock(path, me, silentMs);
    const waitedMs = performance.now() - begun;
    const message = way === "again" || waitedMs < nextMs ? undefined : notice(way, me, waitedMs);
    if (message !== undefined) {
      onWait?.(message);
      nextMs = nextNotice(waitedMs);
    }
    await sleep(way === "again" ? 10 : POLL_MS, undefined, signal && { signal }).catch(() => undefined);
  }
}

export type LookOptions = Pick<LockOptions, "silentMs" | "onWait">;

/**
 * Takes a lock unless somebody holds it. One whose holder cannot be looked up is watched until it shows a sign of life
 * or has been silent for long enough.
 *
 * @returns undefined if it is held.
 */
export async function tryLock(
  path: string,
  { silentMs = 120_000, onWait }: LookOptions = {},
): Promise<Lock | undefined> {
  await makeFolder(path);
  const me = await newHolder();
  const watch = new Watch(silentMs);
  for (;;) {
    if ((await stateOf(path, me, watch, onWait)) === "held") return undefined;
    const way = await obtain(path, me, watch);
    if (way === "ours") return new HeldLock(path, me, silentMs);
    await sleep(10);
  }
}

export type LockState = "free" | "held" | "dead";

/**
 * Whether somebody holds a lock; "dead" if the one who did has died. One whose holder cannot be looked up is watched,
 * as by `tryLock`. Changes nothing.
 */
export async function lockState(path: string, { silentMs = 120_000, onWait }: LookOptions = {}): Promise<LockState> {
  return stateOf(path, await newHolder(), new Watch(silentMs), onWait);
}

async function stateOf(path: string, me: Holder, watch: Watch, onWait?: (message: string) => void): Promise<LockState> {
  for (let said = false; ;) {
    const found = await look(path);
    if (found === undefined) return "free";
    const { state, changed, quietMs } = await judge(path, found, me, watch);
    if (state !== "unknown") return state;
    if (changed && found.holder) return "held";
    if (!said && (found.holder || found.unreadable !== undefined)) {
      said = true;
      onWait?.(watchNotice({ path, found, state, quietMs }, me, watch.silentMs));
    }
    await sleep(POLL_MS);
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
  } catch (cause) {
    throw new Error(`Cannot lock ${JSON.stringify(path)}: its folder cannot be made: ${reasonOf(cause)}`, { cause });
  }
}

class HeldLock implements Lock {
  private readonly loss = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private beating: Promise<void> | undefined;

  constructor(
    readonly path: string,
    private readonly me: Holder & { readonly token: string },
    silentMs: number,
  ) {
    const beat = (): void => void (this.beating ??= this.beat());
    this.timer = setInterval(beat, Math.min(BEAT_MS, silentMs / 8)).unref();
  }

  get signal(): AbortSignal {
    return this.loss.signal;
  }

  async assertHeld(): Promise<void> {
    if (!(await names(this.path, this.me))) await this.lose();
    if (this.signal.aborted) throw this.signal.reason;
  }

  /** Shows that this process lives. */
  private async beat(): Promise<void> {
    try {
      if (!(await names(this.path, this.me))) return await this.lose();
      const now = new Date();
      await lutimes(this.path, now, now);
    } catch {
      // the disk may be back the next time
    } finally {
      this.beating = undefined;
    }
  }

  private async lose(): Promise<void> {
    clearInterval(this.timer);
    if (this.signal.aborted) return;
    const found = await look(this.path).catch(() => undefined);
    const to = found?.holder
      ? ` to ${nameOf(found.holder, this.me)}`
      : found
        ? ": it was overwritten"
        : ": it was removed";
    this.loss.abort(new Error(`lost the lock ${JSON.stringify(this.path)}${to}`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.timer);
    await this.beating;
    await release(this.path, this.me);
  }
}
