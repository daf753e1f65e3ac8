import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ByteSource } from "../file/byte-source.js";
import { FormatError } from "../format-error.js";
import { OrderedDict } from "../pickle/ordered-dict.js";
import { pyFloat } from "../pickle/write.js";
import { inFolder, openPickle, written, zipOf, pickleOf } from "../testing.js";
import { readTorchCheckpoint, writeTorchCheckpoint, type TorchCheckpoint } from "./checkpoint.js";
import { openTorch, TorchFile } from "./read.js";
import { TorchTensor } from "./tensor.js";
import { torchTensor, writeTorch, type TorchInput } from "./write.js";

const parse = (bytes: Uint8Array) => TorchFile.from(ByteSource.of(bytes, "x.pt"));
const again = async (value: TorchInput, zip64 = false): Promise<TorchFile> =>
  parse(await written((path) => writeTorch(path, value, { zip64 })));
const u32 = (value: number): string => Buffer.from(Uint32Array.of(value).buffer).toString("latin1");
const u64 = (value: bigint): string => Buffer.from(BigUint64Array.of(value).buffer).toString("latin1");
const text = (value: string): string => `X${u32(value.length)}${value}`;

/** `torch._utils._rebuild_tensor_v2` of record 0 with these numbers, as instructions. */
function tensor(storage: string, elements: number, offset: number, shape: number[], strides: number[]): string {
  const int = (value: number): string => `J${u32(value)}`;
  const tuple = (values: number[]): string => `(${values.map(int).join("")}t`;
  const id = `(${text("storage")}ctorch\n${storage}\n${text("0")}${text("cpu")}${int(elements)}tQ`;
  return `ctorch._utils\n_rebuild_tensor_v2\n(${id}${int(offset)}${tuple(shape)}${tuple(strides)}\x89}tR`;
}

describe("writeTorch() and openTorch()", () => {
  const plain: [string, TorchInput][] = [
    ["None, bool, str", [null, true, false, "", "ü\u{1f600}", "x".repeat(300)]],
    [
      "ints",
      [
        0,
        255,
        256,
        65535,
        65536,
        -1,
        2 ** 31 - 1,
        -(2 ** 31),
        2 ** 31,
        -(2 ** 40),
        2 ** 53 - 1,
        2n ** 53n,
        -(2n ** 63n),
        2n ** 70n,
        2n ** 1100n,
        -(2n ** 71n),
      ],
    ],
    ["floats", [0.5, -0, 1e300, Infinity, -Infinity, NaN]],
    ["bytes", Uint8Array.of(0, 128, 255)],
    [
      "tuples",
      Object.freeze([
        Object.freeze([]),
        Object.freeze([1]),
        Object.freeze([1, 2]),
        Object.freeze([1, 2, 3]),
        Object.freeze([1, 2, 3, 4]),
      ]),
    ],
    [
      "dicts",
      new Map<TorchInput, TorchInput>([
        ["a", 1],
        [2, new Map()],
        [Object.freeze([1, 2]), []],
      ]),
    ],
    [
      "an OrderedDict",
      new OrderedDict<TorchInput, TorchInput>([
        ["b", 1],
        ["a", 2],
      ]),
    ],
    ["a set", new Set<TorchInput>([1, "a"])],
    ["a Namespace", { kind: "namespace", fields: { lr: 0.5, id: null, __proto__x: [1] } }],
    [
      "device, dtype, layout, complex",
      [
        { kind: "device", type: "cuda", index: 1 },
        { kind: "device", type: "cpu", index: undefined },
        { kind: "dtype", name: "bfloat16" },
        { kind: "layout", name: "torch.strided" },
        { kind: "complex", re: 1, im: -2 },
      ],
    ],
  ];
  test.each(plain)("keep %s", async (_, value) => {
    for (const zip64 of [false, true]) {
      await using file = await again(value, zip64);
      expect(file.value).toEqual(value);
      expect(Object.isFrozen(file.value)).toBe(Object.isFrozen(value));
      expect(file.value?.constructor).toBe(value?.constructor);
    }
  });

  test("keep an OrderedDict's attributes, and the name __proto__", async () => {
    const dict = new OrderedDict<TorchInput, TorchInput>();
    dict.attributes = new Map([["_metadata", 1]]);
    const fields = JSON.parse('{"__proto__": 7}') as Record<string, number>;
    await using file = await again([dict, { kind: "namespace", fields }]);
    const [read, namespace] = file.value as [OrderedDict, { fields: Record<string, unknown> }];
    expect(read.attributes).toEqual(dict.attributes);
    expect(Object.entries(namespace.fields)).toEqual([["__proto__", 7]]);
  });

  test("keep what is one object one object", async () => {
    const shared: TorchInput[] = [1];
    await using file = await again([shared, shared, [1]]);
    const [a, b, c] = file.value as unknown[][];
    expect(a).toBe(b);
    expect(a).not.toBe(c);
  });

  const DATA = [
    ["float64", Float64Array.of(Math.PI, -0)],
    ["float32", Float32Array.of(1.5, NaN)],
    ["float16", Uint16Array.of(0x3c00, 0xc000)],
    ["bfloat16", Uint16Array.of(0x3f80, 0xc000)],
    ["int64", BigInt64Array.of(1n, -(2n ** 63n))],
    ["int32", Int32Array.of(1, -2)],
    ["int16", Int16Array.of(1, -2)],
    ["int8", Int8Array.of(1, -2)],
    ["uint64", BigUint64Array.of(1n, 2n ** 64n - 1n)],
    ["uint32", Uint32Array.of(1, 2 ** 32 - 1)],
    ["uint16", Uint16Array.of(1, 65535)],
    ["uint8", Uint8Array.of(1, 255)],
    ["bool", Uint8Array.of(0, 1)],
  ] as const;
  test.each(DATA)("keep tensors of %s", async (dtype, data) => {
    await using file = await again({
      x: torchTensor({ dtype, shape: [2, 1], data }),
      p: torchTensor({ dtype, shape: [], data: data.slice(1) }, { isParameter: true, requiresGrad: true }),
    });
    const [x, p] = [file.tensors().get("x"), file.tensors().get("p")];
    expect(await x?.read()).toEqual({ dtype, shape: [2, 1], data });
    expect(await p?.read()).toEqual({ dtype, shape: [], data: data.slice(1) });
    expect([x?.isParameter, x?.requiresGrad, p?.isParameter, p?.requiresGrad]).toEqual([false, false, true, true]);
    expect(await x?.readFloat32()).toHaveLength(2);
  });

  test("let tensors of one array or function share a storage, and copy that to another file", async () => {
    const data = Float32Array.of(1, 2, 3, 4);
    let calls = 0;
    const make = () => (calls++, Float32Array.of(5, 6));
    const value = {
      a: torchTensor({ shape: [4], data }),
      b: torchTensor({ shape: [2, 2], data }),
      c: torchTensor({ dtype: "float32", shape: [2], data: make }),
      d: torchTensor({ dtype: "float32", shape: [1, 2], data: make }),
    };
    await using file = await again(value);
    await using copy = await again(file.value);
    for (const opened of [file, copy]) {
      const storages = new Set([...opened.tensors().values()].map(({ storage }) => storage));
      expect(storages.size).toBe(2);
      expect((await opened.tensors().get("b")?.read())?.data).toEqual(data);
      expect((await opened.tensors().get("d")?.read())?.data).toEqual(Float32Array.of(5, 6));
    }
    expect(calls).toBe(1);
  });

  test("write equal bytes for equal values, with records at multiples of 64 bytes", async () => {
    const value = () => ({ x: torchTensor({ shape: [3], data: Float32Array.of(1, 2, 3) }), y: [1, "x"] });
    const bytes = await written((path) => writeTorch(path, value()));
    expect(await written((path) => writeTorch(path, value()))).toEqual(bytes);
    expect(bytes.indexOf(Buffer.from(Float32Array.of(1, 2, 3).buffer)) % 64).toBe(0);
  });

  const cyclic: TorchInput[] = [];
  cyclic.push(cyclic);
  test.each<[string, unknown, RegExp]>([
    ["a function", () => 1, /a value of type function/],
    ["undefined", { a: undefined }, /a value of type undefined/],
    ["a class instance", new Date(), /an object of class Date/],
    ["what holds itself", cyclic, /holds itself/],
    [
      "a tensor of a wrong shape",
      { a: { b: torchTensor({ shape: [3], data: Float32Array.of(1) }) } },
      /tensor "a\.b": 1 elements do not have the shape \(3,\)/,
    ],
    [
      "short data",
      { a: torchTensor({ dtype: "float32", shape: [3], data: () => Float32Array.of(1) }) },
      /tensor "a": its data has fewer elements/,
    ],
  ])("refuse to write %s", async (_, value, message) => {
    await expect(written((path) => writeTorch(path, value as TorchInput))).rejects.toThrow(message);
  });

  test("read views: offsets, transposes, steps, repeats, eight-byte elements", async () => {
    const numbers = Float64Array.from({ length: 12 }, (_, i) => i);
    const records = { "x/data/0": Buffer.from(numbers.buffer) };
    const read = async (offset: number, shape: number[], strides: number[]) => {
      await using file = await openPickle([tensor("DoubleStorage", 12, offset, shape, strides)], records);
      return Array.from((await (file.value as TorchTensor).read()).data as Float64Array);
    };
    expect(await read(3, [2], [1])).toEqual([3, 4]);
    expect(await read(0, [4, 3], [1, 4])).toEqual([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    expect(await read(1, [2, 2, 2], [6, 0, 2])).toEqual([1, 3, 1, 3, 7, 9, 7, 9]);
    expect(await read(11, [1, 1], [100, 9])).toEqual([11]);
    expect(await read(99, [0, 3], [3, 1])).toEqual([]);
    expect(await read(0, [], [])).toEqual([0]);
  });

  test("read a tensor that was given attributes, without them", async () => {
    const plain = tensor("FloatStorage", 2, 0, [2], [1]).slice(0, -1); // without the call
    const [name, args] = [plain.slice(0, plain.indexOf("(")), plain.slice(plain.indexOf("("))];
    const pickle = [`ctorch._tensor\n_rebuild_from_type_v2\n(${name}ctorch\nTensor\n${args}}tR`];
    await using file = await openPickle(pickle, { "x/data/0": Buffer.from(Float32Array.of(1, 2).buffer) });
    expect((await (file.value as TorchTensor).read()).data).toEqual(Float32Array.of(1, 2));
  });

  test("read deflated and big-endian archives", async () => {
    const pickle = pickleOf([tensor("ShortStorage", 3, 1, [2], [1])]);
    const records = {
      "x/data.pkl": pickle,
      "x/byteorder": "big",
      "x/data/0": Buffer.from([0, 1, 0, 2, 255, 255]),
      "x/version": "3\n",
    };
    await using file = await parse(await zipOf(records, { compress: true }));
    expect((await (file.value as TorchTensor).read()).data).toEqual(Int16Array.of(2, -1));
  });

  test("check storages against their CRC, but where there is none", async () => {
    const bytes = await written((path) =>
      writeTorch(path, torchTensor({ shape: [4], data: Float32Array.of(1, 2, 3, 4) })),
    );
    const at = bytes.indexOf(Buffer.from(Float32Array.of(1, 2, 3, 4).buffer));
    bytes[at] = 1;
    await using file = await parse(bytes);
    await expect((file.value as TorchTensor).read()).rejects.toThrow('entry "archive/data/0" is damaged');
    const entry = bytes.indexOf("archive/data/0", bytes.indexOf("PK\x01\x02")) - 46;
    bytes.writeUInt32LE(0, entry + 16);
    await using unchecked = await parse(bytes);
    expect((await (unchecked.value as TorchTensor).read()).data).toHaveLength(4);
  });
});

describe("openTorch() refuses", () => {
  const deep = (open: string, count: number): string => open.repeat(count);
  const attacks: [string, (number | string)[], string | RegExp][] = [
    ["os.system", ["cos\nsystem\n", text("id"), 0x85, "R"], '"os.system", which is not allowed'],
    ["posix.system by STACK_GLOBAL", [text("posix"), text("system"), 0x93, text("id"), 0x85, "R"], '"posix.system"'],
    ["builtins.eval", ["c__builtin__\neval\n", text("1"), 0x85, "R"], '"__builtin__.eval"'],
    ["builtins.getattr", ["c__builtin__\ngetattr\n"], '"__builtin__.getattr"'],
    ["a name of Object.prototype", ["ctorch\nconstructor\n"], '"torch.constructor"'],
    ["a call of a name", ["cbuiltins\nint\n)R"], "its pickle calls builtins.int, which is not allowed"],
    ["a call of a dict", ["})R"], "its pickle calls a dict"],
    ["a call without a tuple", ["ccollections\nOrderedDict\n]R"], "without a tuple of arguments"],
    [
      "a call with other arguments",
      ["ccollections\nOrderedDict\n", "K\x01", 0x85, "R"],
      "with arguments that it does not take",
    ],
    [
      "another function behind a tensor's type",
      ["ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\nctorch\nTensor\n)NtR"],
      "_rebuild_from_type_v2 with arguments that it does not take",
    ],
    ["keyword arguments", ["ccollections\nOrderedDict\n)}", "K\x01K\x01s", 0x92], "with keyword arguments"],
    ["a list that holds itself", ["]q\0h\0a"], "contains itself"],
    ["a dict that holds itself", ["}q\0", text("a"), "h\0s"], "contains itself"],
    ["a Namespace that holds itself", ["cargparse\nNamespace\n)", 0x81, "q\0}", text("a"), "h\0sb"], "contains itself"],
    ["a dict that is in one of its keys", ["}q\0]h\0a", 0x85, "Ns"], "contains itself"],
    ["attributes that hold their owner", ["ccollections\nOrderedDict\n)Rq\0}", text("a"), "h\0sb"], "contains itself"],
    ["nesting of 501", [deep("]", 502), deep("a", 501)], "nested more than 500 levels deep"],
    [
      "a tree of 2^30 from 30 DUPs",
      ["K\x01", ...Array<string>(30).fill("2\x86")],
      "a tree of more than 10000000 values",
    ],
    [
      "a tree through the memo",
      ["K\x01", ...Array<string>(30).fill("q\0h\0\x86")],
      "a tree of more than 10000000 values",
    ],
    ["LONG4 of 2^31", [0x8b, u32(2 ** 31)], "an integer of 2147483648 bytes"],
    ["LONG1 past the end", [0x8a, 100], "in the middle of 100 bytes"],
    ["BINUNICODE8 of 2^63", [0x8d, u64(2n ** 63n)], "a length of 9223372036854776000"],
    ["BINBYTES8 of 2^32", [0x8e, u64(2n ** 32n)], "a length of 4294967296"],
    ["BYTEARRAY8 of 2^64 - 1", [0x96, u64(2n ** 64n - 1n)], "a length of"],
    ["FRAME of 2^63", [0x95, u64(2n ** 63n)], "a length of 9223372036854776000"],
    ["BINUNICODE past the end", ["X", u32(1000), "x"], "a length of 1000"],
    ["a memo that is empty", ["h\x07"], "recalls value 7, which was not stored"],
    ["an empty stack", ["0"], "lacks a mark"],
    ["TUPLE2 of one", ["N", 0x86], "takes from an empty stack"],
    ["no mark", ["t"], "lacks a mark"],
    ["two values", ["NN"], "ends with more than one value"],
    ["a mark that is left", ["(N"], "ends with more than one value"],
    ["a list for a key", ["}]Ns"], "has a list for a key"],
    ["a key without value", ["}(Nu"], "sets a key without a value"],
    ["items of a list", ["]NNs"], "sets items of what is no dict"],
    ["an append to a tuple", [")Na"], "appends to what is no list"],
    ["state of a list", ["]}b"], "sets the state of a list, which takes none"],
    ["a text integer of protocol 0", ["I1\n"], "instruction 0x49 at byte 2"],
    ["an unknown instruction", [0xff], "instruction 0xff at byte 2"],
    ["protocol 9", [0x80, 9], "protocol 9"],
    ["an extension", [0x82, 1], "instruction 0x82"],
    ["another persistent id", ["NQ"], "a persistent id that is no storage"],
    ["a global without end of line", ["ctorch"], "no end of line"],
    [
      "a missing record",
      [tensor("FloatStorage", 1, 0, [1], [1]).replaceAll(text("0"), text("../0"))],
      'lacks the record of storage "../0"',
    ],
    [
      "a storage that is too short",
      [tensor("FloatStorage", 100, 0, [1], [1])],
      "holds 16 bytes, too few for 100 elements",
    ],
    ["a tensor past its storage", [tensor("FloatStorage", 4, 1, [2, 2], [2, 1])], 'but storage "0" holds 4 elements'],
    ["a negative size", [tensor("FloatStorage", 4, 0, [-1], [1])], "it has a tensor of shape (-1,)"],
    ["a negative stride", [tensor("FloatStorage", 4, 3, [2], [-1])], "strides (-1,)"],
    ["a negative offset", [tensor("FloatStorage", 4, -1, [1], [1])], "at element -1"],
    ["strides for other axes", [tensor("FloatStorage", 4, 0, [1], [1, 1])], "expected as many strides as axes"],
    ["a product past 2^53", [tensor("FloatStorage", 4, 0, [2 ** 30, 2 ** 30], [0, 0])], "it has a tensor of shape"],
    [
      "65 axes",
      [tensor("FloatStorage", 4, 0, Array<number>(65).fill(1), Array<number>(65).fill(1))],
      "arguments that it does not take",
    ],
    ["another storage", [tensor("QUInt4x2Storage", 1, 0, [1], [1])], '"torch.QUInt4x2Storage", which is not allowed'],
    ["what is no storage class", [tensor("Tensor", 1, 0, [1], [1])], "a storage of the class torch.Tensor"],
  ];
  test.each(attacks)("%s", async (_, pickle, message) => {
    const opening = openPickle(pickle, { "x/data/0": Buffer.alloc(16) });
    await expect(opening).rejects.toThrow(FormatError);
    await expect(opening).rejects.toThrow(message);
  });

  test("a complex tensor, when it is read", async () => {
    await using file = await openPickle([tensor("ComplexFloatStorage", 2, 0, [2], [1])], {
      "x/data/0": Buffer.alloc(16),
    });
    const value = file.value as TorchTensor;
    expect([value.dtype, value.shape, value.elementBytes]).toEqual(["complex64", [2], 8]);
    await expect(value.read()).rejects.toThrow("a tensor of shape (2,) is of complex64, which cannot be read here");
  });

  test("what is not weights, when it is used: quantized and sparse tensors, numpy's numbers, dates", async () => {
    const quantized = tensor("QInt8Storage", 4, 0, [2, 2], [2, 1])
      .replace("_rebuild_tensor_v2", "_rebuild_qtensor")
      .replace(/\x89\}tR$/, `(ctorch\nper_tensor_affine\nK\x01K\0t\x89}tR`);
    const sparse = `ctorch._utils\n_rebuild_sparse_tensor\n(ctorch.serialization\n_get_layout\n(${text("torch.sparse_coo")}tR)tR`;
    const dtype = `cnumpy\ndtype\n(${text("f8")}\x89\x88tR(K\x03${text("<")}NNNJ${u32(2 ** 32 - 1)}J${u32(2 ** 32 - 1)}K\0tb`;
    const scalar = (module: string): string =>
      `c${module}\nscalar\n(${dtype}c_codecs\nencode\n(${text("12345678")}${text("latin1")}tRtR`;
    const array = `cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0t${text("b")}tR(K\x01(K\x01t${dtype}\x89${text("12345678")}tb`;
    const date = `cdatetime\ndatetime\n(${text("0123456789")}tR`;
    const entries = {
      ...{ w: tensor("FloatStorage", 1, 0, [1], [1]), quantized, sparse, array, date },
      ...{ scalar: scalar("numpy.core.multiarray"), scalar2: scalar("numpy._core.multiarray") },
    };
    const pickle = ["}", ...Object.entries(entries).map(([name, value]) => `${text(name)}${value}s`)];
    await using file = await openPickle(pickle, { "x/data/0": Buffer.alloc(16) });
    expect((await (file.get("w") as TorchTensor).read()).data).toEqual(Float32Array.of(0));
    const whole = file.get("quantized") as TorchTensor;
    expect([whole.dtype, whole.shape]).toEqual(["qint8", [2, 2]]);
    await expect(whole.read()).rejects.toThrow("is of qint8, which cannot be read here");
    expect(["sparse", "array", "date", "scalar", "scalar2"].map((name) => file.get(name))).toEqual(
      [
        ...["torch._utils._rebuild_sparse_tensor", "numpy.core.multiarray._reconstruct", "datetime.datetime"],
        ...["numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"],
      ].map((name) => ({ kind: "foreign", name })),
    );
    // int and str, as protocol 2 calls them.
    const types = ["(c__builtin__\nlong\nc__builtin__\nunicode\nt"];
    expect((await openPickle(types)).value).toMatchObject([{ name: "builtins.long" }, { name: "builtins.unicode" }]);
    await expect(openPickle(["cnumpy\nload\n", text("x"), 0x85, "R"])).rejects.toThrow('"numpy.load"');
  });

  test("a small file that expands to a huge tensor, when it is read", async () => {
    await using file = await openPickle([tensor("FloatStorage", 4, 0, [2 ** 30, 4], [0, 1])], {
      "x/data/0": Buffer.alloc(16),
    });
    await expect((file.value as TorchTensor).read()).rejects.toThrow("repeats 16 bytes of its storage to 17179869184");
  });

  test.each<[string, (number | string)[]]>([
    ["marks", ["(".repeat(2_000_000)]],
    ["numbers", ["N".repeat(5_000_000)]],
    ["dicts", ["(", "}".repeat(2_000_000), "t"]],
    ["copies of one list", ["](", "N".repeat(100_000), "eq\0(", "cbuiltins\nset\nh\0\x85R".repeat(1000), "t"]],
    [
      "copies of one text",
      [text("x".repeat(1_000_000)), "q\0(", `c_codecs\nencode\nh\0${text("latin1")}\x86R`.repeat(1000), "t"],
    ],
  ])("a flood of %s, in bounded time and memory", async (_, pickle) => {
    const [started, before] = [performance.now(), process.memoryUsage().rss];
    await expect(openPickle(pickle)).rejects.toThrow("makes more than 4000000 values");
    expect(performance.now() - started).toBeLessThan(20_000); // 1 s on an idle machine
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 30);
  });

  test("archives that are not PyTorch's, newer ones, and other byte orders", async () => {
    const pickle = { "x/data.pkl": pickleOf(["N"]) };
    await expect(parse(await zipOf({ a: "b" }))).rejects.toThrow("it has 0 records data.pkl, expected one");
    await expect(parse(await zipOf({ ...pickle, "y/data.pkl": "" }))).rejects.toThrow("it has 2 records data.pkl");
    await expect(parse(await zipOf({ ...pickle, "x/version": "11\n" }))).rejects.toThrow('its version is "11"');
    await expect(parse(await zipOf({ ...pickle, "x/byteorder": "middle" }))).rejects.toThrow(
      'its byte order is "middle"',
    );
    await expect(parse(Buffer.from("hello"))).rejects.toThrow("it has no zip directory");
    const whole = (await parse(await zipOf({ ...pickle, "x/version": "3\n", "x/byteorder": "little" }))).value;
    expect(whole).toBeNull();
  });

  test("a pickle bomb", async () => {
    const bytes = await zipOf({ "x/data.pkl": Buffer.alloc(65 * 2 ** 20) }, { compress: true });
    expect(bytes.length).toBeLessThan(100_000);
    await expect(parse(bytes)).rejects.toThrow("has 68157440 bytes, more than 67108864");
  });

  test("what is no state dict, when asked for one", async () => {
    await using file = await again({ a: { x: 1 }, b: [torchTensor({ shape: [1], data: Float32Array.of(1) })] });
    expect(() => file.tensors("a")).toThrow('["a"] is no dict of tensors: "x" is none');
    expect(() => file.tensors("b")).toThrow('["b"] is no dict of tensors');
    expect(() => file.tensors("c", 1)).toThrow('["c"][1] is no dict of tensors');
    expect(file.get("b", 0)).toBeInstanceOf(TorchTensor);
    expect(file.get("b", "x", "y")).toBeUndefined();
  });
});

describe("writeTorchCheckpoint() and readTorchCheckpoint()", () => {
  const f32 = (...values: number[]) => ({ shape: [values.length], data: Float32Array.from(values) });
  const checkpoint: TorchCheckpoint = {
    model: new Map([
      ["w", f32(1, 2)],
      ["b", f32(3)],
    ]),
    ema: new Map([
      ["w", f32(1.5, 2.5)],
      ["b", f32(3.5)],
    ]),
    opt: {
      moments: new Map([
        ["b", { step: 7, expAvg: f32(0.1), expAvgSq: f32(0.2) }],
        ["w", { step: 7, expAvg: f32(0.3, 0.4), expAvgSq: f32(0.5, 0.6) }],
      ]),
      groups: [{ lr: 1, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0, initialLr: 2, params: ["w", "b"] }],
    },
    lrs: { baseLrs: [2], lastEpoch: 7, stepCount: 8, lastLr: [1] },
    args: { lr: 2, epochs: 3, id: null, max_grad_norm: 1 },
  };

  test("count parameters in the model's order and keep floats floats", async () => {
    const bytes = await written((path) => writeTorchCheckpoint(path, checkpoint));
    await using file = await parse(bytes);
    expect([...(file.get("opt", "state") as Map<unknown, unknown>).keys()]).toEqual([0, 1]);
    expect(file.get("opt", "param_groups", 0, "params")).toEqual([0, 1]);
    expect((await (file.get("opt", "state", 1, "exp_avg") as TorchTensor).read()).data).toEqual(Float32Array.of(0.1));
    expect(await (file.get("opt", "state", 0, "step") as TorchTensor).read()).toEqual({
      dtype: "float32",
      shape: [],
      data: Float32Array.of(7),
    });
    // BINFLOAT after the key: 1.0 and 2.0, never BININT.
    const pickle = bytes.toString("latin1");
    for (const key of ["lr", "weight_decay", "initial_lr", "eps"])
      expect(pickle).toMatch(new RegExp(`${key}(q.|r....)G`, "s"));
    expect(pickle).toMatch(/max_grad_norm(q.|r....)G/s);
    expect(pickle).toMatch(/epochs(q.|r....)K/s);
    const back = await readTorchCheckpoint(file);
    expect(back.opt.groups).toEqual(checkpoint.opt.groups);
    expect(back.lrs).toEqual(checkpoint.lrs);
    expect({ ...back.args }).toEqual(checkpoint.args);
    // What torch.load with weights_only=True takes: no argparse.Namespace, but a dict that has attributes.
    expect(pickle).not.toContain("argparse");
    const args = file.get("args") as OrderedDict;
    expect(args).toBeInstanceOf(OrderedDict);
    expect([...args]).toEqual(Object.entries(checkpoint.args));
    expect([...(args.attributes ?? [])]).toEqual([...args]);
    expect(back.opt.moments.get("w")?.step).toBe(7);
    expect(await (back.ema.get("w") as TorchTensor).readFloat32()).toEqual(Float32Array.of(1.5, 2.5));
  });

  test("keep a constant learning rate's empty scheduler, and groups without initial_lr", async () => {
    const [group] = checkpoint.opt.groups;
    const groups = [{ ...group!, initialLr: undefined }];
    const bytes = await written((path) =>
      writeTorchCheckpoint(path, { ...checkpoint, lrs: null, opt: { ...checkpoint.opt, groups } }),
    );
    await using file = await parse(bytes);
    expect(file.get("lrs")).toEqual(new Map());
    expect(file.get("opt", "param_groups", 0, "initial_lr")).toBeUndefined();
    expect((await readTorchCheckpoint(file)).lrs).toBeNull();
  });

  test("name a parameter that the model has not, and parts that are missing", async () => {
    const model = new Map([["w", f32(1)]]);
    await expect(written((path) => writeTorchCheckpoint(path, { ...checkpoint, model }))).rejects.toThrow(
      'the optimizer has "b", which the model has not',
    );
    await using file = await again({
      model: {},
      opt: { state: {}, param_groups: [{ lr: "x", betas: [pyFloat(1), 0.5] }] },
    });
    await expect(readTorchCheckpoint(file)).rejects.toThrow('["opt"]["param_groups"][0]["lr"] is not a number');
    await using none = await again({ model: {} });
    await expect(readTorchCheckpoint(none)).rejects.toThrow('["opt"]["state"] is not a dict');
  });

  test.each<[string, TorchInput, boolean]>([
    ["a Namespace, as the reference saves it", { kind: "namespace", fields: { lr: 2 } }, true],
    ["a dict", { lr: 2 }, true],
    ["a dict of numbers", new Map([[2, 2]]), false],
    ["a list", [2], false],
  ])("read args from %s, or say that they cannot", async (_, args, readable) => {
    const parts = { model: {}, ema: {}, opt: { state: {}, param_groups: [] }, lrs: {}, args };
    await using file = await again(parts);
    const reading = readTorchCheckpoint(file);
    if (readable) expect({ ...(await reading).args }).toEqual({ lr: 2 });
    else await expect(reading).rejects.toThrow('["args"] is no argparse.Namespace and no dict of names');
  });
});

test("openTorch() closes the file that it cannot read, and opens those that it can", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "a.pt");
    await writeTorch(path, [1]);
    expect((await readFile(path)).subarray(0, 2).toString()).toBe("PK");
    await using file = await openTorch(path);
    expect(file.value).toEqual([1]);
  });
});
