import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { reasonOf } from "../file/byte-source.js";
import type { ObjectRef } from "../store/store.js";
import { isOccupied, type Connection } from "./connection.js";
import { RemoteError } from "./remote-error.js";

export interface UploadOptions {
  /** Only if there is none. */
  readonly once: boolean;
  /** Whether the server compares what it gets with the SHA-256 that the request names; else its ETag is compared. */
  readonly compares: boolean;
  /** Told of bytes as they go; of a try that failed, less. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

const PIECE_BYTES = 2 ** 18;
const NOTHING = new Uint8Array(0);
/** Parts of one object that are on their way at a time. */
const PARTS_TOGETHER = 2;
const MOST_PARTS = 9000;

/**
 * Uploads an object. Its bytes are hashed on their way, and the last of them leaves when the digest is right: a file
 * that was damaged never becomes an object. That what arrived is what was sent, the server says by comparing it with
 * the digest, or its ETag shows; where neither is so, it is read back.
 *
 * @returns Whether it was uploaded; false if there is one already.
 * @throws {RemoteError} Naming the object and the endpoint.
 */
export async function upload(
  connection: Connection,
  path: string,
  file: string,
  ref: ObjectRef,
  options: UploadOptions,
): Promise<boolean> {
  const { limits } = connection;
  const inParts = ref.bytes > limits.multipartBytes;
  const send = inParts ? sendParts : sendWhole;
  for (let tries = 1; ; tries++) {
    let sent: Sent | undefined;
    try {
      sent = await send(connection, path, file, ref, options);
    } catch (error) {
      if (options.once && isOccupied(error)) return false;
      throw error;
    }
    if (options.compares && !inParts) return true;
    if (sent.etag === sent.expected || (await readsBack(connection, path, ref))) return true;
    await connection.remove([path]);
    if (tries === 2)
      throw new RemoteError(
        `Cannot write ${connection.nameOf(path)}: what arrives there are other bytes; tried ${tries} times`,
        "damaged",
      );
  }
}

interface Sent {
  readonly etag: string | undefined;
  readonly expected: string;
}

async function sendWhole(
  connection: Connection,
  path: string,
  file: string,
  ref: ObjectRef,
  { once, compares, onBytes }: UploadOptions,
): Promise<Sent> {
  const { PutObjectCommand } = await import("@aws-sdk/client-s3");
  let expected = "";
  const answer = await connection.attempt("write", path, false, async ({ client, at, signal, moved }) => {
    const failing = new AbortController();
    const md5 = createHash("md5");
    const see = (piece: Uint8Array): void => {
      if (!compares) md5.update(piece);
      moved(piece.length, piece.length === 0);
    };
    // The SDK does not listen to errors of a body: it is told to stop instead.
    let failure: unknown;
    const body = quietly(pieces(file, ref, see, onBytes), (error) => {
      failure = error;
      failing.abort(error);
    });
    const condition = once ? { IfNoneMatch: "*" } : {};
    // Where the SDK would send a checksum of its own, after the bytes, the digest does it, before them.
    const isSent = (await client.config.requestChecksumCalculation()) === "WHEN_SUPPORTED";
    const checksum = isSent ? { ChecksumSHA256: Buffer.from(ref.sha256, "hex").toString("base64") } : {};
    const command = new PutObjectCommand({ ...at, Body: body, ContentLength: ref.bytes, ...condition, ...checksum });
    command.middlewareStack.add(
      (next) => (args) => {
        (args.request as { headers: Record<string, string> }).headers["x-amz-content-sha256"] = ref.sha256;
        return next(args);
      },
      { step: "build", name: "digest" },
    );
    try {
      return await client.send(command, { abortSignal: AbortSignal.any([signal, failing.signal]) });
    } catch (error) {
      throw failure ?? error;
    } finally {
      body.destroy();
      expected = `"${md5.digest("hex")}"`;
    }
  });
  return { etag: answer?.ETag, expected };
}

async function sendParts(
  connection: Connection,
  path: string,
  file: string,
  ref: ObjectRef,
  { once, onBytes }: UploadOptions,
): Promise<Sent> {
  const { Upload } = await import("@aws-sdk/lib-storage");
  const partSize = Math.max(connection.limits.partBytes, Math.ceil(ref.bytes / MOST_PARTS));
  let expected = "";
  const answer = await connection.attempt(
    "write",
    path,
    false,
    async ({ client, at, signal, moved }) => {
      const parts = new PartDigests(partSize);
      const see = (piece: Uint8Array): void => {
        parts.update(piece);
        moved(piece.length, piece.length === 0);
      };
      const stop = new AbortController();
      const onAbort = (): void => stop.abort(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      const body = Readable.from(pieces(file, ref, see, onBytes), { objectMode: false, highWaterMark: PIECE_BYTES });
      const params = { ...at, Body: body, ContentLength: ref.bytes, ...(once ? { IfNoneMatch: "*" } : {}) };
      const whole = new Upload({ client, params, partSize, queueSize: PARTS_TOGETHER, abortController: stop });
      whole.on("httpUploadProgress", () => moved(0));
      try {
        return await whole.done();
      } finally {
        signal.removeEventListener("abort", onAbort);
        body.destroy();
        expected = parts.etag();
      }
    },
    { burstBytes: partSize * PARTS_TOGETHER },
  );
  return { etag: answer?.ETag, expected };
}

/** The ETag of an upload in parts: the MD5 of their MD5s, and their number. */
class PartDigests {
  private readonly digests: Buffer[] = [];
  private md5 = createHash("md5");
  private filled = 0;

  constructor(private readonly partBytes: number) {}

  update(piece: Uint8Array): void {
    for (let at = 0; at < piece.length;) {
      const end = Math.min(piece.length, at + this.partBytes - this.filled);
      this.md5.update(piece.subarray(at, end));
      this.filled += end - at;
      at = end;
      if (this.filled === this.partBytes) this.next();
    }
  }

  etag(): string {
    if (this.filled > 0) this.next();
    return `"${createHash("md5").update(Buffer.concat(this.digests)).digest("hex")}-${this.digests.length}"`;
  }

  private next(): void {
    this.digests.push(this.md5.digest());
    this.md5 = createHash("md5");
    this.filled = 0;
  }
}

/**
 * A file's bytes; nothing is seen when all have gone. The last of them come when it is known that they are those of the
 * object.
 */
async function* pieces(
  file: string,
  ref: ObjectRef,
  see: (piece: Uint8Array) => void,
  onBytes: ((bytes: number) => void) | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash("sha256");
  const handle = await open(file, "r").catch((cause: unknown) => {
    throw new RemoteError(`Cannot read ${JSON.stringify(file)}: ${reasonOf(cause)}`, "local", { cause });
  });
  let done = 0;
  try {
    while (done < ref.bytes) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, ref.bytes - done));
      const { bytesRead } = await handle.read(piece, 0, piece.length, done);
      if (bytesRead === 0) break;
      const read = piece.subarray(0, bytesRead);
      hash.update(read);
      done += bytesRead;
      if (done === ref.bytes && hash.digest("hex") !== ref.sha256) break;
      see(read);
      yield read;
      onBytes?.(bytesRead);
      if (done === ref.bytes) return see(NOTHING);
    }
    if (ref.bytes > 0)
      throw new RemoteError(`Cannot push ${JSON.stringify(file)}: it is damaged, its bytes are others`, "local");
  } finally {
    onBytes?.(done === ref.bytes ? 0 : -done);
    await handle.close();
  }
}

/** A body whose failure is told, and which then neither ends nor fails: it is destroyed by who uses it. */
function quietly(source: AsyncIterable<Uint8Array>, onFailure: (error: unknown) => void): Readable {
  async function* calm(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* source;
    } catch (error) {
      onFailure(error);
      await new Promise(() => undefined);
    }
  }
  const body = Readable.from(calm(), { objectMode: false, highWaterMark: PIECE_BYTES });
  body.on("error", () => undefined);
  return body;
}

/** Whether what lies there has the digest that it is called by. */
export async function readsBack(connection: Connection, path: string, ref: ObjectRef): Promise<boolean> {
  const { GetObjectCommand } = await import("@aws-sdk/client-s3");
  const found = await connection.attempt("read", path, true, async ({ client, at, signal, moved }) => {
    const { Body } = await client.send(new GetObjectCommand(at), { abortSignal: signal });
    const hash = createHash("sha256");
    for await (const chunk of (Body ?? []) as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      moved(chunk.length);
    }
    return hash.digest("hex");
  });
  return found === ref.sha256;
}
