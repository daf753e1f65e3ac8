import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { DataError } from "./data-error.js";
import { download, type DownloadOptions } from "./download.js";
import { withServer, type Answer } from "./download/testing.js";
import { inFolder } from "./testing.js";

const CONTENT = randomBytes(300_000);
const SHA256 = createHash("sha256").update(CONTENT).digest("hex");
const DATE = "Thu, 01 Jan 2026 00:00:00 GMT";
const LIMITS = { retryMs: 1, idleMs: 5000 };
const QUICK: DownloadOptions = { limits: LIMITS };

interface Serving {
  readonly content?: Buffer;
  readonly etag?: string | undefined;
  readonly ranges?: boolean;
  /** The connection is cut after so many bytes. */
  readonly cutAfter?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers as a file server does, with what is asked of it in faults. */
function serve(request: IncomingMessage, response: ServerResponse, serving: Serving | number = {}): void {
  if (typeof serving === "number") return serve(request, response); // the number of the request
  const { content = CONTENT, etag = '"v1"', ranges = true, cutAfter, headers } = serving;
  if (etag !== "") response.setHeader("etag", etag);
  const asked = /^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1];
  const valid = request.headers["if-range"] === undefined || request.headers["if-range"] === etag;
  const start = ranges && asked !== undefined && valid ? Number(asked) : 0;
  if (start > 0 && start >= content.length) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    return;
  }
  const status = ranges && asked !== undefined && valid ? 206 : 200;
  const range = { "content-range": `bytes ${start}-${content.length - 1}/${content.length}` };
  const length = { "content-length": String(content.length - start) };
  response.writeHead(status, { ...length, ...(status === 206 ? range : {}), ...headers });
  if (cutAfter === undefined) response.end(content.subarray(start));
  else {
    response.write(content.subarray(start, start + cutAfter));
    void cutWhenWritten(response, start + cutAfter);
  }
}

/** Where the download under test keeps what has come. */
let partPath = "";

/** Cuts a connection when what was sent is on the disk: of what is still on its way, some is lost. */
async function cutWhenWritten(response: ServerResponse, bytes: number): Promise<void> {
  while (!response.destroyed && ((await stat(partPath).catch(() => undefined))?.size ?? 0) < bytes) await sleep(5);
  response.destroy();
}

/** Downloads into a folder of its own; gives back the file, what else lies there, and what was asked for. */
async function downloaded(answer: Answer, options: DownloadOptions = {}) {
  return inFolder((folder) =>
    withServer(answer, async (url, requests) => {
      const path = join(folder, "file");
      partPath = `${path}.part`;
      const got = await download(url, path, { ...QUICK, ...options });
      return { got, content: await readFile(path), names: await readdir(folder), requests };
    }),
  );
}

describe("download()", () => {
  test("gets a file, and says what it got", async () => {
    const seen: (number | undefined)[][] = [];
    const onProgress = (...progress: (number | undefined)[]): void => void seen.push(progress);
    const { got, content, names, requests } = await downloaded(serve, { onProgress, headers: { authorization: "me" } });
    expect(got).toEqual({ bytes: CONTENT.length, sha256: SHA256 });
    expect(content.equals(CONTENT)).toBe(true);
    expect(names).toEqual(["file"]);
    expect(requests).toEqual([expect.objectContaining({ authorization: "me", "accept-encoding": "identity" })]);
    expect(seen[0]).toEqual([0, CONTENT.length]);
    expect(seen.at(-1)).toEqual([CONTENT.length, CONTENT.length]);
  });

  test("gets a file whose size nobody says", async () => {
    const { content } = await downloaded((_, response) => {
      response.write(CONTENT.subarray(0, 7));
      response.end(CONTENT.subarray(7));
    });
    expect(content.equals(CONTENT)).toBe(true);
  });

  test("gets an empty file", async () => {
    const { got } = await downloaded((request, response) => serve(request, response, { content: Buffer.alloc(0) }));
    expect(got.bytes).toBe(0);
  });

  test("goes on where the connection was cut, again and again", async () => {
    const cut = 40_000;
    const { content, requests } = await downloaded((request, response) => serve(request, response, { cutAfter: cut }), {
      limits: { ...LIMITS, retries: 1 },
    });
    expect(content.equals(CONTENT)).toBe(true);
    expect(requests.length).toBeGreaterThanOrEqual(8);
    expect(requests[1]).toMatchObject({ range: `bytes=${cut}-`, "if-range": '"v1"' });
  });

  test("goes on in another process, by what the first one left", () =>
    inFolder((folder) =>
      withServer(
        (request, response, number) => serve(request, response, number === 1 ? { cutAfter: 100_000 } : {}),
        async (url, requests) => {
          const path = join(folder, "file");
          partPath = `${path}.part`;
          await expect(download(url, path, { limits: { ...LIMITS, retries: -1 } })).rejects.toThrow(
            /^Cannot download "http:\/\/127\.0\.0\.1:\d+\/data\/file\.bin": /,
          );
          expect((await readdir(folder)).sort()).toEqual(["file.part", "file.part.json"]);
          const seen: number[] = [];
          await download(url, path, { ...QUICK, onProgress: (done) => seen.push(done) });
          expect(requests[1]).toMatchObject({ range: "bytes=100000-", "if-range": '"v1"' });
          expect(seen[0]).toBe(100_000);
          expect((await readFile(path)).equals(CONTENT)).toBe(true);
        },
      ),
    ));

  test("starts again where the server ignores ranges, and is done all the same", async () => {
    const { content, requests } = await downloaded((request, response, number) =>
      serve(request, response, { ranges: false, ...(number < 3 && { cutAfter: 50_000 * number }) }),
    );
    expect(content.equals(CONTENT)).toBe(true);
    expect(requests).toHaveLength(3);
  });

  test.each([
    ["that knows conditions", {}],
    ["that ignores conditions", { "if-range": undefined }],
  ])("starts again where the file has changed midway, on a server %s", async (_, headers) => {
    const changed = Buffer.from(CONTENT).fill(7, 0, 1000);
    const { content, requests } = await downloaded((request, response, number) => {
      Object.assign(request.headers, headers);
      if (number === 1) serve(request, response, { cutAfter: 100_000 });
      else serve(request, response, { content: changed, etag: '"v2"' });
    });
    expect(content.equals(changed)).toBe(true);
    expect(requests[1]?.range).toBe("bytes=100000-");
  });

  test("starts again where the part is of another file, or nobody knows of which version", () =>
    inFolder((folder) =>
      withServer(serve, async (url, requests) => {
        const path = join(folder, "file");
        let asked = 0;
        for (const note of ["", "{", JSON.stringify({ url: "other", etag: '"v1"' }), JSON.stringify({ url })]) {
          await writeFile(`${path}.part`, "old bytes");
          await writeFile(`${path}.part.json`, note);
          await download(url, path, QUICK);
          expect(requests).toHaveLength(++asked);
          expect(requests.at(-1)?.range).toBeUndefined();
          expect((await readFile(path)).equals(CONTENT)).toBe(true);
        }
      }),
    ));

  test("goes on without a version where it knows the hash, and starts again where that does not fit", () =>
    inFolder((folder) =>
      withServer(
        (request, response) => serve(request, response, { etag: "" }),
        async (url, requests) => {
          const path = join(folder, "file");
          const leave = async (bytes: Uint8Array): Promise<void> => {
            await writeFile(`${path}.part`, bytes);
            await writeFile(`${path}.part.json`, JSON.stringify({ url }));
          };
          await leave(CONTENT.subarray(0, 1000));
          await download(url, path, { ...QUICK, sha256: SHA256 });
          expect(requests.map((request) => request.range)).toEqual(["bytes=1000-"]);
          await writeFile(path, "damaged");
          await leave(new Uint8Array(1000));
          await download(url, path, { ...QUICK, sha256: SHA256 });
          expect(requests.map((request) => request.range)).toEqual(["bytes=1000-", "bytes=1000-", undefined]);
          expect((await readFile(path)).equals(CONTENT)).toBe(true);
        },
      ),
    ));

  test.each([
    ["a date alone", { "last-modified": DATE }, DATE],
    ["a weak ETag and a date", { etag: 'W/"1"', "last-modified": DATE }, DATE],
    ["a weak ETag alone", { etag: 'W/"1"' }, undefined],
  ])("goes on with %s, as conditions allow", async (_, version, condition) => {
    const { content, requests } = await downloaded((request, response, number) => {
      Reflect.deleteProperty(request.headers, "if-range");
      serve(request, response, { etag: "", headers: version, ...(number === 1 && { cutAfter: 1000 }) });
    });
    expect(content.equals(CONTENT)).toBe(true);
    expect(requests[1]!.range).toBe("bytes=1000-");
    expect(requests[1]!["if-range"]).toBe(condition);
  });

  test("waits for a slow server as long as something comes", async () => {
    const { content, requests } = await downloaded(
      (_, response) => {
        response.writeHead(200, { "content-length": CONTENT.length });
        const send = (at: number): void => {
          response.write(CONTENT.subarray(at, at + 30_000));
          if (at + 30_000 < CONTENT.length) setTimeout(() => send(at + 30_000), 60);
        };
        send(0);
      },
      { limits: { ...LIMITS, idleMs: 400 } },
    );
    expect(content.equals(CONTENT)).toBe(true);
    expect(requests).toHaveLength(1);
  });

  test("takes a part that is complete", () =>
    inFolder((folder) =>
      withServer(serve, async (url, requests) => {
        const path = join(folder, "file");
        await writeFile(`${path}.part`, CONTENT);
        await writeFile(`${path}.part.json`, JSON.stringify({ url, etag: '"v1"' }));
        await download(url, path, QUICK);
        expect(requests.map((request) => request.range)).toEqual([`bytes=${CONTENT.length}-`]);
        expect((await readFile(path)).equals(CONTENT)).toBe(true);
      }),
    ));

  test("starts again where its part is longer than the file", () =>
    inFolder((folder) =>
      withServer(serve, async (url) => {
        const path = join(folder, "file");
        await writeFile(`${path}.part`, Buffer.concat([CONTENT, CONTENT]));
        await writeFile(`${path}.part.json`, JSON.stringify({ url, etag: '"v1"' }));
        await download(url, path, QUICK);
        expect((await readFile(path)).equals(CONTENT)).toBe(true);
      }),
    ));

  test("starts again where the server sends another range than was asked for", async () => {
    const { content } = await downloaded((request, response, number) => {
      if (number === 1) serve(request, response, { cutAfter: 1000 });
      else if (number === 2)
        response.writeHead(206, { etag: '"v1"', "content-range": "bytes 0-299999/300000" }).end(CONTENT);
      else serve(request, response);
    });
    expect(content.equals(CONTENT)).toBe(true);
  });

  test("tries again where the server is in trouble, as late as it asks to", async () => {
    const times: number[] = [];
    const { content } = await downloaded((request, response, number) => {
      times.push(performance.now());
      if (number === 1) response.writeHead(429).end();
      else if (number === 2) response.writeHead(503, { "retry-after": "1" }).end("busy");
      else serve(request, response);
    });
    expect(content.equals(CONTENT)).toBe(true);
    expect(times).toHaveLength(3);
    expect(times[2]! - times[1]!).toBeGreaterThan(990); // a timer may be a millisecond early
  });

  test("leaves a file alone that is what is asked for, and replaces another", () =>
    inFolder((folder) =>
      withServer(serve, async (url, requests) => {
        const path = join(folder, "file");
        await writeFile(path, "something else");
        await download(url, path, { ...QUICK, sha256: SHA256.toUpperCase() });
        expect(requests).toHaveLength(1);
        expect(await download(url, path, { ...QUICK, sha256: SHA256 })).toEqual({ bytes: 300_000, sha256: SHA256 });
        await download(url, path, { ...QUICK, bytes: 300_000 });
        expect(requests).toHaveLength(1);
        await download(url, path, QUICK); // nothing says that it is the same
        expect(requests).toHaveLength(2);
      }),
    ));

  test("follows a redirect, and does not carry the password to another host", () =>
    withServer(serve, (target, requests) =>
      withServer(
        (_, response) => response.writeHead(302, { location: target.replace("127.0.0.1", "localhost") }).end(),
        (url) =>
          inFolder(async (folder) => {
            await download(url, join(folder, "file"), { ...QUICK, headers: { authorization: "Bearer secret" } });
            expect(requests).toHaveLength(1);
            expect(requests[0]?.authorization).toBeUndefined();
          }),
      ),
    ));

  test("lets one of two downloads of the same file work, and the other wait", () =>
    inFolder((folder) =>
      withServer(serve, async (url, requests) => {
        const options = { ...QUICK, sha256: SHA256 };
        await Promise.all([1, 2].map(() => download(url, join(folder, "file"), options)));
        expect(requests).toHaveLength(1);
        expect(await readdir(folder)).toEqual(["file"]);
      }),
    ));

  test("stops when it is told to, and goes on the next time", () =>
    inFolder((folder) =>
      withServer(
        (request, response, number) => {
          if (number > 1) serve(request, response);
          else response.writeHead(200, { "content-length": "300000", etag: '"v1"' }).write(CONTENT.subarray(0, 5000));
        },
        async (url, requests) => {
          const [path, stop] = [join(folder, "file"), new AbortController()];
          const onProgress = (done: number): void => void (done === 5000 && stop.abort(new Error("stop")));
          await expect(download(url, path, { ...QUICK, signal: stop.signal, onProgress })).rejects.toThrow(/^stop$/);
          expect(requests).toHaveLength(1);
          await download(url, path, QUICK);
          expect(requests[1]?.range).toBe("bytes=5000-");
        },
      ),
    ));
});

describe("download(), in a sentence", () => {
  const failing = (answer: Answer, options: DownloadOptions = {}): Promise<string> =>
    inFolder((folder) =>
      withServer(answer, async (url) => {
        partPath = join(folder, "file.part");
        const error: unknown = await download(url, join(folder, "file"), {
          ...options,
          limits: { ...LIMITS, retries: 1, ...options.limits },
        }).catch((error: unknown) => error);
        expect(error).toBeInstanceOf(Error);
        const { message } = error as Error;
        expect(message).toMatch(/^Cannot download "http:\/\/127\.0\.0\.1:\d+\/data\/file\.bin": /);
        expect(message).not.toContain("secret");
        expect(await readdir(folder)).not.toContain("file");
        return `${error instanceof DataError ? "DataError" : "Error"} ${message.replace(/^.*?": /, "")}`;
      }),
    );

  test("says what the server offers instead", async () => {
    expect(await failing(serve, { bytes: 5 })).toBe("DataError the server offers 300000 bytes, expected 5");
    expect(await failing(serve, { maxBytes: 5 })).toBe("DataError the server offers 300000 bytes, more than 5");
    expect(await failing(serve, { sha256: "0".repeat(64) })).toBe(
      `DataError its SHA-256 is ${SHA256}, expected ${"0".repeat(64)}`,
    );
    const endless: Answer = (_, response) => {
      response.on("error", () => undefined);
      const more = (error?: Error | null): void => void (!error && response.write(CONTENT, more));
      more();
    };
    expect(await failing(endless, { bytes: 1_000_000 })).toBe("DataError the server sends more than 1000000 bytes");
    expect(await failing(endless, { maxBytes: 500_000 })).toBe("DataError the server sends more than 500000 bytes");
    const short: Answer = (_, response) => {
      response.write("sh");
      response.end("ort");
    };
    expect(await failing(short, { bytes: 6 })).toBe(
      "Error the connection ended after 5 of 6 bytes; 2 requests in a row brought too little",
    );
    const zipped: Answer = (request, response) => serve(request, response, { headers: { "content-encoding": "gzip" } });
    expect(await failing(zipped)).toBe("DataError the server encodes it as gzip, which was not asked for");
  });

  test("says that the server promised more than it sent", async () => {
    const lying: Answer = (request, response) =>
      serve(request, response, { headers: { "content-length": "300001" }, cutAfter: 300_000 });
    expect(await failing(lying)).toMatch(/^Error .*; 2 requests in a row brought too little$/);
  });

  test("says how the server refused", async () => {
    const status = (code: number) => (_: unknown, response: ServerResponse) =>
      void response.writeHead(code).end("<html>");
    expect(await failing(status(404))).toMatch(
      /^Error the server answered 404 Not Found: 127\.0\.0\.1:\d+ has no such file/,
    );
    expect(await failing(status(403))).toBe("Error the server answered 403 Forbidden: it wants other credentials");
    expect(await failing(status(418))).toMatch(/^Error the server answered 418/);
    expect(await failing(status(500))).toBe(
      "Error the server answered 500 Internal Server Error; 2 requests in a row brought too little",
    );
  });

  test("says that nothing came, and that nobody answers", async () => {
    expect(await failing(() => undefined, { limits: { headersMs: 50 } })).toBe(
      "Error no answer came for 0.05 s; 2 requests in a row brought too little",
    );
    await inFolder(async (folder) => {
      const url = await withServer(serve, async (url) => url);
      await expect(download(url, join(folder, "file"), { limits: { ...LIMITS, retries: 0 } })).rejects.toThrow(
        /the connection was refused; 1 requests in a row/,
      );
    });
  });

  test("says what is no source, and where it cannot write", () =>
    inFolder((folder) =>
      withServer(serve, async (url) => {
        await expect(download("ftp://host/file", join(folder, "file"))).rejects.toThrow(
          'Cannot download "ftp://host/file": its protocol is ftp:, expected http:, https: or file:',
        );
        await expect(download("http://", join(folder, "file"))).rejects.toThrow(
          /^Cannot download "http:\/\/": it is no URL/,
        );
        await writeFile(join(folder, "no-folder"), "");
        await expect(download(url, join(folder, "no-folder", "file"), QUICK)).rejects.toThrow(/^Cannot /);
      }),
    ));
});

describe("download() from this machine", () => {
  test("copies a path or a file: URL, and checks it", () =>
    inFolder(async (folder) => {
      const [from, to] = [join(folder, "a file"), join(folder, "to")];
      await writeFile(from, CONTENT);
      for (const source of [from, pathToFileURL(from).href]) {
        const options = { sha256: SHA256, bytes: CONTENT.length };
        expect(await download(source, to, options)).toEqual({ bytes: CONTENT.length, sha256: SHA256 });
        expect((await readFile(to)).equals(CONTENT)).toBe(true);
        await writeFile(to, "other");
      }
      await expect(download(from, to, { bytes: 3 })).rejects.toThrow(
        /^Cannot download ".*a file": it has 300000 bytes, expected 3$/,
      );
      expect(await readFile(to, "utf8")).toBe("other");
      await expect(download(join(folder, "none"), to)).rejects.toThrow(/^Cannot read ".*none": there is no such file$/);
      expect((await readdir(folder)).sort()).toEqual(["a file", "to"]);
    }));
});
