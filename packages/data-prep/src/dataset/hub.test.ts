import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { NetworkLimits } from "@madformer/artifacts";
import { parseConfig } from "@madformer/stage";
import { stage } from "../stages/dataset.js";
import { contextIn, datasetOf, digestsOf, inFolder } from "../testing.js";
import { hubFiles } from "./hub.js";
import { hub, samplesIn, sha256, withEnvironment, withServer, type Answer, type Request } from "./testing.js";

/** Tars of one image each, as bytes. */
async function tarsOf(count: number): Promise<Buffer[]> {
  return inFolder(async (folder) => {
    const images = Array.from({ length: count }, (_, i) => ({ [`k${i}`]: { webp: `image ${i} `.repeat(5000) } }));
    await datasetOf(folder, images);
    return Promise.all(images.map((_, i) => readFile(join(folder, `0000${i}.tar`))));
  });
}

const SOURCE = { kind: "huggingface", repo: "some/faces", revision: "v1/2" };
const run = async (out: string, source: object = {}, signal?: AbortSignal) =>
  stage.run(parseConfig(stage, { source: { ...SOURCE, ...source } }), {}, await contextIn(out, signal));

const withHub = <T>(answer: Answer, use: (requests: Request[]) => Promise<T>, token?: string): Promise<T> =>
  withServer(answer, (endpoint, requests) =>
    withEnvironment({ HF_ENDPOINT: `${endpoint}/`, HF_TOKEN: token }, () => use(requests)),
  );

describe("stage dataset, from Hugging Face", () => {
  test("lists page by page, and gets what fits, in the order of paths", async () => {
    const [a, b, c] = await tarsOf(3);
    const files = { "data/ü 1.tar": b!, "README.md": Buffer.from("text"), "data/0.tar": a!, "z.tar": c! };
    await inFolder((out) =>
      withHub(
        hub({ files }),
        async (requests) => {
          expect(await run(out)).toEqual({ source: "some/faces at v1/2", images: 3 });
          expect(Object.values(await digestsOf(out))).toEqual([a!, b!, c!].map(sha256));
          expect(requests.map((request) => request.path)).toEqual([
            "/api/datasets/some/faces/tree/v1%2F2?recursive=true",
            "/api/datasets/some/faces/tree/v1%2F2?recursive=true&cursor=2",
            "/datasets/some/faces/resolve/v1%2F2/data/0.tar",
            "/datasets/some/faces/resolve/v1%2F2/data/%C3%BC%201.tar",
            "/datasets/some/faces/resolve/v1%2F2/z.tar",
          ]);
          for (const { headers } of requests) expect(headers.authorization).toBe("Bearer secret");
        },
        "secret",
      ),
    );
    await inFolder((out) =>
      withHub(hub({ files }), async (requests) => {
        expect(await run(out, { pattern: "data/*.tar", limit: 1 })).toMatchObject({ images: 1 });
        expect((await samplesIn(out)).map((sample) => sample["key"])).toEqual(["k0"]);
        expect(requests[0]!.headers.authorization).toBeUndefined();
      }),
    );
  });

  test("goes on with a tar that was cut, and with those that are left", async () => {
    const [a, b] = await tarsOf(2);
    await inFolder((out) => {
      const part = (tar: string): string => join(out, "tmp", `${tar}.part`);
      const cut = { 1: { bytes: 9000, path: part("00000.tar") }, 3: { bytes: 20_000, path: part("00001.tar") } };
      return withHub(hub({ files: { "a.tar": a!, "b.tar": b! }, cut }), async (requests) => {
        await run(out);
        expect(Object.values(await digestsOf(out))).toEqual([a!, b!].map(sha256));
        const ranges = requests.slice(1).map((request) => request.headers.range);
        expect(ranges).toEqual([undefined, "bytes=9000-", undefined, "bytes=20000-"]);
        await run(out); // the list again, no tar
        expect(requests.slice(5).map((request) => request.path)).toEqual([
          "/api/datasets/some/faces/tree/v1%2F2?recursive=true",
        ]);
      });
    });
  });

  test("gets again what is another file now", async () => {
    const [a, b, c] = await tarsOf(3);
    await inFolder(async (out) => {
      await withHub(hub({ files: { "a.tar": a!, "b.tar": b! } }), () => run(out));
      await withHub(hub({ files: { "a.tar": a!, "b.tar": c! } }), async (requests) => {
        await run(out);
        expect(requests).toHaveLength(2);
      });
      expect(Object.values(await digestsOf(out))).toEqual([a!, c!].map(sha256));
    });
  });

  test("refuses a tar that is not what the list says", async () => {
    const [tar] = await tarsOf(1);
    const other = (entry: Record<string, unknown>): unknown => ({
      ...entry,
      lfs: { oid: "0".repeat(64), size: tar!.length },
    });
    await inFolder((out) =>
      withHub(hub({ files: { "a.tar": tar! }, entry: other }), async () => {
        await expect(run(out)).rejects.toThrow(/a\.tar": its SHA-256 is .*, expected 0{64}$/);
        expect(await digestsOf(out)).toEqual({});
      }),
    );
    const longer = (entry: Record<string, unknown>): unknown => ({
      ...entry,
      lfs: { oid: sha256(tar!), size: tar!.length + 1 },
    });
    await inFolder((out) =>
      withHub(hub({ files: { "a.tar": tar! }, entry: longer }), async () => {
        await expect(run(out)).rejects.toThrow(`the server offers ${tar!.length} bytes, expected ${tar!.length + 1}`);
      }),
    );
  });

  test("checks files outside of Git LFS by Git's hash", async () => {
    const [tar] = await tarsOf(1);
    const files = { "a.tar": tar! };
    await inFolder((out) => withHub(hub({ files, plain: ["a.tar"] }), () => run(out)));
    const entry = (entry: Record<string, unknown>): unknown => ({ ...entry, oid: "0".repeat(40) });
    await inFolder((out) =>
      withHub(hub({ files, plain: ["a.tar"], entry }), async () => {
        await expect(run(out)).rejects.toThrow(/^Cannot use "a\.tar": its Git hash is .*, expected 0{40}$/);
        expect(await readdir(join(out, "tmp"))).toEqual([]);
      }),
    );
  });

  describe("says in a sentence", () => {
    const failure = (answer: Answer, limits: Partial<NetworkLimits> = {}, token?: string): Promise<string> =>
      withHub(
        answer,
        () => {
          const repository = { ...SOURCE, pattern: "*.tar", limits: { retryMs: 1, ...limits } };
          return hubFiles(repository, new AbortController().signal).then(
            () => "no error",
            (error: unknown) =>
              `${(error as Error).name} ${(error as Error).message}`.replaceAll(/http:\S+?(?=[,:;]? )/g, "URL"),
          );
        },
        token,
      );

    test("that a range in its pattern has a hole", async () => {
      const repository = { ...SOURCE, pattern: "{0..2}.tar" };
      await withServer(hub({ files: { "0.tar": Buffer.from("a"), "2.tar": Buffer.from("b") } }), (endpoint) =>
        withEnvironment({ HF_ENDPOINT: endpoint }, async () => {
          await expect(hubFiles(repository, new AbortController().signal)).rejects.toThrow(
            'Cannot use some/faces at v1/2: it has no "1.tar", which "{0..2}.tar" counts',
          );
        }),
      );
    });

    test("that nothing fits, or there is nothing", async () => {
      expect(await failure(hub({ files: { "a.txt": Buffer.from("a") } }))).toBe(
        'DataError Cannot use some/faces at v1/2: none of its 1 files fits "*.tar"',
      );
      expect(await failure((_, response) => void response.writeHead(404).end())).toBe(
        "DataError Cannot list URL: the server answered 404 Not Found",
      );
    });

    test("that the server is in trouble, having tried again", async () => {
      let asked = 0;
      const answer: Answer = (_, response) => (asked++, void response.writeHead(503).end());
      expect(await failure(answer)).toBe(
        "DataError Cannot list URL: the server answered 503 Service Unavailable; tried 6 times",
      );
      expect(asked).toBe(6);
      expect(await failure((_, response) => void response.writeHead(429).end())).toMatch(/; tried 6 times$/);
      expect(await failure((_, response) => void response.destroy())).toMatch(
        /^DataError Cannot list URL: .*; tried 6 times$/,
      );
    });

    test("that the answer is none", async () => {
      const problem = "DataError Cannot list URL: the answer is no list of files";
      expect(await failure((_, response) => void response.end("<html>"))).toBe(problem);
      expect(await failure((_, response) => void response.end('{"error":"x"}'))).toBe(problem);
      const bad = (entry: Record<string, unknown>): unknown => ({ ...entry, lfs: { oid: "../x", size: 1 } });
      expect(await failure(hub({ files: { "a.tar": Buffer.alloc(1) }, entry: bad }))).toBe(problem);
      const half = (entry: Record<string, unknown>): unknown => ({ ...entry, path: "\ud800.tar" });
      expect(await failure(hub({ files: { "a.tar": Buffer.alloc(1) }, entry: half }))).toBe(problem);
    });

    test("that a page leads elsewhere, back, or on and on, or is too long", async () => {
      const linking =
        (next: (number: number) => string): Answer =>
        (_, response, url) => {
          const number = Number(url.searchParams.get("cursor") ?? 0) + 1;
          response.setHeader("link", `<${next(number)}>; rel="next"`).end("[]");
        };
      expect(await failure(linking(() => "http://elsewhere.example/x"))).toBe(
        "DataError Cannot list URL: its next page is on another host, elsewhere.example",
      );
      expect(await failure(linking(() => "http://"))).toBe("DataError Cannot list URL: its next page is no URL");
      expect(await failure(linking((number) => `?cursor=${number % 2}`))).toBe(
        "DataError Cannot list URL: its page 3 leads back to one before: it would never end",
      );
      expect(
        await failure(
          linking((number) => `?cursor=${number}`),
          { pages: 3 },
        ),
      ).toBe("DataError Cannot list URL: it has more than 3 pages");
      const endless: Answer = (_, response) => {
        const more = (error?: Error | null): void => void (!error && response.write(" ".repeat(1 << 20), more));
        more();
      };
      expect(await failure(endless, { pageBytes: 2 ** 21 })).toBe(
        "DataError Cannot list URL: a page takes more than 2097152 bytes",
      );
    });

    test("that a page does not come, stalls, or leads to a file", async () => {
      const limits = { retries: 1, headersMs: 50, idleMs: 60, pageMs: 1e8 };
      expect(await failure(() => undefined, limits)).toBe(
        "DataError Cannot list URL: no answer came for 0.05 s; tried 2 times",
      );
      expect(await failure((_, response) => void response.write("["), { ...limits, headersMs: 1e8 })).toBe(
        "DataError Cannot list URL: nothing came for 0.06 s; tried 2 times",
      );
      let asked = 0;
      const toFile: Answer = (_, response) => {
        asked++;
        response.writeHead(302, { location: "file:///etc/passwd" }).end();
      };
      expect(await failure(toFile)).toBe(
        "DataError Cannot list URL: the server redirects to file:, expected http: or https: without a password",
      );
      expect(asked).toBe(1);
    });

    test("that it lists a file twice, or more of them than there may be", async () => {
      const entry = { type: "file", path: "a.tar", size: 1, oid: "0" };
      const twice: Answer = (_, response) => void response.end(JSON.stringify([entry, entry]));
      expect(await failure(twice)).toBe('DataError Cannot use some/faces at v1/2: it lists "a.tar" twice');
      expect(await failure(twice, { entries: 1 })).toBe("DataError Cannot list URL: it has more than 1 entries");
      expect(await failure(twice, { nameCharacters: 11 })).toBe(
        "DataError Cannot list URL: its names take more than 11 characters",
      );
    });

    test("that a token is expected, or does not do, and never the token", async () => {
      const status =
        (code: number): Answer =>
        (_, response) =>
          void response.writeHead(code).end();
      expect(await failure(status(401))).toBe(
        "DataError Cannot list URL: the server answered 401 Unauthorized: some/faces is private, gated, or none; " +
          "expected a token in HF_TOKEN that may read it",
      );
      expect(await failure(status(403), {}, "secret")).toBe(
        "DataError Cannot list URL: the server answered 403 Forbidden: the token in HF_TOKEN may not read some/faces; " +
          "a gated one asks for consent on its page",
      );
      expect(await failure(status(403), {}, "sec\u0001ret")).toBe(
        "DataError Cannot use HF_TOKEN: it holds a character that no token has",
      );
      await withEnvironment({ HF_ENDPOINT: "http://me:secret@127.0.0.1" }, async () => {
        await expect(hubFiles({ ...SOURCE, pattern: "*" }, new AbortController().signal)).rejects.toThrow(
          /^Cannot use HF_ENDPOINT: it holds a password, expected a token in HF_TOKEN$/,
        );
      });
    });
  });

  test("names HF_TOKEN where the files of a gated data set are refused", async () => {
    const [tar] = await tarsOf(1);
    const listing = hub({ files: { "a.tar": tar! } });
    const gated: Answer = (request, response, url) => {
      if (url.pathname.startsWith("/api/")) listing(request, response, url);
      else response.writeHead(403).end();
    };
    await inFolder((out) =>
      withHub(gated, async () => {
        await expect(run(out)).rejects.toThrow(
          /^Cannot download ".*a\.tar": the server answered 403 Forbidden: .* expected a token in HF_TOKEN/,
        );
      }),
    );
  });

  test("asks a mirror for the pages that it names as the hub's, and nobody else", async () => {
    const [a, b, c] = await tarsOf(3);
    const files = { "a.tar": a!, "b.tar": b!, "c.tar": c! };
    const mirrored = hub({ files, pageFiles: 1, linkOrigin: "https://huggingface.co" });
    const mirror: Answer = (request, response, url) => {
      url.pathname = url.pathname.replace("/mirror", "");
      mirrored(request, response, url);
    };
    await inFolder((out) =>
      withServer(mirror, (endpoint, requests) =>
        withEnvironment({ HF_ENDPOINT: `${endpoint}/mirror`, HF_TOKEN: "secret" }, async () => {
          expect(await run(out)).toMatchObject({ images: 3 });
          expect(requests.slice(0, 3).map((request) => request.path)).toEqual([
            "/mirror/api/datasets/some/faces/tree/v1%2F2?recursive=true",
            "/mirror/api/datasets/some/faces/tree/v1%2F2?recursive=true&cursor=1",
            "/mirror/api/datasets/some/faces/tree/v1%2F2?recursive=true&cursor=2",
          ]);
          for (const { headers } of requests) expect(headers.authorization).toBe("Bearer secret");
        }),
      ),
    );
  });

  test("takes a page of 200,000 files, as a mirror without pages sends it", async () => {
    const files = Array.from({ length: 200_000 }, (_, i) => ({ type: "file", path: `${i}.tar`, size: 1, oid: "0" }));
    const answer: Answer = (_, response) => void response.end(JSON.stringify(files));
    const found = await withHub(answer, () => hubFiles({ ...SOURCE, pattern: "*.tar" }, new AbortController().signal));
    expect(found).toHaveLength(200_000);
  });

  test("refuses sizes that no file has, and more than the disk has room for, before it asks for any", async () => {
    const [tar] = await tarsOf(1);
    for (const [size, message] of [
      [
        2 ** 52,
        /^Cannot use some\/faces at v1\/2: "0\.tar" has 4503599627370496 bytes, expected 1099511627776 at most$/,
      ],
      [2 ** 40, /^Cannot use some\/faces at v1\/2: it needs 4398046511104000 bytes, and ".*" has room for \d+$/],
    ] as const) {
      const files = Object.fromEntries(
        Array.from({ length: size === 2 ** 40 ? 4000 : 1 }, (_, i) => [`${i}.tar`, tar!]),
      );
      const entry = (entry: Record<string, unknown>): unknown => ({ ...entry, lfs: { oid: "0".repeat(64), size } });
      await inFolder((out) =>
        withHub(hub({ files, entry, pageFiles: 4000 }), async (requests) => {
          await expect(run(out)).rejects.toThrow(message);
          expect(requests).toHaveLength(1);
        }),
      );
    }
  });

  test("stops when it is told to", async () => {
    const [tar] = await tarsOf(1);
    await inFolder((out) =>
      withHub(hub({ files: { "a.tar": tar! } }), async () => {
        await expect(run(out, {}, AbortSignal.abort(new Error("stop")))).rejects.toThrow(/^stop$/);
      }),
    );
  });
});
