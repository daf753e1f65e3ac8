import type { S3Client } from "@aws-sdk/client-s3";
import { DataError } from "../data-error.js";
import { Attempts, pause } from "../download/attempts.js";
import { Interrupted } from "../download/interrupted.js";
import { Listing } from "../download/listing.js";
import { HashingThread } from "../file/hashing-thread.js";
import { hasOwnEndpoint, S3 } from "../s3/client.js";
import type { RemoteLimits } from "./limits.js";
import { Pace } from "./pace.js";
import type { RemotePlace } from "./place.js";
import { RemoteError } from "./remote-error.js";

/** Something that lies in the remote store, as a list says. */
export interface Listed {
  /** Below the prefix. */
  readonly path: string;
  readonly bytes: number;
  readonly modified: Date;
}

/** What is sent with each request of the SDK's. */
export interface Sending {
  readonly client: S3Client;
  /** Bucket and key. */
  readonly at: { readonly Bucket: string; readonly Key: string };
  readonly signal: AbortSignal;
  /**
   * Says that bytes moved: without, and where they are too few for too long, the request is given up; and that all
   * have, so that an answer is waited for.
   */
  readonly moved: (bytes: number, isAll?: boolean) => void;
}

const HINT =
  "credentials and region come from where the AWS SDK looks for them (AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_REGION, ...)";
/** Trouble that passes, by its code where the status does not say so: a clock that is off is set right by the SDK. */
const PASSING_CODES = ["RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch", "RequestTimeTooSkewed", "SlowDown"];
const PASSING_STATUS = [408, 409, 425, 429, 500, 502, 503, 504];
const SYSTEM_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was cut",
  EPIPE: "the connection was cut",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "there is no such host",
};
/** At most so many keys are removed by one request. */
const REMOVED_TOGETHER = 1000;

/** What of an error of the SDK's is looked at. */
interface Failure extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

/**
 * Requests to the remote store. Each is tried again while its trouble may pass, with growing pauses and an end; before
 * the first answer of any kind there is little patience: most who get none are offline.
 */
export class Connection implements AsyncDisposable {
  /** Writes what comes. */
  readonly thread = new HashingThread();
  private s3: Promise<S3> | undefined;
  private patient: Promise<S3> | undefined;
  /** Whether any answer has come. */
  private reached = false;
  private contactEnds: number | undefined;

  constructor(
    readonly place: RemotePlace,
    readonly limits: RemoteLimits,
    readonly signal: AbortSignal,
  ) {}

  /** A small thing, whole; undefined if it is not there. */
  async read(path: string, mostBytes: number): Promise<Buffer | undefined> {
    const { GetObjectCommand } = await import("@aws-sdk/client-s3");
    return await this.attempt("read", path, true, async ({ client, at, signal, moved }) => {
      const { Body, ContentLength } = await client.send(new GetObjectCommand(at), { abortSignal: signal });
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      for await (const chunk of (Body ?? []) as AsyncIterable<Uint8Array>) {
        bytes += chunk.length;
        moved(chunk.length);
        if (bytes > mostBytes) throw new DataError(`it has more than ${mostBytes} bytes`);
        chunks.push(chunk);
      }
      if (ContentLength !== undefined && bytes !== ContentLength)
        throw new Interrupted(`the connection ended after ${bytes} of ${ContentLength} bytes`);
      return Buffer.concat(chunks);
    });
  }

  /** How many bytes a thing has; undefined if it is not there. */
  async sizeOf(path: string): Promise<number | undefined> {
    const { HeadObjectCommand } = await import("@aws-sdk/client-s3");
    const answer = await this.attempt("look at", path, true, ({ client, at, signal }) =>
      client.send(new HeadObjectCommand(at), { abortSignal: signal }),
    );
    return answer && (answer.ContentLength ?? -1);
  }

  /**
   * Writes a small thing.
   *
   * @param once Only if there is none: stores that know conditions keep what is there, whoever came first.
   * @returns Whether it was written; false if there is one.
   */
  async write(path: string, bytes: Uint8Array, once: boolean): Promise<boolean> {
    const { PutObjectCommand } = await import("@aws-sdk/client-s3");
    const condition = once ? { IfNoneMatch: "*" } : {};
    const body = { Body: bytes, ContentLength: bytes.length, ContentType: "application/json", ...condition };
    try {
      await this.attempt("write", path, false, ({ client, at, signal }) =>
        client.send(new PutObjectCommand({ ...at, ...body }), { abortSignal: signal }),
      );
      return true;
    } catch (error) {
      if (once && isOccupied(error)) return false;
      throw error;
    }
  }

  /** Everything whose path begins with `below`, in pages. */
  async *list(below: string): AsyncGenerator<Listed, void, undefined> {
    const { ListObjectsV2Command } = await import("@aws-sdk/client-s3");
    const listing = new Listing(this.limits);
    const { bucket: Bucket, prefix } = this.place;
    let token: string | undefined;
    do {
      const page = await this.attempt("list", below, false, async ({ client, signal }) => {
        const from = token === undefined ? {} : { ContinuationToken: token };
        const command = new ListObjectsV2Command({ Bucket, Prefix: `${prefix}${below}`, ...from });
        listing.page(token ?? "");
        return await client.send(command, { abortSignal: signal });
      });
      for (const { Key = "", Size = -1, LastModified } of page?.Contents ?? []) {
        if (!Key.startsWith(`${prefix}${below}`)) continue;
        listing.entry(Key);
        yield { path: Key.slice(prefix.length), bytes: Size, modified: LastModified ?? new Date() };
      }
      token = page?.IsTruncated ? page.NextContinuationToken : undefined;
      if (page?.IsTruncated && token === undefined)
        throw this.error("list", below, new DataError("a page does not say how to ask for the next"));
    } while (token !== undefined);
  }

  async remove(paths: readonly string[]): Promise<void> {
    const { DeleteObjectsCommand } = await import("@aws-sdk/client-s3");
    const { bucket: Bucket, prefix } = this.place;
    for (let i = 0; i < paths.length; i += REMOVED_TOGETHER) {
      const Objects = paths.slice(i, i + REMOVED_TOGETHER).map((path) => ({ Key: `${prefix}${path}` }));
      const command = { Bucket, Delete: { Objects, Quiet: true } };
      const [first = ""] = paths.slice(i);
      const answer = await this.attempt("remove", first, false, ({ client, signal }) =>
        client.send(new DeleteObjectsCommand(command), { abortSignal: signal }),
      );
      const [left] = answer?.Errors ?? [];
      if (left)
        throw this.error("remove", left.Key?.slice(prefix.length) ?? first, new Error(left.Message ?? left.Code));
    }
  }

  /**
   * Tries a request, and again while its trouble may pass.
   *
   * @param what Such as `read`, for messages.
   * @param mayLack Whether it may find nothing: then undefined is the answer to that.
   * @param step Sends it. It is told to stop when nothing has moved for too long.
   * @param furthest Says how much of it is done, bytes: as long as that grows, it is tried again.
   * @param burstBytes Bytes that the SDK takes at once, sends by itself, and sends again if they are lost.
   * @throws {RemoteError} Naming the object and the endpoint.
   */
  async attempt<T>(
    what: string,
    path: string,
    mayLack: boolean,
    step: (sending: Sending) => Promise<T>,
    { furthest = () => 0, burstBytes = 0 }: { furthest?: () => number; burstBytes?: number } = {},
  ): Promise<T | undefined> {
    const { limits, signal } = this;
    const attempts = new Attempts(limits, furthest());
    let [since, before] = [performance.now(), furthest()];
    for (;;) {
      signal.throwIfAborted();
      try {
        const answer = await this.once(burstBytes, path, step);
        this.reached = true;
        return answer;
      } catch (cause) {
        signal.throwIfAborted();
        const status = statusOf(cause);
        if (status !== undefined || (cause instanceof Interrupted && furthest() > before)) this.reached = true;
        if (mayLack && status === 404 && (cause as Error).name !== "NoSuchBucket") return undefined;
        if (furthest() > before) [since, before] = [performance.now(), furthest()];
        const pauseMs = isPassing(cause) ? attempts.next(furthest(), waitOf(cause)) : undefined;
        const ends = this.reached ? since + limits.deadlineMs : (this.contactEnds ?? 0);
        if (pauseMs === undefined || performance.now() + pauseMs >= ends)
          throw this.error(what, path, cause, attempts.inVain);
        await pause(pauseMs, signal);
      }
    }
  }

  /** One try of a request, within the time that it may take. */
  private async once<T>(burstBytes: number, path: string, step: (sending: Sending) => Promise<T>): Promise<T> {
    const { contactMs, idleMs, rateWindowMs, leastBytesPerSecond } = this.limits;
    const { client } = await (burstBytes > 0 ? (this.patient ??= this.open(5)) : (this.s3 ??= this.open(1)));
    const at = { Bucket: this.place.bucket, Key: `${this.place.prefix}${path}` };
    const burstMs = (burstBytes / leastBytesPerSecond) * 1000;
    const limits = { ...this.limits, idleMs: idleMs + burstMs, rateWindowMs: rateWindowMs + burstMs };
    using pace = new Pace(limits, this.signal);
    let ms = Infinity;
    if (!this.reached) {
      this.contactEnds ??= performance.now() + contactMs;
      ms = Math.max(1, this.contactEnds - performance.now());
    }
    return await pace.keep((signal, moved) => step({ client, at, signal, moved }), ms, contactMs);
  }

  /** What a failure is, in one sentence that names the object and the endpoint. */
  error(what: string, path: string, cause: unknown, tries = 1): RemoteError {
    if (cause instanceof RemoteError) return cause;
    const status = statusOf(cause);
    const code = (cause as NodeJS.ErrnoException).code;
    const said = reasonOf(cause);
    const again = tries > 1 ? `; tried ${tries} times` : "";
    const name = this.nameOf(path);
    const problem =
      cause instanceof DataError ? "damaged" : status === undefined && code !== "local" ? "unreachable" : "refused";
    const hint =
      status === 401 || status === 403 || (cause as Error).name === "CredentialsProviderError" ? `; ${HINT}` : "";
    return new RemoteError(`Cannot ${what} ${name}: ${said}${again}${hint}`, problem, { cause });
  }

  /** What messages call a thing in it: its URI, and who was asked. */
  nameOf(path: string): string {
    const { bucket, prefix } = this.place;
    return `s3://${bucket}/${prefix}${path} at ${this.endpoint}`;
  }

  get endpoint(): string {
    const own = process.env["AWS_ENDPOINT_URL_S3"] ?? process.env["AWS_ENDPOINT_URL"];
    if (own === undefined) return "Amazon S3";
    return URL.canParse(own) ? new URL(own).host : own.slice(0, 200);
  }

  private async open(maxAttempts: number): Promise<S3> {
    const { limits, signal } = this;
    const mode = hasOwnEndpoint() ? ("WHEN_REQUIRED" as const) : undefined;
    const quiet = (): void => undefined;
    return await S3.open({
      signal,
      unsigned: process.env["MADFORMER_REMOTE_UNSIGNED"] === "1",
      plainBodies: true,
      limits,
      hint: HINT,
      config: {
        maxAttempts,
        ...(mode &&
          process.env["AWS_REQUEST_CHECKSUM_CALCULATION"] === undefined && { requestChecksumCalculation: mode }),
        ...(mode &&
          process.env["AWS_RESPONSE_CHECKSUM_VALIDATION"] === undefined && { responseChecksumValidation: mode }),
        requestHandler: { connectionTimeout: limits.headersMs, requestTimeout: 0 },
        logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.thread[Symbol.asyncDispose]();
    for (const opened of [this.s3, this.patient]) await (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
}

/** The status of the answer, if one came. */
export function statusOf(cause: unknown): number | undefined {
  const failure = (cause instanceof RemoteError ? cause.cause : cause) as Failure | undefined;
  return failure?.$metadata?.httpStatusCode;
}

/** Whether something is there already that was to be written once. */
export const isOccupied = (error: unknown): boolean => statusOf(error) === 412;

function isPassing(cause: unknown): boolean {
  if (cause instanceof DataError || cause instanceof RemoteError) return false;
  const { name } = cause as Error;
  if (name === "CredentialsProviderError" || (cause as Error).message === "Region is missing") return false;
  const status = statusOf(cause);
  return status === undefined || PASSING_STATUS.includes(status) || status < 300 || PASSING_CODES.includes(name);
}

/** How long a server asks to wait, milliseconds. */
function waitOf(cause: unknown): number {
  if (cause instanceof Interrupted) return cause.waitMs;
  const text = (cause as Failure).$response?.headers?.["retry-after"] ?? "";
  return /^\d{1,9}$/.test(text) ? Number(text) * 1000 : 0;
}

function reasonOf(cause: unknown): string {
  const { name, message, code } = cause as NodeJS.ErrnoException;
  const status = statusOf(cause);
  // The SDK wraps errors of the system's, and keeps their words.
  const words = message.replace(/^AWS SDK error wrapper for \w+: /, "").replace(/\n[^]*$/, "");
  const [known] = /ECONNREFUSED|ECONNRESET|EPIPE|ENOTFOUND|EAI_AGAIN/.exec(`${code} ${words}`) ?? [];
  if (known !== undefined) return SYSTEM_WORDS[known] ?? words;
  if (words === "aborted" || words.includes("socket hang up")) return "the connection was cut";
  const said = words === "" ? name : words.slice(0, 500);
  if (status === undefined) return said;
  if (status < 300) return "the server's answer is none of S3";
  return said === name || said === "UnknownError"
    ? `the server answered ${status} (${name})`
    : `${said} (${name}, ${status})`;
}
