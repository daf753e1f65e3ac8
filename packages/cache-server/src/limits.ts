/** What a client or a store may take of time, memory and disk. */
export interface Limits {
  /** Largest body, bytes. Nx holds one in memory whole, on both its ways. */
  readonly maxBytes: number;
  /** Without an answer or a byte from the store for so long, it is given up, milliseconds. */
  readonly waitMs: number;
  /** Until all of a body is out of the store, or in it, milliseconds. */
  readonly storeMs: number;
  /** How long a store that did not answer in time is not asked again, milliseconds: a run asks for dozens of tasks. */
  readonly restMs: number;
  /** Without a byte from a client, or room for one at it, for so long, it is given up, milliseconds. */
  readonly clientIdleMs: number;
  /** Until all of a body has come from a client, milliseconds. */
  readonly uploadMs: number;
}

export const LIMITS: Limits = {
  maxBytes: 2 ** 30,
  waitMs: 5_000,
  storeMs: 60_000,
  restMs: 10_000,
  clientIdleMs: 30_000,
  uploadMs: 600_000,
};
