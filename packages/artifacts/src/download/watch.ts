import { Interrupted, passing } from "./interrupted.js";
import type { NetworkLimits } from "./limits.js";

/**
 * Watches over the time of one request and its body. Each wait ends by itself, whatever the server does, and at once
 * when it is aborted; whatever is still on its way when the watch ends is told to stop by `signal`.
 */
export class Watch implements Disposable {
  private readonly ending = new AbortController();
  private readonly onAbort: () => void;
  /** Waiting since the rate was last looked at, milliseconds. */
  private waitedMs = 0;
  /** What came meanwhile. */
  private bytes = 0;

  constructor(
    private readonly limits: Pick<NetworkLimits, "idleMs" | "leastBytesPerSecond" | "rateWindowMs">,
    private readonly outer: AbortSignal | undefined,
  ) {
    this.onAbort = () => this.ending.abort(outer?.reason);
    if (outer?.aborted) this.onAbort();
    else outer?.addEventListener("abort", this.onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.ending.signal;
  }

  /**
   * A step, if it does not take longer than `ms`.
   *
   * @param problem What to say if it does.
   * @throws {Interrupted} If it does. `signal.reason`, when aborted.
   */
  async within<T>(ms: number, problem: string, step: () => Promise<T>): Promise<T> {
    const { signal } = this;
    signal.throwIfAborted();
    let release = (): void => undefined;
    const ended = new Promise<never>((_, reject) => {
      const onEnd = (): void => reject(signal.reason as Error);
      // This process may have been busy: what has come meanwhile is looked at first.
      const timer = setTimeout(() => setImmediate(() => reject(new Interrupted(problem))), ms);
      signal.addEventListener("abort", onEnd, { once: true });
      release = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onEnd);
      };
    });
    const working = step();
    working.catch(() => undefined); // it may fail when nobody waits for it any more
    try {
      return await Promise.race([working, ended]);
    } finally {
      release();
    }
  }

  /**
   * A body, as it comes.
   *
   * @throws {Interrupted} If it stalls, is too slow, or is cut. `signal.reason`, when aborted.
   */
  async *chunks(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    const { idleMs } = this.limits;
    const iterator = body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const asked = performance.now();
        const next = await this.within(idleMs, `nothing came for ${secondsOf(idleMs)}`, () =>
          passing(() => iterator.next()),
        );
        if (next.done) return;
        this.checkRate(performance.now() - asked, next.value.length);
        yield next.value;
      }
    } finally {
      void iterator.return?.().catch(() => undefined); // not waited for: what is stuck does not answer
    }
  }

  private checkRate(waitedMs: number, bytes: number): void {
    const { leastBytesPerSecond, rateWindowMs } = this.limits;
    this.waitedMs += waitedMs;
    this.bytes += bytes;
    if (this.waitedMs < rateWindowMs) return;
    if ((this.bytes * 1000) / this.waitedMs < leastBytesPerSecond)
      throw new Interrupted(
        `${this.bytes} bytes came in ${secondsOf(this.waitedMs)}, less than ${leastBytesPerSecond} in a second`,
      );
    this.waitedMs = this.bytes = 0;
  }

  [Symbol.dispose](): void {
    this.outer?.removeEventListener("abort", this.onAbort);
    this.ending.abort();
  }
}

/** A time as messages show it: `60 s`, `0.05 s`. */
export const secondsOf = (ms: number): string => `${Number((ms / 1000).toPrecision(2))} s`;
