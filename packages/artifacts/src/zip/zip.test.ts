import { crc32 } from "node:zlib";
import { writeAtomically } from "../file/atomic-file.js";
import { ByteSource } from "../file/byte-source.js";
import { FormatError } from "../format-error.js";
import { written, zipOf } from "../testing.js";
import { entryDataOffset, readZipDirectory, readZipEntry, readZipEntryStart } from "./read.js";
import { ZipWriter } from "./write.js";

const open = (bytes: Uint8Array) => readZipDirectory(ByteSource.of(bytes, "x.zip"));

/** All contents, inflated and checked. */
async function contents(bytes: Uint8Array, maxBytes = 1e6): Promise<Record<string, string>> {
  const source = ByteSource.of(bytes, "x.zip");
  const found: Record<string, string> = {};
  for (const entry of await readZipDirectory(source))
    found[entry.name] = Buffer.from(await readZipEntry(source, entry, maxBytes)).toString("latin1");
  return found;
}

const FILES = { "a.txt": "hello", "b/ü.txt": "x".repeat(1000), empty: "" };

describe("ZipWriter and readZipDirectory()", () => {
  test.each([
    [{}],
    [{ compress: true }],
    [{ zip64: true }],
    [{ zip64: true, compress: true, alignBytes: 64 }],
    [{ alignBytes: 64 }],
    [{ alignBytes: 4096 }],
  ])("give back what they were given, with %j", async (options) => {
    const bytes = await zipOf(FILES, options);
    expect(await contents(bytes)).toEqual(FILES);
    const source = ByteSource.of(bytes);
    for (const entry of await open(bytes)) {
      expect((await entryDataOffset(source, entry)) % (("alignBytes" in options && options.alignBytes) || 1)).toBe(0);
      const start = await readZipEntryStart(source, entry, 3);
      expect(Buffer.from(start).toString()).toBe(FILES[entry.name as keyof typeof FILES].slice(0, 3));
    }
  });

  test("give the zip64 form where it is asked for", async () => {
    const signature = Buffer.from("PK\x06\x06");
    expect((await zipOf(FILES, { zip64: true })).includes(signature)).toBe(true);
    expect((await zipOf(FILES)).includes(signature)).toBe(false);
  });
});

describe("ZipWriter", () => {
  test("writes the CRC of pieces, empty ones and large ones too, in both places", async () => {
    const empty = new Uint8Array(new ArrayBuffer(0)); // has no address: of this, Node's crc32 forgets what was before
    const pieces = [Buffer.from("ab"), empty, Buffer.alloc(3 << 20, 7), empty];
    const bytes = await written((path) =>
      writeAtomically(path, async (file) => {
        const zip = new ZipWriter(file, { alignBytes: 64 });
        const stream = async function* () {
          yield* pieces;
        };
        await zip.addStream("a", 2 + (3 << 20), stream());
        await zip.addStream("b", 2 + (3 << 20), stream());
        await zip.end();
      }),
    );
    const expected = crc32(Buffer.concat(pieces));
    for (const { name, crc, headerOffset } of await open(bytes)) {
      expect([name, crc]).toEqual([name, expected]);
      expect(bytes.readUInt32LE(headerOffset + 14)).toBe(expected);
    }
    expect(Object.keys(await contents(bytes, 4 << 20))).toEqual(["a", "b"]);
  });

  test("asks for version 4.5 where it uses zip64, for 2.0 elsewhere", async () => {
    for (const [zip64, version] of [
      [true, 45],
      [false, 20],
    ] as const) {
      const bytes = await zipOf({ a: "x" }, { zip64 });
      expect(bytes.readUInt16LE(4)).toBe(version);
      expect(bytes.readUInt16LE(bytes.indexOf("PK\x01\x02") + 6)).toBe(version);
    }
  });

  test("refuses more bytes and fewer than were announced", async () => {
    for (const [bytes, message] of [
      ["abc", "given more than 2 bytes, expected 2"],
      ["a", "given 1 bytes, expected 2"],
    ] as const) {
      const writing = written((path) =>
        writeAtomically(path, async (file) => {
          const stream = async function* () {
            yield Buffer.from(bytes);
          };
          await new ZipWriter(file).addStream("a", 2, stream());
        }),
      );
      await expect(writing).rejects.toThrow(message);
    }
  });
});

/** Places in an archive of one stored entry named "name", without zip64 or comment. */
function places(bytes: Buffer): { central: number; end: number } {
  const end = bytes.length - 22;
  return { central: bytes.readUInt32LE(end + 16), end };
}

type Damage = (bytes: Buffer, at: ReturnType<typeof places>) => Buffer | void;

describe("readZipDirectory() and readZipEntry() refuse", () => {
  const damages: [string, Damage, string][] = [
    ["a file without directory", () => Buffer.from("PK\x03\x04 and more"), "it has no zip directory"],
    ["a file that is cut short", (bytes) => bytes.subarray(0, -1), "it has no zip directory"],
    [
      "a directory past the end",
      (b, { end }) => void b.writeUInt32LE(0x7fffffff, end + 16),
      "its zip directory ends at byte",
    ],
    ["a huge directory", (b, { end }) => void b.writeUInt32LE(0x7fffffff, end + 12), "its zip directory ends at byte"],
    [
      "a wrong count",
      (b, { end }) => (b.writeUInt16LE(9, end + 8), void b.writeUInt16LE(9, end + 10)),
      "it has 1 zip entries, but says 9",
    ],
    ["one part of several", (b, { end }) => void b.writeUInt16LE(1, end + 4), "one part of a zip archive"],
    ["an encrypted entry", (b, { central }) => void b.writeUInt16LE(1, central + 8), 'entry "name" is encrypted'],
    ["another compression", (b, { central }) => void b.writeUInt16LE(12, central + 10), "compressed by method 12"],
    [
      "stored sizes that differ",
      (b, { central }) => void b.writeUInt32LE(4, central + 24),
      "is stored in 5 bytes, but says it has 4",
    ],
    [
      "an entry past the directory",
      (b, { central }) => (b.writeUInt32LE(5000, central + 20), void b.writeUInt32LE(5000, central + 24)),
      "but the entries end at",
    ],
    [
      "an entry that starts there",
      (b, { central }) => void b.writeUInt32LE(1 << 30, central + 42),
      "but the entries end at",
    ],
    [
      "an impossible ratio",
      (b, { central }) => (b.writeUInt16LE(8, central + 10), void b.writeUInt32LE(6000, central + 24)),
      "says that 5 bytes inflate to 6000: impossible",
    ],
    [
      "zip64 sizes that are missing",
      (b, { central }) => void b.writeUInt32LE(0xffffffff, central + 24),
      "has no valid zip64 sizes",
    ],
    ["no header of its own", (b) => void b.writeUInt32LE(0, 0), 'entry "name" has no header at byte 0'],
    ["another name in its header", (b) => void b.write("nbme", 30), "has another name in its own header"],
    ["a header that pushes its data out", (b) => void b.writeUInt16LE(60, 28), "but what follows it starts at"],
    ["damaged bytes", (b) => void b.writeUInt8(0, 36), "its CRC-32 does not match"],
    ["a name that is no UTF-8", (b, { central }) => void b.writeUInt8(0xff, central + 46), "no UTF-8"],
    ["a name with a zero", (b, { central }) => void b.writeUInt8(0, central + 47), "is no relative path"],
    ["what is no entry", (b, { central }) => void b.writeUInt8(0, central), "has no entry at byte"],
    [
      "an entry that is cut short",
      (b, { central }) => void b.writeUInt16LE(5000, central + 30),
      "is cut short at byte",
    ],
  ];
  test.each(damages)("%s", async (_, damage, message) => {
    const bytes = await zipOf({ name: "hello" });
    const reading = contents(damage(bytes, places(bytes)) ?? bytes);
    await expect(reading).rejects.toThrow(FormatError);
    await expect(reading).rejects.toThrow(message);
  });

  test.each(["/etc/passwd", "../up", "a/../../b", "C:x", "a\\b", "", "tab\there"])("the name %j", async (name) => {
    await expect(open(await zipOf({ [name]: "x" }))).rejects.toThrow("which is no relative path");
  });

  test("two entries of one name", async () => {
    const bytes = Buffer.from((await zipOf({ aa: "1", ab: "2" })).toString("latin1").replaceAll("ab", "aa"), "latin1");
    await expect(open(bytes)).rejects.toThrow('it has two entries "aa"');
  });

  test("entries that share their bytes, as a zip bomb does", async () => {
    const bytes = await zipOf({ a: "1".repeat(100), b: "2".repeat(100) });
    const { central } = places(bytes);
    bytes.writeUInt32LE(0, central + 46 + 1 + 42); // the second entry starts where the first does
    await expect(open(bytes)).rejects.toThrow('entries "a" and "b" overlap');
  });

  test("a zip64 directory at 2^63, at which a library dies", async () => {
    const bytes = await zipOf({ name: "hello" }, { zip64: true });
    const locator = bytes.length - 22 - 20;
    bytes.writeBigUInt64LE(2n ** 63n, locator + 8);
    await expect(open(bytes)).rejects.toThrow("its zip64 directory record is said to be at byte 9223372036854776000");
  });

  test("more bytes than declared, and more than are allowed", async () => {
    const bytes = await zipOf({ name: "x".repeat(100_000) }, { compress: true });
    const { central } = places(bytes);
    const source = ByteSource.of(bytes);
    const [entry] = await readZipDirectory(source);
    await expect(readZipEntry(source, entry!, 99_999)).rejects.toThrow("has 100000 bytes, more than 99999");
    bytes.writeUInt32LE(1000, central + 24);
    await expect(contents(bytes)).rejects.toThrow(FormatError);
    bytes.writeUInt32LE(100_001, central + 24);
    await expect(contents(bytes)).rejects.toThrow("inflates to 100000 bytes or more, but says 100001");
  });

  test("a stream that is no deflate", async () => {
    const bytes = await zipOf({ name: "x".repeat(100) }, { compress: true });
    bytes.fill(0xff, 34, 38);
    await expect(contents(bytes)).rejects.toThrow("does not inflate to 100 bytes");
  });
});
