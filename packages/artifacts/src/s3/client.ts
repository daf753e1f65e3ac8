import { setMaxListeners } from "node:events";
import { Readable } from "node:stream";
import type { GetObjectCommandOutput, ListObjectsV2CommandOutput, S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import { DataError } from "../data-error.js";
import type { NetworkLimits } from "../download/limits.js";
import { secondsOf, Watch } from "../download/watch.js";

export interface S3ClientOptions {
  readonly signal: AbortSignal;
  /** Whether to ask without credentials, as anybody may ask a public bucket. */
  readonly unsigned: boolean;
  readonly limits: NetworkLimits;
  /** What to say to somebody who has no credentials, or whose credentials do not do. */
  readonly hint: string;
  /** Whether who reads the bodies of objects watches over them, and checks them. */
  readonly plainBodies?: boolean;
  /** More of the SDK's own settings. */
  readonly config?: S3ClientConfig;
}

/** What of the SDK's requests and answers is looked at. */
interface Asked {
  readonly hostname: string;
  readonly port?: number;
  readonly headers: Readonly<Record<string, string>>;
}
interface Answered {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  body: Readable;
}

/** Whether the environment names a server that is not Amazon's. */
export function hasOwnEndpoint(): boolean {
  return (process.env["AWS_ENDPOINT_URL_S3"] ?? process.env["AWS_ENDPOINT_URL"]) !== undefined;
}

/** What the answers that are read whole begin with. */
const BEGINNING =
  /^\ufeff?\s*(<\?xml[^>]{0,100}\?>)?\s*<(ListBucketResult|Error|(Initiate|Complete)MultipartUploadResult|DeleteResult)[\s>]/;
/** Requests that are answered with more than a status. */
const SPEAKING = /^(List|Create|Complete|DeleteObjects)/;

/**
 * A store that talks S3: the SDK's client, which waits for ever and reads whatever comes, within limits. Answers that
 * are read whole (lists, errors) are read here; the bodies of objects are watched while they are read.
 */
export class S3 implements AsyncDisposable {
  /** Who was asked last, for messages. */
  private host = "";

  private constructor(
    readonly client: S3Client,
    private readonly options: S3ClientOptions,
  ) {
    client.middlewareStack.add(
      (next, { commandName = "" }) =>
        async (args) => {
          const request = args.request as Asked;
          this.host = request.port === undefined ? request.hostname : `${request.hostname}:${request.port}`;
          const answered = await next(args);
          await bound(commandName, request, answered.response as Answered, options);
          return answered;
        },
      { step: "deserialize", priority: "low", name: "limits" }, // before the SDK sees anything of an answer
    );
  }

  static async open(options: S3ClientOptions): Promise<S3> {
    // Which version of the SDK there is, the lock file decides: what it says about later ones is nobody's business
    // here.
    process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
    const { S3Client } = await import("@aws-sdk/client-s3"); // half a second that other sources need not wait
    const region = process.env["AWS_REGION"] ?? process.env["AWS_DEFAULT_REGION"];
    const unsigned: S3ClientConfig = {
      credentials: { accessKeyId: "", secretAccessKey: "" },
      signer: { sign: (request) => Promise.resolve(request) },
    };
    const client = new S3Client({
      ...(hasOwnEndpoint() && { forcePathStyle: true, region: region ?? "us-east-1" }),
      ...(options.unsigned && unsigned),
      maxAttempts: options.limits.retries + 1,
      requestHandler: { requestTimeout: options.limits.headersMs, throwOnRequestTimeout: true },
      ...options.config,
    });
    setMaxListeners(0, options.signal); // each of several reads at a time listens to it, and the SDK for it
    return new S3(client, options);
  }

  /** A page of the objects whose keys begin with a prefix. */
  async list(uri: string, bucket: string, prefix: string, token?: string): Promise<ListObjectsV2CommandOutput> {
    const { ListObjectsV2Command } = await import("@aws-sdk/client-s3");
    const from = token === undefined ? {} : { ContinuationToken: token };
    const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ...from });
    return this.ask(uri, (options) => this.client.send(command, options));
  }

  /** An object, or a range of it, if it is still the one with this ETag. Its body is watched while it is read. */
  async get(bucket: string, key: string, range: string, etag: string): Promise<GetObjectCommandOutput> {
    const { GetObjectCommand } = await import("@aws-sdk/client-s3");
    const command = new GetObjectCommand({ Bucket: bucket, Key: key, Range: range, IfMatch: etag });
    return this.ask(`s3://${bucket}/${key}`, (options) => this.client.send(command, options));
  }

  /** What messages call a thing in it. */
  nameOf(uri: string): string {
    return this.host === "" ? uri : `${uri} at ${this.host}`;
  }

  /** Sends a request, which the SDK tries again; its errors become sentences. */
  async ask<T>(uri: string, send: (options: { readonly abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
    const { signal, limits } = this.options;
    using watch = new Watch(limits, signal); // the SDK does not look at the signal while it looks for credentials
    try {
      return await watch.within(limits.listingMs, `no answer came for ${secondsOf(limits.listingMs)}`, () =>
        send({ abortSignal: signal }),
      );
    } catch (cause) {
      signal.throwIfAborted();
      throw new DataError(`Cannot read ${this.nameOf(uri)}: ${this.reasonOf(cause)}`, { cause });
    }
  }

  /** What an error of the SDK's says, in a clause. */
  reasonOf(cause: unknown): string {
    const { name, message, $metadata } = cause as Error & { $metadata?: { httpStatusCode?: number } };
    const { unsigned, limits, hint } = this.options;
    const status = $metadata?.httpStatusCode ?? 0;
    if (status === 412) return "it has changed since it was listed";
    if (message.includes("requestTimeout")) return `no answer came for ${secondsOf(limits.headersMs)}`;
    if (status >= 200 && status < 300) return "the server's answer is none of S3";
    const said = message === "" ? name : message.replace(/\n[^]*$/, "").slice(0, 500);
    const isSilent = said === name || said === "UnknownError"; // as the SDK calls an answer that says nothing
    const reason =
      status === 0 ? said : isSilent ? `the server answered ${status} (${name})` : `${said} (${name}, ${status})`;
    if (name === "CredentialsProviderError") return `${reason}; ${hint}`;
    if (status === 401 || status === 403)
      return `${reason}; ${unsigned ? `no credentials were sent, as the source says "unsigned": true` : hint}`;
    if (message === "Region is missing" || name === "PermanentRedirect")
      return `${reason}; expected the bucket's region in AWS_REGION`;
    return reason;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.destroy();
  }
}

/** Puts limits on an answer: one that is read whole is read here. */
async function bound(command: string, request: Asked, response: Answered, options: S3ClientOptions): Promise<void> {
  const isObject = response.statusCode < 300 && command === "GetObjectCommand";
  if (isObject && options.plainBodies === true) return dropChecksums(response);
  if (isObject && !isChecksumToCheck(request, response)) dropChecksums(response);
  const body = isObject ? watchedBody(response.body, options) : [await wholeBody(command, response, options)];
  response.body = Readable.from(body, { objectMode: false });
}

async function* watchedBody(body: Readable, { signal, limits }: S3ClientOptions): AsyncGenerator<Uint8Array, void> {
  using watch = new Watch(limits, signal);
  try {
    yield* watch.chunks(body);
  } finally {
    body.destroy();
  }
}

/**
 * @throws {Error} Named TimeoutError, which the SDK tries again, if it takes too long. {DataError} If it is none of S3.
 */
async function wholeBody(
  command: string,
  { statusCode, body }: Answered,
  { signal, limits }: S3ClientOptions,
): Promise<Buffer> {
  using watch = new Watch(limits, signal);
  const [isError, chunks]: [boolean, Uint8Array[]] = [statusCode >= 300, []];
  const maxBytes = isError ? limits.errorBytes : limits.pageBytes;
  let bytes = 0;
  try {
    await watch.within(limits.pageMs, `the answer was not there after ${secondsOf(limits.pageMs)}`, async () => {
      for await (const chunk of watch.chunks(body)) {
        bytes += chunk.length;
        if (bytes > maxBytes)
          throw new DataError(
            isError
              ? `the server answered ${statusCode}, with more than ${maxBytes} bytes about it`
              : `a page takes more than ${maxBytes} bytes`,
          );
        chunks.push(chunk);
      }
    });
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof DataError) throw cause;
    throw Object.assign(new Error((cause as Error).message, { cause }), { name: "TimeoutError" });
  } finally {
    body.destroy();
  }
  const whole = Buffer.concat(chunks);
  // Anything before the root, a document type above all, takes the SDK's parser time that grows with the square of it.
  if (BEGINNING.test(whole.toString("latin1", 0, 1000))) return whole;
  if (isError) return Buffer.alloc(0); // a page for people: the status says it
  if (whole.length === 0 && !SPEAKING.test(command)) return whole;
  throw new DataError(
    command === "ListObjectsV2Command"
      ? "the server's answer is no list of objects"
      : "the server's answer is none of S3",
  );
}

/**
 * Whether a checksum header is to be compared with the bytes it comes with: those of the whole object, of which the
 * ETag is no MD5. Stores send the checksum of the object with each range of it, or that of a part, or one of the parts'
 * checksums.
 */
function isChecksumToCheck({ headers: asked }: Asked, { statusCode, headers }: Answered): boolean {
  const range = /^bytes 0-(\d+)\/(\d+)$/.exec(headers["content-range"] ?? "");
  const isWhole = statusCode === 200 || (range !== null && Number(range[1]) + 1 === Number(range[2]));
  const isOfParts = headers["x-amz-checksum-type"] === "COMPOSITE";
  return isWhole && !isOfParts && md5Of(asked["if-match"] ?? "", headers["x-amz-server-side-encryption"]) === undefined;
}

function dropChecksums({ headers }: Answered): void {
  for (const name of Object.keys(headers))
    if (name.startsWith("x-amz-checksum-")) Reflect.deleteProperty(headers, name);
}

/** The MD5 of an object's bytes, where its ETag is that: not of uploads in parts, not under KMS. */
export function md5Of(etag: string, encryption: string | undefined): string | undefined {
  return encryption?.startsWith("aws:") ? undefined : /^"([0-9a-f]{32})"$/.exec(etag)?.[1];
}
