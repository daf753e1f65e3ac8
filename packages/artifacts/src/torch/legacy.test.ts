import { jest } from "@jest/globals";
import { ByteSource } from "../file/byte-source.js";
import { FormatError } from "../format-error.js";
import { openArtifactFrom } from "../open.js";
import { OrderedDict } from "../pickle/ordered-dict.js";
import { LEGACY_MAGIC, legacyOf, pickleOf, written, type LegacyStorage } from "../testing.js";
import { TorchFile } from "./read.js";
import type { TorchStorage } from "./storage.js";
import type { TorchTensor } from "./tensor.js";
import { writeTorch } from "./write.js";

type Parts = readonly (number | string)[];

const parse = (bytes: Uint8Array) => TorchFile.from(ByteSource.of(bytes, "x.pt"));
const u32 = (value: number): string => Buffer.from(Uint32Array.of(value).buffer).toString("latin1");
const text = (value: string): string => `X${u32(value.length)}${value}`;
const int = (value: number | bigint): string =>
  typeof value === "number"
    ? `J${u32(value)}`
    : `\x8a\x08${Buffer.from(BigInt64Array.of(value).buffer).toString("latin1")}`;
const view = (key: string, first: number, elements: number | bigint): string =>
  `(${text(key)}${int(first)}${int(elements)}t`;

/** A storage in a pickle. */
const storage = (key: string, elements: number | bigint, seen = "N", type = "FloatStorage"): string =>
  `(${text("storage")}ctorch\n${type}\n${text(key)}${text("cpu")}${int(elements)}${seen}tQ`;

/** A vector that is all of a storage. */
const vector = (of: string, size: number, offset = 0): string =>
  `ctorch._utils\n_rebuild_tensor\n(${of}${int(offset)}${int(size)}\x85${int(1)}\x85tR`;

const floats = (key: string, ...values: number[]): LegacyStorage => [
  key,
  BigInt(values.length),
  Buffer.from(Float32Array.from(values).buffer),
];
const A = floats("a", 1, 2, 3, 4);
const B = floats("b", 5, 6);

describe("openTorch() reads the format before PyTorch 1.6:", () => {
  test("storages in the order of their list, whatever the order of the pickle", async () => {
    const pickle = ["(", vector(storage("b", 2), 2), vector(storage("a", 4), 3, 1), vector(storage("b", 2), 1), "t"];
    for (const storages of [
      [A, B],
      [B, A],
    ]) {
      // prettier-ignore
      await using file = await parse(legacyOf(pickle, storages));
      const [b, a, again] = file.value as TorchTensor[];
      expect((await b?.read())?.data).toEqual(Float32Array.of(5, 6));
      expect((await a?.read())?.data).toEqual(Float32Array.of(2, 3, 4));
      expect(again?.storage).toBe(b?.storage);
    }
  });

  test("any value, protocol and machine, and what lies behind it not at all", async () => {
    const bytes = legacyOf(["]", text("x"), "a"], [], { machine: ["}", text("little_endian"), 0x89, "s"] });
    for (const protocol of [2, 3, 4, 5]) {
      const magic = Buffer.from(LEGACY_MAGIC);
      magic[1] = protocol;
      const frame = protocol < 4 ? [] : [Buffer.from("950d00000000000000", "hex")];
      const start = [magic.subarray(0, 2), ...frame, magic.subarray(2)];
      const file = Buffer.concat([...start, bytes.subarray(magic.length), Buffer.from("more")]);
      expect((await parse(file)).value).toEqual(["x"]);
      expect((await openArtifactFrom(ByteSource.of(file))).kind).toBe("torch");
    }
  });

  test("views, as parts of one memory, and writes them as such", async () => {
    const part = storage("a", 4, view("v", 1, 2));
    const pickle = ["(", vector(part, 2), vector(storage("a", 4), 4), vector(part, 1, 1), vector(storage("a", 4, view("w", 4, 0)), 0), "t"]; // prettier-ignore
    await using file = await parse(legacyOf(pickle, [A]));
    const archive = await written((path) => writeTorch(path, file.value));
    // An entry, and its name in the directory.
    expect(archive.toString("latin1").split("archive/data/").length - 1).toBe(2);
    await using copy = await parse(archive);
    for (const { value } of [file, copy]) {
      const tensors = value as TorchTensor[];
      const data = await Promise.all(
        tensors.map(async (tensor) => Array.from((await tensor.read()).data as Float32Array)),
      );
      expect(data).toEqual([[2, 3], [1, 2, 3, 4], [3], []]);
      expect(new Set(tensors.map(({ storage }) => storage.record)).size).toBe(1);
    }
    const [v, , again] = file.value as TorchTensor[];
    expect(again?.storage).toBe(v?.storage);
    expect(v?.storage).toMatchObject({ key: "v", start: 4, sizeBytes: 8 });
  });

  test("a storage without elements as any dtype", async () => {
    const pickle = ["(", storage("e", 0), storage("e", 0, "N", "LongStorage"), storage("e", 0), "t"];
    await using file = await parse(legacyOf(pickle, [floats("e")]));
    const [a, b, c] = file.value as TorchStorage[];
    expect([a?.dtype, b?.dtype, c]).toEqual(["float32", "int64", a]);
  });

  test("no data until it is asked for", async () => {
    // The description is longer than one piece, so that it is tried again; the data are many times as long.
    const elements = 4 * 2 ** 20;
    const data: LegacyStorage = ["a", BigInt(elements), Buffer.alloc(4 * elements, 1)];
    const source = ByteSource.of(legacyOf(["(", text("x".repeat(70_000)), vector(storage("a", elements), 4, 5), "t"], [data]), "x.pt"); // prettier-ignore
    const read = jest.spyOn(source, "read");
    const bytesRead = (): number => read.mock.calls.reduce((sum, [, length]) => sum + length, 0);
    await using file = await TorchFile.from(source);
    expect(bytesRead()).toBeLessThan(1.5 * 2 ** 20);
    const before = bytesRead();
    await ((file.value as unknown[])[1] as TorchTensor).read();
    expect(bytesRead() - before).toBe(16);
  });

  test("pickles longer than one piece of the file, wherever it ends", async () => {
    // A long text that is dropped moves what follows it over the end of the first piece, byte by byte.
    const rest = ["(", "ccollections\nOrderedDict\n)R", text("y".repeat(10)), 0x95, u32(0), u32(0), "C\x02zz", "t"];
    for (let before = 2 ** 16 - 75; before < 2 ** 16; before++) {
      await using file = await parse(legacyOf([text("x".repeat(before)), "0", ...rest]));
      expect(file.value).toEqual([new OrderedDict(), "y".repeat(10), Uint8Array.of(0x7a, 0x7a)]);
    }
    const long = legacyOf(["B", u32(3 * 2 ** 20), "z".repeat(3 * 2 ** 20)]);
    expect((await parse(long)).value).toHaveLength(3 * 2 ** 20);
  });
});

describe("openTorch() refuses, of the format before PyTorch 1.6,", () => {
  const a = vector(storage("a", 4), 4);
  const hostile: [string, Buffer, string | RegExp][] = [
    ["os.system", legacyOf(["cos\nsystem\n", text("id"), 0x85, "R"]), '"os.system", which is not allowed'],
    ["os.system among the facts", legacyOf(["N"], [], { machine: ["cos\nsystem\n", text("id"), 0x85, "R"] }), '"os.system", which is not allowed'], // prettier-ignore
    [
      "os.system for a version",
      legacyOf(["N"], [], { version: ["cos\nsystem\n"] }),
      '"os.system", which is not allowed',
    ],
    ["os.system among the keys", legacyOf([a], [A], { keys: ["cos\nsystem\n"] }), '"os.system", which is not allowed'],
    ["what PyTorch's pickle may call, among the keys", legacyOf([a], [A], { keys: ["ccollections\nOrderedDict\n)R"] }), '"collections.OrderedDict", which is not allowed'], // prettier-ignore
    ["a storage among the keys", legacyOf([a], [A], { keys: ["]", text("a"), "Qa"] }), "has a persistent id, expected none"], // prettier-ignore
    ["state among the keys", legacyOf([a], [A], { keys: ["]}b"] }), "sets the state of a list"],
    ["a value that holds itself", legacyOf(["]q\0h\0a"]), "contains itself"],
    ["another version", legacyOf(["N"], [], { version: ["M\xea\x03"] }), "its version is 1002, expected 1001"],
    ["a version that is none", legacyOf(["N"], [], { version: ["]".repeat(50_000), "a".repeat(49_999)] }), "its version is no number, expected 1001"], // prettier-ignore
    ["no facts", legacyOf(["N"], [], { machine: ["]"] }), "no dict of facts"],
    ["another persistent id", legacyOf([text("a"), "Q"]), "a persistent id that is no storage"],
    ["a module", legacyOf([`(${text("module")}ctorch.nn\nLinear\nNNtQ`]), '"torch.nn.Linear", which is not allowed'],

    ["another count", legacyOf([a], [["a", 3n, A[2]]]), 'storage "a" has data of 3 elements, expected 4'],
    ["a negative count", legacyOf([a], [["a", -4n, A[2]]]), 'storage "a" has data of -4 elements, expected 4'],
    [
      "a count of 2^62",
      legacyOf([a], [["a", 2n ** 62n, A[2]]]),
      "has data of 4611686018427387904 elements, expected 4",
    ],
    ["a count of 2^62 + 4, which is 4 modulo 2^32", legacyOf([a], [["a", 2n ** 62n + 4n, A[2]]]), "expected 4"],
    ["a size of 2^62", legacyOf([storage("a", 2n ** 62n)], [A]), "a persistent id that is no storage"],
    ["a size of 2^50", legacyOf([storage("a", 2n ** 50n)], [A]), 'storage "a" is of 1125899906842624 elements of float32, but the file holds'], // prettier-ignore
    ["a negative size", legacyOf([storage("a", -4)], [A]), "a persistent id that is no storage"],
    ["a size and a count past the end", legacyOf([storage("a", 5)], [["a", 5n, A[2]]]), /storage "a" ends at byte \d+, but the file holds/], // prettier-ignore
    ["a count that is cut short", legacyOf([a], [A]).subarray(0, -20), /storage "a" ends at byte/],
    ["data that are cut short", legacyOf([a], [A]).subarray(0, -1), /storage "a" ends at byte \d+, but the file holds/],
    ["a file that ends with its keys", legacyOf([a], [A]).subarray(0, -24), /storage "a" ends at byte/],
    ["no list of keys", legacyOf([a], [A], { keys: [text("a")] }), "it has no list of its storages"],
    ["a key that is missing", legacyOf([a], [A], { keys: ["]"] }), 'it lacks the data of storage "a"'],
    ["one of two keys that is missing", legacyOf(["(", a, storage("b", 2), "t"], [A]), 'it lacks the data of storage "b"'], // prettier-ignore
    ["a key that is no string", legacyOf([a], [A], { keys: ["]K\x01a"] }), "a key that is no string"],
    ["a key that nothing uses", legacyOf([a], [A, B]), 'data of storage "b", which nothing uses'],
    ["a key of Object.prototype", legacyOf([a], [floats("toString", 1)]), '"toString", which nothing uses'],
    ["one key twice", legacyOf([a], [A, A]), 'it has data of storage "a" twice'],
    ["two sizes of one key", legacyOf(["(", a, storage("a", 2), "t"], [A]), 'storage "a" is of 2 elements of float32, and elsewhere of 4 of float32'], // prettier-ignore
    ["two dtypes of one key", legacyOf(["(", a, storage("a", 4, "N", "IntStorage"), "t"], [A]), 'storage "a" is of 4 elements of int32, and elsewhere of 4 of float32'], // prettier-ignore

    ["a view that is none", legacyOf([storage("a", 4, "]")], [A]), 'storage "a" has a view that is none'],
    ["a view without a key", legacyOf([storage("a", 4, "(NK\0K\x01t")], [A]), 'storage "a" has a view that is none'],
    ["a view of a negative start", legacyOf([storage("a", 4, view("v", -1, 2))], [A]), "a view that is none"],
    ["a view of a negative size", legacyOf([storage("a", 4, view("v", 1, -1))], [A]), "a view that is none"],
    ["a view of 2^62", legacyOf([storage("a", 4, view("v", 1, 2n ** 62n))], [A]), "a view that is none"],
    ["a view past the end", legacyOf([storage("a", 4, view("v", 2, 3))], [A]), 'storage "v" is of elements 2 to 5 of storage "a", which has 4'], // prettier-ignore
    ["a tensor past its view", legacyOf([vector(storage("a", 4, view("v", 1, 2)), 3)], [A]), 'storage "v" holds 2 elements'], // prettier-ignore
    ["one view of two places", legacyOf(["(", storage("a", 4, view("v", 1, 2)), storage("a", 4, view("v", 2, 2)), "t"], [A]), 'storage "v" is a view of one place'], // prettier-ignore
    ["one view of two sizes", legacyOf(["(", storage("a", 4, view("v", 1, 2)), storage("a", 4, view("v", 1, 1)), "t"], [A]), 'storage "v" is a view of one place'], // prettier-ignore
    ["one view of two storages", legacyOf(["(", storage("a", 4, view("v", 0, 2)), storage("b", 2, view("v", 0, 2)), "t"], [A, B]), 'storage "v" is a view of one place'], // prettier-ignore
    ["one view of two dtypes", legacyOf(["(", storage("e", 0, view("v", 0, 0)), storage("e", 0, view("v", 0, 0), "IntStorage"), "t"], [floats("e")]), 'storage "v" is a view of one place'], // prettier-ignore
    ["a view with the key of a storage", legacyOf(["(", storage("a", 4, view("b", 0, 2)), storage("b", 2), "t"], [A, B]), 'storage "b" is a view, and elsewhere none'], // prettier-ignore
    [
      "a view as a wider type that it is not aligned for",
      legacyOf(
        [
          `ctorch._utils\n_rebuild_tensor_v3\n(${storage("a", 4, view("v", 1, 2))}${int(0)}K\x01\x85K\x01\x85\x89}ctorch\nfloat64\ntR`, // prettier-ignore
        ],
        [A],
      ),
      'storage "v" starts at byte 4, no multiple of float64',
    ],

    ["a magic number that is another", Buffer.concat([Buffer.from("80028a0a6cfc9c46f9206aa850182e", "hex"), legacyOf(["N"]).subarray(15)]), "it is a pickle, but does not begin with PyTorch's magic number"], // prettier-ignore
    ["a plain pickle", Buffer.from(pickleOf(["]", text("abcdef"), "a"])), "it is a pickle, but does not begin with PyTorch's magic number"], // prettier-ignore
  ];
  test.each(hostile)("%s", async (_, bytes, message) => {
    const opening = parse(bytes);
    await expect(opening).rejects.toThrow(FormatError);
    await expect(opening).rejects.toThrow(message);
  });

  test("a file that is cut short anywhere", async () => {
    const bytes = legacyOf(["(", vector(storage("a", 4, view("v", 1, 2)), 2), vector(storage("b", 2), 2), "t"], [A, B]);
    await parse(bytes);
    for (let length = 0; length < bytes.length; length++)
      await expect(parse(bytes.subarray(0, length))).rejects.toThrow(FormatError);
  });

  test("what is not allowed before it reads on", async () => {
    const data: LegacyStorage = ["a", 2n ** 20n, Buffer.alloc(4 * 2 ** 20)];
    const source = ByteSource.of(legacyOf(["cos\nsystem\n"], [data]));
    const read = jest.spyOn(source, "read");
    await expect(TorchFile.from(source)).rejects.toThrow('"os.system", which is not allowed');
    expect(Math.max(...read.mock.calls.map(([, length]) => length))).toBe(2 ** 16);
  });

  test("a pickle that does not end within 64 MiB", async () => {
    const flood: Parts = ["B", u32(65 * 2 ** 20), "x".repeat(65 * 2 ** 20)];
    await expect(parse(legacyOf(flood))).rejects.toThrow("its pickle at byte 25 has more than 67108864 bytes");
    await expect(parse(legacyOf(["B", u32(2 ** 31), "x".repeat(2 ** 17)]))).rejects.toThrow("a length of 2147483648");
  });

  test("no safetensors for its length or its names", async () => {
    for (const name of ["x".repeat(588), `${"x".repeat(247)}ustar`]) {
      const header = `{"${name}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`;
      const bytes = Buffer.concat([Buffer.from(BigUint64Array.of(BigInt(header.length)).buffer), Buffer.from(header)]);
      if (name.length === 588) expect(bytes.subarray(0, 2)).toEqual(Buffer.from([0x80, 2]));
      else expect(bytes.toString("latin1", 257, 262)).toBe("ustar");
      expect((await openArtifactFrom(ByteSource.of(bytes))).kind).toBe("safetensors");
    }
  });

  test("a flood of values, in bounded time", async () => {
    const started = performance.now();
    await expect(parse(legacyOf(["N".repeat(5_000_000)]))).rejects.toThrow("makes more than 4000000 values");
    expect(performance.now() - started).toBeLessThan(20_000); // 1 s on an idle machine
  });

  test("the format before it, a tar archive, and says how to convert it", async () => {
    const tar = Buffer.alloc(1024);
    tar.write("ustar", 257);
    for (const opening of [parse(tar), openArtifactFrom(ByteSource.of(tar, "x.pt"))])
      await expect(opening).rejects.toThrow(
        /tar archive.*if you trust it, convert it in Python with torch\.save\(torch\.load\("x\.pt", weights_only=False\), "x\.pt\.new"\)/,
      );
  });
});
