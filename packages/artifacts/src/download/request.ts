import { DataError } from "../data-error.js";
import type { PartFile, Version } from "./part-file.js";

/** A request that failed in a way that may pass: the next one goes on where it ended. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  constructor(
    message: string,
    /** What the server asks to wait, if it does. */
    readonly waitMs = 0,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export interface RequestOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes it must have. */
  readonly bytes: number | undefined;
  readonly maxBytes: number;
  /** Without a byte for so long, the connection is taken for dead. */
  readonly idleMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((done: number, total: number | undefined) => void) | undefined;
}

/** What to try again: too early, too often, or trouble of the server's own. */
const PASSING: readonly number[] = [408, 425, 429, 500, 502, 503, 504];
const MAX_WAIT_MS = 60_000;

/**
 * One request for what is missing of a file, appended as it comes.
 *
 * @returns When everything is there, as far as the server says.
 * @throws {Interrupted} If it ended early, or what had come was of another version: then nothing of it is left.
 * @throws {Error} If the server refuses. {DataError} If what it offers is not what is expected.
 */
export async function requestRest(url: URL, part: PartFile, options: RequestOptions): Promise<void> {
  using idle = new IdleTimer(options.idleMs, options.signal);
  const response = await passing(idle, () =>
    fetch(url, { headers: headersOf(part, options.headers), signal: idle.signal, redirect: "follow" }),
  );
  try {
    const total = await acceptAnswer(response, url, part, options);
    if (total === "complete") return;
    await appendBody(response, part, total, idle, options);
  } finally {
    await response.body?.cancel().catch(() => undefined);
  }
}

function headersOf(part: PartFile, headers: Readonly<Record<string, string>>): Headers {
  const sent = new Headers(headers);
  sent.set("accept-encoding", "identity"); // sizes and ranges are those of the file
  if (part.size === 0) return sent;
  sent.set("range", `bytes=${part.size}-`);
  const { etag, lastModified } = part.version ?? {};
  const validator = etag?.startsWith("W/") ? lastModified : (etag ?? lastModified);
  if (validator !== undefined) sent.set("if-range", validator);
  return sent;
}

/** @returns How many bytes the file has, if the server says so. */
async function acceptAnswer(
  response: Response,
  url: URL,
  part: PartFile,
  options: RequestOptions,
): Promise<number | undefined | "complete"> {
  const { status, headers } = response;
  const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
  if (status === 416 && part.size > 0) {
    if (Number(range?.[2]) === part.size && (part.version?.total ?? part.size) === part.size) return "complete";
    await part.restart();
    throw new Interrupted("the server has no such range of it");
  }
  if (PASSING.includes(status)) throw new Interrupted(`the server answered ${statusText(response)}`, waitMs(headers));
  if (status !== 200 && status !== 206) throw new Error(refusal(response, url));
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") throw new DataError(`the server encodes it as ${encoding}, which was not asked for`);

  if (status === 200 && part.size > 0) await part.restart(); // it ignores ranges, or the file has changed
  const length = headers.get("content-length");
  const total = status === 206 ? number(range?.[2]) : number(length ?? undefined);
  const version = versionOf(headers, total);
  if (status === 206 && (Number(range?.[1]) !== part.size || isOther(part.version, version))) {
    await part.restart();
    throw new Interrupted("the server sent another range, or the file has changed");
  }
  const expected = options.bytes;
  if (expected !== undefined && total !== undefined && total !== expected)
    throw new DataError(`the server offers ${total} bytes, expected ${expected}`);
  if (total !== undefined && total > options.maxBytes)
    throw new DataError(`the server offers ${total} bytes, more than ${options.maxBytes}`);
  await part.begin(version);
  return total ?? expected;
}

async function appendBody(
  response: Response,
  part: PartFile,
  total: number | undefined,
  idle: IdleTimer,
  { maxBytes, onProgress }: RequestOptions,
): Promise<void> {
  const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined;
  onProgress?.(part.size, total);
  try {
    while (reader) {
      idle.restart();
      const { done, value } = await passing(idle, () => reader.read());
      if (done) break;
      if (part.size + value.length > (total ?? maxBytes))
        throw new DataError(`the server sends more than ${total ?? maxBytes} bytes`);
      await part.append(value);
      onProgress?.(part.size, total);
    }
  } finally {
    await reader?.cancel().catch(() => undefined);
    reader?.releaseLock();
  }
  if (total !== undefined && part.size < total)
    throw new Interrupted(`the connection ended after ${part.size} of ${total} bytes`);
}

/** Runs a step of the network's; its failures may pass. That it was aborted is for the caller to see. */
async function passing<T>(idle: IdleTimer, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    throw new Interrupted(idle.signal.aborted ? "nothing came for too long" : reasonOfNetwork(cause), 0, { cause });
  }
}

/** undici says "fetch failed" and hides why one cause deeper. */
function reasonOfNetwork(error: unknown): string {
  const { cause, message } = error as Error;
  const { code, message: deeper } = (cause ?? {}) as NodeJS.ErrnoException;
  if (code === "ECONNREFUSED") return "the connection was refused";
  if (code === "ENOTFOUND") return "there is no such host";
  return deeper ?? message;
}

class IdleTimer implements Disposable {
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;
  readonly signal: AbortSignal;

  constructor(idleMs: number, outer: AbortSignal | undefined) {
    this.timer = setTimeout(() => this.controller.abort(), idleMs);
    this.signal = outer ? AbortSignal.any([outer, this.controller.signal]) : this.controller.signal;
  }

  restart(): void {
    this.timer.refresh();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.timer);
  }
}

function versionOf(headers: Headers, total: number | undefined): Version {
  return { etag: headers.get("etag") ?? undefined, lastModified: headers.get("last-modified") ?? undefined, total };
}

function isOther(a: Version | undefined, b: Version): boolean {
  return (
    a === undefined ||
    a.etag !== b.etag ||
    (a.etag === undefined && a.lastModified !== b.lastModified) ||
    (a.total !== undefined && b.total !== undefined && a.total !== b.total)
  );
}

const number = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;

function waitMs(headers: Headers): number {
  return Math.min((number(headers.get("retry-after") ?? undefined) ?? 0) * 1000, MAX_WAIT_MS);
}

const statusText = ({ status, statusText }: Response): string => `${status} ${statusText}`.trim();

function refusal(response: Response, url: URL): string {
  const answered = `the server answered ${statusText(response)}`;
  if (response.status === 401 || response.status === 403) return `${answered}: it wants other credentials`;
  if (response.status === 404 || response.status === 410) return `${answered}: ${url.host} has no such file`;
  return answered;
}
