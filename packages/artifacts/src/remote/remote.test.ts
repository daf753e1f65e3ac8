import { randomBytes } from "node:crypto";
import { chmod, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256 } from "../store/manifest.js";
import { objectTime, type Made } from "../store/store.js";
import { machine, withStandIn, type Fault, type Machine, type StandIn } from "./testing.js";

const PLACE = "some/place/";
const BIG = randomBytes(3 << 20);
const pathOf = (bytes: string | Buffer): string => {
  const digest = sha256(bytes);
  return `${PLACE}objects/${digest.slice(0, 2)}/${digest}`;
};
const keyOf = (key: string): string => `${PLACE}trusted/keys/${sha256(key)}.json`;
const isObject = (path: string): boolean => /\/objects\/[0-9a-f]{2}\//.test(path);

/** What is wrong with the artifact in a machine's store: names of files that are not whole, hashed. */
const lacking = ({ store }: Machine, made: Made): Promise<string[]> => store.missing(made.manifest, true);
const messageOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "no error",
    (error: unknown) => (error as Error).message.replaceAll(/127\.0\.0\.1:\d+/g, "HOST"),
  );
/** Does it the first so many times. */
const first = (times: number, fault: Fault): Fault => {
  let done = 0;
  return (...request) => {
    if (done >= times || !fault(...request)) return false;
    done++;
    return true;
  };
};
const status =
  (code: number, headers: Record<string, string> = {}): Fault =>
  (request, response) => {
    request.resume();
    response.writeHead(code, headers).end();
    return true;
  };

describe("Remote", () => {
  test("brings what one machine pushed to another, byte for byte", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      await using b = await machine();
      const made = await a.made("k", { "a.txt": "one", "b.bin": BIG, "again.txt": "one", "none.txt": "" });
      expect(await a.remote.push(made)).toEqual({ objects: 3, bytes: BIG.length + 3, there: 0, named: true });
      expect(await b.remote.find(sha256("other"))).toBeUndefined();
      const found = await b.remote.find(sha256("k"));
      expect(found).toEqual(made);
      expect(await b.remote.fetch(made)).toEqual({ objects: 3, bytes: BIG.length + 3 });
      expect(await lacking(b, made)).toEqual([]);
      expect(await readdir(join(b.store.root, "work"))).toEqual([]);
      expect(
        [...standIn.objects.keys()].filter((path) => !/objects\/..\/|trusted\/(keys|records)\//.test(path)),
      ).toEqual([]);
    });
  });

  test("writes objects, then the record, then the key", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      await a.remote.push(await a.made("k", { a: "one", b: "two", c: BIG }));
      const puts = standIn.asked.filter((line) => line.startsWith("PUT") && !line.includes("probe"));
      expect(
        puts.map((line) => line.split("/")[3]! + (line.split("/")[4]!.length > 2 ? `/${line.split("/")[4]}` : "")),
      ).toEqual(["objects", "objects", "objects", "trusted/records", "trusted/keys"]);
    });
  });

  test("names nothing when an object cannot be written", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const made = await a.made("k", { a: "one", b: "two" });
      standIn.fault = (request, response, path) =>
        request.method === "PUT" && path.endsWith(pathOf("two")) && status(403)(request, response, path);
      expect(await messageOf(a.remote.push(made))).toMatch(
        /^Cannot write s3:\/\/bucket\/some\/place\/objects\/..\/[0-9a-f]{64} at HOST: the server answered 403/,
      );
      expect([...standIn.objects.keys()].filter((path) => path.includes("trusted"))).toEqual([]);
      standIn.fault = undefined;
      expect(await a.remote.push(made)).toMatchObject({ objects: 1, there: 1, named: true });
    });
  });

  test("asks nothing about what it knows to be there", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const made = await a.made("k", { a: "one", b: "two" });
      await a.remote.push(made);
      standIn.asked.length = 0;
      expect(await a.remote.push(made)).toEqual({ objects: 0, bytes: 0, there: 2, named: false });
      expect(standIn.asked).toEqual([]);
    });
  });

  test("finds out by a list what somebody else removed", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const made = await a.made("k", { a: "one", b: "two" });
      await a.remote.push(made);
      standIn.objects.delete(pathOf("two"));
      standIn.objects.delete(keyOf("k"));
      expect(await a.remote.push(made)).toMatchObject({ objects: 0 });
      expect(await a.remote.push(made, { listed: await a.remote.list() })).toMatchObject({
        objects: 1,
        there: 1,
        named: true,
      });
      expect(standIn.objects.get(pathOf("two"))?.bytes.toString()).toBe("two");
    });
  });

  test("uploads large objects in parts", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine({ multipartBytes: 2 ** 20, partBytes: 5 << 20 });
      await using b = await machine();
      const large = randomBytes(12 << 20);
      const made = await a.made("k", { large });
      await a.remote.push(made);
      expect(standIn.asked.filter((line) => line.startsWith("PUT") && line.includes(sha256(large)))).toHaveLength(3);
      await b.remote.fetch(made);
      expect(await lacking(b, made)).toEqual([]);
    });
  });

  test.each(["WHEN_SUPPORTED", "WHEN_REQUIRED"])("works with the SDK's checksums %s", async (mode) => {
    const names = ["AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"];
    for (const name of names) process.env[name] = mode;
    try {
      await withStandIn(async (standIn) => {
        await using a = await machine({ multipartBytes: 4 << 20, partBytes: 5 << 20 });
        await using b = await machine();
        const sent: (string | undefined)[] = [];
        standIn.fault = ({ headers, method }, _, path) => {
          if (method === "PUT" && path.endsWith(pathOf(BIG))) sent.push(headers["x-amz-checksum-sha256"] as string);
          expect(headers["x-amz-content-sha256"]).not.toMatch(/^STREAMING/);
          return false;
        };
        const made = await a.made("k", { big: BIG, parts: randomBytes(6 << 20), small: "small" });
        await a.remote.push(made);
        const checksum = Buffer.from(sha256(BIG), "hex").toString("base64");
        expect(sent).toEqual([mode === "WHEN_SUPPORTED" ? checksum : undefined]);
        await b.remote.fetch(made);
        expect(await lacking(b, made)).toEqual([]);
      });
    } finally {
      for (const name of names) Reflect.deleteProperty(process.env, name);
    }
  });

  test("keeps the first of two writers of a key, whether the store knows conditions or not", async () => {
    for (const conditions of [true, false])
      await withStandIn(async (standIn) => {
        standIn.conditions = conditions;
        await using a = await machine();
        await using b = await machine();
        const [one, two] = [await a.made("k", { a: "one" }), await b.made("k", { a: "two" })];
        expect((await a.remote.push(one)).named).toBe(true);
        expect((await b.remote.push(two)).named).toBe(false);
        expect(await b.remote.find(sha256("k"))).toEqual(one);
        expect(a.notices.join()).toMatch(conditions ? /^$/ : /ignores If-None-Match/);
        expect(standIn.asked.filter((line) => line.includes("probe"))).toHaveLength(6); // once per machine
      });
  });

  test("replaces a key whose objects are gone", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      await using b = await machine();
      await a.remote.push(await a.made("k", { a: "one" }));
      standIn.objects.delete(pathOf("one"));
      const two = await b.made("k", { a: "two" });
      expect((await b.remote.push(two)).named).toBe(true);
      expect(await b.remote.find(sha256("k"))).toEqual(two);
    });
  });

  test("does not push a file that was damaged, and removes it", async () => {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      const made = await a.made("k", { a: BIG });
      const path = a.store.objectPath(sha256(BIG));
      await chmod(path, 0o644);
      await writeFile(path, Buffer.from(BIG).fill(7, 100, 101));
      await utimes(path, objectTime(sha256(BIG)), objectTime(sha256(BIG)));
      expect(await messageOf(a.remote.push(made))).toMatch(/it is damaged, its bytes are others$/);
      expect(standIn.objects.has(pathOf(BIG))).toBe(false);
      expect(await a.store.examine({ sha256: sha256(BIG), bytes: BIG.length }, false)).toBe("missing");
    });
  });

  test("notices that what arrives is not what was sent, where the server does not", async () => {
    await withStandIn(async (standIn) => {
      standIn.compares = false;
      await using a = await machine();
      const made = await a.made("k", { a: "one" });
      await a.remote.push(await a.made("other", { b: "two" }));
      standIn.fault = (request, response, path) => {
        if (request.method !== "PUT" || !isObject(path)) return false;
        request.resume().on("end", () => {
          standIn.objects.set(path.slice("bucket/".length), { bytes: Buffer.from("3\r\none"), modified: new Date() });
          response.setHeader("etag", `"${"0".repeat(32)}"`).end();
        });
        return true;
      };
      expect(await messageOf(a.remote.push(made))).toMatch(/: what arrives there are other bytes; tried 2 times$/);
      expect(standIn.objects.has(pathOf("one"))).toBe(false);
      expect(standIn.objects.has(keyOf("k"))).toBe(false);
    });
  });
});

describe("Remote, when the server or the way to it is bad,", () => {
  /** One machine has pushed; another wants it. */
  async function wanting(
    use: (standIn: StandIn, b: Machine, made: Made) => Promise<void>,
    limits: Parameters<typeof machine>[0] = {},
  ): Promise<void> {
    await withStandIn(async (standIn) => {
      await using a = await machine();
      await using b = await machine(limits);
      const made = await a.made("k", { big: BIG, small: "small" });
      await a.remote.push(made);
      await use(standIn, b, made);
    });
  }
  const ofBig =
    (fault: Fault): Fault =>
    (request, response, path) =>
      request.method === "GET" && path.endsWith(pathOf(BIG)) && fault(request, response, path);
  const cut: Fault = (request, response) => {
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const range = from > 0 ? { "content-range": `bytes ${from}-${BIG.length - 1}/${BIG.length}` } : {};
    response.writeHead(from > 0 ? 206 : 200, { "content-length": BIG.length - from, ...range });
    response.write(BIG.subarray(from, from + (1 << 20)));
    setTimeout(() => response.destroy(), 50);
    return true;
  };

  test("goes on where a connection was cut, in another process, too", async () => {
    await wanting(async (standIn, b, made) => {
      standIn.fault = first(2, ofBig(cut));
      await b.remote.fetch(made);
      expect(await lacking(b, made)).toEqual([]);
      expect(standIn.asked.filter((line) => line.startsWith("GET") && line.includes(sha256(BIG)))).toHaveLength(3);
    });
    await wanting(async (standIn, b, made) => {
      const part = `${b.store.objectPath(sha256(BIG))}.part`;
      await b.store.add(await fileOf(b, "x"));
      await writePart(part, BIG.subarray(0, 1 << 20));
      const ranges: unknown[] = [];
      standIn.fault = ofBig((request) => (ranges.push(request.headers.range), false));
      await b.remote.fetch(made);
      expect(ranges).toEqual([`bytes=${1 << 20}-${BIG.length - 1}`]);
      expect(await lacking(b, made)).toEqual([]);
    });
  });

  test("drops what an earlier process left if it is damaged", async () => {
    await wanting(async (_, b, made) => {
      await writePart(`${b.store.objectPath(sha256(BIG))}.part`, Buffer.alloc(1 << 20));
      await b.remote.fetch(made);
      expect(await lacking(b, made)).toEqual([]);
    });
  });

  test.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
    [
      "cut short",
      (bytes) => bytes.subarray(0, -1),
      /the server offers \d+ bytes, expected \d+|no such|bytes with another digest/,
    ],
    [
      "changed by a bit",
      (bytes) => Buffer.from(bytes).fill(bytes[1]! ^ 1, 1, 2),
      /with another digest came; read 2 times$/,
    ],
    [
      "made longer",
      (bytes) => Buffer.concat([bytes, bytes]),
      /the server offers \d+ bytes, expected|more than \d+ bytes/,
    ],
    ["emptied", () => Buffer.alloc(0), /the server offers 0 bytes|another digest/],
  ])("never takes an object that was %s on the server, and names it", async (_, change, problem) => {
    for (const content of [BIG, Buffer.from("small")])
      await wanting(async (standIn, b, made) => {
        const object = standIn.objects.get(pathOf(content))!;
        object.bytes = change(object.bytes);
        const message = await messageOf(b.remote.fetch(made));
        expect(message).toMatch(problem);
        expect(message).toContain(`s3://bucket/${pathOf(content)} at HOST`);
        expect(await b.store.sizeOf(sha256(content))).toBeUndefined();
        const folder = join(b.store.root, "objects", sha256(content).slice(0, 2));
        expect(await readdir(folder)).toEqual([]);
        // Who makes it again mends the remote store.
        const again = await b.made("k", { big: BIG, small: "small" });
        await b.remote.push(again);
        expect(standIn.objects.get(pathOf(content))!.bytes.equals(content)).toBe(true);
      });
  });

  test("asks again after 5xx, 429 and cut connections, and gives up in the end", async () => {
    const trouble: Fault[] = [
      status(500),
      status(503),
      status(429, { "retry-after": "0" }),
      (request) => (request.destroy(), true),
    ];
    for (const fault of trouble)
      await wanting(async (standIn, b, made) => {
        standIn.fault = first(2, fault);
        expect(await b.remote.find(sha256("k"))).toEqual(made);
        standIn.fault = first(2, fault);
        await b.remote.fetch(made);
        expect(await lacking(b, made)).toEqual([]);
        standIn.fault = first(2, fault);
        expect((await b.remote.push(await b.made("l", { c: "three" }))).named).toBe(true);
        standIn.fault = fault;
        expect(await messageOf(b.remote.find(sha256("k")))).toMatch(
          /^Cannot read s3:\/\/bucket\/some\/place\/trusted\/keys\/\w+\.json at HOST: .*; tried 4 times/,
        );
      });
  }, 30_000);

  test("says that it is refused, that there is no bucket, or that no answer came", async () => {
    await wanting(async (standIn, b) => {
      standIn.fault = status(403);
      expect(await messageOf(b.remote.find(sha256("k")))).toMatch(
        / at HOST: .*403.*; credentials and region come from/,
      );
      standIn.fault = (request, response) => {
        request.resume();
        response.writeHead(404).end("<Error><Code>NoSuchBucket</Code><Message>There is none</Message></Error>");
        return true;
      };
      expect(await messageOf(b.remote.find(sha256("k")))).toMatch(/ at HOST: There is none \(NoSuchBucket, 404\)$/);
    });
    await wanting(
      async (standIn, b) => {
        standIn.fault = () => true;
        expect(await messageOf(b.remote.find(sha256("k")))).toMatch(/ at HOST: no answer came for 0\.1 s/);
      },
      { contactMs: 100 },
    );
  });

  test("gives up an object that drips, and one that stalls", async () => {
    for (const limits of [
      { rateWindowMs: 50, leastBytesPerSecond: 1e9 },
      { idleMs: 50, headersMs: 50 },
    ])
      await wanting(
        async (standIn, b, made) => {
          standIn.fault = ofBig((_, response) => {
            response.writeHead(200, { "content-length": BIG.length }).write("x");
            const timer = setInterval(() => response.write("x"), "idleMs" in limits ? 1e6 : 5);
            response.on("close", () => clearInterval(timer));
            return true;
          });
          expect(await messageOf(b.remote.fetch(made))).toMatch(/bytes moved in|nothing came for/);
          expect(await lacking(b, made)).toContain("big");
        },
        { retries: 0, ...limits },
      );
  });

  test("does not believe a wrong range or a wrong length", async () => {
    await wanting(async (standIn, b, made) => {
      let asked = 0;
      standIn.fault = ofBig((request, response, path) => {
        if (++asked === 1) return cut(request, response, path);
        if (asked > 2) return false;
        response.writeHead(206, { "content-range": `bytes 5-${BIG.length - 1}/${BIG.length}` }).end(BIG.subarray(5));
        return true;
      });
      await b.remote.fetch(made);
      expect(await lacking(b, made)).toEqual([]);
    });
    await wanting(async (standIn, b, made) => {
      standIn.fault = first(
        1,
        ofBig((_, response) => {
          response.writeHead(200, { "content-length": 7 }).end("1234567");
          return true;
        }),
      );
      await b.remote.fetch(made);
      expect(await lacking(b, made)).toEqual([]);
    });
  });

  test("does not believe a key or a record that was changed", async () => {
    await wanting(async (standIn, b, made) => {
      const record = [...standIn.objects.keys()].find((path) => path.includes("records"))!;
      for (const path of [keyOf("k"), record]) {
        const object = standIn.objects.get(path)!;
        const whole = object.bytes;
        for (const bytes of [
          whole.subarray(0, 40),
          Buffer.from("{}"),
          Buffer.from(whole.toString().replace("words", "Words").replace('"format":1', '"format":2')),
        ]) {
          object.bytes = bytes;
          expect(await messageOf(b.remote.find(sha256("k")))).toMatch(/: it is damaged, or none of ours$/);
        }
        object.bytes = whole;
      }
      standIn.objects.delete(record);
      expect(await messageOf(b.remote.find(sha256("k")))).toMatch(/: its record is not there$/);
      const again = await b.made("k", { big: BIG, small: "small" }, "2026-02-02T00:00:00.000Z");
      expect((await b.remote.push(again)).named).toBe(true);
      expect(await b.remote.find(made.record.key)).toEqual(again);
    });
  });

  test("writes nothing where the disk has no room, and says so", async () => {
    await wanting(
      async (_, b, made) => {
        expect(await messageOf(b.remote.fetch(made))).toMatch(
          /^Cannot store s3:\/\/bucket\/some\/place\/objects\/.* at HOST in ".*": it needs \d+ bytes, and ".*" has room for 0$/,
        );
        expect(await lacking(b, made)).toEqual(["big", "small"]);
      },
      { keepFreeBytes: 2 ** 60 },
    );
  });
});

async function fileOf({ store }: Machine, content: string): Promise<string> {
  const path = join(store.root, "..", "file");
  await writeFile(path, content);
  return path;
}

async function writePart(path: string, bytes: Buffer): Promise<void> {
  const { mkdir } = await import("node:fs/promises");
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, bytes);
  expect((await readFile(path)).length).toBe(bytes.length);
}
