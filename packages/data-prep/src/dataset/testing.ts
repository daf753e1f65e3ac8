/** What the tests of sources share: servers on this machine, and what a data set's tars hold. */
import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readWebDataset } from "../webdataset/read.js";

export type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void;

export interface Request {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

/** A server that remembers what it was asked. */
export async function withServer<T>(
  answer: Answer,
  use: (endpoint: string, requests: Request[]) => Promise<T>,
): Promise<T> {
  const requests: Request[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url!, "http://server");
    requests.push({ path: `${url.pathname}${url.search}`, headers: request.headers });
    answer(request, response, url);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests);
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

/** Cuts a connection when a file on the disk has so many bytes: of what is still on its way, some is lost. */
export async function cutWhenWritten(response: ServerResponse, path: string, bytes: number): Promise<void> {
  while (!response.destroyed && ((await stat(path).catch(() => undefined))?.size ?? 0) < bytes) await sleep(5);
  response.destroy();
}

/** Sets environment variables while `use` runs. */
export async function withEnvironment<T>(
  variables: Readonly<Record<string, string | undefined>>,
  use: () => Promise<T>,
): Promise<T> {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  const set = (entries: Iterable<readonly [string, string | undefined]>): void => {
    for (const [name, value] of entries)
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
  };
  set(Object.entries(variables));
  try {
    return await use();
  } finally {
    set(before);
  }
}

/** What the tars of a folder hold, in order: key, and the files as text. */
export async function samplesIn(folder: string): Promise<Record<string, string>[]> {
  const samples: Record<string, string>[] = [];
  for (const name of (await readdir(folder)).filter((name) => name.endsWith(".tar")).sort())
    for await (const { key, files } of readWebDataset(join(folder, name)))
      samples.push({
        tar: name,
        key,
        ...Object.fromEntries(
          [...files].map(([extension, bytes]) => [extension, Buffer.from(bytes).toString("latin1")]),
        ),
      });
  return samples;
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A repository on a stand-in of the hub. */
export interface Hub {
  /** Default `datasets`: some/faces at v1/2. Of models: some/model at main. */
  readonly of?: "datasets" | "models";
  readonly files: Readonly<Record<string, Buffer>>;
  /** Paths of files outside of Git LFS. */
  readonly plain?: readonly string[];
  readonly pageFiles?: number;
  /** What links to further pages begin with. */
  readonly linkOrigin?: string;
  /** Changes an entry of the list. */
  readonly entry?: (entry: Record<string, unknown>) => unknown;
  /** Cuts the connection of the request with this number when so many bytes are in the file. */
  readonly cut?: Readonly<Record<number, { readonly bytes: number; readonly path: string }>>;
}

/** Answers as the hub does: a list in pages, files with ranges. */
export function hub({
  of = "datasets",
  files,
  plain = [],
  pageFiles = 2,
  linkOrigin = "",
  entry = (entry) => entry,
  cut = {},
}: Hub): Answer {
  const [lists, holds] =
    of === "datasets"
      ? ["/api/datasets/some/faces/tree/v1%2F2", "/datasets/some/faces/resolve/v1%2F2/"]
      : ["/api/models/some/model/tree/main", "/some/model/resolve/main/"];
  let number = 0;
  const list = Object.entries(files).map(([path, bytes]) => {
    const git = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
    const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 130 };
    return entry({ type: "file", path, size: bytes.length, oid: git, ...(plain.includes(path) ? {} : { lfs }) });
  });
  return (request, response, url) => {
    if (url.pathname === lists) {
      const from = Number(url.searchParams.get("cursor") ?? 0);
      if (from + pageFiles < list.length)
        response.setHeader(
          "link",
          `<${linkOrigin}${url.pathname}?recursive=true&cursor=${from + pageFiles}>; rel="next"`,
        );
      response.end(JSON.stringify(list.slice(from, from + pageFiles)));
      return;
    }
    const bytes = url.pathname.startsWith(holds)
      ? files[decodeURIComponent(url.pathname.slice(holds.length))]
      : undefined;
    if (!bytes) return void response.writeHead(404).end();
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const range = { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
    response.writeHead(start > 0 ? 206 : 200, {
      etag: '"v"',
      "content-length": bytes.length - start,
      ...(start > 0 ? range : {}),
    });
    const end = cut[++number];
    if (end === undefined) return void response.end(bytes.subarray(start));
    response.write(bytes.subarray(start, end.bytes));
    void cutWhenWritten(response, end.path, end.bytes);
  };
}

/** A bucket on a stand-in of S3. */
export interface Bucket {
  readonly objects: Readonly<Record<string, string | Buffer>>;
  readonly pageObjects?: number;
  /** The ETag of an object, if not the MD5 of its bytes. */
  readonly etag?: (md5: string) => string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Cuts the connection of the read with this number when so many bytes are in the file. */
  readonly cut?: Readonly<Record<number, { readonly bytes: number; readonly path: string }>>;
  /** Called before each read. */
  readonly onRead?: (number: number) => void;
  readonly ranges?: boolean;
  /** Nothing is sent of what was asked for. */
  readonly nothing?: boolean;
  /** Sent after what was asked for. */
  readonly more?: string;
}

const escapeXml = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Answers as S3 does, for the bucket "bucket". */
export function s3(bucket: Bucket): Answer {
  const { objects, pageObjects = 2, etag = (md5) => md5, headers = {}, cut = {}, ranges = true, more: extra } = bucket;
  let reads = 0;
  const etagOf = (content: string | Buffer): string => `"${etag(createHash("md5").update(content).digest("hex"))}"`;
  return (request, response, url) => {
    if (!url.pathname.startsWith("/bucket")) {
      return void response
        .writeHead(404, { "content-type": "application/xml" })
        .end("<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>");
    }
    if (url.searchParams.get("list-type") === "2") {
      const keys = Object.keys(objects).filter((key) => key.startsWith(url.searchParams.get("prefix") ?? ""));
      const from = Number(url.searchParams.get("continuation-token") ?? 0);
      const more = from + pageObjects < keys.length;
      const contents = keys.slice(from, from + pageObjects).map((key) => {
        const content = objects[key]!;
        return `<Contents><Key>${escapeXml(key)}</Key><Size>${Buffer.from(content as string).length}</Size><ETag>${etagOf(content)}</ETag></Contents>`;
      });
      const next = more ? `<NextContinuationToken>${from + pageObjects}</NextContinuationToken>` : "";
      response.setHeader("content-type", "application/xml");
      response.end(
        `<ListBucketResult><IsTruncated>${more}</IsTruncated>${next}${contents.join("")}</ListBucketResult>`,
      );
      return;
    }
    reads++;
    bucket.onRead?.(reads);
    const content = objects[decodeURIComponent(url.pathname.slice("/bucket/".length))];
    if (content === undefined) return void response.writeHead(404).end();
    if (request.headers["if-match"] !== etagOf(content))
      return void response
        .writeHead(412, { "content-type": "application/xml" })
        .end("<Error><Code>PreconditionFailed</Code><Message>At least one precondition failed</Message></Error>");
    const bytes = Buffer.from(content as string);
    const [from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!.slice(1).map(Number) as [number, number];
    const part = bucket.nothing ? Buffer.alloc(0) : ranges ? bytes.subarray(from, to + 1) : bytes;
    const range = { "content-range": `bytes ${from}-${to}/${bytes.length}` };
    response.writeHead(ranges ? 206 : 200, {
      etag: etagOf(content),
      ...(extra === undefined ? { "content-length": part.length } : {}),
      ...(ranges ? range : {}),
      ...headers,
    });
    const end = cut[reads];
    if (extra !== undefined) response.write(extra);
    if (end === undefined) return void response.end(part);
    response.write(part.subarray(0, end.bytes - from));
    void cutWhenWritten(response, end.path, end.bytes);
  };
}

/** A stand-in of S3 that the SDK asks, with credentials. */
export const withS3 = <T>(bucket: Bucket, use: (requests: Request[]) => Promise<T>): Promise<T> =>
  withServer(s3(bucket), (endpoint, requests) =>
    withEnvironment(
      {
        AWS_ENDPOINT_URL: endpoint,
        AWS_ACCESS_KEY_ID: "key",
        AWS_SECRET_ACCESS_KEY: "secret",
        AWS_REGION: undefined,
        AWS_PROFILE: undefined,
      },
      () => use(requests),
    ),
  );
