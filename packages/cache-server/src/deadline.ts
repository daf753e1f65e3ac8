/** Something took longer than it may. */
export class TooSlow extends Error {
  override readonly name = "TooSlow";
}

/**
 * A time by which a piece of work has ended, whatever those do whom it waits for: some of them do not look at a signal.
 * What is still on its way when the deadline is disposed of is told to stop by `signal`.
 */
export class Deadline implements Disposable {
  readonly signal: AbortSignal;
  private readonly ending = new AbortController();
  private readonly timer: NodeJS.Timeout;

  /** @param outer Ends the work too, with its own reason. */
  constructor(totalMs: number, outer?: AbortSignal) {
    const end = (): void => this.ending.abort(new TooSlow(`it was not done after ${seconds(totalMs)}`));
    this.timer = setTimeout(() => setImmediate(end), totalMs);
    this.signal = outer === undefined ? this.ending.signal : AbortSignal.any([this.ending.signal, outer]);
  }

  /**
   * A step, if it does not take longer than `ms`.
   *
   * @throws {TooSlow} If it does. `signal.reason`, when that ends the work.
   */
  async within<T>(ms: number, step: () => Promise<T>): Promise<T> {
    const { signal } = this;
    signal.throwIfAborted();
    let release = (): void => undefined;
    const ended = new Promise<never>((_, reject) => {
      const onEnd = (): void => reject(signal.reason as Error);
      // This process may have been busy: what has come meanwhile is looked at first.
      const timer = setTimeout(() => setImmediate(() => reject(new TooSlow(`nothing came for ${seconds(ms)}`))), ms);
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
   * @param idleMs How long each piece may take.
   */
  async *chunks(body: AsyncIterable<Uint8Array>, idleMs: number): AsyncGenerator<Uint8Array, void, undefined> {
    const iterator = body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.within(idleMs, () => iterator.next());
        if (next.done) return;
        yield next.value;
      }
    } finally {
      void iterator.return?.()?.catch(() => undefined); // not waited for: what is stuck does not answer
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.timer);
    this.ending.abort();
  }
}

const seconds = (ms: number): string => `${Number((ms / 1000).toPrecision(2))} s`;
