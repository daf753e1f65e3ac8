/** What the tests of the remote store share: a stand-in of S3 that remembers and can be told to misbehave. */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../store/manifest.js";
import { manifestDigest, type Digest } from "../store/manifest.js";
import { sealRecord } from "../store/record.js";
import { Store, type Made } from "../store/store.js";
import type { RemoteLimits } from "./limits.js";
import { placeOf } from "./place.js";
import { Remote } from "./remote.js";

/** Does something instead of the answer. @returns Whether it did. */
export type Fault = (request: IncomingMessage, response: ServerResponse, path: string) => boolean;

export interface StandIn {
  /** Key -> bytes. */
  readonly objects: Map<string, { bytes: Buffer; modified: Date }>;
  /** `GET bucket/key`, in order. */
  readonly asked: string[];
  fault: Fault | undefined;
  /** Whether it knows If-None-Match. */
  conditions: boolean;
  /** Whether it compares x-amz-content-sha256. */
  compares: boolean;
  /** Changes what is stored. */
  mangle: ((bytes: Buffer) => Buffer) | undefined;
}

const error = (response: ServerResponse, status: number, code: string): void =>
  void response.writeHead(status, { "content-type": "application/xml" }).end(`<Error><Code>${code}</Code></Error>`);
const etagOf = (bytes: Buffer): string => `"${createHash("md5").update(bytes).digest("hex")}"`;

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Answers as S3 does, for the bucket "bucket". */
async function answer(on: StandIn, parts: Map<string, Buffer[]>, request: IncomingMessage, response: ServerResponse) {
  const url = new URL(request.url!, "http://server");
  const path = decodeURIComponent(url.pathname.slice(1));
  on.asked.push(`${request.method} ${path}`);
  if (on.fault?.(request, response, path)) return;
  const [bucket, ...rest] = path.split("/");
  const key = rest.join("/");
  const query = url.searchParams;
  if (bucket !== "bucket") return error(response, 404, "NoSuchBucket");
  const store = (bytes: Buffer, etag = etagOf(bytes)): void => {
    on.objects.set(key, { bytes: on.mangle?.(bytes) ?? bytes, modified: new Date() });
    response.setHeader("etag", etag);
  };
  const occupied = on.conditions && request.headers["if-none-match"] === "*" && on.objects.has(key);
  if (query.get("list-type") === "2") {
    const keys = [...on.objects.keys()].filter((one) => one.startsWith(query.get("prefix") ?? "")).sort();
    const from = Number(query.get("continuation-token") ?? 0);
    const contents = keys.slice(from, from + 100).map((one) => {
      const { bytes, modified } = on.objects.get(one)!;
      return `<Contents><Key>${one}</Key><Size>${bytes.length}</Size><LastModified>${modified.toISOString()}</LastModified></Contents>`;
    });
    const next = from + 100 < keys.length ? `<NextContinuationToken>${from + 100}</NextContinuationToken>` : "";
    response.setHeader("content-type", "application/xml");
    response.end(
      `<ListBucketResult><IsTruncated>${next !== ""}</IsTruncated>${next}${contents.join("")}</ListBucketResult>`,
    );
  } else if (request.method === "POST" && query.has("delete")) {
    const keys = [...(await bodyOf(request)).toString().matchAll(/<Key>(.*?)<\/Key>/g)].map(([, one]) => one!);
    for (const one of keys) on.objects.delete(one);
    response.end("<DeleteResult></DeleteResult>");
  } else if (request.method === "POST" && query.has("uploads")) {
    const id = String(parts.size);
    parts.set(id, []);
    response.end(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
  } else if (request.method === "POST") {
    await bodyOf(request);
    if (occupied) return error(response, 412, "PreconditionFailed");
    const all = parts.get(query.get("uploadId")!)!;
    const md5s = all.map((part) => createHash("md5").update(part).digest());
    const etag = `"${createHash("md5").update(Buffer.concat(md5s)).digest("hex")}-${all.length}"`;
    store(Buffer.concat(all), etag);
    response.end(`<CompleteMultipartUploadResult><ETag>${etag}</ETag></CompleteMultipartUploadResult>`);
  } else if (request.method === "PUT") {
    const bytes = await bodyOf(request);
    const claimed = request.headers["x-amz-content-sha256"];
    if (query.has("partNumber")) {
      parts.get(query.get("uploadId")!)![Number(query.get("partNumber")) - 1] = bytes;
      return void response.setHeader("etag", etagOf(bytes)).end();
    }
    if (occupied) return error(response, 412, "PreconditionFailed");
    if (on.compares && /^[0-9a-f]{64}$/.test(String(claimed)) && claimed !== sha256(bytes))
      return error(response, 400, "XAmzContentSHA256Mismatch");
    store(bytes);
    response.end();
  } else if (request.method === "DELETE") response.writeHead(204).end();
  else {
    const found = on.objects.get(key)?.bytes;
    if (found === undefined) return error(response, 404, "NoSuchKey");
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    if (from > 0 && from >= found.length) return error(response, 416, "InvalidRange");
    const range = from > 0 ? { "content-range": `bytes ${from}-${found.length - 1}/${found.length}` } : {};
    response.writeHead(from > 0 ? 206 : 200, { "content-length": found.length - from, ...range });
    response.end(request.method === "HEAD" ? undefined : found.subarray(from));
  }
}

/** A stand-in of S3 that the SDK asks, with credentials. */
export async function withStandIn<T>(use: (standIn: StandIn) => Promise<T>): Promise<T> {
  const standIn: StandIn = {
    objects: new Map(),
    asked: [],
    fault: undefined,
    conditions: true,
    compares: true,
    mangle: undefined,
  };
  const parts = new Map<string, Buffer[]>();
  const server = createServer(
    (request, response) => void answer(standIn, parts, request, response).catch(() => undefined),
  );
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const variables = {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    AWS_ACCESS_KEY_ID: "key",
    AWS_SECRET_ACCESS_KEY: "secret",
  };
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  try {
    return await use(standIn);
  } finally {
    for (const [name, value] of before)
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

/** Long waits, but for those that a test makes short. */
const LIMITS: Partial<RemoteLimits> = { retryMs: 1, retries: 3, headersMs: 1e7, idleMs: 1e7, contactMs: 60_000 };

/** A machine: a local store, and the remote one as it sees it. */
export interface Machine extends AsyncDisposable {
  readonly store: Store;
  readonly remote: Remote;
  readonly notices: string[];
  /** Something that a stage made of these files, in its store. */
  made(key: string, files: Readonly<Record<string, string | Buffer>>, at?: string): Promise<Made>;
}

export async function machine(limits: Partial<RemoteLimits> = {}): Promise<Machine> {
  const root = await mkdtemp(join(tmpdir(), "machine-"));
  const store = new Store(join(root, "store"));
  const notices: string[] = [];
  const remote = Remote.open(placeOf("s3://bucket/some/place", "it")!, store, {
    limits: { ...LIMITS, ...limits },
    onNotice: (message) => notices.push(message),
  });
  return {
    store,
    remote,
    notices,
    made: async (key, files, at = "2026-01-01T00:00:00.000Z") => {
      const refs: Record<string, { sha256: Digest; bytes: number }> = {};
      for (const [name, content] of Object.entries(files)) {
        await writeFile(join(root, "file"), content);
        refs[name] = await store.add(join(root, "file"));
        await rm(join(root, "file"));
      }
      const manifest = { format: 1 as const, stage: "words", facts: {}, files: refs };
      const record = sealRecord({
        format: 1,
        stage: "words",
        key: sha256(key),
        program: { sha256: sha256("program"), externals: [] },
        config: {},
        inputs: {},
        manifest: manifestDigest(manifest),
        startedAt: at,
        finishedAt: at,
        seconds: 1,
        attempts: 1,
        peakMemoryBytes: 1,
        machine: { cpu: "a", cores: 1, node: "v20", platform: "linux" },
        logs: {},
      });
      return { manifest, record };
    },
    [Symbol.asyncDispose]: async () => {
      await remote[Symbol.asyncDispose]();
      await rm(root, { recursive: true, force: true });
    },
  };
}
