import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import {
  Attempts,
  DataError,
  Listing,
  md5Of,
  NETWORK_LIMITS,
  pause,
  requireRoom,
  S3,
  writeText,
  type NetworkLimits,
} from "@madformer/artifacts";
import type { StageLog } from "@madformer/stage";
import { imageExtension, kindsOf, type ImageFile } from "./pack.js";
import type { TarSource } from "./tars.js";

export interface S3Options {
  readonly signal: AbortSignal;
  /** Told of what is left out. */
  readonly log: Pick<StageLog, "warn">;
  /** Whether to read without credentials, as anybody may read a public bucket. */
  readonly unsigned?: boolean;
  /** Those of `NETWORK_LIMITS` that are to be others. */
  readonly limits?: Partial<NetworkLimits>;
}

/** An object below a prefix. */
interface S3Object {
  /** Below the prefix, with forward slashes. */
  readonly path: string;
  readonly key: string;
  readonly sizeBytes: number;
  readonly etag: string;
}

/** What lies below a prefix: tars to take, or images to pack. */
export type S3Source =
  | { readonly kind: "tars"; readonly tars: readonly TarSource[] }
  | { readonly kind: "images"; readonly images: readonly ImageFile[] };

const HINT = `a public bucket is read without credentials where the source says "unsigned": true`;

/** Asked for at once. */
const RANGE_BYTES = 2 ** 26;
/** Reads of an object that came damaged, before it is taken for damaged in the store. */
const DAMAGED_READS = 3;

/**
 * Lists what lies below `s3://bucket/prefix`: if there are tars, these; else the images. Keys are split at slashes;
 * parts that start with a dot are passed over. What else is left out is said by a warning.
 *
 * Objects are read in ranges, on the condition that they are still those of the list; a read that was cut goes on. Each
 * is checked by its size, and by the ETag where that is the MD5 of its bytes (not of uploads in parts, not under KMS),
 * else by the checksum that comes with it, if it comes at once. What came damaged is dropped and read again.
 *
 * Credentials, region and endpoint come from the SDK's environment: `AWS_ACCESS_KEY_ID`, `AWS_REGION`,
 * `AWS_ENDPOINT_URL`, ... A server with an endpoint of its own is asked by path, `endpoint/bucket/key`.
 *
 * @throws {DataError} If the prefix cannot be listed, or holds neither tars nor images.
 */
export async function openS3(uri: string, options: S3Options): Promise<S3Source & AsyncDisposable> {
  const { bucket, objects, close } = await listS3(uri, options);
  const { log } = options;
  try {
    const tars = objects.filter(({ path }) => /\.tar$/i.test(path));
    const images = objects.filter(({ path }) => imageExtension(path) !== undefined);
    if (tars.length + images.length === 0)
      throw new DataError(
        `Cannot use ${JSON.stringify(uri)}: none of its ${objects.length} objects is a tar or an image${objects.length > 0 ? ` (${kindsOf(objects)})` : ""}`,
      );
    sayWhatIsLeft(objects, tars, images, log);
    if (tars.length > 0)
      return { kind: "tars", tars: tars.map((object) => bucket.tar(object)), [Symbol.asyncDispose]: close };
    return { kind: "images", images: images.map((object) => bucket.image(object)), [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * The objects at or below `s3://bucket/prefix` that fit, as files to fetch: checked and resumed as tars are.
 *
 * @param fits Of a path below the prefix; of an object that is the prefix itself, its last part.
 * @throws {DataError} If the prefix cannot be listed, or none fits.
 */
export async function s3Files(
  uri: string,
  fits: (path: string) => boolean,
  options: S3Options,
): Promise<{ readonly files: readonly TarSource[] } & AsyncDisposable> {
  const { bucket, objects, close } = await listS3(uri, options);
  const files = objects.filter(({ path }) => fits(path)).map((object) => bucket.tar(object));
  if (files.length > 0) return { files, [Symbol.asyncDispose]: close };
  await close();
  throw new DataError(`Cannot use ${JSON.stringify(uri)}: none of its ${objects.length} objects fits`);
}

async function listS3(uri: string, options: S3Options) {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/s.exec(uri);
  if (!match) throw new DataError(`Cannot read ${JSON.stringify(uri)}: expected s3://bucket/prefix`);
  const { signal, log, unsigned = false } = options;
  const limits = { ...NETWORK_LIMITS, ...options.limits };
  const store = await S3.open({ signal, unsigned, limits, hint: HINT });
  const close = (): Promise<void> => store[Symbol.asyncDispose]();
  try {
    const bucket = new Bucket(uri, match[1]!, store, signal, limits);
    return { bucket, objects: await bucket.list((match[2] ?? "").replace(/\/+$/, ""), log), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function sayWhatIsLeft(
  objects: readonly S3Object[],
  tars: readonly S3Object[],
  images: readonly S3Object[],
  log: S3Options["log"],
): void {
  const taken = new Set(tars.length > 0 ? tars : images);
  const left = objects.filter((object) => !taken.has(object));
  if (left.length === 0) return;
  const such = `passed over ${left.length} objects that are no ${tars.length > 0 ? "tars" : "images"}, such as`;
  const hint = `; ${images.length} of them are images, which are taken below a prefix without tars`;
  log.warn(`${such} ${JSON.stringify(left[0]!.path)}${tars.length > 0 && images.length > 0 ? hint : ""}`);
}

/** What came is not what the store says of it. */
class Damaged extends Error {
  override readonly name = "Damaged";
}

class Bucket {
  constructor(
    private readonly uri: string,
    private readonly name: string,
    private readonly store: S3,
    private readonly signal: AbortSignal,
    private readonly limits: NetworkLimits,
  ) {}

  async list(prefix: string, log: S3Options["log"]): Promise<S3Object[]> {
    const [objects, listing]: [S3Object[], Listing] = [[], new Listing(this.limits)];
    const unclear: string[] = [];
    let token: string | undefined;
    do {
      this.inList(() => listing.page(token ?? ""));
      const page = await this.store.list(this.uri, this.name, prefix, token);
      for (const { Key: key = "", Size: sizeBytes = -1, ETag: etag = "" } of page.Contents ?? []) {
        const path = below(prefix, key);
        if (path === undefined) continue;
        this.inList(() => listing.entry(key, etag));
        if (etag === "" || sizeBytes < 0 || !Number.isSafeInteger(sizeBytes)) unclear.push(path);
        else objects.push({ path, key, sizeBytes, etag });
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
      if (page.IsTruncated && token === undefined)
        this.inList(() => {
          throw new DataError("a page says that there are more, and not how to ask for them");
        });
    } while (token !== undefined);
    if (unclear.length > 0)
      log.warn(
        `passed over ${unclear.length} objects of which the list says no size or ETag, such as ${JSON.stringify(unclear[0])}`,
      );
    return objects.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  image(object: S3Object): ImageFile {
    const { path, sizeBytes, etag } = object;
    const read = (): Promise<Uint8Array> =>
      this.undamaged(object, async () => {
        const [hash, chunks, about]: [Hash, Uint8Array[], About] = [createHash("md5"), [], {}];
        for await (const chunk of this.bytesOf(object, 0, about)) {
          hash.update(chunk);
          chunks.push(chunk);
        }
        checkMd5(object, hash, about);
        return Buffer.concat(chunks);
      });
    return { path, sizeBytes, id: etag, read };
  }

  tar(object: S3Object): TarSource {
    const { path, sizeBytes, etag } = object;
    const fetch: TarSource["fetch"] = (to, onProgress) =>
      this.undamaged(object, () => this.fetchFile(object, to, (done) => onProgress(done / Math.max(1, sizeBytes))));
    return { name: path, id: `${sizeBytes} ${etag}`, sizeBytes, fetch };
  }

  /** Into `<to>.part`, whose version stands in `<to>.part.json`; so it goes on where an earlier attempt ended. */
  private async fetchFile(object: S3Object, to: string, onProgress: (done: number) => void): Promise<void> {
    const [part, note] = [`${to}.part`, `${to}.part.json`];
    const version = JSON.stringify({ uri: this.uri, ...object });
    if ((await readFile(note, "utf8").catch(() => undefined)) !== version) {
      await rm(part, { force: true });
      await writeText(note, version);
    }
    const about: About = {};
    try {
      const file = await open(part, "a");
      try {
        let done = (await file.stat()).size;
        await this.checkRoom(object, done, dirname(to));
        for await (const chunk of this.bytesOf(object, done, about)) {
          await file.writeFile(chunk);
          onProgress((done += chunk.length));
        }
        await file.sync();
      } finally {
        await file.close();
      }
      const hash = createHash("md5");
      for await (const chunk of createReadStream(part, { highWaterMark: 1 << 20 })) hash.update(chunk as Uint8Array);
      checkMd5(object, hash, about);
    } catch (error) {
      if (error instanceof Damaged) await rm(part, { force: true });
      throw error;
    }
    await rename(part, to);
    await rm(note, { force: true });
  }

  private async checkRoom({ key, sizeBytes }: S3Object, done: number, folder: string): Promise<void> {
    const { fileBytes } = this.limits;
    try {
      if (sizeBytes > fileBytes) throw new DataError(`it has ${sizeBytes} bytes, expected ${fileBytes} at most`);
      await requireRoom(folder, sizeBytes - done, this.limits);
    } catch (cause) {
      throw new DataError(`Cannot use ${this.nameOf(key)}: ${(cause as Error).message}`, { cause });
    }
  }

  /** Reads an object, and again if it came damaged. */
  private async undamaged<T>({ key }: S3Object, read: () => Promise<T>): Promise<T> {
    for (let reads = 1; ; reads++) {
      try {
        return await read();
      } catch (cause) {
        if (!(cause instanceof Damaged)) throw cause;
        if (reads === DAMAGED_READS)
          throw new DataError(`Cannot use ${this.nameOf(key)}: ${cause.message}; read ${reads} times`, { cause });
        await pause(this.limits.retryMs, this.signal);
      }
    }
  }

  /** An object's bytes from `from` on, range by range. */
  private async *bytesOf(object: S3Object, from: number, about: About): AsyncGenerator<Uint8Array, void, undefined> {
    const { key, sizeBytes, etag } = object;
    const attempts = new Attempts(this.limits, from);
    for (let at = from; at < sizeBytes;) {
      const end = Math.min(at + RANGE_BYTES, sizeBytes);
      const answer = await this.store.get(this.name, key, `bytes=${at}-${end - 1}`, etag);
      const problem = (what: string, cause?: unknown): DataError =>
        new DataError(`Cannot read ${this.nameOf(key)}: ${what}`, { cause });
      about.encryption = answer.ServerSideEncryption ?? about.encryption;
      const other = otherRange(answer, at, end, sizeBytes);
      if (other !== undefined) throw problem(other);
      try {
        for await (const chunk of (answer.Body ?? []) as AsyncIterable<Uint8Array>) {
          if (at + chunk.length > end) throw problem("the server sends more than was asked for");
          at += chunk.length;
          yield chunk;
        }
        if (at < end) throw new Error("the connection ended");
      } catch (cause) {
        this.signal.throwIfAborted();
        if (cause instanceof DataError) throw cause;
        const { message } = cause as Error;
        if (message.startsWith("Checksum mismatch"))
          throw new Damaged(message.replace(/^C.*?: (.*?)\.?$/s, "its checksum does not fit: $1"), { cause });
        const pauseMs = attempts.next(at);
        if (pauseMs === undefined)
          throw problem(
            `${message} after ${at} of ${sizeBytes} bytes; ${attempts.inVain} requests in a row brought too little`,
            cause,
          );
        await pause(pauseMs, this.signal);
      }
    }
  }

  private nameOf(key: string): string {
    return this.store.nameOf(`s3://${this.name}/${key}`);
  }

  private inList(step: () => void): void {
    try {
      step();
    } catch (cause) {
      throw new DataError(`Cannot list ${this.store.nameOf(this.uri)}: ${(cause as Error).message}`, { cause });
    }
  }
}

/** What a server says about an object only when it is read. */
interface About {
  encryption?: string | undefined;
}

/** The path below a prefix, which is a whole number of parts. */
function below(prefix: string, key: string): string | undefined {
  const path =
    prefix === "" ? key : key === prefix ? key.slice(key.lastIndexOf("/") + 1) : key.slice(prefix.length + 1);
  if (prefix !== "" && key !== prefix && !key.startsWith(`${prefix}/`)) return undefined;
  return path === "" || path.endsWith("/") || path.split("/").some((part) => part.startsWith(".")) ? undefined : path;
}

/** @throws {Damaged} If the bytes are not those of the ETag, where that says so. */
function checkMd5({ etag }: S3Object, hash: Hash, { encryption }: About): void {
  const [found, expected] = [hash.digest("hex"), md5Of(etag, encryption)];
  if (expected !== undefined && found !== expected) throw new Damaged(`its MD5 is ${found}, its ETag says ${expected}`);
}

/** What is wrong with the range that comes, if anything. */
function otherRange(
  answer: { readonly ContentRange?: string | undefined },
  at: number,
  end: number,
  size: number,
): string | undefined {
  const whole = at === 0 && end === size && answer.ContentRange === undefined;
  if (whole || answer.ContentRange === `bytes ${at}-${end - 1}/${size}`) return undefined;
  return `asked for bytes ${at} to ${end - 1} of ${size}, the server sends ${answer.ContentRange ?? "all"}`;
}
