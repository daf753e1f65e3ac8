import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { request, type IncomingHttpHeaders } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import type { BlobStore } from "./store/blob-store.js";
import {
  cut,
  folderStore,
  inFolder,
  never,
  READ_TOKEN,
  stalling,
  withCache,
  WRITE_TOKEN,
  type Served,
} from "./testing.js";
import type { Limits } from "./limits.js";

const HASH = "12345678901234567890";
const BODY = randomBytes(100_000);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  readonly headers: IncomingHttpHeaders;
}

/** One request, on a connection of its own. */
function ask(
  served: Served,
  method: string,
  path: string,
  options: { token?: string; body?: Uint8Array } = {},
): Promise<Answer> {
  const { token, body } = options;
  const headers = {
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...(body !== undefined && { "content-length": body.length }),
  };
  return new Promise((resolve, reject) => {
    const asked = request(served.url + path, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode!, body: Buffer.concat(chunks), headers: response.headers }),
      );
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

const get = (served: Served, hash = HASH, token = READ_TOKEN): Promise<Answer> =>
  ask(served, "GET", `/v1/cache/${hash}`, { token });
const put = (served: Served, body: Uint8Array = BODY, hash = HASH, token = WRITE_TOKEN): Promise<Answer> =>
  ask(served, "PUT", `/v1/cache/${hash}`, { token, body });

/** A server in front of a folder. */
const withFolder = (
  use: (served: Served, folder: string) => Promise<void>,
  limits: Partial<Limits> = {},
  faults: (sound: BlobStore) => Partial<BlobStore> = () => ({}),
): Promise<void> =>
  inFolder(async (folder) => {
    const sound = await folderStore(folder);
    await withCache({ ...sound, ...faults(sound) }, limits, (served) => use(served, folder));
  });

/** What lies in the store, and whether the spool is empty. */
async function filesIn(folder: string): Promise<string[]> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  return files.filter((file) => file.isFile()).map(({ name }) => name);
}
async function spooled(served: Served): Promise<string[]> {
  for (let tries = 0; tries < 200 && (await filesIn(served.spoolFolder)).length > 0; tries++)
    await new Promise((wait) => setTimeout(wait, 10)); // disposed of after the answer
  return filesIn(served.spoolFolder);
}

describe("the cache server", () => {
  test("brings back what it was given, once", () =>
    withFolder(async (served, folder) => {
      expect(await get(served)).toMatchObject({ status: 404 });
      expect(await put(served)).toMatchObject({ status: 200 });
      const answer = await get(served);
      expect(answer).toMatchObject({
        status: 200,
        headers: { "content-length": `${BODY.length}`, "cache-control": "no-store" },
      });
      expect(sha256(answer.body)).toBe(sha256(BODY));
      expect(await put(served, randomBytes(50))).toMatchObject({ status: 409 });
      expect(sha256((await get(served)).body)).toBe(sha256(BODY));
      expect((await filesIn(folder)).sort()).toEqual([HASH, sha256(BODY)].sort());
      expect(await spooled(served)).toEqual([]);
    }));

  test("keeps equal bodies once", () =>
    withFolder(async (served, folder) => {
      for (const hash of ["1", "2"]) expect(await put(served, BODY, hash)).toMatchObject({ status: 200 });
      expect((await filesIn(folder)).sort()).toEqual(["1", "2", sha256(BODY)].sort());
    }));

  test("stores one of several bodies that come at a time, and answers the others that it is there", () =>
    withFolder(async (served) => {
      const bodies = Array.from({ length: 8 }, () => randomBytes(200_000));
      const answers = await Promise.all(bodies.map((body) => put(served, body)));
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(7).fill(409)]);
      const kept = bodies[answers.findIndex(({ status }) => status === 200)]!;
      expect(sha256((await get(served)).body)).toBe(sha256(kept));
    }));

  test.each([
    ["no token", undefined],
    ["an unknown token", "of-somebody-else-who-is-not-known"],
  ])("answers a miss to who has %s, and stores nothing", (reason, token) =>
    withFolder(async (served, folder) => {
      await put(served);
      const options = { ...(token !== undefined && { token }) };
      expect(await ask(served, "GET", `/v1/cache/${HASH}`, options)).toMatchObject({ status: 404 });
      expect(await ask(served, "PUT", "/v1/cache/77", { ...options, body: BODY })).toMatchObject({ status: 403 });
      expect(await filesIn(folder)).not.toContain("77");
      expect(served.log.slice(1).map((line) => line["reason"])).toEqual([reason, reason]);
    }),
  );

  test("stores nothing for who may read", () =>
    withFolder(async (served, folder) => {
      expect(await put(served, BODY, HASH, READ_TOKEN)).toMatchObject({ status: 403 });
      expect(await filesIn(folder)).toEqual([]);
    }));

  test.each(["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "ABC", "a/b", "a".repeat(129), "", "12 34", "12\u0000"])(
    "takes %p for no hash",
    (hash) =>
      withFolder(async (served, folder) => {
        const path = `/v1/cache/${hash.includes("\u0000") || hash.includes(" ") ? encodeURIComponent(hash) : hash}`;
        expect(await ask(served, "GET", path, { token: WRITE_TOKEN })).toMatchObject({ status: 404 });
        expect([403, 404]).toContain((await ask(served, "PUT", path, { token: WRITE_TOKEN, body: BODY })).status);
        expect(await filesIn(folder)).toEqual([]);
      }),
  );

  test("takes an address that ends with a slash, and looks at no query", () =>
    withFolder(async (served) => {
      expect(await ask(served, "PUT", `//v1/cache/${HASH}`, { token: WRITE_TOKEN, body: BODY })).toMatchObject({
        status: 200,
      });
      expect(await ask(served, "GET", `/v1/cache/${HASH}?x=/`, { token: READ_TOKEN })).toMatchObject({ status: 200 });
    }));

  test.each([
    ["a body that is too large", BODY, { maxBytes: BODY.length - 1 }],
    ["an empty body", Buffer.alloc(0), {}],
  ])("stores nothing of %s", (_, body, limits) =>
    withFolder(async (served, folder) => {
      expect(await put(served, body)).toMatchObject({ status: 403 });
      expect(await filesIn(folder)).toEqual([]);
      expect(await spooled(served)).toEqual([]);
    }, limits),
  );

  test("stores a body in chunks, and nothing of one that grows too large", () =>
    withFolder(
      async (served, folder) => {
        const chunked = (hash: string, body: Uint8Array): Promise<number> =>
          new Promise((resolve, reject) => {
            const headers = { authorization: `Bearer ${WRITE_TOKEN}` };
            const asked = request(
              `${served.url}/v1/cache/${hash}`,
              { method: "PUT", headers, agent: false },
              (response) => resolve(response.resume().statusCode!),
            );
            asked.on("error", reject);
            for (let at = 0; at < body.length; at += 10_000) asked.write(body.subarray(at, at + 10_000));
            asked.end();
          });
        expect(await chunked("1", BODY)).toBe(200);
        expect(await chunked("2", Buffer.concat([BODY, BODY]))).toBe(403);
        expect((await filesIn(folder)).sort()).toEqual(["1", sha256(BODY)].sort());
      },
      { maxBytes: BODY.length },
    ));

  test("stores nothing of a body that is cut", () =>
    withFolder(async (served, folder) => {
      const socket = connect(Number(new URL(served.url).port), "127.0.0.1");
      const head = `PUT /v1/cache/${HASH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${WRITE_TOKEN}\r\ncontent-length: 1000\r\n\r\n`;
      socket.write(head);
      socket.end(Buffer.alloc(999));
      socket.resume();
      await new Promise((closed) => socket.on("close", closed));
      while (served.log.length === 0) await new Promise((wait) => setTimeout(wait, 10));
      expect(await get(served)).toMatchObject({ status: 404 });
      expect(await filesIn(folder)).toEqual([]);
      expect(await spooled(served)).toEqual([]);
    }));

  test("ends an upload that stalls, and stores nothing of it", () =>
    withFolder(
      async (served, folder) => {
        const status = await new Promise((resolve, reject) => {
          const headers = { authorization: `Bearer ${WRITE_TOKEN}`, "content-length": 1000 };
          const asked = request(
            `${served.url}/v1/cache/${HASH}`,
            { method: "PUT", headers, agent: false },
            (response) => resolve(response.resume().statusCode),
          );
          asked.on("error", reject);
          asked.write(Buffer.alloc(500));
        });
        expect(status).toBe(403);
        expect(served.log[0]).toMatchObject({ reason: "nothing came for 0.2 s" });
        expect(await filesIn(folder)).toEqual([]);
        expect(await spooled(served)).toEqual([]);
      },
      { clientIdleMs: 200 },
    ));

  test("ends an upload that drips", () =>
    withFolder(
      async (served) => {
        const status = await new Promise((resolve, reject) => {
          const headers = { authorization: `Bearer ${WRITE_TOKEN}`, "content-length": 1_000_000 };
          const asked = request(
            `${served.url}/v1/cache/${HASH}`,
            { method: "PUT", headers, agent: false },
            (response) => resolve(response.resume().statusCode),
          );
          asked.on("error", reject);
          const timer = setInterval(() => asked.write("x"), 20);
          asked.on("close", () => clearInterval(timer));
        });
        expect(status).toBe(403);
        expect(served.log[0]).toMatchObject({ reason: "it was not done after 0.5 s" });
      },
      { uploadMs: 500 },
    ));

  test("says who may do what, and nothing more, under /healthz", () =>
    withFolder(async (served) => {
      const health = async (token?: string): Promise<unknown> =>
        JSON.parse((await ask(served, "GET", "/healthz", token === undefined ? {} : { token })).body.toString());
      expect(await health()).toEqual({ status: "ok", store: "ok", access: "none" });
      expect(await health(READ_TOKEN)).toEqual({ status: "ok", store: "ok", access: "read" });
      expect(await health(WRITE_TOKEN)).toEqual({ status: "ok", store: "ok", access: "read-write" });
    }));

  test("knows nothing else", () =>
    withFolder(async (served) => {
      const token = WRITE_TOKEN;
      expect(await ask(served, "GET", "/", { token })).toMatchObject({ status: 404 });
      expect(await ask(served, "DELETE", `/v1/cache/${HASH}`, { token })).toMatchObject({ status: 405 });
      expect(await ask(served, "POST", `/v1/cache/${HASH}`, { token, body: BODY })).toMatchObject({ status: 405 });
    }));

  test("goes on when its log cannot be written", () =>
    inFolder(async (folder) => {
      const write = (): never => {
        throw new Error("ENOSPC");
      };
      const use = async (served: Served): Promise<void> => {
        expect(await get(served)).toMatchObject({ status: 404 });
        expect(await put(served)).toMatchObject({ status: 403 }); // it is stored, and the answer that Nx takes as well
        expect(sha256((await get(served)).body)).toBe(sha256(BODY));
      };
      await withCache(await folderStore(folder), {}, use, write);
    }));

  test("logs each request, and no token", () =>
    withFolder(async (served) => {
      await put(served);
      await get(served);
      await ask(served, "GET", `/v1/cache/${WRITE_TOKEN}?token=${WRITE_TOKEN}`, { token: WRITE_TOKEN });
      const text = JSON.stringify(served.log);
      expect(served.log).toMatchObject([
        {
          msg: "PUT 200",
          hash: HASH,
          status: 200,
          bytes: BODY.length,
          access: "read-write",
          ms: expect.any(Number) as number,
        },
        { msg: "hit", hash: HASH, status: 200, bytes: BODY.length, access: "read" },
        { msg: "GET 404", reason: "no hash" },
      ]);
      for (const token of [READ_TOKEN, WRITE_TOKEN]) expect(text).not.toContain(token);
    }));
});

describe("the cache server, in front of a store", () => {
  const fail = (): Promise<never> => Promise.reject(new Error("connect ECONNREFUSED"));

  test.each<[string, Partial<BlobStore>, string]>([
    ["that is down", { read: fail, size: fail, write: fail }, "connect ECONNREFUSED"],
    ["that does not answer", { read: never, size: never, write: never }, "nothing came for 0.2 s"],
    [
      "that throws at once",
      {
        read: () => {
          throw new Error("a mistake");
        },
      },
      "a mistake",
    ],
  ])("%s, misses and stores nothing", (_, faults, reason) =>
    withFolder(
      async (served) => {
        expect(await get(served)).toMatchObject({ status: 404 });
        expect(await put(served)).toMatchObject({ status: 403 });
        expect(served.log[0]).toMatchObject({ level: 40, reason });
      },
      { waitMs: 200, restMs: 0 },
      () => faults,
    ),
  );

  test("that takes nothing, stores nothing", () =>
    withFolder(
      async (served) => {
        expect(await put(served)).toMatchObject({ status: 403 });
        expect(await get(served)).toMatchObject({ status: 404 });
        expect(served.log[0]).toMatchObject({
          level: 40,
          reason: expect.stringMatching(/^nothing came for/) as string,
        });
      },
      { waitMs: 300, restMs: 0 },
      () => ({ write: never }),
    ));

  test("that does not answer, asks it again only after a while", async () => {
    let asked = 0;
    const read = (): Promise<never> => (asked++, never());
    await withFolder(
      async (served) => {
        for (let times = 0; times < 3; times++) expect(await get(served)).toMatchObject({ status: 404 });
        expect(await put(served)).toMatchObject({ status: 403 });
        expect(asked).toBe(1);
        expect(served.log.filter(({ level }) => level === 40)).toHaveLength(1);
        expect((await ask(served, "GET", "/healthz")).body.toString()).toContain(`"not answering"`);
      },
      { waitMs: 100, restMs: 1e6 },
      () => ({ read }),
    );
  });

  test.each<[string, (bytes: number) => AsyncIterable<Uint8Array>, string]>([
    ["stalls", () => stalling(BODY.subarray(0, 50_000)), "nothing came for 0.3 s"],
    ["drips", (bytes) => dripping(bytes), "it was not done after 0.9 s"],
    ["is cut", () => cut(BODY.subarray(0, 50_000)), "socket hang up"],
    ["ends early", () => oneOf(BODY.subarray(0, 50_000)), "50000 of its 100000 bytes came"],
    ["is longer than it may be", () => oneOf(Buffer.concat([BODY, BODY])), "more than its 100000 bytes came"],
    ["is another", (bytes) => oneOf(randomBytes(bytes)), "its SHA-256 is "],
  ])("whose body %s, misses", (_, body, reason) =>
    inFolder(async (folder) => {
      const sound = await folderStore(folder);
      await withCache(sound, {}, async (served) => expect(await put(served)).toMatchObject({ status: 200 }));
      const read: BlobStore["read"] = async (name, signal) => {
        const blob = await sound.read(name, signal);
        if (blob === undefined || name.startsWith("keys/")) return blob;
        for await (const chunk of blob.body) void chunk;
        return { bytes: blob.bytes, body: body(blob.bytes) };
      };
      await withCache({ ...sound, read }, { waitMs: 300, storeMs: 900 }, async (served) => {
        expect(await get(served)).toMatchObject({ status: 404 });
        expect(served.log[0]).toMatchObject({ level: 40, reason: expect.stringContaining(reason) as string });
        expect(await spooled(served)).toEqual([]);
      });
    }),
  );

  test.each<[string, (path: string, folder: string) => Promise<void>]>([
    [
      "flipped",
      async (path) => {
        const bytes = await readFile(path);
        bytes[777]! ^= 1;
        await writeFile(path, bytes);
      },
    ],
    ["cut off", (path) => writeFile(path, BODY.subarray(0, 99))],
    ["emptied", (path) => writeFile(path, "")],
  ])("whose body was %s, misses until it is stored again", (_, damage) =>
    withFolder(async (served, folder) => {
      await put(served);
      await damage(join(folder, "blobs", sha256(BODY)), folder);
      expect(await get(served)).toMatchObject({ status: 404 });
      expect(served.log[1]).toMatchObject({ level: 40, msg: "damaged" });
      expect(await put(served, BODY, HASH, READ_TOKEN)).toMatchObject({ status: 403 });
      expect(await put(served)).toMatchObject({ status: 200 });
      expect(sha256((await get(served)).body)).toBe(sha256(BODY));
      expect(await put(served)).toMatchObject({ status: 409 });
    }),
  );

  test("whose body is gone, stores another", () =>
    withFolder(async (served, folder) => {
      await put(served);
      const { rm } = await import("node:fs/promises");
      await rm(join(folder, "blobs"), { recursive: true });
      const other = randomBytes(1000);
      expect(await put(served, other)).toMatchObject({ status: 200 }); // without asking first
      expect(sha256((await get(served)).body)).toBe(sha256(other));
    }));

  test.each([
    "",
    "x".repeat(1e6),
    `${"0".repeat(64)} 1`,
    `${"0".repeat(64)} 99999999999999999999\n`,
    "../../etc/passwd 5\n",
  ])("whose key says %p, misses until it is stored again", (text) =>
    withFolder(async (served, folder) => {
      await put(served);
      await writeFile(join(folder, "keys", HASH), text);
      expect(await get(served)).toMatchObject({ status: 404 });
      expect(served.log[1]).toMatchObject({ level: 40, msg: "damaged" });
      expect(await put(served)).toMatchObject({ status: 200 });
      expect(sha256((await get(served)).body)).toBe(sha256(BODY));
    }),
  );

  test("that holds more than a body may have, misses", () =>
    withFolder(async (served, folder) => {
      await put(served);
      await writeFile(join(folder, "keys", HASH), `${sha256(BODY)} ${2 ** 40}\n`);
      expect(await get(served)).toMatchObject({ status: 404 });
    }));

  test("that fails between body and key, holds no half of it", () => {
    let isFaulty = true;
    const faults = (sound: BlobStore): Partial<BlobStore> => ({
      write: (name, ...rest) => (isFaulty && name.startsWith("keys/") ? fail() : sound.write(name, ...rest)),
    });
    return withFolder(
      async (served) => {
        expect(await put(served)).toMatchObject({ status: 403 });
        expect(await get(served)).toMatchObject({ status: 404 });
        isFaulty = false;
        expect(await put(served)).toMatchObject({ status: 200 });
        expect(await get(served)).toMatchObject({ status: 200 });
      },
      {},
      faults,
    );
  });
});

async function* oneOf(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

async function* dripping(bytes: number): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < bytes; at++) {
    yield BODY.subarray(at, at + 1);
    await new Promise((wait) => setTimeout(wait, 20));
  }
}
