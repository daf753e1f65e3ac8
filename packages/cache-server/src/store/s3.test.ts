import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { withCache, withEnvironment, READ_TOKEN, WRITE_TOKEN, type Line } from "../testing.js";
import { S3Store } from "./s3.js";

const LIVE = new AbortController().signal;
const KEYS = { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "a-secret-of-ours", AWS_REGION: undefined };

/** A bucket in memory, which answers otherwise where `fault` does. */
async function withBucket(
  fault: (request: IncomingMessage, response: ServerResponse) => boolean,
  use: (store: S3Store, objects: Map<string, Buffer>, asked: string[]) => Promise<void>,
): Promise<void> {
  const [objects, asked] = [new Map<string, Buffer>(), new Array<string>()];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const key = request.url!.replace(/\?.*/s, "");
    asked.push(`${request.method} ${key}${request.headers["if-none-match"] ? " once" : ""}`);
    if (fault(request, response)) return;
    const found = objects.get(key);
    if (request.method === "PUT") {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      if (found !== undefined && request.headers["if-none-match"] === "*")
        return problem(response, 412, "PreconditionFailed");
      objects.set(key, Buffer.concat(chunks));
      response.setHeader("etag", '"0"').end();
    } else if (found === undefined) problem(response, 404, "NoSuchKey");
    else response.writeHead(200, { "content-length": found.length }).end(request.method === "GET" ? found : undefined);
  };
  const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await withEnvironment({ ...KEYS, AWS_ENDPOINT_URL: endpoint }, async () => {
      const store = await S3Store.open("s3://bucket/a/prefix/");
      await use(store, objects, asked);
      await store.close();
    });
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

function problem(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code} it is</Message></Error>`);
}

const answering =
  (status: number, code: string, times = Infinity) =>
  (request: IncomingMessage, response: ServerResponse): boolean => {
    if (times-- <= 0) return false;
    request.resume();
    problem(response, status, code);
    return true;
  };
const sound = (): boolean => false;

const contentOf = (text: string) => ({
  bytes: text.length,
  open: () => Readable.from([Buffer.from(text)], { objectMode: false }),
});

async function read(store: S3Store, name: string): Promise<string | undefined> {
  const blob = await store.read(name, LIVE);
  if (blob === undefined) return undefined;
  let text = "";
  for await (const chunk of blob.body) text += Buffer.from(chunk).toString();
  return text;
}

describe("S3Store", () => {
  test("keeps things below its prefix", () =>
    withBucket(sound, async (store, objects) => {
      expect(await read(store, "keys/1")).toBeUndefined();
      expect(await store.size("keys/1", LIVE)).toBeUndefined();
      expect(await store.write("keys/1", contentOf("first"), true, LIVE)).toBe(true);
      expect(await store.write("keys/1", contentOf("second"), true, LIVE)).toBe(false);
      expect([...objects.keys()]).toEqual(["/bucket/a/prefix/keys/1"]);
      expect(await read(store, "keys/1")).toBe("first");
      expect(await store.write("keys/1", contentOf("third!"), false, LIVE)).toBe(true);
      expect(await read(store, "keys/1")).toBe("third!");
      expect(await store.size("keys/1", LIVE)).toBe(6);
    }));

  test("asks first, where the server says that it knows no If-None-Match", () => {
    const fault = (request: IncomingMessage, response: ServerResponse): boolean =>
      request.headers["if-none-match"] !== undefined && answering(501, "NotImplemented")(request, response);
    return withBucket(fault, async (store, _, asked) => {
      expect(await store.write("1", contentOf("first"), true, LIVE)).toBe(true);
      expect(await store.write("1", contentOf("second"), true, LIVE)).toBe(false);
      expect(await read(store, "1")).toBe("first");
      const name = "/bucket/a/prefix/1";
      expect(asked).toEqual([`PUT ${name} once`, `HEAD ${name}`, `PUT ${name}`, `HEAD ${name}`, `GET ${name}`]);
    });
  });

  test("tries again what failed for a moment", () =>
    withBucket(answering(503, "SlowDown", 2), async (store) => {
      expect(await store.write("1", contentOf("first"), true, LIVE)).toBe(true);
      expect(await read(store, "1")).toBe("first");
    }));

  test("survives a content that cannot be read", () =>
    withBucket(sound, async (store, objects) => {
      const content = { bytes: 9, open: () => new Readable({ read() { this.destroy(new Error("no more")); } }) }; // prettier-ignore
      await expect(store.write("1", content, true, LIVE)).rejects.toThrow("no more");
      expect(objects.size).toBe(0);
    }));

  test.each([
    [403, "AccessDenied"],
    [404, "NoSuchBucket"],
    [503, "SlowDown"],
  ])("says what is wrong when the server answers %p %s", (status, code) =>
    withBucket(answering(status, code), async (store) => {
      await expect(store.read("1", LIVE)).rejects.toMatchObject({ name: code });
      await expect(store.write("1", contentOf("first"), true, LIVE)).rejects.toMatchObject({ name: code });
    }),
  );

  test.each(["s3://", "s3://A/b", "s3:/bucket", "s3://bucket?x"])("does not take %p", async (uri) => {
    await expect(S3Store.open(uri)).rejects.toThrow(`Cannot use ${JSON.stringify(uri)}: expected s3://bucket/prefix`);
  });
});

describe("the cache server, in front of S3", () => {
  const ask = async (url: string, body?: string): Promise<number> => {
    const headers = { authorization: `Bearer ${body === undefined ? READ_TOKEN : WRITE_TOKEN}` };
    const answer = await fetch(`${url}/v1/cache/12`, { headers, ...(body !== undefined && { method: "PUT", body }) });
    await answer.arrayBuffer();
    return answer.status;
  };
  const half = (_: IncomingMessage, response: ServerResponse): boolean => {
    response.writeHead(200, { "content-length": 6 }).write("a b");
    return true;
  };

  test.each<[string, (request: IncomingMessage, response: ServerResponse) => boolean, string]>([
    ["does not answer", () => true, "nothing came for 0.5 s"],
    ["cuts the connection", (request) => (request.destroy(), true), "socket hang up"],
    ["answers a page for people", (_, response) => (response.writeHead(500).end("<html>no"), true), ""],
    ["answers 403", answering(403, "AccessDenied"), "AccessDenied it is"],
    ["has no such bucket", answering(404, "NoSuchBucket"), "NoSuchBucket it is"],
    ["stalls", half, "nothing came for 0.5 s"],
    [
      "sends half of it",
      (_, response) => (half(_, response), setTimeout(() => response.destroy(), 50), true),
      "aborted",
    ],
  ])("misses and stores nothing when it %s", (_, fault, reason) => {
    let isFaulty = false;
    return withBucket(
      (...args) => isFaulty && fault(...args),
      async (store) => {
        await withCache(store, {}, async ({ url }) => expect(await ask(url, "a body")).toBe(200));
        isFaulty = true;
        await withCache(store, { waitMs: 500, storeMs: 5000, restMs: 0 }, async ({ url, log }) => {
          expect(await ask(url)).toBe(404);
          expect(await ask(url, "another")).toBe(403);
          const warned: Line[] = log.filter(({ level }) => level === 40);
          expect(warned).toHaveLength(2);
          expect(warned[0]!["reason"]).toContain(reason);
          expect(JSON.stringify(log)).not.toContain("a-secret-of-ours");
        });
        isFaulty = false;
        await withCache(store, {}, async ({ url }) => expect(await ask(url)).toBe(200));
      },
    );
  });
});
