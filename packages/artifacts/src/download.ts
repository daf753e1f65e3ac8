import { createReadStream } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { DataError } from "./data-error.js";
import { Attempts, pause } from "./download/attempts.js";
import { Interrupted } from "./download/interrupted.js";
import { NETWORK_LIMITS, type NetworkLimits } from "./download/limits.js";
import { PartFile } from "./download/part-file.js";
import { requestRest } from "./download/request.js";
import { requireRoom } from "./download/space.js";
import { writeAtomically } from "./file/atomic-file.js";
import { digestFile, exists } from "./store/files.js";
import { takeLock } from "./store/lock.js";
import type { Digest } from "./store/manifest.js";

export interface DownloadOptions {
  /** What the file must hash to. Checked before it gets its name. */
  readonly sha256?: Digest;
  /** How many bytes it must have. */
  readonly bytes?: number;
  /** Most bytes it may have. Default `fileBytes` of the limits, 1 TiB. */
  readonly maxBytes?: number;
  /** Sent with each request; `authorization` is not passed on to another host. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Called as bytes come, of `total` if that is known. */
  readonly onProgress?: (done: number, total: number | undefined) => void;
  /** Told, now and then, that another process is getting the same file. */
  readonly onWait?: ((message: string) => void) | undefined;
  /** What to say to somebody who may not have it, after `the server answered 403: `. */
  readonly credentials?: string;
  /** Those of `NETWORK_LIMITS` that are to be others. */
  readonly limits?: Partial<NetworkLimits>;
}

export interface Downloaded {
  readonly bytes: number;
  readonly sha256: Digest;
}

/**
 * Gets a file: from a server, or from this machine by a `file:` URL or a path.
 *
 * What has come lies in `<path>.part` until it is complete and checked. A connection that was cut, or a process that
 * was killed, goes on from there with a ranged request, if the server still has the same version (by its ETag or date,
 * or because `sha256` is known and the whole is checked at the end); else it starts again. A file that is there already
 * and is what `sha256` or `bytes` ask for is left alone.
 *
 * Time, size and the disk's room are bounded, whatever the server does: see `NETWORK_LIMITS`.
 *
 * @param source An `http:`, `https:` or `file:` URL, or a path.
 * @param path Where to write it. Its folder must exist.
 * @returns What is now at `path`.
 * @throws {RangeError} If the source is none. {DataError} If it is not what was expected; nothing is at `path` then
 *   that was not there before.
 * @throws {Error} If it cannot be had or written; what has come stays for the next time. `signal.reason`, when aborted.
 *
 * @example
 * await download("https://example.org/weights.pt", "weights.pt", { sha256: "6fa3..." });
 */
export async function download(source: string, path: string, options: DownloadOptions = {}): Promise<Downloaded> {
  const there = await thereAlready(path, options);
  if (there) return there;
  const url = urlOf(source);
  const name = JSON.stringify(nameOf(url, source));
  try {
    if (url === undefined || url.protocol === "file:")
      return await copy(url ? fileURLToPath(url) : source, path, options);
    if (url.protocol !== "http:" && url.protocol !== "https:")
      throw new RangeError(`its protocol is ${url.protocol}, expected http:, https: or file:`);
    return await downloadFrom(url, path, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    const { message } = error as Error;
    if (/^Cannot /.test(message)) throw error;
    const Kind = error instanceof DataError ? DataError : error instanceof RangeError ? RangeError : Error;
    throw new Kind(`Cannot download ${name}: ${message}`, { cause: error });
  }
}

async function downloadFrom(url: URL, path: string, options: DownloadOptions): Promise<Downloaded> {
  const { signal, headers = {}, bytes, credentials, onProgress, onWait } = options;
  const limits = { ...NETWORK_LIMITS, ...options.limits };
  const maxBytes = maxBytesOf(options);
  if (bytes !== undefined && bytes > maxBytes)
    throw new DataError(`it is to have ${bytes} bytes, expected ${maxBytes} at most`);
  await using _lock = await takeLock(`${path}.lock`, { ...(signal && { signal }), ...(onWait && { onWait }) });
  const there = await thereAlready(path, options); // another process may have got it meanwhile
  if (there) return there;
  await using part = await PartFile.open(path, url.href, options.sha256 !== undefined);
  const attempts = new Attempts(limits, part.size);
  for (;;) {
    try {
      signal?.throwIfAborted();
      await requestRest(url, part, { headers, bytes, maxBytes, credentials, limits, signal, onProgress });
      const got = { bytes: part.size, sha256: part.digest() };
      const problem = problemOf(got, options);
      if (problem === undefined) {
        await part.finish();
        return got;
      }
      const { resumed } = part;
      await part.restart();
      if (!resumed) throw new DataError(problem);
      throw new Interrupted(problem); // the old part may have been of another version
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      const pauseMs = attempts.next(part.size, error.waitMs);
      if (pauseMs === undefined)
        throw new Error(`${error.message}; ${attempts.inVain} requests in a row brought too little`, { cause: error });
      await pause(pauseMs, signal);
    }
  }
}

async function thereAlready(path: string, options: DownloadOptions): Promise<Downloaded | undefined> {
  if ((options.sha256 === undefined && options.bytes === undefined) || !(await exists(path))) return undefined;
  const there = await digestFile(path);
  return problemOf(there, options) === undefined ? there : undefined;
}

/** Copies a file of this machine, and checks it on the way. */
async function copy(from: string, path: string, options: DownloadOptions): Promise<Downloaded> {
  const { signal, onProgress } = options;
  const expected = await digestFile(from);
  const problem = problemOf(expected, options);
  if (problem !== undefined) throw new DataError(problem);
  await requireRoom(dirname(path), expected.bytes, { ...NETWORK_LIMITS, ...options.limits });
  await writeAtomically(path, async (file) => {
    for await (const chunk of createReadStream(from, { highWaterMark: 1 << 20, ...(signal && { signal }) })) {
      await file.append(chunk as Uint8Array);
      onProgress?.(file.position, expected.bytes);
    }
  });
  return expected;
}

const maxBytesOf = ({ maxBytes, limits }: DownloadOptions): number =>
  maxBytes ?? limits?.fileBytes ?? NETWORK_LIMITS.fileBytes;

/** What is wrong with a file, if anything. */
function problemOf(got: Downloaded, options: DownloadOptions): string | undefined {
  const [{ sha256, bytes }, maxBytes] = [options, maxBytesOf(options)];
  if (bytes !== undefined && got.bytes !== bytes) return `it has ${got.bytes} bytes, expected ${bytes}`;
  if (got.bytes > maxBytes) return `it has ${got.bytes} bytes, more than ${maxBytes}`;
  if (sha256 !== undefined && got.sha256 !== sha256.toLowerCase())
    return `its SHA-256 is ${got.sha256}, expected ${sha256}`;
  return undefined;
}

/** @returns Nothing if it is a path; a letter and a colon are a drive. */
function urlOf(source: string): URL | undefined {
  if (!/^[a-z][a-z0-9+.-]+:\/\//i.test(source)) return undefined;
  if (!URL.canParse(source)) throw new RangeError(`Cannot download ${JSON.stringify(source)}: it is no URL`);
  return new URL(source);
}

/** A URL as messages show it: without what may be secret. */
function nameOf(url: URL | undefined, source: string): string {
  return url ? `${url.protocol}//${url.host}${url.pathname}` : source;
}
