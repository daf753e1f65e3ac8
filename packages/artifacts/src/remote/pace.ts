import { setTimeout as sleep } from "node:timers/promises";
import { Interrupted } from "../download/interrupted.js";
import type { NetworkLimits } from "../download/limits.js";
import { secondsOf } from "../download/watch.js";

/** How long what was told to stop may take to do so, milliseconds: nothing else is begun before. */
const STOPPING_MS = 2000;

type Limits = Pick<NetworkLimits, "headersMs" | "idleMs" | "leastBytesPerSecond" | "rateWindowMs">;

/**
 * Watches over the pace of one request, both ways: by a clock, because a promise and a timer for each piece of a body
 * cost more than hashing it.
 */
export class Pace implements Disposable {
  private readonly ending = new AbortController();
  private last = performance.now();
  private window = { since: performance.now(), bytes: 0 };
  private moving = false;

  constructor(
    private readonly limits: Limits,
    private readonly outer: AbortSignal,
  ) {}

  /**
   * A request, as long as it keeps its pace. What is given up has stopped, or had time to.
   *
   * @param withinMs How long it may take in all.
   * @param shownMs What of that the message says.
   * @throws {Interrupted} If it stalls or is too slow. `signal.reason`, when aborted.
   */
  async keep<T>(
    step: (signal: AbortSignal, moved: (bytes: number, isAll?: boolean) => void) => Promise<T>,
    withinMs: number,
    shownMs: number,
  ): Promise<T> {
    const { headersMs, idleMs, rateWindowMs } = this.limits;
    const signal = AbortSignal.any([this.outer, this.ending.signal]);
    signal.throwIfAborted();
    const ends = performance.now() + withinMs;
    const looksMs = Math.max(5, Math.min(500, headersMs / 4, idleMs / 4, rateWindowMs / 4, withinMs / 4));
    const late = new Promise<never>((_, reject) => {
      const give = (error: unknown): void => reject(error);
      signal.addEventListener("abort", () => give(signal.reason), { once: true });
      this.timer = setInterval(() => {
        const problem = performance.now() >= ends ? `no answer came for ${secondsOf(shownMs)}` : this.problem();
        if (problem !== undefined) this.ending.abort(new Interrupted(problem));
      }, looksMs);
    });
    late.catch(() => undefined);
    const working = step(signal, (bytes, isAll = false) => this.moved(bytes, isAll));
    try {
      return await Promise.race([working, late]);
    } catch (error) {
      if (signal.aborted)
        await Promise.race([working.catch(() => undefined), sleep(STOPPING_MS, undefined, { ref: false })]);
      throw error;
    }
  }

  private timer: NodeJS.Timeout | undefined;

  private moved(bytes: number, isAll: boolean): void {
    const now = performance.now();
    if (!this.moving) this.window = { since: now, bytes: 0 };
    this.moving = !isAll;
    this.last = now;
    this.window.bytes += bytes;
  }

  private problem(): string | undefined {
    const { headersMs, idleMs, leastBytesPerSecond, rateWindowMs } = this.limits;
    const now = performance.now();
    const still = this.moving ? idleMs : headersMs;
    if (now - this.last >= still) return `${this.moving ? "nothing" : "no answer"} came for ${secondsOf(still)}`;
    const { since, bytes } = this.window;
    if (!this.moving || now - since < rateWindowMs) return undefined;
    if ((bytes * 1000) / (now - since) < leastBytesPerSecond)
      return `${bytes} bytes moved in ${secondsOf(now - since)}, less than ${leastBytesPerSecond} in a second`;
    this.window = { since: now, bytes: 0 };
    return undefined;
  }

  [Symbol.dispose](): void {
    clearInterval(this.timer);
  }
}
