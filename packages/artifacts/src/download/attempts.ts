import { setTimeout as sleep } from "node:timers/promises";
import type { NetworkLimits } from "./limits.js";

/**
 * Says whether to try again after an attempt that was cut. An attempt counts as one that brought something if, with its
 * pauses and those before it, bytes came at the least rate: a server that sends one byte each time is given up too.
 */
export class Attempts {
  private failures = 0;
  private since = performance.now();

  /** @param furthest Bytes that are there already. */
  constructor(
    private readonly limits: Pick<NetworkLimits, "leastBytesPerSecond" | "retries" | "retryMs" | "retryAfterMs">,
    private furthest = 0,
  ) {}

  /** Those in a row that brought too little. */
  get inVain(): number {
    return this.failures;
  }

  /**
   * @param bytes That are there now.
   * @param waitMs What the server asks to wait.
   * @returns The pause before the next attempt, milliseconds; nothing, if there were enough.
   */
  next(bytes: number, waitMs = 0): number | undefined {
    const { leastBytesPerSecond, retries, retryMs, retryAfterMs } = this.limits;
    const [now, brought] = [performance.now(), bytes - this.furthest];
    if (brought > 0 && brought * 1000 >= leastBytesPerSecond * (now - this.since)) {
      [this.failures, this.furthest, this.since] = [0, bytes, now];
    } else this.failures++;
    if (this.failures > retries) return undefined;
    return Math.max(Math.min(waitMs, retryAfterMs), retryMs * 2 ** this.failures);
  }
}

/** @throws `signal.reason`, as soon as it is aborted. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal && { signal }).catch(() => undefined);
  signal?.throwIfAborted();
}
