import type { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import type * as Sdk from "@aws-sdk/client-s3";
import type { Blob, BlobStore, Content } from "./blob-store.js";

/** Attempts to write, as many as the SDK makes to read; it makes one where the body is a stream. */
const WRITES = 3;

const nothing = (): void => undefined;
const QUIET = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing };

/**
 * A prefix of a bucket. Region and credentials come from where all of AWS' programs take them; `AWS_ENDPOINT_URL` names
 * a server that is not AWS.
 */
export class S3Store implements BlobStore {
  /** Whether the server knows `If-None-Match`. One that says that it does not is asked before each write instead. */
  private isConditional = true;

  private constructor(
    readonly name: string,
    private readonly sdk: typeof Sdk,
    private readonly client: Sdk.S3Client,
    private readonly bucket: string,
    private readonly prefix: string,
  ) {}

  /**
   * @param uri `s3://bucket` or `s3://bucket/prefix`.
   * @throws {Error} If it is something else.
   */
  static async open(uri: string): Promise<S3Store> {
    const [, bucket, prefix] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/s.exec(uri) ?? [];
    if (bucket === undefined) throw new Error(`Cannot use ${JSON.stringify(uri)}: expected s3://bucket/prefix`);
    const sdk = await import("@aws-sdk/client-s3"); // half a second that a folder need not wait
    const own = process.env["AWS_ENDPOINT_URL_S3"] ?? process.env["AWS_ENDPOINT_URL"];
    const region = process.env["AWS_REGION"] ?? process.env["AWS_DEFAULT_REGION"];
    const client = new sdk.S3Client({
      ...(own !== undefined && { forcePathStyle: true, region: region ?? "us-east-1" }),
      // Stores that are not AWS refuse or mangle the SDK's own checksums; there is one of ours.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      logger: QUIET, // or it warns of bodies that it does not send again: that is done here
      requestHandler: { connectionTimeout: 3_000 },
    });
    const path = (prefix ?? "").replace(/^\/+|\/+$/g, "");
    return new S3Store(uri, sdk, client, bucket, path === "" ? "" : `${path}/`);
  }

  async read(name: string, abortSignal: AbortSignal): Promise<Blob | undefined> {
    const answer = await orNothing(this.client.send(new this.sdk.GetObjectCommand(this.at(name)), { abortSignal }));
    if (answer === undefined) return undefined;
    return { bytes: answer.ContentLength ?? -1, body: answer.Body as Readable };
  }

  async size(name: string, abortSignal: AbortSignal): Promise<number | undefined> {
    const answer = await orNothing(this.client.send(new this.sdk.HeadObjectCommand(this.at(name)), { abortSignal }));
    return answer && (answer.ContentLength ?? -1);
  }

  async write(name: string, content: Content, once: boolean, signal: AbortSignal): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      if (once && !this.isConditional && (await this.size(name, signal)) !== undefined) return false;
      const [body, failing] = [content.open(), new AbortController()];
      body.on("error", (error) => failing.abort(error)); // the SDK does not listen
      try {
        const command = new this.sdk.PutObjectCommand({
          ...this.at(name),
          Body: body,
          ContentLength: content.bytes,
          ...(once && this.isConditional && { IfNoneMatch: "*" }),
        });
        await this.client.send(command, { abortSignal: AbortSignal.any([signal, failing.signal]) });
        return true;
      } catch (error) {
        failing.signal.throwIfAborted();
        const { name: problem, $metadata } = error as Partial<Sdk.S3ServiceException>;
        const status = $metadata?.httpStatusCode ?? 0;
        if (once && (status === 412 || problem === "ConditionalRequestConflict")) return false; // another was first
        if (once && this.isConditional && (status === 501 || problem === "NotImplemented")) this.isConditional = false;
        else if (attempt === WRITES || signal.aborted || (status >= 400 && status < 500 && status !== 429)) throw error;
        else await pause(200 * 2 ** attempt, undefined, { signal });
      } finally {
        body.destroy();
      }
    }
  }

  async close(): Promise<void> {
    this.client.destroy();
  }

  private at(name: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.bucket, Key: this.prefix + name };
  }
}

async function orNothing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    const { name, $metadata } = error as Partial<Sdk.S3ServiceException>;
    if ($metadata?.httpStatusCode === 404 && name !== "NoSuchBucket") return undefined;
    throw error;
  }
}
