import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { FormatError } from "@madformer/artifacts";
import fc from "fast-check";
import { Oddities } from "./oddities.js";
import { readSamples, readWebDataset, type ReadWebDatasetOptions } from "./read.js";
import { inFolder, inPieces, tarOf, textOf } from "./testing.js";

const GOOD = await tarOf([
  { name: "0001.webp", content: "first" },
  { name: "0001.json", content: "{}" },
  { name: "0002.webp", content: "x".repeat(1300) },
  { name: "0002.cls", content: "" },
  { name: "0003.webp", content: "\0".repeat(1024) },
]);
const GOOD_SAMPLES = [
  ["0001", { webp: "first", json: "{}" }],
  ["0002", { webp: "x".repeat(1300), cls: "" }],
  ["0003", { webp: "\0".repeat(1024) }],
];

function read(tar: Uint8Array, options: ReadWebDatasetOptions = {}, pieceBytes = 700) {
  return textOf(readSamples(inPieces(tar, pieceBytes), "some.tar", options));
}

/** Reads a tar, and what is said about it. */
async function readOddly(tar: Uint8Array, options: ReadWebDatasetOptions = {}) {
  const odd = new Oddities();
  return [await read(tar, { ...options, onOdd: odd.add }), odd.sentences("some.tar")] as const;
}

/** Reads a tar that must be refused, and gives the message. */
async function refusal(tar: Uint8Array, options: ReadWebDatasetOptions = {}): Promise<string> {
  const error: unknown = await read(tar, options).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(FormatError);
  return (error as Error).message;
}

describe("readSamples()", () => {
  test.each([1, 511, 512, 513, 1e6])("groups files by key, from pieces of %i bytes", async (pieceBytes) => {
    expect(await read(GOOD, {}, pieceBytes)).toEqual(GOOD_SAMPLES);
  });

  test("splits names at the first dot of their last part, passes over folders and leading ./", async () => {
    const tar = await tarOf([
      { name: "./", type: "directory" },
      { name: "./a.b/", type: "directory" },
      { name: "./a.b/0001.left.PNG", content: "1" },
      { name: "./a.b/0001.right.png", content: "2" },
      { name: `${"long/".repeat(60)}0001.png`, content: "3" }, // too long for a plain header
    ]);
    expect(await read(tar)).toEqual([
      ["a.b/0001", { "left.png": "1", "right.png": "2" }],
      [`${"long/".repeat(60)}0001`, { png: "3" }],
    ]);
  });

  test("keeps the extensions that are asked for, and no sample without any", async () => {
    expect(await read(GOOD, { extensions: ["json", "cls"] })).toEqual([
      ["0001", { json: "{}" }],
      ["0002", { cls: "" }],
    ]);
    expect(await read(GOOD, { extensions: ["json"], maxSampleBytes: 2 })).toEqual([["0001", { json: "{}" }]]);
  });

  test("reads a tar without entries", async () => {
    expect(await read(await tarOf([]))).toEqual([]);
  });

  test.each([
    ["../0001.png", "leaves its folder"],
    ["a/../../0001.png", "leaves its folder"],
    ["a\\..\\..\\0001.png", "leaves its folder"],
    ["/../0001.png", "leaves its folder"],
    ["C:..\\0001.png", "leaves its folder"],
    [`${"a".repeat(1100)}.png`, "1104 characters, expected at most 1024"],
  ])("refuses the name %j", async (name, expected) => {
    const message = await refusal(await tarOf([{ name: "0000.png" }, { name }]));
    expect(message).toContain(expected);
    expect(message).toContain(JSON.stringify(name.slice(0, 200)).slice(0, -1));
    expect(message.length).toBeLessThan(400);
  });

  test.each([
    ["/data/0001.png", "data/0001"],
    ["data//0001.png", "data/0001"],
    ["data/./0001.png", "data/0001"],
    ["C:\\data\\0001.png", "data/0001"],
    [".\\0001.png", "0001"],
  ])("takes the name %j as %j, and says so", async (name, key) => {
    const [samples, said] = await readOddly(await tarOf([{ name: "0000.png" }, { name, content: "x" }]));
    expect(samples[1]).toEqual([key, { png: "x" }]);
    expect(said).toEqual([
      `renamed 1 entries of "some.tar" whose names are no plain relative paths, such as ${JSON.stringify(name)}`,
    ]);
  });

  test.each(["README", ".DS_Store", "._0001.png", "a/.hidden.png", "__meta__", "1.", "a\n1.png", "Icon\r"])(
    "passes over an entry %j, and says so",
    async (name) => {
      const [samples, said] = await readOddly(
        await tarOf([
          { name, content: "y" },
          { name: "1.png", content: "x" },
        ]),
      );
      expect(samples).toEqual([["1", { png: "x" }]]);
      expect(said).toEqual([expect.stringMatching(/^passed over 1 entries of "some\.tar" whose names h/)]);
      expect(said[0]).toContain(`, such as ${JSON.stringify(name)}`);
    },
  );

  test("says each kind of oddity once, with its number", async () => {
    const [, said] = await readOddly(await tarOf([{ name: "a" }, { name: "b" }, { name: "/1.png" }, { name: "c" }]));
    expect(said).toEqual([
      'passed over 3 entries of "some.tar" whose names have no key and extension, such as "a"',
      'renamed 1 entries of "some.tar" whose names are no plain relative paths, such as "/1.png"',
    ]);
  });

  test("reads names that are no UTF-8 as Latin-1, and those of all kinds of headers that are", async () => {
    const tar = await tarOf([
      { name: "caf_.png", content: "1" },
      { name: "é.png", content: "2" },
      { name: `${"é/".repeat(90)}1.png`, content: "3" }, // in a pax header
    ]);
    tar[3] = 0xe9;
    writeChecksum(tar);
    const [samples, said] = await readOddly(tar);
    expect(samples.map(([key]) => key)).toEqual(["café", "é", `${"é/".repeat(90)}1`]);
    expect(said).toEqual(['read as Latin-1 1 entries of "some.tar" whose names are no UTF-8, such as "café.png"']);
  });

  test("reads a tar of V7, whose headers have no magic and whose folders are files", async () => {
    const tar = await tarOf([
      { name: "a/", type: "directory" },
      { name: "a/1.png", content: "x" },
    ]);
    for (const at of [0, 512]) {
      tar.fill(0, at + 257, at + 345);
      tar[at + 156] = 0;
      writeChecksum(tar.subarray(at));
    }
    expect(await readOddly(tar)).toEqual([[["a/1", { png: "x" }]], []]);
  });

  test.each(["symlink", "link", "fifo", "character-device", "block-device"] as const)(
    "passes over a %s, and says so",
    async (type) => {
      const tar = await tarOf([{ name: "0001.png", type, linkname: "/etc/passwd" }, { name: "2.png" }]);
      const [samples, said] = await readOddly(tar);
      expect(samples).toEqual([["2", { png: "" }]]);
      expect(said).toEqual([`passed over 1 entries of "some.tar" that are no files (${type}), such as "0001.png"`]);
    },
  );

  test("passes over sparse files, of which GNU tar keeps parts under other names, and says so", async () => {
    const pax = { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "1.png" };
    const tar = await tarOf([{ name: "GNUSparseFile.7/1.png", pax, content: "1\n0\n" }, { name: "2.png" }]);
    const [samples, said] = await readOddly(tar);
    expect(samples).toEqual([["2", { png: "" }]]);
    expect(said).toEqual([
      'passed over 1 entries of "some.tar" that are sparse, with only parts of them in it, such as "1.png"',
    ]);
  });

  test("keeps extensions with more dots by their last part, and others by what they begin with", async () => {
    const tar = await tarOf([
      { name: "1.v2.png", content: "x" },
      { name: "1.img", content: `MAGIC${"y".repeat(1300)}` },
      { name: "1.txt", content: "MAGI" },
      { name: "2.txt", content: "" },
    ]);
    const sniff = (start: Uint8Array): boolean => Buffer.from(start).toString().startsWith("MAGIC");
    const options = { extensions: ["png"], sniff };
    const all = { "v2.png": "x", img: `MAGIC${"y".repeat(1300)}` };
    for (const pieceBytes of [1, 700]) expect(await read(tar, options, pieceBytes)).toEqual([["1", all]]);
    const starts = { "v2.png": "x", img: "MAGICyyyyyyyyyyy" };
    expect(await read(tar, { ...options, startsOnly: true, bare: true })).toEqual([
      ["1", starts],
      ["2", {}],
    ]);
    const [samples, said] = await readOddly(tar, { ...options, maxSampleBytes: 100 });
    expect(samples).toEqual([["1", { "v2.png": "x" }]]);
    expect(said).toEqual([
      'passed over 1 entries of "some.tar" of other kinds, with which a sample takes more than 100 bytes, such as "1.img"',
    ]);
  });

  test("passes over a file that is larger than its kind may be, and says so", async () => {
    const tar = await tarOf([
      { name: "1.png", content: "x" },
      { name: "1.a.json", content: "12345" },
    ]);
    const [samples, said] = await readOddly(tar, { maxFileBytes: { json: 4 }, maxSampleBytes: 5 });
    expect(samples).toEqual([["1", { png: "x" }]]);
    expect(said).toEqual(['passed over 1 entries of "some.tar" of more than 4 bytes, such as "1.a.json"']);
  });

  test("refuses an extension that comes twice, kept or not, whatever its case", async () => {
    const tar = await tarOf([{ name: "1.png" }, { name: "1.PNG" }]);
    for (const options of [{}, { extensions: ["json"] }])
      expect(await refusal(tar, options)).toContain(`entry "1.PNG": its key and extension were there before`);
  });

  test("refuses a key that comes again", async () => {
    const tar = await tarOf([{ name: "1.png" }, { name: "2.png" }, { name: "1.json" }]);
    expect(await refusal(tar)).toContain(`entry "1.json": its key was there before`);
  });

  test("bounds the bytes of a sample before it reads them", async () => {
    const tar = await tarOf([
      { name: "1.png", content: "123" },
      { name: "1.json", content: "4567" },
    ]);
    expect(await read(tar, { maxSampleBytes: 7 })).toHaveLength(1);
    expect(await refusal(tar, { maxSampleBytes: 6 })).toContain(`entry "1.json": with it its sample takes 7 bytes`);

    const huge = Buffer.from(GOOD); // its first entry now claims 8 GiB
    huge.write("77777777777", 124);
    writeChecksum(huge);
    expect(await refusal(huge)).toContain(`entry "0001.webp": with it its sample takes 8589934591 bytes`);
  });

  test("refuses a size that is neither octal nor in base 256", async () => {
    const tar = Buffer.from(GOOD);
    tar[124] = 0x8f; // 0x80 and 0xff would say base 256
    writeChecksum(tar);
    expect(await refusal(tar)).toContain('entry "0001.webp": its size is no number');
  });

  test("bounds the files of a sample", async () => {
    const files = Array.from({ length: 101 }, (_, i) => ({ name: `1.x${i}` }));
    expect(await read(await tarOf(files.slice(1)))).toHaveLength(1);
    expect(await refusal(await tarOf(files))).toContain(
      `entry "1.x100": its key has more than 100 files; a key ends at`,
    );
  });

  test("notices a tar that was cut off anywhere", async () => {
    const content = GOOD.length - 1024; // up to the blocks that end it
    for (const bytes of [0, 1, 512, 513, 1024, 1536, 3000, 3584, content - 1024, content - 1, content, content + 512])
      expect([bytes, await refusal(GOOD.subarray(0, bytes))]).toEqual([
        bytes,
        expect.stringMatching(/cut off|damaged/),
      ]);
  });

  test.each([
    ["gzip", gzipSync(GOOD)],
    ["gzip", gzipSync("short")],
    ["zstd", Buffer.from("28b52ffd".padEnd(1400, "0"), "hex")],
    ["xz", Buffer.from("fd377a585a00".padEnd(1400, "0"), "hex")],
    ["bzip2", Buffer.from("BZh91AY".padEnd(700))],
    ["zip", Buffer.from("PK\u0003\u0004".padEnd(700))],
    ["Git LFS", Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")],
    ["web page", Buffer.from("\n<!DOCTYPE html>".padEnd(700))],
  ])("says that a file is of %s", async (name, bytes) => {
    for (const pieceBytes of [1, 1000]) {
      const error: unknown = await read(bytes, {}, pieceBytes).catch((error: unknown) => error);
      expect((error as Error).message).toMatch(new RegExp(`^Cannot read "some\\.tar": it is .*${name}`));
    }
  });

  test("refuses what is no tar", async () => {
    expect(await refusal(Buffer.from("GIF89a".repeat(500)))).toContain("damaged or no tar");
  });

  test("gives samples or a FormatError, whatever bytes are changed", async () => {
    const change = fc.record({ at: fc.nat(GOOD.length - 1025), to: fc.nat(255), mend: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        const tar = Buffer.from(GOOD);
        for (const { at, to, mend } of changes) {
          const header = at - (at % 512);
          tar[mend ? header + (to % 200) : at] = mend ? at % 256 : to;
          if (mend) writeChecksum(tar.subarray(header, header + 512)); // a header that is taken as it is
        }
        try {
          await read(tar, { maxSampleBytes: 4096 });
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
        }
      }),
      { numRuns: 300 },
    );
  });

  test("closes its source when its reader leaves early", async () => {
    let closed = false;
    const source = async function* () {
      try {
        yield* inPieces(GOOD, 512);
        for (;;) yield new Uint8Array(512); // without end
      } finally {
        closed = true;
      }
    };
    for await (const { key } of readSamples(source(), "some.tar")) {
      expect(key).toBe("0001");
      break;
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(true);
  });

  test("stops with the reason of its signal", async () => {
    const [before, during] = [new AbortController(), new AbortController()];
    before.abort(new Error("not now"));
    await expect(read(GOOD, { signal: before.signal })).rejects.toThrow("not now");

    const samples = readSamples(inPieces(GOOD, 512), "some.tar", { signal: during.signal });
    expect((await samples.next()).value).toMatchObject({ key: "0001" });
    during.abort(new Error("enough"));
    await expect(textOf(samples)).rejects.toThrow("enough");
  });

  test("passes on why its source failed", async () => {
    const source = async function* () {
      yield GOOD.subarray(0, 1024);
      throw new Error("connection lost");
    };
    await expect(textOf(readSamples(source(), "some.tar"))).rejects.toThrow('Cannot read "some.tar": connection lost');
  });
});

describe("readWebDataset()", () => {
  test("reads a file, and says which one it cannot read", async () => {
    await inFolder(async (folder) => {
      const path = join(folder, "00000.tar");
      await expect(textOf(readWebDataset(path))).rejects.toThrow(/^Cannot read ".*00000\.tar": /);
      await writeFile(path, GOOD);
      expect(await textOf(readWebDataset(path))).toEqual(GOOD_SAMPLES);
    });
  });
});

/** Makes a changed header's checksum right. */
function writeChecksum(header: Buffer): void {
  header.write("        ", 148);
  const sum = header.subarray(0, 512).reduce((sum, byte) => sum + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
}
