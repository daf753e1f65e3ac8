import { dirname } from "node:path";
import { DataError } from "../data-error.js";
import { numberOf, refusalOf } from "./answer.js";
import { follow } from "./follow.js";
import { Interrupted } from "./interrupted.js";
import type { NetworkLimits } from "./limits.js";
import type { PartFile, Version } from "./part-file.js";
import { requireRoom, roomIn } from "./space.js";
import { Watch } from "./watch.js";

export interface RequestOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes it must have. */
  readonly bytes: number | undefined;
  readonly maxBytes: number;
  /** What to say to somebody who may not have it. */
  readonly credentials: string | undefined;
  readonly limits: NetworkLimits;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((done: number, total: number | undefined) => void) | undefined;
}

/**
 * One request for what is missing of a file, appended as it comes.
 *
 * @returns When everything is there, as far as the server says.
 * @throws {Interrupted} If it ended early, or what had come was of another version: then nothing of it is left.
 * @throws {Error} If the server refuses, or the disk has no room for it. {DataError} If what it offers is not what is
 *   expected.
 */
export async function requestRest(url: URL, part: PartFile, options: RequestOptions): Promise<void> {
  using watch = new Watch(options.limits, options.signal);
  const response = await follow(url, headersOf(part, options.headers), watch, options.limits);
  const total = await acceptAnswer(response, url, part, options);
  if (total !== "complete") await appendBody(response, part, total, watch, options);
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
  const refusal = refusalOf(response, options.credentials);
  if (refusal !== undefined)
    throw new Error(status === 404 || status === 410 ? `${refusal}: ${url.host} has no such file` : refusal);
  if (status !== 200 && status !== 206) throw new Error(`the server answered ${status}, expected 200 or 206`);
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") throw new DataError(`the server encodes it as ${encoding}, which was not asked for`);

  if (status === 200 && part.size > 0) await part.restart(); // it ignores ranges, or the file has changed
  const length = headers.get("content-length");
  const total = status === 206 ? numberOf(range?.[2]) : numberOf(length ?? undefined);
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
  const size = total ?? expected;
  if (size !== undefined) await requireRoom(dirname(part.path), size - part.size, options.limits);
  await part.begin(version);
  return size;
}

async function appendBody(
  response: Response,
  part: PartFile,
  total: number | undefined,
  watch: Watch,
  { maxBytes, limits, onProgress }: RequestOptions,
): Promise<void> {
  const folder = dirname(part.path);
  const room = total === undefined ? part.size + (await roomIn(folder, limits)) : Infinity;
  onProgress?.(part.size, total);
  for await (const chunk of response.body ? watch.chunks(response.body as AsyncIterable<Uint8Array>) : []) {
    const size = part.size + chunk.length;
    if (size > (total ?? maxBytes)) throw new DataError(`the server sends more than ${total ?? maxBytes} bytes`);
    if (size > room)
      throw new Error(`the server sends more than the ${room} bytes that ${JSON.stringify(folder)} has room for`);
    await part.append(chunk);
    onProgress?.(part.size, total);
  }
  if (total !== undefined && part.size < total)
    throw new Interrupted(`the connection ended after ${part.size} of ${total} bytes`);
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
