import { DataError } from "../data-error.js";
import { refusalOf } from "./answer.js";
import { Attempts, pause } from "./attempts.js";
import { follow } from "./follow.js";
import { Interrupted } from "./interrupted.js";
import { NETWORK_LIMITS, type NetworkLimits } from "./limits.js";
import { secondsOf, Watch } from "./watch.js";

export interface PageOptions {
  /** Sent with each request; `authorization` is not passed on to another server. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** What to say to somebody who may not have it, after `the server answered 403: `. */
  readonly credentials?: string;
  readonly limits?: Partial<NetworkLimits>;
}

/**
 * A page of a listing, whole: trouble of the network's or the server's is tried again.
 *
 * @throws {DataError} If it cannot be had, in words without `Cannot`. `signal.reason`, when aborted.
 */
export async function getPage(url: URL, options: PageOptions = {}): Promise<{ text: string; headers: Headers }> {
  const limits = { ...NETWORK_LIMITS, ...options.limits };
  const attempts = new Attempts(limits);
  for (;;) {
    try {
      return await getOnce(url, options, limits);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof Interrupted)) throw error;
      const pauseMs = attempts.next(0, error.waitMs);
      if (pauseMs === undefined)
        throw new DataError(`${error.message}; tried ${attempts.inVain} times`, { cause: error });
      await pause(pauseMs, options.signal);
    }
  }
}

async function getOnce(url: URL, { headers, signal, credentials }: PageOptions, limits: NetworkLimits) {
  const { pageMs, pageBytes } = limits;
  using watch = new Watch(limits, signal);
  return await watch.within(pageMs, `the page was not there after ${secondsOf(pageMs)}`, async () => {
    const response = await follow(url, new Headers(headers), watch, limits);
    const refusal = refusalOf(response, credentials);
    if (refusal !== undefined) throw new DataError(refusal);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ? watch.chunks(response.body as AsyncIterable<Uint8Array>) : []) {
      bytes += chunk.length;
      if (bytes > pageBytes) throw new DataError(`a page takes more than ${pageBytes} bytes`);
      chunks.push(chunk);
    }
    return { text: Buffer.concat(chunks).toString("utf8"), headers: response.headers };
  });
}
