/**
 * What a server may take of time, memory and disk before it is given up. One policy for everything that is asked of a
 * server: files over HTTP, pages of the hub, listings and objects of S3.
 */
export interface NetworkLimits {
  /**
   * From a request until its answer's headers are there, milliseconds: names looked up, connections made and redirects
   * followed. An object store that wakes up a file from slow disks takes tens of seconds.
   */
  readonly headersMs: number;
  /** Without a byte of a body for so long, the connection is taken for dead, milliseconds. */
  readonly idleMs: number;
  /**
   * Least rate of a body, on average over `rateWindowMs`, and of a file over attempts that were cut with their pauses,
   * bytes per second. A modem brings 6,000. At this rate a gigabyte takes three days: somebody should look.
   */
  readonly leastBytesPerSecond: number;
  /** Over how much waiting the rate is averaged, milliseconds. Time that this side takes to write is no waiting. */
  readonly rateWindowMs: number;
  /**
   * Requests that may fail in a row without bringing what the rate asks for. A server that restarts is back in seconds.
   */
  readonly retries: number;
  /** The pause after the first of them, milliseconds; it doubles. */
  readonly retryMs: number;
  /** Longest pause a server may ask for (`retry-after`), milliseconds. It is asked again then, whatever it said. */
  readonly retryAfterMs: number;
  /** Redirects of one request. Mirrors and signed links take two or three; browsers follow 20. */
  readonly redirects: number;
  /** Most bytes of a file whose size was not expected. The largest files of data sets have tens of gigabytes. */
  readonly fileBytes: number;
  /** What a download leaves free on its disk, bytes: others write there too, the notes of this download among them. */
  readonly keepFreeBytes: number;
  /** From a request until a page of a listing is there as a whole, milliseconds. They have a megabyte at most. */
  readonly pageMs: number;
  /**
   * Most bytes of a page, inflated. A mirror that knows no pages answers with 200,000 files at once, 300 bytes each.
   */
  readonly pageBytes: number;
  /** Most bytes of an answer that says what is wrong. They have a few hundred; what is longer is no such answer. */
  readonly errorBytes: number;
  /** Pages of a listing. Stores send 1,000 entries at a time, a few of them 100. */
  readonly pages: number;
  /** Entries of a listing. ImageNet has 1.3 million files; each takes some 300 bytes of memory. */
  readonly entries: number;
  /** Characters that the names in a listing have together: of so many entries, 250 each. */
  readonly nameCharacters: number;
  /** A whole listing, milliseconds. Two million entries come in ten minutes from S3. */
  readonly listingMs: number;
}

/** The limits, where nobody asks for others. */
export const NETWORK_LIMITS = {
  headersMs: 60_000,
  idleMs: 60_000,
  leastBytesPerSecond: 4096,
  rateWindowMs: 60_000,
  retries: 5,
  retryMs: 500,
  retryAfterMs: 60_000,
  redirects: 10,
  fileBytes: 2 ** 40,
  keepFreeBytes: 2 ** 26,
  pageMs: 120_000,
  pageBytes: 2 ** 26,
  errorBytes: 2 ** 16,
  pages: 10_000,
  entries: 2_000_000,
  nameCharacters: 2 ** 29,
  listingMs: 3_600_000,
} as const satisfies NetworkLimits;
