import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseConfig } from "@madformer/stage";
import { stage } from "../stages/dataset.js";
import { contextIn, datasetOf, digestsOf, inFolder } from "../testing.js";
import { hubTars } from "./hub.js";
import { cutWhenWritten, samplesIn, withEnvironment, withServer, type Answer, type Request } from "./testing.js";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Tars of one image each, as bytes. */
async function tarsOf(count: number): Promise<Buffer[]> {
  return inFolder(async (folder) => {
    const images = Array.from({ length: count }, (_, i) => ({ [`k${i}`]: { webp: `image ${i} `.repeat(5000) } }));
    await datasetOf(folder, images);
    return Promise.all(images.map((_, i) => readFile(join(folder, `0000${i}.tar`))));
  });
}

interface Hub {
  readonly files: Readonly<Record<string, Buffer>>;
  /** Paths of files outside of Git LFS. */
  readonly plain?: readonly string[];
  readonly pageFiles?: number;
  /** Changes an entry of the list. */
  readonly entry?: (entry: Record<string, unknown>) => unknown;
  /** Cuts the connection of the request with this number when so many bytes are in the file. */
  readonly cut?: Readonly<Record<number, { readonly bytes: number; readonly path: string }>>;
}

/** Answers as the hub does: a list in pages, files with ranges. */
function hub({ files, plain = [], pageFiles = 2, entry = (entry) => entry, cut = {} }: Hub): Answer {
  let number = 0;
  const list = Object.entries(files).map(([path, bytes]) => {
    const git = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
    const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 130 };
    return entry({ type: "file", path, size: bytes.length, oid: git, ...(plain.includes(path) ? {} : { lfs }) });
  });
  return (request, response, url) => {
    if (url.pathname === "/api/datasets/some/faces/tree/v1%2F2") {
      const from = Number(url.searchParams.get("cursor") ?? 0);
      if (from + pageFiles < list.length)
        response.setHeader("link", `<${url.pathname}?recursive=true&cursor=${from + pageFiles}>; rel="next"`);
      response.end(JSON.stringify(list.slice(from, from + pageFiles)));
      return;
    }
    const path = /^\/datasets\/some\/faces\/resolve\/v1%2F2\/(.*)$/.exec(url.pathname)?.[1];
    const bytes = path === undefined ? undefined : files[decodeURIComponent(path)];
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
    const failure = (answer: Answer, pattern = "*.tar"): Promise<string> =>
      withHub(answer, async () => {
        const listing = hubTars({ ...SOURCE, pattern, retryMs: 1 }, new AbortController().signal);
        return listing.then(
          () => "no error",
          (error: unknown) =>
            `${(error as Error).name} ${(error as Error).message}`.replaceAll(/http:\S+?(?=[,:;]? )/g, "URL"),
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
        "DataError Cannot list URL: the server answered 503 Service Unavailable; tried 5 times",
      );
      expect(asked).toBe(5);
      expect(await failure((_, response) => void response.writeHead(429).end())).toMatch(/; tried 5 times$/);
      expect(await failure((_, response) => void response.destroy())).toMatch(
        /^DataError Cannot list URL: .*; tried 5 times$/,
      );
    });

    test("that the answer is none", async () => {
      const problem = "DataError Cannot list URL: the answer is no list of files";
      expect(await failure((_, response) => void response.end("<html>"))).toBe(problem);
      expect(await failure((_, response) => void response.end('{"error":"x"}'))).toBe(problem);
      const bad = (entry: Record<string, unknown>): unknown => ({ ...entry, lfs: { oid: "../x", size: 1 } });
      expect(await failure(hub({ files: { "a.tar": Buffer.alloc(1) }, entry: bad }))).toBe(problem);
    });

    test("that a page leads elsewhere, does not end, or is too long", async () => {
      const elsewhere: Answer = (_, response) =>
        void response.setHeader("link", '<http://elsewhere.example/x>; rel="next"').end("[]");
      expect(await failure(elsewhere)).toBe(
        "DataError Cannot list URL: its next page is on another host, elsewhere.example",
      );
      const endless: Answer = (_, response) => {
        const more = (): void => void (response.writable && response.write(" ".repeat(1 << 20), more));
        more();
      };
      expect(await failure(endless)).toBe("DataError Cannot list URL: a page takes more than 67108864 bytes");
    });
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
