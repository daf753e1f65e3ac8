import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { GetObjectCommandOutput, S3Client } from "@aws-sdk/client-s3";
import { DataError, writeText } from "@madformer/artifacts";
import { imageExtension, type ImageFile } from "./pack.js";
import type { TarSource } from "./tars.js";

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

/** Asked for at once: what is lost when a connection is cut, and what a server must be able to send in a minute. */
const RANGE_BYTES = 2 ** 26;
const FAILURES = 5;

/**
 * Lists what lies below `s3://bucket/prefix`: if there are tars, these; else the images. Keys are split at slashes; parts that
 * start with a dot are passed over.
 *
 * Objects are read in ranges, on the condition that they are still those of the list; a read that was cut goes on. Each is
 * checked by its size, and by the ETag where that is the MD5 of its bytes (not of uploads in parts, not under KMS).
 *
 * Credentials, region and endpoint come from the SDK's environment: `AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`, ...
 * A server with an endpoint of its own is asked by path, `endpoint/bucket/key`.
 *
 * @param retryMs The pause after a read that was cut and brought nothing, milliseconds; it doubles.
 * @throws {DataError} If the prefix cannot be listed, or holds neither tars nor images.
 */
export async function openS3(uri: string, signal: AbortSignal, retryMs = 200): Promise<S3Source & AsyncDisposable> {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/s.exec(uri);
  if (!match) throw new DataError(`Cannot read ${JSON.stringify(uri)}: expected s3://bucket/prefix`);
  const bucket = new Bucket(uri, match[1]!, await connect(), signal, retryMs);
  const close = async (): Promise<void> => bucket.client.destroy();
  try {
    const objects = await bucket.list((match[2] ?? "").replace(/\/+$/, ""));
    const tars = objects.filter(({ path }) => path.endsWith(".tar"));
    if (tars.length > 0)
      return { kind: "tars", tars: tars.map((object) => bucket.tar(object)), [Symbol.asyncDispose]: close };
    const images = objects.filter(({ path }) => imageExtension(path) !== undefined);
    if (images.length === 0)
      throw new DataError(
        `Cannot use ${JSON.stringify(uri)}: none of its ${objects.length} objects is a tar or an image`,
      );
    return { kind: "images", images: images.map((object) => bucket.image(object)), [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function connect(): Promise<S3Client> {
  const { S3Client } = await import("@aws-sdk/client-s3"); // half a second that other sources need not wait
  const own = process.env["AWS_ENDPOINT_URL_S3"] ?? process.env["AWS_ENDPOINT_URL"];
  const region = process.env["AWS_REGION"] ?? process.env["AWS_DEFAULT_REGION"];
  return new S3Client(own === undefined ? {} : { forcePathStyle: true, region: region ?? "us-east-1" });
}

class Bucket {
  constructor(
    private readonly uri: string,
    private readonly name: string,
    readonly client: S3Client,
    private readonly signal: AbortSignal,
    private readonly retryMs: number,
  ) {}

  async list(prefix: string): Promise<S3Object[]> {
    const { ListObjectsV2Command } = await import("@aws-sdk/client-s3");
    const objects: S3Object[] = [];
    let token: string | undefined;
    do {
      const page = await this.ask(this.uri, () =>
        this.client.send(
          new ListObjectsV2Command({ Bucket: this.name, Prefix: prefix, ...(token && { ContinuationToken: token }) }),
          { abortSignal: this.signal },
        ),
      );
      for (const { Key: key, Size: sizeBytes, ETag: etag } of page.Contents ?? []) {
        if (key === undefined || sizeBytes === undefined || etag === undefined) continue;
        const path = below(prefix, key);
        if (path !== undefined) objects.push({ path, key, sizeBytes, etag });
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
    return objects.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  image(object: S3Object): ImageFile {
    const { path, sizeBytes, etag } = object;
    const read = async (): Promise<Uint8Array> => {
      const [hash, chunks] = [createHash("md5"), [] as Uint8Array[]];
      const about: About = {};
      for await (const chunk of this.bytesOf(object, 0, about)) {
        hash.update(chunk);
        chunks.push(chunk);
      }
      this.check(object, hash.digest("hex"), about);
      return Buffer.concat(chunks);
    };
    return { path, sizeBytes, id: etag, read };
  }

  tar(object: S3Object): TarSource {
    const { path, sizeBytes, etag } = object;
    return {
      name: path,
      id: `${sizeBytes} ${etag}`,
      fetch: (to, onProgress) => this.fetchFile(object, to, (done) => onProgress(done / Math.max(1, sizeBytes))),
    };
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
    const file = await open(part, "a");
    try {
      let done = (await stat(part)).size;
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
    try {
      this.check(object, hash.digest("hex"), about);
    } catch (error) {
      await rm(part, { force: true });
      throw error;
    }
    await rename(part, to);
    await rm(note, { force: true });
  }

  /** An object's bytes from `from` on, range by range. */
  private async *bytesOf(object: S3Object, from: number, about: About): AsyncGenerator<Uint8Array, void, undefined> {
    const { GetObjectCommand } = await import("@aws-sdk/client-s3");
    const { key, sizeBytes, etag } = object;
    const name = `s3://${this.name}/${key}`;
    let failures = 0;
    for (let at = from; at < sizeBytes;) {
      const end = Math.min(at + RANGE_BYTES, sizeBytes);
      const range = { Range: `bytes=${at}-${end - 1}`, IfMatch: etag };
      const command = new GetObjectCommand({ Bucket: this.name, Key: key, ...range });
      const answer = await this.ask(name, () => this.client.send(command, { abortSignal: this.signal }));
      about.encryption = answer.ServerSideEncryption ?? about.encryption;
      checkRange(answer, name, at, end, sizeBytes);
      const before = at;
      try {
        for await (const chunk of answer.Body as AsyncIterable<Uint8Array>) {
          if (at + chunk.length > end)
            throw new DataError(`Cannot read ${name}: the server sends more than was asked for`);
          at += chunk.length;
          yield chunk;
        }
        if (at < end) throw new Error(`the connection ended after ${at} of ${sizeBytes} bytes`);
      } catch (cause) {
        this.signal.throwIfAborted();
        if (cause instanceof DataError) throw cause;
        failures = at > before ? 0 : failures + 1;
        if (failures > FAILURES) throw new DataError(`Cannot read ${name}: ${(cause as Error).message}`, { cause });
        await sleep(this.retryMs * 2 ** failures, undefined, { signal: this.signal });
      }
    }
  }

  private check({ key, etag }: S3Object, md5: string, { encryption }: About): void {
    const expected = /^"([0-9a-f]{32})"$/.exec(etag)?.[1];
    if (expected === undefined || encryption?.startsWith("aws:") || md5 === expected) return;
    throw new DataError(`Cannot use s3://${this.name}/${key}: its MD5 is ${md5}, its ETag says ${expected}`);
  }

  /** Sends a request, which the SDK tries three times; its errors become sentences. */
  private async ask<T>(what: string, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (cause) {
      this.signal.throwIfAborted();
      const { name, message, $metadata } = cause as Error & { $metadata?: { httpStatusCode?: number } };
      const status = $metadata?.httpStatusCode;
      const reason = status === 412 ? "it has changed since it was listed" : message === "" ? name : message;
      throw new DataError(`Cannot read ${what}: ${reason}${status && status !== 412 ? ` (${name}, ${status})` : ""}`, {
        cause,
      });
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

function checkRange(answer: GetObjectCommandOutput, name: string, at: number, end: number, size: number): void {
  const whole = at === 0 && end === size && answer.ContentRange === undefined;
  if (!whole && answer.ContentRange !== `bytes ${at}-${end - 1}/${size}`)
    throw new DataError(
      `Cannot read ${name}: asked for bytes ${at} to ${end - 1} of ${size}, the server sends ${answer.ContentRange ?? "all"}`,
    );
}
