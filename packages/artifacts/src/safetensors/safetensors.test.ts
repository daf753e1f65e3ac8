import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ByteSource } from "../file/byte-source.js";
import { FormatError } from "../format-error.js";
import { digestFile } from "../store/files.js";
import { bytesOf } from "../tensor/dtype.js";
import { readAllWeights } from "../weights.js";
import { openSafetensors, SafetensorsFile } from "./read.js";
import { writeSafetensors } from "./write.js";

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "safetensors-"))));
afterAll(() => rm(folder, { recursive: true }));

/** A file with this header, as text or as an object, and this many bytes of data. */
function file(header: unknown, dataBytes: number, length?: bigint): Uint8Array {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const size = new Uint8Array(BigUint64Array.of(length ?? BigInt(text.length)).buffer);
  return Buffer.concat([size, text, Buffer.alloc(dataBytes, 1)]);
}

const parse = (bytes: Uint8Array) => SafetensorsFile.from(ByteSource.of(bytes, "x.safetensors"));
const f32 = (shape: number[], start: number, end: number) => ({ dtype: "F32", shape, data_offsets: [start, end] });

const ALL = {
  f64: { shape: [2], data: Float64Array.of(Math.PI, -0) },
  f32: { shape: [2, 2], data: Float32Array.of(1, 2, 3, NaN) },
  f16: { dtype: "float16" as const, shape: [4], data: Uint16Array.of(0x3c00, 0xfc00, 0x0001, 0x8400) },
  bf16: { dtype: "bfloat16" as const, shape: [2], data: Uint16Array.of(0x3f80, 0xc049) },
  i64: { shape: [1], data: BigInt64Array.of(-(2n ** 63n)) },
  i32: { shape: [1], data: Int32Array.of(-7) },
  i16: { shape: [1], data: Int16Array.of(-7) },
  i8: { shape: [3], data: Int8Array.of(-7, 1, 2) },
  u64: { shape: [1], data: BigUint64Array.of(2n ** 64n - 1n) },
  u32: { shape: [1], data: Uint32Array.of(2 ** 32 - 1) },
  u16: { shape: [1], data: Uint16Array.of(65535) },
  u8: { shape: [1, 1], data: Uint8Array.of(255) },
  bool: { dtype: "bool" as const, shape: [2], data: Uint8Array.of(0, 1) },
  empty: { shape: [3, 0], data: new Float32Array(0) },
  scalar: { shape: [], data: Float32Array.of(5) },
  'a "name"\\\n ü': { shape: [1], data: Float32Array.of(6) },
};

describe("writeSafetensors() and openSafetensors()", () => {
  test("keep every dtype, names, shapes and metadata", async () => {
    const path = join(folder, "all.safetensors");
    await writeSafetensors(path, ALL, { format: "pt", note: "ü\n" });
    await using read = await openSafetensors(path);
    expect({ ...read.metadata }).toEqual({ format: "pt", note: "ü\n" });
    expect([...read.names].sort()).toEqual(Object.keys(ALL).sort());
    for (const [name, input] of Object.entries(ALL)) {
      expect(await read.read(name)).toEqual({ dtype: expect.any(String) as string, ...input });
      expect(read.tensor(name).shape).toEqual(input.shape);
    }
    expect(read.tensor("bf16").dtype).toBe("bfloat16");
    expect(read.tensor("bool").dtype).toBe("bool");
    expect(await read.readFloat32("f16")).toEqual(Float32Array.of(1, -Infinity, 2 ** -24, -(2 ** -14)));
    expect(await read.readFloat32("bf16")).toEqual(Float32Array.of(1, -3.140625));
    expect(await read.readFloat32("u64")).toEqual(Float32Array.of(2 ** 64));
  });

  test("reads in pieces what was written, whose digest is returned", async () => {
    const path = join(folder, "pieces.safetensors");
    const long = Float32Array.from({ length: 4.5 * 2 ** 20 }, (_, i) => i); // so much is hashed by a thread
    const digest = await writeSafetensors(path, { ...ALL, long: { shape: [long.length], data: long } });
    expect(digest).toEqual(await digestFile(path));
    await using read = await openSafetensors(path);
    for (const [name, { data }] of [...Object.entries(ALL), ["long", { data: long }] as const]) {
      const pieces: Buffer[] = [];
      for await (const piece of read.readPieces(name)) pieces.push(Buffer.from(Uint8Array.from(bytesOf(piece.data))));
      expect(pieces).toHaveLength(name === "long" ? 5 : data.length > 0 ? 1 : 0);
      expect(Buffer.concat(pieces).equals(bytesOf(data))).toBe(true);
    }
    // Two at a time have a buffer each.
    const [first, second] = [read.readPieces("i8"), read.readPieces("f64")];
    const both = [await first.next(), await second.next()];
    expect(both).toMatchObject([{ value: { data: ALL.i8.data } }, { value: { data: ALL.f64.data } }]);
  });

  test("leaves nothing behind when data that a thread writes cannot be made", async () => {
    const path = join(folder, "unmade.safetensors");
    const data = function* (): Generator<Float32Array> {
      for (let i = 0; i < 4; i++) yield new Float32Array(2 ** 20);
      throw new Error("no more");
    };
    const tensors = { long: { dtype: "float32" as const, shape: [5 * 2 ** 20], data } };
    await expect(writeSafetensors(path, tensors)).rejects.toThrow("no more");
    expect((await readdir(folder)).filter((name) => name.includes("unmade"))).toEqual([]);
  });

  test("put the data at a multiple of 8 bytes, large elements first, whatever the order given", async () => {
    const [a, b] = [join(folder, "a.safetensors"), join(folder, "b.safetensors")];
    await writeSafetensors(a, ALL, { x: "1", y: "2" });
    await writeSafetensors(b, Object.fromEntries(Object.entries(ALL).reverse()), { y: "2", x: "1" });
    const bytes = await readFile(a);
    expect(await readFile(b)).toEqual(bytes);
    expect(bytes.readBigUInt64LE() % 8n).toBe(0n);
    await using read = await openSafetensors(a);
    expect(read.names.slice(0, 3)).toEqual(["u64", "i64", "f64"]);
  });

  test("read weights that are finite, and name the tensor and the place of what is not", async () => {
    const path = join(folder, "weights.safetensors");
    const good = {
      a: { shape: [2, 3], data: Float32Array.of(1, -0, 3, 4, 5, 6) },
      half: { dtype: "float16" as const, shape: [2], data: Uint16Array.of(0x3c00, 0x7bff) },
      whole: { shape: [1], data: BigInt64Array.of(3n) },
    };
    await writeSafetensors(path, good);
    {
      await using read = await openSafetensors(path);
      expect(await read.readWeights("a")).toEqual(good.a.data);
      expect(await readAllWeights(path)).toEqual({
        a: good.a,
        half: { shape: [2], data: Float32Array.of(1, 65504) },
        whole: { shape: [1], data: Float32Array.of(3) },
      });
    }
    const bits = { shape: [3] };
    const bad = {
      f32: [{ shape: [3], data: Float32Array.of(1, NaN, NaN) }, ": 2 of 3 elements, the first is NaN at index 1"],
      f16: [{ ...bits, dtype: "float16", data: Uint16Array.of(0x3c00, 0, 0xfc00) }, "first is -Infinity at index 2"],
      bf16: [{ ...bits, dtype: "bfloat16", data: Uint16Array.of(0x7f80, 0, 0) }, "first is Infinity at index 0"],
      f64: [{ shape: [2], data: Float64Array.of(1, 1e300) }, " in float32: 1 of 2 elements, the first is Infinity at"],
    } as const;
    for (const [name, [tensor, problem]] of Object.entries(bad)) {
      await writeSafetensors(path, { ...good, [name]: tensor });
      await using read = await openSafetensors(path);
      for (const reading of [read.readWeights(name), readAllWeights(path)]) {
        await expect(reading).rejects.toThrow(FormatError);
        await expect(reading).rejects.toThrow(`Cannot read ${JSON.stringify(path)}: tensor "${name}" is not finite`);
        await expect(reading).rejects.toThrow(problem);
      }
      expect(await read.readWeights("a")).toEqual(good.a.data);
      expect(await read.readFloat32(name)).toHaveLength(tensor.data.length); // not everything in a file is a weight
    }
  });

  test("read slices of rows", async () => {
    const path = join(folder, "rows.safetensors");
    await writeSafetensors(path, {
      x: { shape: [4, 3], data: Int16Array.from({ length: 12 }, (_, i) => i) },
      s: ALL.scalar,
    });
    await using read = await openSafetensors(path);
    expect(await read.readRows("x", 1, 3)).toEqual({
      dtype: "int16",
      shape: [2, 3],
      data: Int16Array.of(3, 4, 5, 6, 7, 8),
    });
    expect((await read.readRows("x", 4, 4)).data).toHaveLength(0);
    await expect(read.readRows("x", 3, 5)).rejects.toThrow("Cannot read rows 3 to 5");
    await expect(read.readRows("x", 2, 1)).rejects.toThrow(RangeError);
    await expect(read.readRows("s", 0, 1)).rejects.toThrow("it has no rows");
    await expect(read.read("y")).rejects.toThrow('it has no tensor "y"');
  });

  test("take data from functions, whole or in pieces, one tensor at a time", async () => {
    const path = join(folder, "lazy.safetensors");
    const calls: string[] = [];
    await writeSafetensors(path, {
      b: { dtype: "float32", shape: [2], data: () => (calls.push("b"), Promise.resolve(Float32Array.of(1, 2))) },
      a: {
        dtype: "float32",
        shape: [3],
        data: function* () {
          calls.push("a begins");
          yield Float32Array.of(1);
          yield Float32Array.of(2, 3);
          calls.push("a ends");
        },
      },
    });
    expect(calls).toEqual(["a begins", "a ends", "b"]);
    await using read = await openSafetensors(path);
    expect([...(await read.readFloat32("a")), ...(await read.readFloat32("b"))]).toEqual([1, 2, 3, 1, 2]);
  });

  test.each([
    [
      "too few elements",
      { dtype: "float32" as const, shape: [3], data: () => Float32Array.of(1) },
      "fewer elements than (3,)",
    ],
    [
      "too many elements",
      { dtype: "float32" as const, shape: [], data: () => Float32Array.of(1, 2) },
      "more elements than ()",
    ],
    [
      "another type",
      { dtype: "float32" as const, shape: [1], data: () => Int32Array.of(1) },
      "float32 is not held in a Int32Array",
    ],
    ["a wrong shape", { shape: [2, 2], data: Float32Array.of(1) }, "1 elements do not have the shape (2, 2)"],
    ["a negative size", { shape: [-1], data: Float32Array.of() }, "its shape is (-1,)"],
    ["no dtype", { shape: [1], data: () => Float32Array.of(1) }, "needs a dtype"],
  ])("leave no file when given %s", async (_, input, message) => {
    await expect(writeSafetensors(join(folder, "never", "x"), { x: input })).rejects.toThrow(); // no such folder
    const before = await readdir(folder);
    await expect(writeSafetensors(join(folder, "never.safetensors"), { x: input })).rejects.toThrow(message);
    expect(await readdir(folder)).toEqual(before);
  });

  test("stop taking data that never ends", async () => {
    const data = function* () {
      for (;;) yield Float32Array.of(1);
    };
    const writing = writeSafetensors(join(folder, "endless"), { x: { dtype: "float32", shape: [3], data } });
    await expect(writing).rejects.toThrow("more elements than (3,)");
  });

  test("close the file when the header is wrong, and say why a file cannot be opened", async () => {
    await expect(openSafetensors(join(folder, "missing"))).rejects.toThrow(
      /^Cannot open ".*missing": there is no such file$/,
    );
    await expect(openSafetensors(folder)).rejects.toThrow("it is a folder");
  });
});

describe("openSafetensors() with a dtype that is not read here", () => {
  test.each([
    ["F8_E4M3", [2], 2],
    ["F8_E5M2", [2], 2],
    ["F8_E8M0", [2], 2],
    ["F4", [2, 3], 3],
    ["C64", [2], 16],
    ["F8_E4M3", [0], 0],
    ["SOMETHING_NEW", [5], 7],
  ])("lists %s %j, reads all else, and refuses to read it", async (dtype, shape, bytes) => {
    const entries = { w: f32([1], 0, 4), odd: { dtype, shape, data_offsets: [4, 4 + bytes] } };
    await using opened = await parse(file(entries, 4 + bytes));
    expect(opened.names).toEqual(["w", "odd"]);
    expect(opened.tensor("odd")).toEqual({ dtype, shape, sizeBytes: bytes });
    expect((await opened.read("w")).data).toHaveLength(1);
    for (const use of [
      opened.read("odd"),
      opened.readFloat32("odd"),
      opened.readRows("odd", 0, 0),
      opened.readWeights("odd"),
    ])
      await expect(use).rejects.toThrow(`tensor "odd" has the dtype "${dtype}", expected one of U64`);
  });
});

describe("openSafetensors() refuses", () => {
  const deep = "[".repeat(100_000);
  test.each([
    ["an empty file", new Uint8Array(0), "it holds 0 bytes, too few"],
    [
      "a header of 2^63 bytes",
      file("{}", 0, 2n ** 63n),
      "its header takes 9223372036854775808 bytes, more than 100000000",
    ],
    ["a header past the end", file("{}", 0, 1000n), "its header ends at byte 1008, but the file holds 10"],
    ["a header that is cut short", file('{"a":', 0), 'has "" at character 5'],
    [
      "a tensor past the end",
      file({ w: f32([4], 0, 16) }, 8),
      'tensor "w" ends at byte 16 of the data, but the file holds 8',
    ],
    ["data past the last tensor", file({ w: f32([1], 0, 4) }, 8), "the last 4 bytes belong to no tensor"],
    ["overlapping tensors", file({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12), 'tensors "a" and "b" overlap'],
    ["equal tensors", file({ a: f32([2], 0, 8), b: f32([2], 0, 8) }, 8), 'tensors "a" and "b" overlap'],
    [
      "a gap",
      file({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12),
      'bytes 4 to 8 before tensor "b" belong to no tensor',
    ],
    ["a gap at the start", file({ a: f32([1], 4, 8) }, 8), "bytes 0 to 4"],
    [
      "misaligned tensors",
      file({ a: { ...f32([1], 0, 1), dtype: "U8" }, b: f32([1], 1, 5) }, 5),
      'tensor "b" is misaligned',
    ],
    ["offsets in reverse", file({ a: f32([1], 4, 0) }, 4), "has the data_offsets [4, 0]"],
    ["one offset", file({ a: { ...f32([1], 0, 4), data_offsets: [4] } }, 4), "has the data_offsets [4]"],
    ["a negative size", file({ a: f32([-1], 0, 4) }, 4), 'tensor "a": the shape holds "-1", expected 0 or more'],
    ["a negative offset", file({ a: f32([1], -4, 0) }, 4), "data_offsets holds"],
    ["a huge shape", file({ a: f32([2 ** 40, 2 ** 40], 0, 4) }, 4), "more than can be counted"],
    [
      "a huge size",
      file('{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}', 4),
      "more than 2^53",
    ],
    ["a shape that does not fit", file({ a: f32([3], 0, 8) }, 8), "F32 (3,) takes 12 bytes, but its offsets span 8"],
    ["a fraction", file('{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', 4), "expected an integer"],
    ["a leading zero", file('{"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}}', 4), "expected an integer"],
    ["a foreign dtype that does not fit", file({ a: { ...f32([1], 0, 4), dtype: "F8_E4M3" } }, 4), "takes 1 bytes"],
    ["half a byte of a foreign dtype", file({ a: { ...f32([1], 0, 1), dtype: "F4" } }, 1), "takes 0.5 bytes"],
    [
      "a shape of a foreign dtype past counting",
      file({ a: { ...f32([2 ** 40, 2 ** 40], 0, 4), dtype: "NEW" } }, 4),
      "more than can",
    ],
    ["a dtype named toString", file({ a: { ...f32([1], 0, 4), dtype: "toString" } }, 4), 'the dtype "toString"'],
    ["a missing field", file({ a: { dtype: "F32", shape: [1] } }, 4), 'tensor "a" lacks one of'],
    ["a field too many", file({ a: { ...f32([1], 0, 4), more: "x" } }, 4), 'the field "more"'],
    ["a repeated tensor", file('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}', 0), 'the key "a" twice'],
    [
      "a repeated field",
      file('{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0),
      'the key "dtype" twice',
    ],
    ["metadata of numbers", file('{"__metadata__":{"a":1}}', 0), "expected a string"],
    ["deep nesting", file(`{"a":${deep}`, 0), 'expected "{"'],
    ["a string without end", file('{"a', 0), "a string without end at character 1"],
    ["a bad escape", file('{"\\q":1}', 0), "expected a string"],
    ["text after the end", file("{} x", 0), "expected its end"],
    ["a list", file("[]", 0), 'expected "{"'],
    [
      "bytes that are no UTF-8",
      file(Buffer.from([0x7b, 0xff, 0x7d]).toString("latin1"), 0).map((b) => (b === 0xc3 ? 0xff : b)),
      "no UTF-8",
    ],
  ])("%s", async (_, bytes, message) => {
    const opening = parse(bytes);
    await expect(opening).rejects.toThrow(FormatError);
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.toThrow('Cannot read "x.safetensors": ');
  });

  test("nothing of an empty file of the format, or of empty tensors between others", async () => {
    expect((await parse(file("{}      ", 0))).names).toEqual([]);
    const read = await parse(file({ b: f32([1], 4, 8), none: f32([0, 9], 4, 4), a: f32([1], 0, 4) }, 8));
    expect(read.names).toEqual(["a", "none", "b"]);
  });

  test("a megabyte of backslashes within a second", async () => {
    const started = performance.now();
    await expect(parse(file(`{"${"\\\\".repeat(500_000)}"`, 0))).rejects.toThrow(FormatError);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
