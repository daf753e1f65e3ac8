import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseConfig } from "@madformer/stage";
import { stage } from "../stages/dataset.js";
import { contextIn, datasetOf, digestsOf, inFolder } from "../testing.js";
import { openS3 } from "./s3.js";
import { samplesIn, withS3, type Bucket } from "./testing.js";

const QUIET = { warn: (): void => undefined };

const run = async (out: string, uri: string, source: object = {}) => {
  const context = await contextIn(out);
  const facts = await stage.run(parseConfig(stage, { source: { kind: "s3", uri, ...source } }), {}, context);
  return { facts, warnings: context.warnings };
};

async function tarOf(i: number): Promise<Buffer> {
  return inFolder(async (folder) => {
    await datasetOf(folder, [{ [`k${i}`]: { png: `image ${i} `.repeat(3000) } }]);
    return readFile(join(folder, "00000.tar"));
  });
}

describe("stage dataset, from S3", () => {
  test("packs the images below a prefix, page by page, with folders as classes", async () => {
    const objects = {
      "set/": "",
      "set/b/2 & ü.png": "b2",
      "set/a/1.jpg": "a1",
      "set/a/readme.txt": "text",
      "set/a/empty.png": "",
      "set/.x/1.png": "hidden",
      "set-2/c/1.png": "another set",
    };
    await inFolder((out) =>
      withS3({ objects }, async (requests) => {
        const { facts, warnings } = await run(out, "s3://bucket/set/");
        expect(facts).toEqual({ source: "s3://bucket/set/", images: 2, classes: 2, skipped: 1 });
        expect(warnings).toEqual([
          'passed over 1 objects that are no images, such as "a/readme.txt"',
          'skipped "a/empty.png": it is empty',
        ]);
        expect(await samplesIn(out)).toMatchObject([
          { key: "00000000", jpg: "a1", cls: "0" },
          { key: "00000002", png: "b2", cls: "1" },
        ]);
        expect(requests.filter(({ path }) => path.includes("list-type=2"))).toHaveLength(4);
        expect(requests[0]!.headers.authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=key\//);
      }),
    );
  });

  test("takes tars as they are, where there are some, going on where one was cut", async () => {
    const [a, b] = [await tarOf(0), await tarOf(1)];
    const objects = { "b.TAR": b, "x/a.tar": a, "x/y.png": "an image beside" };
    await inFolder((out) => {
      const path = join(out, "tmp", "00000.tar.part");
      return withS3({ objects, cut: { 1: { bytes: 1000, path }, 2: { bytes: 6000, path } } }, async (requests) => {
        const { facts, warnings } = await run(out, "s3://bucket");
        expect(facts).toEqual({ source: "s3://bucket", images: 2 });
        expect(warnings).toEqual([
          'passed over 1 objects that are no tars, such as "x/y.png"; 1 of them are images, which are taken below a prefix without tars',
        ]);
        const [first, second] = Object.values(await digestsOf(out));
        const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
        expect([first, second]).toEqual([digest(b), digest(a)]);
        const ranges = requests.map((request) => request.headers.range).filter((range) => range !== undefined);
        expect(ranges.map((range) => range.split("-")[0])).toEqual(["bytes=0", "bytes=1000", "bytes=6000", "bytes=0"]);
      });
    });
    await inFolder((out) =>
      withS3({ objects }, async () => {
        expect((await run(out, "s3://bucket/x/a.tar")).facts).toMatchObject({ images: 1 });
        expect((await samplesIn(out))[0]).toMatchObject({ key: "k0" });
      }),
    );
  });

  test("goes on in another process, as long as the object is the same", async () => {
    const tar = await tarOf(0);
    for (const [content, from] of [
      [tar, "bytes=7000"],
      [await tarOf(1), "bytes=0"],
    ] as const)
      await inFolder(async (out) => {
        const stop = new AbortController();
        const signal = stop.signal;
        const stopping = {
          objects: { "a.tar": tar },
          cut: { 1: { bytes: 7000, path: join(out, "tmp", "00000.tar.part") } },
          onRead: (n: number) => void (n === 2 && stop.abort(new Error("stop"))),
        };
        await withS3(stopping, async () => {
          const config = parseConfig(stage, { source: { kind: "s3", uri: "s3://bucket" } });
          await expect(stage.run(config, {}, await contextIn(out, signal))).rejects.toThrow(/^stop$/);
        });
        expect((await readdir(join(out, "tmp"))).sort()).toEqual(["00000.tar.part", "00000.tar.part.json"]);
        await withS3({ objects: { "a.tar": content } }, async (requests) => {
          await run(out, "s3://bucket");
          expect(requests[1]!.headers.range).toMatch(new RegExp(`^${from}-`));
          expect(await readFile(join(out, "00000.tar"))).toEqual(content);
        });
      });
  });

  test("checks bytes by the ETag, where that is their MD5", async () => {
    const objects = { "a.png": "image" };
    const other = (): string => "0".repeat(32);
    await inFolder((out) =>
      withS3({ objects, etag: other }, async () => {
        await expect(run(out, "s3://bucket")).rejects.toThrow(
          /^Cannot use s3:\/\/bucket\/a\.png at 127\.0\.0\.1:\d+: its MD5 is [0-9a-f]{32}, its ETag says 0{32}; read 3 times$/,
        );
      }),
    );
    const tar = await tarOf(0);
    await inFolder((out) =>
      withS3({ objects: { "a.tar": tar }, etag: other }, async () => {
        await expect(run(out, "s3://bucket")).rejects.toThrow(
          /its MD5 is [0-9a-f]{32}, its ETag says 0{32}; read 3 times$/,
        );
        expect((await readdir(join(out, "tmp"))).sort()).toEqual(["00000.tar.part.json"]);
      }),
    );
    const kms = { "x-amz-server-side-encryption": "aws:kms" };
    await inFolder((out) => withS3({ objects, etag: other, headers: kms }, () => run(out, "s3://bucket")));
    await inFolder((out) => withS3({ objects, etag: (md5) => `${md5}-2` }, () => run(out, "s3://bucket")));
  });

  test("says in a sentence what is wrong", async () => {
    const failure = (bucket: Bucket, uri = "s3://bucket"): Promise<string> =>
      inFolder((out) =>
        withS3(bucket, () =>
          run(out, uri).then(
            () => "no error",
            (error: unknown) => (error as Error).message.replace(/ at 127\.0\.0\.1:\d+/, " at HOST"),
          ),
        ),
      );
    expect(await failure({ objects: {} }, "s3://x")).toBe('Cannot read "s3://x": expected s3://bucket/prefix');
    expect(await failure({ objects: {} }, "s3://other/x")).toBe(
      "Cannot read s3://other/x at HOST: The specified bucket does not exist (NoSuchBucket, 404)",
    );
    expect(await failure({ objects: { "a.txt": "a" } })).toBe(
      'Cannot use "s3://bucket": none of its 1 objects is a tar or an image (1 of txt)',
    );
    const objects = { "a.png": "first", "b.png": "second" };
    const changing = { ...objects };
    const onRead = (): void => void (changing["a.png"] = "other");
    expect(await failure({ objects: changing, onRead })).toBe(
      "Cannot read s3://bucket/a.png at HOST: it has changed since it was listed",
    );
    expect(await failure({ objects, headers: { "content-range": "bytes 1-4/5" } })).toBe(
      "Cannot read s3://bucket/a.png at HOST: asked for bytes 0 to 4 of 5, the server sends bytes 1-4/5",
    );
    expect(await failure({ objects, more: "more" })).toBe(
      "Cannot read s3://bucket/a.png at HOST: the server sends more than was asked for",
    );
  });

  test("reads a whole object from a server that ignores ranges", async () => {
    await inFolder((out) =>
      withS3({ objects: { "a.png": "image" }, ranges: false }, async () => {
        expect((await run(out, "s3://bucket")).facts).toMatchObject({ images: 1 });
      }),
    );
  });

  test("closes its connections", async () => {
    await withS3({ objects: { "a.png": "a" } }, async () => {
      await using source = await openS3("s3://bucket", { signal: new AbortController().signal, log: QUIET });
      expect(source.kind).toBe("images");
    });
  });
});
