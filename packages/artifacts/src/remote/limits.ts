import { NETWORK_LIMITS, type NetworkLimits } from "../download/limits.js";

/** What the remote store may take: less than a source, for what it does not bring in time is computed. */
export interface RemoteLimits extends NetworkLimits {
  /**
   * Until the first answer of any kind, milliseconds, all tries together: who works offline, or has a wrong address,
   * waits no longer than that.
   */
  readonly contactMs: number;
  /** Longest a request is tried again, milliseconds, while it brings nothing. */
  readonly deadlineMs: number;
  /** Objects that are on their way at a time. On two cores, more of them are not faster. */
  readonly together: number;
  /** Larger objects are uploaded in parts. A part that is lost costs less than the whole; each part costs a request. */
  readonly multipartBytes: number;
  /** A part of them; more, where there would be more than 9,000 (stores allow 10,000). */
  readonly partBytes: number;
}

export const REMOTE_LIMITS = {
  ...NETWORK_LIMITS,
  headersMs: 30_000,
  idleMs: 20_000,
  leastBytesPerSecond: 16_384,
  rateWindowMs: 20_000,
  retries: 4,
  retryMs: 100,
  pageMs: 30_000,
  contactMs: 1500,
  deadlineMs: 120_000,
  together: 6,
  multipartBytes: 2 ** 26,
  partBytes: 2 ** 23,
} as const satisfies RemoteLimits;
