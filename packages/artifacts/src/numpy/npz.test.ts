import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ByteSource } from "../file/byte-source.js";
import { FormatError } from "../format-error.js";
import { zipOf } from "../testing.js";
import { readNpyFrom, readNpy, writeNpy } from "./npy.js";
import { readNpz, readNpzFrom, NpzFile, writeNpz } from "./npz.js";

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "npz-"))));
afterAll(() => rm(folder, { recursive: true }));

/** A `.npy` file with this header literal. */
function npy(literal: string, data: Uint8Array = new Uint8Array(0), version = 1): Uint8Array {
  const text = Buffer.from(literal + "\n", version === 3 ? "utf8" : "latin1");
  const length = version === 1 ? Uint16Array.of(text.length) : Uint32Array.of(text.length);
  const magic = Buffer.from([0x93, ...Buffer.from("NUMPY"), version, 0]);
  return Buffer.concat([magic, new Uint8Array(length.buffer), text, data]);
}

const parse = (file: Uint8Array) => readNpyFrom(ByteSource.of(file, "x.npy"));
const bytes = (...values: number[]) => Uint8Array.from(values);

describe("readNpy()", () => {
  test.each([
    ["<i2", bytes(1, 2, 255, 255), "int16", Int16Array.of(0x0201, -1)],
    [">i2", bytes(1, 2, 255, 254), "int16", Int16Array.of(0x0102, -2)],
    [">f8", bytes(0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0), "float64", Float64Array.of(1.5, -2)],
    ["<f4", bytes(0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0), "float32", Float32Array.of(1.5, -2)],
    [">f2", bytes(0x3e, 0, 0xc0, 0), "float16", Uint16Array.of(0x3e00, 0xc000)],
    ["|u1", bytes(7, 255), "uint8", Uint8Array.of(7, 255)],
    ["|i1", bytes(7, 255), "int8", Int8Array.of(7, -1)],
    ["|b1", bytes(1, 0), "bool", Uint8Array.of(1, 0)],
    [">u4", bytes(0, 0, 0, 1, 255, 255, 255, 254), "uint32", Uint32Array.of(1, 0xfffffffe)],
    [">i8", bytes(0, 0, 0, 0, 0, 0, 0, 1, ...Array<number>(8).fill(255)), "int64", BigInt64Array.of(1n, -1n)],
  ])("reads %s", async (descr, data, dtype, expected) => {
    const array = await parse(npy(`{'descr': '${descr}', 'fortran_order': False, 'shape': (2,), }`, data));
    expect(array).toEqual({ dtype, shape: [2], data: expected });
  });

  test("brings column-major order into row-major order, in three axes", async () => {
    const value = (i: number, j: number, k: number) => 100 * i + 10 * j + k;
    const [columnMajor, rowMajor]: [number[], number[]] = [[], []];
    for (let k = 0; k < 4; k++)
      for (let j = 0; j < 3; j++) for (let i = 0; i < 2; i++) columnMajor.push(value(i, j, k));
    for (let i = 0; i < 2; i++) for (let j = 0; j < 3; j++) for (let k = 0; k < 4; k++) rowMajor.push(value(i, j, k));
    const file = npy(
      `{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3, 4)}`,
      Buffer.from(Int16Array.from(columnMajor).buffer),
    );
    expect((await parse(file)).data).toEqual(Int16Array.from(rowMajor));
  });

  test.each([
    [2, "{'shape': (), 'descr': '|u1', 'fortran_order': False}"],
    [3, `{"descr": "|u1", "fortran_order": False, "shape": ( ),}   `],
    [1, "{'descr': '|u1', 'fortran_order': True, 'shape': (1L, )}"],
  ])("reads headers of version %d: %s", async (version, literal) => {
    expect((await parse(npy(literal, bytes(9), version))).data).toEqual(bytes(9));
  });

  test.each([
    ["Python objects", "{'descr': '|O', 'fortran_order': False, 'shape': ()}", /Python objects \(dtype "\|O"\)/],
    ["strings", "{'descr': '<U5', 'fortran_order': False, 'shape': ()}", /dtype "<U5" is not supported/],
    ["structures", "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': ()}", /structured array/],
    [
      "a negative size",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
      /"-1,\)}\\n" at character .* expected a size of 0 or more/,
    ],
    [
      "a call",
      "{'descr': __import__('os').system('id'), 'fortran_order': False, 'shape': ()}",
      /expected a quoted dtype/,
    ],
    ["a missing key", "{'descr': '|u1', 'shape': ()}", /lacks one of/],
    ["a repeated key", "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': ()}", /"descr" twice/],
    ["another key", "{'descr': '|u1', 'more': True, 'fortran_order': False, 'shape': ()}", /the key "more"/],
    ["words after its end", "{'descr': '|u1', 'fortran_order': False, 'shape': ()} x", /expected its end/],
    [
      "a product past 2^53",
      `{'descr': '|u1', 'fortran_order': False, 'shape': (${2 ** 30}, ${2 ** 30})}`,
      /can be counted/,
    ],
    [
      "a size past the file",
      "{'descr': '<f8', 'fortran_order': False, 'shape': (4,)}",
      /data ends at byte \d+, but the file holds/,
    ],
    ["100 axes", `{'descr': '|u1', 'fortran_order': False, 'shape': (${"1, ".repeat(100)})}`, /more than 64 axes/],
  ])("refuses %s", async (_, literal, message) => {
    const reading = parse(npy(literal, bytes(0)));
    await expect(reading).rejects.toThrow(FormatError);
    await expect(reading).rejects.toThrow(message);
  });

  test("refuses a header of 4 GiB, an unknown version and other files", async () => {
    const large = npy("{}", undefined, 2);
    large.set([255, 255, 255, 255], 8);
    await expect(parse(large)).rejects.toThrow("its header takes 4294967295 bytes");
    await expect(parse(npy("{}", undefined, 9))).rejects.toThrow("version is 9.0");
    await expect(parse(Buffer.from("hello, hello, hello"))).rejects.toThrow("does not start as");
    await expect(parse(bytes())).rejects.toThrow('Cannot read "x.npy"');
  });
});

test("readNpy() and readNpz() refuse bytes after the data", async () => {
  const file = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", bytes(1, 2));
  await expect(parse(file)).rejects.toThrow(/its data ends at byte \d+, but the file holds/);
  const archive = ByteSource.of(await zipOf({ "a.npy": file }));
  await expect(readNpzFrom(archive)).rejects.toThrow(/array "a\.npy" ends at byte \d+, but its entry holds/);
  await expect(NpzFile.from(archive)).rejects.toThrow(/array "a\.npy" ends at byte \d+, but its entry holds/);
});

test("readNpz() reads column-major arrays wherever their data starts", async () => {
  const data = Buffer.from(Float64Array.of(1, 2, 3, 4).buffer);
  for (const spaces of ["", " ", "  "]) {
    const file = npy(`{'descr': '<f8', 'fortran_order': True, 'shape': (2, 2)}${spaces}`, data);
    const { a } = await readNpzFrom(ByteSource.of(await zipOf({ "a.npy": file })));
    expect(a?.data).toEqual(Float64Array.of(1, 3, 2, 4));
  }
});

test.each([
  ["strings", "'<U5'", "<U5", /dtype "<U5" is not supported/],
  ["complex numbers", "'<c8'", "<c8", /dtype "<c8" is not supported/],
  ["dates", "'<M8[ns]'", "<M8[ns]", /is not supported/],
  ["objects", "'|O'", "|O", /Python objects/],
  [
    "structures",
    "[('a', '<f8'), ('b', [('c', '<i4', (2,))])]",
    "[('a', '<f8'), ('b', [('c', '<i4', (2,))])]",
    /structured/,
  ],
])("openNpz() lists %s, reads the arrays beside them, and refuses to read them", async (_, descr, dtype, message) => {
  const odd = npy(`{'descr': ${descr}, 'fortran_order': False, 'shape': (2,)}`, bytes(1, 2, 3, 4));
  const mu = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", bytes(7));
  const archive = ByteSource.of(await zipOf({ "odd.npy": odd, "mu.npy": mu }));
  await using file = await NpzFile.from(archive);
  expect(file.array("odd")).toMatchObject({ dtype, shape: [2], dataBytes: 4 });
  expect((await file.read("mu")).data).toEqual(bytes(7));
  await expect(file.read("odd")).rejects.toThrow(message);
  await expect(file.read("odd")).rejects.toThrow('array "odd.npy"');
});

test("readNpz() counts all arrays against maxBytes", async () => {
  const path = join(folder, "two.npz");
  const array = { shape: [500], data: new Uint8Array(500) }; // 628 bytes with its header
  await writeNpz(path, { a: array, b: array });
  await expect(readNpz(path, { maxBytes: 1255 })).rejects.toThrow('entry "b.npy" has 628 bytes, more than 627');
  expect(Object.keys(await readNpz(path, { maxBytes: 1256 }))).toEqual(["a", "b"]);
});

describe("writeNpy()", () => {
  test("writes what it reads, with data at a multiple of 64 bytes", async () => {
    const path = join(folder, "a.npy");
    const data = Float32Array.of(1, 2, 3, 4, 5, 6);
    await writeNpy(path, { shape: [2, 3], data });
    expect(await readNpy(path)).toEqual({ dtype: "float32", shape: [2, 3], data });
    const file = await readFile(path);
    expect(file.length).toBe(128 + 24);
    // As numpy 2 writes it.
    expect(file.toString("latin1", 10, 128)).toBe(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".padEnd(117) + "\n",
    );
  });

  test("refuses a wrong shape, an array that cannot hold the dtype, and bfloat16", async () => {
    const path = join(folder, "never.npy");
    await expect(writeNpy(path, { shape: [7], data: new Float32Array(6) })).rejects.toThrow(
      "6 elements do not have the shape (7,)",
    );
    await expect(writeNpy(path, { dtype: "float64", shape: [6], data: new Float32Array(6) })).rejects.toThrow(
      TypeError,
    );
    await expect(writeNpy(path, { dtype: "bfloat16", shape: [1], data: new Uint16Array(1) })).rejects.toThrow(
      "no such dtype",
    );
    expect(await readdir(folder)).not.toContain("never.npy");
  });
});

describe("readNpz() and writeNpz()", () => {
  const arrays = {
    mu: { shape: [3], data: Float64Array.of(1, 2, 3) },
    "sigma/x": { shape: [2, 2], data: Int32Array.of(1, 2, 3, 4) },
    half: { dtype: "float16" as const, shape: [2], data: Uint16Array.of(0x3c00, 0) },
    __proto__x: { shape: [0, 5], data: new BigInt64Array(0) },
    flag: { dtype: "bool" as const, shape: [], data: Uint8Array.of(1) },
  };

  test.each([true, false])("give back what they were given (compress: %s)", async (compress) => {
    const path = join(folder, `${compress}.npz`);
    await writeNpz(path, arrays, { compress });
    const read = await readNpz(path);
    expect(Object.keys(read)).toEqual(Object.keys(arrays));
    for (const [name, { shape, data }] of Object.entries(arrays)) expect(read[name]).toMatchObject({ shape, data });
    expect(read["half"]?.dtype).toBe("float16");
    expect(read["flag"]?.dtype).toBe("bool");
    const headers = await NpzFile.from(ByteSource.of(await readFile(path)));
    expect(headers.names.map((name) => [name, headers.array(name).shape])).toEqual(
      Object.entries(arrays).map(([name, { shape }]) => [name, shape]),
    );
    for (const name of headers.names) expect(await headers.read(name)).toEqual(read[name]);
  });

  test("give equal bytes for equal arrays", async () => {
    const [a, b] = [join(folder, "1.npz"), join(folder, "2.npz")];
    await writeNpz(a, arrays);
    await writeNpz(b, arrays);
    expect(await readFile(a)).toEqual(await readFile(b));
  });

  test("read no more than maxBytes", async () => {
    const path = join(folder, "bomb.npz");
    await writeNpz(path, { zeros: { shape: [1_000_000], data: new Uint8Array(1_000_000) } });
    await expect(readNpz(path, { maxBytes: 1_000_000 })).rejects.toThrow(
      'entry "zeros.npy" has 1000128 bytes, more than 1000000',
    );
    expect((await readNpz(path, { maxBytes: 1_000_128 }))["zeros"]?.data).toHaveLength(1_000_000);
  });

  test("keep the old file and leave nothing behind when writing fails", async () => {
    const path = join(folder, "kept.npz");
    await writeFile(path, "old");
    const before = await readdir(folder);
    await expect(
      writeNpz(path, { a: { shape: [1], data: Uint8Array.of(1) }, b: { shape: [2], data: Uint8Array.of(1) } }),
    ).rejects.toThrow(RangeError);
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(before);
  });

  test("name an entry that is no array", async () => {
    const path = join(folder, "named.npz");
    await writeNpz(path, { a: { shape: [1], data: Uint8Array.of(1) } }, { compress: false });
    const file = await readFile(path);
    const text = file.toString("latin1").replaceAll("a.npy", "a.txt");
    await expect(readNpzFrom(ByteSource.of(Buffer.from(text, "latin1")))).rejects.toThrow('entry "a.txt" is no array');
  });
});
