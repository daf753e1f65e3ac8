import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import type { NetworkLimits } from "@madformer/artifacts";
import { parseConfig } from "@madformer/stage";
import { stage } from "../stages/dataset.js";
import { contextIn, datasetOf, inFolder } from "../testing.js";
import { openS3 } from "./s3.js";
import { withEnvironment, withServer, type Answer, type Request } from "./testing.js";

/** Long waits, but for those that a test makes short: it is the limit under test that ends something. */
const LIMITS: Partial<NetworkLimits> = { retryMs: 1, retries: 1, headersMs: 1e8, idleMs: 1e8, rateWindowMs: 1e8 };
const QUIET = { warn: (): void => undefined };
const CONTENT = Buffer.from("an image of 30 bytes, or no one");
const SIZE = CONTENT.length;
/** Of an upload in parts: no MD5. */
const IN_PARTS = `"${"0".repeat(32)}-3"`;

const entry = (key: string, size = SIZE, etag = IN_PARTS): string =>
  `<Contents><Key>${key}</Key><Size>${size}</Size>${etag && `<ETag>${etag}</ETag>`}</Contents>`;
const list = (contents: string, next = ""): string => {
  const token = next && `<NextContinuationToken>${next}</NextContinuationToken>`;
  return `<ListBucketResult><IsTruncated>${next !== ""}</IsTruncated>${token}${contents}</ListBucketResult>`;
};
const listing =
  (text: (token: string | null) => string): Answer =>
  (_, response, url) =>
    void response.end(text(url.searchParams.get("continuation-token")));

/** A bucket of one object, `a.png` if not another. */
const bucket =
  (object: Answer, contents = entry("a.png")): Answer =>
  (request, response, url) => {
    if (url.searchParams.has("list-type")) response.end(list(contents));
    else object(request, response, url);
  };
/** Those of what a request asks for, up to the end. */
function rangeOf(request: IncomingMessage, size = SIZE) {
  const from = Number(/^bytes=(\d+)-/.exec(request.headers.range!)![1]);
  return { from, range: { "content-length": size - from, "content-range": `bytes ${from}-${size - 1}/${size}` } };
}
/** Sends the same again and again, until nobody listens. */
const every = (ms: number, response: ServerResponse, text: string): void => {
  const timer = setInterval(() => response.write(text), ms);
  response.on("close", () => clearInterval(timer));
};
const never: Answer = () => undefined;
/** A beginning, and no more. */
const cut: Answer = (request, response) => {
  response.writeHead(206, rangeOf(request).range).write(CONTENT.subarray(0, 9));
  setTimeout(() => response.destroy(), 20);
};
const status =
  (code: number, text = ""): Answer =>
  (_, response) =>
    void response.writeHead(code).end(text);

const KEYS = { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret" };
const NO_KEYS = {
  AWS_ACCESS_KEY_ID: undefined,
  AWS_SECRET_ACCESS_KEY: undefined,
  AWS_EC2_METADATA_DISABLED: "true",
  AWS_CONFIG_FILE: "/none",
  AWS_SHARED_CREDENTIALS_FILE: "/none",
};

const withStore = <T>(
  answer: Answer,
  use: (requests: Request[]) => Promise<T>,
  environment: Readonly<Record<string, string | undefined>> = KEYS,
): Promise<T> =>
  withServer(answer, (endpoint, requests) =>
    withEnvironment({ AWS_ENDPOINT_URL: endpoint, AWS_REGION: undefined, AWS_PROFILE: undefined, ...environment }, () =>
      use(requests),
    ),
  );

interface Reading {
  readonly unsigned?: boolean;
  readonly signal?: AbortSignal;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly onRequests?: (requests: Request[]) => void;
}

/** Opens a bucket and reads its first image or tar: what it holds, or the error. */
function read(answer: Answer, limits: Partial<NetworkLimits> = {}, reading: Reading = {}): Promise<string> {
  const { unsigned = false, signal = new AbortController().signal, environment, onRequests } = reading;
  const reads = async (): Promise<string> => {
    await using source = await openS3("s3://bucket", {
      signal,
      log: QUIET,
      unsigned,
      limits: { ...LIMITS, ...limits },
    });
    if (source.kind === "images") return Buffer.from(await source.images[0]!.read()).toString();
    return inFolder(async (folder) => {
      await source.tars[0]!.fetch(join(folder, "tar"), () => undefined);
      return readFile(join(folder, "tar"), "utf8");
    });
  };
  return withStore(
    answer,
    (requests) => {
      onRequests?.(requests);
      return reads().catch((error: unknown) =>
        (error as Error).message.replace(/ at 127\.0\.0\.1:\d+/, " at HOST").replaceAll(/"\/[^"]*"/g, '"FOLDER"'),
      );
    },
    environment,
  );
}

describe("openS3() gives up", () => {
  const inVain = "; 2 requests in a row brought too little";

  test("an object that does not come, stalls, or drips", async () => {
    expect(await read(bucket(never), { headersMs: 50 })).toBe(
      "Cannot read s3://bucket/a.png at HOST: no answer came for 0.05 s",
    );
    const body =
      (ms: number): Answer =>
      (request, response) => {
        response.writeHead(206, rangeOf(request, 1e6).range).write("png");
        every(ms, response, ".");
      };
    const contents = entry("a.png", 1e6);
    expect(await read(bucket(body(1e8), contents), { idleMs: 50 })).toMatch(
      /^Cannot read s3:\/\/bucket\/a\.png at HOST: nothing came for 0\.05 s after \d+ of 1000000 bytes; 2 requests in a row/,
    );
    expect(await read(bucket(body(10), contents), { rateWindowMs: 80 })).toMatch(
      /: \d+ bytes came in 0\.\d+ s, less than 4096 in a second after \d+ of 1000000 bytes; 2 requests in a row/,
    );
  });

  test("a server that sends a byte each time it is asked, or none", async () => {
    const miser: Answer = (request, response) => {
      response.writeHead(206, rangeOf(request).range).write(".");
      setTimeout(() => response.destroy(), 5);
    };
    expect(await read(bucket(miser), { retryMs: 10 })).toMatch(
      new RegExp(`: the connection was cut after [12] of ${SIZE} bytes${inVain}$`),
    );
    const nothing: Answer = (_, response) =>
      void response.writeHead(206, { "content-range": `bytes 0-${SIZE - 1}/${SIZE}` }).end();
    expect(await read(bucket(nothing))).toBe(
      `Cannot read s3://bucket/a.png at HOST: the connection ended after 0 of ${SIZE} bytes${inVain}`,
    );
  });

  test("a list that does not come, stalls, or drips", async () => {
    expect(await read(never, { headersMs: 50 })).toBe("Cannot read s3://bucket at HOST: no answer came for 0.05 s");
    const drip =
      (ms: number): Answer =>
      (_, response) => {
        response.write("<ListBucketResult>");
        every(ms, response, " ");
      };
    expect(await read(drip(1e8), { idleMs: 50 })).toBe("Cannot read s3://bucket at HOST: nothing came for 0.05 s");
    expect(await read(drip(5), { pageMs: 50 })).toBe(
      "Cannot read s3://bucket at HOST: the answer was not there after 0.05 s",
    );
  });

  test("a list that leads back, goes on and on, or does not say how it goes on", async () => {
    const problem = "Cannot list s3://bucket at HOST: ";
    expect(await read(listing((token) => list("", token === "b" ? "a" : "b")))).toBe(
      `${problem}its page 3 leads back to one before: it would never end`,
    );
    expect(
      await read(
        listing((token) => list("", `${token}+`)),
        { pages: 5 },
      ),
    ).toBe(`${problem}it has more than 5 pages`);
    expect(
      await read(
        listing(() => list(entry("a.png") + entry("b.png"), "a")),
        { entries: 1 },
      ),
    ).toBe(`${problem}it has more than 1 entries`);
    expect(
      await read(
        listing(() => list(entry("a.png"))),
        { nameCharacters: 39 },
      ),
    ).toBe(`${problem}its names take more than 39 characters`);
    expect(await read(listing(() => "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"))).toBe(
      `${problem}a page says that there are more, and not how to ask for them`,
    );
  });

  test("answers that are too long, or none of S3", async () => {
    const problem = "Cannot read s3://bucket at HOST: ";
    const long = list(" ".repeat(5000));
    expect(
      await read(
        listing(() => long),
        { pageBytes: 4000 },
      ),
    ).toBe(`${problem}a page takes more than 4000 bytes`);
    expect(await read(status(404, `<Error>${long}`), { errorBytes: 4000 })).toBe(
      `${problem}the server answered 404, with more than 4000 bytes about it`,
    );
    const none = `${problem}the server's answer is no list of objects`;
    for (const text of ["<html>Sign in</html>", `<!DOCTYPE a>${list("")}`, ""])
      expect(await read(listing(() => text))).toBe(none);
    const nested = `<ListBucketResult>${"<a>".repeat(1e5)}`;
    expect(await read(listing(() => nested))).toBe(`${problem}the server's answer is none of S3`);
    expect(await read(status(404, "<!doctype html><p>None<p>of it"))).toBe(
      `${problem}the server answered 404 (NotFound)`,
    );
  });

  test("objects that are too large, or that the disk has no room for", async () => {
    const tar = (size: number): Answer => bucket(never, entry("a.tar", size));
    expect(await read(tar(2 ** 52))).toBe(
      "Cannot use s3://bucket/a.tar at HOST: it has 4503599627370496 bytes, expected 1099511627776 at most",
    );
    expect(await read(tar(5), { keepFreeBytes: 2 ** 60 })).toBe(
      'Cannot use s3://bucket/a.tar at HOST: it needs 5 bytes, and "FOLDER" has room for 0',
    );
    await inFolder((out) =>
      withStore(
        bucket(never, Array.from({ length: 5000 }, (_, i) => entry(`${i}.tar`, 2 ** 40)).join("")),
        async () => {
          const config = parseConfig(stage, { source: { kind: "s3", uri: "s3://bucket" } });
          await expect(stage.run(config, {}, await contextIn(out))).rejects.toThrow(
            /^Cannot use s3:\/\/bucket: it needs 5497558138880000 bytes, and ".*" has room for \d+$/,
          );
        },
      ),
    );
  });

  test.each<[string, Answer]>([
    ["for a list", never],
    ["for the rest of a list", (_, response) => void response.write("<ListBucketResult>")],
    ["until the SDK asks again", status(503)],
    ["for an object", bucket(never)],
    [
      "for the rest of an object",
      bucket((request, response) => void response.writeHead(206, rangeOf(request).range).write("png")),
    ],
    ["until it asks again for an object", bucket(cut)],
  ])("at once when it is told to, waiting %s", async (_, answer) => {
    const stop = new AbortController();
    const limits = { retries: 1000, retryMs: 1e6 };
    const onRequests = (requests: Request[]): void => {
      const timer = setInterval(() => {
        if (requests.length === 0) return;
        clearInterval(timer);
        setTimeout(() => stop.abort(new Error("stop")), 80);
      }, 5);
    };
    expect(await read(answer, limits, { signal: stop.signal, onRequests })).toBe("stop");
  });
});

describe("openS3() compares what came with its checksum", () => {
  const damaged = Buffer.from(CONTENT).fill("X", 5, 6);
  const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("base64");
  const sends =
    (bytes: Buffer, checksum: string, headers: object = {}): Answer =>
    (request, response) => {
      const { from, range } = rangeOf(request);
      response.writeHead(206, { ...range, "x-amz-checksum-sha256": checksum, ...headers }).end(bytes.subarray(from));
    };

  test("and drops what is damaged, at last with an error", async () => {
    let asked = 0;
    const answer: Answer = (...request) => (asked++, sends(damaged, sha256(CONTENT))(...request));
    for (const key of ["a.png", "a.tar"]) {
      asked = 0;
      expect(await read(bucket(answer, entry(key)))).toBe(
        `Cannot use s3://bucket/${key} at HOST: its checksum does not fit: expected "${sha256(CONTENT)}" but received ` +
          `"${sha256(damaged)}" in response header "x-amz-checksum-sha256"; read 3 times`,
      );
      expect(asked).toBe(3);
    }
    const kms = sends(damaged, sha256(CONTENT), { "x-amz-server-side-encryption": "aws:kms" });
    expect(await read(bucket(kms, entry("a.png", SIZE, `"${"0".repeat(32)}"`)))).toMatch(
      /: its checksum does not fit: /,
    );
  });

  test("and reads again what was damaged on its way", async () => {
    for (const key of ["a.png", "a.tar"]) {
      let asked = 0;
      const answer: Answer = (...request) => sends(asked++ === 0 ? damaged : CONTENT, sha256(CONTENT))(...request);
      expect(await read(bucket(answer, entry(key)))).toBe(CONTENT.toString());
      expect(asked).toBe(2);
    }
  });

  test("but not where the checksum is that of other bytes: of a part, of the parts' checksums, or the ETag says more", async () => {
    const md5 = `"${createHash("md5").update(CONTENT).digest("hex")}"`;
    expect(await read(bucket(sends(CONTENT, sha256(damaged)), entry("a.png", SIZE, md5)))).toBe(CONTENT.toString());
    const composite = sends(CONTENT, sha256(damaged), { "x-amz-checksum-type": "COMPOSITE" });
    expect(await read(bucket(composite))).toBe(CONTENT.toString());
    expect(await read(bucket(sends(CONTENT, `${sha256(damaged)}-3`)))).toBe(CONTENT.toString());
  });

  test("but not where a range comes with the checksum of the whole", async () => {
    let asked = 0;
    const answer: Answer = (...request) => (asked++ > 0 ? sends(CONTENT, sha256(CONTENT)) : cut)(...request);
    expect(await read(bucket(answer), { retries: 5 })).toBe(CONTENT.toString());
    expect(asked).toBe(2);
  });
});

describe("stage dataset, from S3, says what it leaves out", () => {
  const warnings = (contents: string, object: Answer): Promise<readonly string[]> =>
    inFolder((out) =>
      withStore(bucket(object, contents), async () => {
        const context = await contextIn(out);
        await stage.run(parseConfig(stage, { source: { kind: "s3", uri: "s3://bucket" } }), {}, context);
        expect((await readdir(out)).filter((name) => !["tmp", "logs"].includes(name))).toEqual(["00000.tar"]);
        return context.warnings;
      }),
    );

  test("objects that are no images, and such that the list does not describe", async () => {
    const image: Answer = (request, response) => void response.writeHead(206, rangeOf(request).range).end(CONTENT);
    const others = entry("b.jxl") + entry("c.heic") + entry(".hidden") + entry("folder/");
    expect(await warnings(entry("a.png") + others + entry("d.png", SIZE, ""), image)).toEqual([
      'passed over 1 objects of which the list says no size or ETag, such as "d.png"',
      'passed over 2 objects that are no images, such as "b.jxl"',
    ]);
  });

  test("images beside a tar, and how to get them", async () => {
    const tar = await inFolder(async (folder) => {
      await datasetOf(folder, [{ k: { png: "image" } }]);
      return readFile(join(folder, "00000.tar"));
    });
    const object: Answer = (request, response) =>
      void response.writeHead(206, rangeOf(request, tar.length).range).end(tar);
    const images = Array.from({ length: 20 }, (_, i) => entry(`${i}.png`)).join("");
    expect(await warnings(images + entry("old/backup.tar", tar.length) + entry("readme.txt"), object)).toEqual([
      'passed over 21 objects that are no tars, such as "0.png"; 20 of them are images, which are taken below a prefix without tars',
    ]);
  });
});

describe("a public bucket", () => {
  const object: Answer = (request, response) => void response.writeHead(206, rangeOf(request).range).end(CONTENT);
  const hint = `a public bucket is read without credentials where the source says "unsigned": true`;

  test("is read without credentials where the source says so", async () => {
    const headers: unknown[] = [];
    const answer: Answer = (request, response, url) => {
      headers.push(request.headers.authorization);
      bucket(object)(request, response, url);
    };
    for (const environment of [KEYS, NO_KEYS])
      expect(await read(answer, {}, { unsigned: true, environment })).toBe(CONTENT.toString());
    expect(headers).toEqual([undefined, undefined, undefined, undefined]);
    expect(await read(answer)).toBe(CONTENT.toString());
    expect(headers[4]).toMatch(/^AWS4-HMAC-SHA256 /);
    expect(parseConfig(stage, { source: { kind: "s3", uri: "s3://bucket" } }).source).toMatchObject({
      unsigned: false,
    });
  });

  test("is hinted at where there are no credentials, or they do not do", async () => {
    expect(await read(bucket(object), {}, { environment: NO_KEYS })).toBe(
      `Cannot read s3://bucket: Could not load credentials from any providers; ${hint}`,
    );
    const denied = status(403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>");
    expect(await read(denied)).toBe(`Cannot read s3://bucket at HOST: Access Denied (AccessDenied, 403); ${hint}`);
    expect(await read(bucket(denied))).toBe(
      `Cannot read s3://bucket/a.png at HOST: Access Denied (AccessDenied, 403); ${hint}`,
    );
    expect(await read(denied, {}, { unsigned: true })).toBe(
      `Cannot read s3://bucket at HOST: Access Denied (AccessDenied, 403); no credentials were sent, as the source says "unsigned": true`,
    );
  });

  test("has a region, which the message asks for", async () => {
    const elsewhere = status(301, "<Error><Code>PermanentRedirect</Code><Message>Elsewhere</Message></Error>");
    expect(await read(elsewhere)).toBe(
      "Cannot read s3://bucket at HOST: Elsewhere (PermanentRedirect, 301); expected the bucket's region in AWS_REGION",
    );
    const environment = { ...NO_KEYS, AWS_ENDPOINT_URL: undefined, AWS_DEFAULT_REGION: undefined };
    expect(await read(never, {}, { unsigned: true, environment })).toBe(
      "Cannot read s3://bucket: Region is missing; expected the bucket's region in AWS_REGION",
    );
  });
});
