import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { DataError } from "../data-error.js";
import { download, type DownloadOptions } from "../download.js";
import { inFolder } from "../testing.js";
import type { NetworkLimits } from "./limits.js";
import { Listing } from "./listing.js";
import { getPage } from "./page.js";
import { withServer, type Answer } from "./testing.js";
import { Watch } from "./watch.js";

/** Long waits, except for those that a test makes short: it is the limit under test that ends something. */
const LIMITS: Partial<NetworkLimits> = { retryMs: 1, retries: 1, headersMs: 1e8, idleMs: 1e8, rateWindowMs: 1e8 };

/** Sends the same again and again, until nobody listens. */
function every(ms: number, response: ServerResponse, send: () => void): void {
  const timer = setInterval(send, ms);
  response.on("close", () => clearInterval(timer));
}

const never: Answer = () => undefined;
const redirecting =
  (location: string): Answer =>
  (_, response) =>
    void response.writeHead(302, { location }).end();
const endless: Answer = (_, response) => {
  const more = (error?: Error | null): void => void (!error && response.write(Buffer.alloc(1 << 16), more));
  more();
};

/** Why a download failed, and how often the server was asked. */
async function failing(answer: Answer, limits: Partial<NetworkLimits> = {}, options: DownloadOptions = {}) {
  return inFolder((folder) =>
    withServer(answer, async (url, requests) => {
      const error: unknown = await download(url, join(folder, "file"), {
        ...options,
        limits: { ...LIMITS, ...limits },
      }).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(Error);
      expect(await readdir(folder)).not.toContain("file");
      const message = (error as Error).message
        .replace(/^Cannot download "http:\/\/127\.0\.0\.1:\d+\/data\/file\.bin": /, "")
        .replaceAll(folder, "FOLDER");
      return { asked: requests.length, message, isData: error instanceof DataError };
    }),
  );
}

describe("download() gives up", () => {
  test("an answer that does not come, and one that comes letter by letter", async () => {
    const problem = "no answer came for 0.05 s; 2 requests in a row brought too little";
    expect(await failing(never, { headersMs: 50 })).toMatchObject({ message: problem });
    const letters: Answer = (request, response) => {
      request.socket.write("HTTP/1.1 200 OK\r\nx: ");
      every(5, response, () => request.socket.write("a"));
      request.socket.on("close", () => response.destroy());
    };
    expect(await failing(letters, { headersMs: 50 })).toMatchObject({ message: problem });
    const hops: Answer = (_, response, number) =>
      void setTimeout(() => response.writeHead(302, { location: `/${number}` }).end(), 20);
    expect(await failing(hops, { headersMs: 50, redirects: 1e6 })).toMatchObject({ message: problem });
  });

  test("headers without end", async () => {
    const headers: Answer = (request, response) => {
      request.socket.write("HTTP/1.1 200 OK\r\n");
      every(0, response, () => request.socket.write(`x: ${"a".repeat(4096)}\r\n`));
      request.socket.on("close", () => response.destroy());
    };
    expect((await failing(headers)).message).toMatch(/^Headers Overflow Error; 2 requests in a row/);
  });

  test("a body that stalls, and one that drips", async () => {
    const body = (ms: number, length: object): Answer => {
      return (_, response) => {
        response.writeHead(200, { ...length }).write("start");
        every(ms, response, () => response.write("."));
      };
    };
    for (const length of [{}, { "content-length": "1000000" }]) {
      expect(await failing(body(1e8, length), { idleMs: 50 })).toMatchObject({
        message: "nothing came for 0.05 s; 2 requests in a row brought too little",
      });
      expect((await failing(body(10, length), { rateWindowMs: 80 })).message).toMatch(
        /^\d+ bytes came in 0\.\d+ s, less than 4096 in a second; 2 requests in a row brought too little$/,
      );
    }
  });

  test("a server that sends a byte each time it is asked", async () => {
    const miser: Answer = (request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
      const range = {
        etag: '"v"',
        "content-length": String(1e6 - from),
        "content-range": `bytes ${from}-999999/1000000`,
      };
      response.writeHead(from > 0 ? 206 : 200, range).write(".");
      setTimeout(() => response.destroy(), 5);
    };
    expect(await failing(miser, { retries: 3, retryMs: 10 })).toMatchObject({
      asked: 4,
      message: expect.stringMatching(/; 4 requests in a row brought too little$/) as string,
    });
  });

  test("redirects without end, or to where no file can be, at once", async () => {
    expect(await failing(redirecting("/again"), { redirects: 3 })).toEqual({
      asked: 4,
      isData: true,
      message: "the server redirects more than 3 times",
    });
    for (const [location, what] of [
      ["file:///etc/passwd", "file:"],
      ["data:text/plain,hello", "data:"],
      ["ftp://host/file", "ftp:"],
      ["http://me:secret@127.0.0.1/file", "a URL with a password"],
      ["http://", "what is no URL"],
    ] as const)
      expect(await failing(redirecting(location))).toEqual({
        asked: 1,
        isData: true,
        message: `the server redirects to ${what}, expected http: or https: without a password`,
      });
  });

  test("sizes that no file has", async () => {
    const size =
      (length: string): Answer =>
      (_, response) => {
        response.writeHead(200, { "content-length": length }).write("start");
      };
    expect(await failing(size("4503599627370496"))).toMatchObject({
      asked: 1,
      message: "the server offers 4503599627370496 bytes, more than 1099511627776",
    });
    expect(await failing(size("10000000000000000000"))).toMatchObject({
      message: "the server offers 10000000000000000000 bytes, more than 1099511627776",
    });
    expect(await failing(size("4503599627370496"), {}, { bytes: 2 ** 52 })).toEqual({
      asked: 0,
      isData: true,
      message: "it is to have 4503599627370496 bytes, expected 1099511627776 at most",
    });
    expect(await failing(endless, { fileBytes: 100_000 })).toMatchObject({
      message: "the server sends more than 100000 bytes",
    });
  });

  test("files that the disk has no room for, before they are there", async () => {
    const known: Answer = (_, response) => void response.writeHead(200, { "content-length": "5" }).end("bytes");
    expect(await failing(known, { keepFreeBytes: 2 ** 60 })).toEqual({
      asked: 1,
      isData: false,
      message: 'it needs 5 bytes, and "FOLDER" has room for 0',
    });
    expect(await failing(endless, { keepFreeBytes: 2 ** 60 })).toMatchObject({
      asked: 1,
      message: 'the server sends more than the 0 bytes that "FOLDER" has room for',
    });
    await inFolder(async (folder) => {
      await writeFile(join(folder, "a"), "bytes");
      const copying = download(join(folder, "a"), join(folder, "b"), { limits: { keepFreeBytes: 2 ** 60 } });
      await expect(copying).rejects.toThrow(/: it needs 5 bytes, and ".*" has room for 0$/);
    });
  });

  test("no server that is busy for a day, but asks it again", async () => {
    const busy: Answer = (_, response, number) => {
      if (number === 1) response.writeHead(503, { "retry-after": "86400" }).end("busy");
      else response.end("bytes");
    };
    await inFolder((folder) =>
      withServer(busy, async (url) => {
        expect(await download(url, join(folder, "file"), { limits: { ...LIMITS, retryAfterMs: 10 } })).toMatchObject({
          bytes: 5,
        });
      }),
    );
  });

  test.each([
    ["for an answer", never],
    [
      "for a redirect's answer",
      (_, response, number) => void (number === 1 && response.writeHead(302, { location: "/b" }).end()),
    ],
    ["for a body", (_, response) => void response.writeHead(200).write("start")],
    ["until it may ask again", (_, response) => void response.writeHead(503, { "retry-after": "10000" }).end("busy")],
  ] satisfies [string, Answer][])("at once when it is told to, waiting %s", (_, answer) =>
    inFolder((folder) =>
      withServer(answer, async (url, requests) => {
        const stop = new AbortController();
        const limits = { ...LIMITS, retryAfterMs: 1e8 };
        const downloading = download(url, join(folder, "file"), { signal: stop.signal, limits });
        downloading.catch(() => undefined);
        while (requests.length === 0) await stat(folder);
        setTimeout(() => stop.abort(new Error("stop")), 30);
        await expect(downloading).rejects.toThrow(/^stop$/);
      }),
    ),
  );

  test("at once when it is told to, waiting for another process", () =>
    inFolder(async (folder) => {
      await mkdir(folder, { recursive: true });
      const holder = JSON.stringify({ pid: 1, host: "another machine", started: "" });
      await writeFile(join(folder, "file.lock"), holder);
      const waiting = download("http://127.0.0.1:1/", join(folder, "file"), { signal: AbortSignal.timeout(20) });
      await expect(waiting).rejects.toMatchObject({ name: "TimeoutError" });
    }));
});

describe("getPage()", () => {
  const page = (answer: Answer, limits: Partial<NetworkLimits> = {}, signal?: AbortSignal): Promise<string> =>
    withServer(answer, (url) =>
      getPage(new URL(url), { limits: { ...LIMITS, ...limits }, ...(signal && { signal }) }).then(
        ({ text, headers }) => `${headers.get("link")} ${text}`,
        (error: unknown) => `${(error as Error).name} ${(error as Error).message}`,
      ),
    );

  test("gives text and headers, having tried again", async () => {
    const answer: Answer = (_, response, number) => {
      if (number === 1) response.writeHead(500).end();
      else response.writeHead(200, { link: "<next>", "content-encoding": "gzip" }).end(gzipSync("tëxt"));
    };
    expect(await page(answer)).toBe("<next> tëxt");
  });

  test("gives up what is too long or too slow, and what takes too much memory when it is inflated", async () => {
    const problem = "DataError a page takes more than 1000000 bytes";
    expect(await page(endless, { pageBytes: 1e6 })).toBe(problem);
    const bomb = gzipSync(Buffer.alloc(2e6));
    const zipped: Answer = (_, response) => void response.writeHead(200, { "content-encoding": "gzip" }).end(bomb);
    expect(bomb.length).toBeLessThan(3000);
    expect(await page(zipped, { pageBytes: 1e6 })).toBe(problem);
    const drip: Answer = (_, response) => every(5, response, () => response.write("["));
    expect(await page(drip, { pageMs: 50 })).toBe("DataError the page was not there after 0.05 s; tried 2 times");
    expect(await page(never, { headersMs: 50 })).toBe("DataError no answer came for 0.05 s; tried 2 times");
  });

  test("reads no answer that is none, however long it is", async () => {
    const refusing: Answer = (request, response, number) => {
      response.statusCode = 404;
      endless(request, response, number);
    };
    expect(await page(refusing)).toBe("DataError the server answered 404 Not Found");
    expect(await page(redirecting("file:///etc/passwd"))).toMatch(/^DataError the server redirects to file:,/);
  });

  test("ends at once when it is told to", async () => {
    const signal = AbortSignal.timeout(30);
    expect(await page(never, {}, signal)).toMatch(/^TimeoutError /);
  });
});

describe("Listing", () => {
  const after = (step: (listing: Listing) => void, limits: Partial<NetworkLimits>): string => {
    const listing = new Listing(limits);
    try {
      for (;;) step(listing);
    } catch (error) {
      return (error as Error).message;
    }
  };

  test("ends one whose pages lead back, or do not end", () => {
    let i = 0;
    expect(after((listing) => listing.page(String(i++ % 3)), {})).toBe(
      "its page 3 leads back to one before: it would never end",
    );
    expect(after((listing) => listing.page(String(i++)), { pages: 7 })).toBe("it has more than 7 pages");
    expect(after((listing) => listing.page(String(i++)), { listingMs: -1 })).toBe(
      "it has not ended after -0.001 s and 0 pages",
    );
  });

  test("ends one with too many entries, or too long names", () => {
    expect(after((listing) => listing.entry("a", "b"), { entries: 7 })).toBe("it has more than 7 entries");
    expect(after((listing) => listing.entry("ab", "c"), { nameCharacters: 8 })).toBe(
      "its names take more than 8 characters",
    );
  });
});

test("Watch looks at what came while the process was busy before it gives up", async () => {
  using watch = new Watch(LIMITS as NetworkLimits, undefined);
  await new Promise(setImmediate); // timers come next
  const there = watch.within(1, "too slow", () => new Promise((resolve) => setImmediate(resolve, "there")));
  const start = performance.now();
  while (performance.now() < start + 20); // nothing else happens meanwhile
  expect(await there).toBe("there");
});
