/** File formats: the set's own files, and its checkpoint by what the reference says is in it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  isNamespace,
  openSafetensors,
  openTorch,
  readNpz,
  type DType,
  readTorchCheckpoint,
  TorchTensor,
  writeNpz,
  writeSafetensors,
  writeTorch,
  writeTorchCheckpoint,
  type TensorValue,
  type TorchFile,
  type TorchValue,
} from "@madformer/artifacts";
import { readdirSync } from "node:fs";
import { FOLDER, goldenJson, goldenTensors } from "./golden.js";

/** What the reference says of a tensor. Sums are in float64. */
interface Figures {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly sum: number;
  readonly abs_sum: number;
  readonly first: readonly number[];
  readonly last: number;
}

interface CheckpointJson {
  readonly top_level_keys: readonly string[];
  readonly model: Readonly<Record<string, Figures>>;
  readonly ema: Readonly<Record<string, Figures>>;
  readonly opt: {
    /** "step" is given as a number. */
    readonly state: Readonly<Record<string, Readonly<Record<string, Figures | number>>>>;
    readonly param_groups: readonly unknown[];
    readonly parameter_names_in_order: readonly string[];
  };
  readonly lrs: Readonly<Record<string, unknown>>;
  readonly args: Readonly<Record<string, unknown>>;
}

let temporary: string;
beforeAll(async () => (temporary = await mkdtemp(join(tmpdir(), "golden-artifacts-"))));
afterAll(() => rm(temporary, { recursive: true }));

const files = readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).sort();
const SAFETENSORS = files.filter((name) => name.endsWith(".safetensors"));
const NPZ = files.filter((name) => /(^|\/)stats_.*\.npz$/.test(name));

test("the set has files of each format", () => {
  expect(SAFETENSORS.length).toBeGreaterThan(0);
  expect(NPZ.length).toBeGreaterThan(0);
  expect(files).toContain("ckpt_tiny.pt");
});

describe.each(SAFETENSORS)("%s", (name) => {
  test("is read tensor by tensor, in any order", async () => {
    const golden = goldenTensors(name);
    await using file = await openSafetensors(join(FOLDER, name));
    expect([...file.names].sort()).toEqual(Object.keys(golden).sort());
    for (const [tensor, { shape, data }] of Object.entries(golden).reverse()) {
      const read = await file.read(tensor);
      expect(read.shape).toEqual(shape);
      expect(file.tensor(tensor)).toMatchObject({ dtype: read.dtype, shape });
      expectSame(read.data, data);
    }
  });

  test("is written and read again", async () => {
    const path = join(temporary, "again.safetensors");
    await using file = await openSafetensors(join(FOLDER, name));
    const lazy = (tensor: string) => {
      const { dtype, shape } = file.tensor(tensor);
      return { dtype: dtype as DType, shape, data: async () => (await file.read(tensor)).data };
    };
    await writeSafetensors(path, Object.fromEntries(file.names.map((tensor) => [tensor, lazy(tensor)])), file.metadata);
    await using again = await openSafetensors(path);
    expect(again.metadata).toEqual(file.metadata);
    expect([...again.names].sort()).toEqual([...file.names].sort());
    for (const tensor of file.names) {
      expect(again.tensor(tensor)).toEqual(file.tensor(tensor));
      expectSame((await again.read(tensor)).data, (await file.read(tensor)).data);
    }
  });
});

describe.each(NPZ)("%s", (name) => {
  const key = /stats_(.*)\.npz$/.exec(name)?.[1] ?? "";
  const golden = goldenTensors("frechet.safetensors");

  test("holds mu and sigma of frechet.safetensors", async () => {
    const arrays = await readNpz(join(FOLDER, name));
    expect(Object.keys(arrays).sort()).toEqual(["mu", "sigma"]);
    for (const field of ["mu", "sigma"]) {
      const [array, expected] = [arrays[field], golden[`${field}.${key}`]];
      expect(array?.dtype).toBe("float64");
      expect(array?.shape).toEqual(expected?.shape);
      expectSame(array?.data, expected?.data);
    }
  });

  test.each([true, false])("is written and read again (compress: %s)", async (compress) => {
    const arrays = await readNpz(join(FOLDER, name));
    await writeNpz(join(temporary, "again.npz"), arrays, { compress });
    expect(await readNpz(join(temporary, "again.npz"))).toEqual(arrays);
  });
});

describe("ckpt_tiny.pt", () => {
  const golden = goldenJson("ckpt_tiny.json") as CheckpointJson;
  let file: TorchFile;
  beforeAll(async () => (file = await openTorch(join(FOLDER, "ckpt_tiny.pt"))));
  afterAll(() => file.close());

  test("has the keys of the reference, in its order", () => {
    expect([...(file.value as ReadonlyMap<string, TorchValue>).keys()]).toEqual(golden.top_level_keys);
  });

  test.each(["model", "ema"] as const)("%s has every tensor", async (part) => {
    const tensors = file.tensors(part);
    expect([...tensors.keys()]).toEqual(Object.keys(golden[part]));
    for (const [name, tensor] of tensors) await expectTensor(tensor, golden[part][name], `${part}.${name}`);
  });

  test("opt has the state of every parameter, and its groups", async () => {
    const { state, param_groups, parameter_names_in_order } = golden.opt;
    const keys = [...(file.get("opt", "state") as ReadonlyMap<number, TorchValue>).keys()];
    expect(keys.map(String)).toEqual(Object.keys(state));
    let tensors = 0;
    for (const index of keys)
      for (const [field, expected] of Object.entries(state[index] ?? {})) {
        await expectTensor(file.get("opt", "state", index, field), expected, `opt.state.${index}.${field}`);
        tensors++;
      }
    expect(tensors).toBe(3 * keys.length);
    expect(plain(file.get("opt", "param_groups"))).toEqual(param_groups);
    expect([...file.tensors("model").keys()]).toEqual(parameter_names_in_order);
  });

  test("lrs and args are those of the run", () => {
    const lrs = { ...golden.lrs };
    // The JSON holds the representation of what JSON has not.
    if (typeof lrs["lr_lambdas"] === "string") lrs["lr_lambdas"] = JSON.parse(lrs["lr_lambdas"]) as unknown;
    expect(plain(file.get("lrs"))).toEqual(lrs);
    expect(isNamespace(file.get("args"))).toBe(true);
    expect(plain(file.get("args"))).toEqual(golden.args);
  });

  test("is written again with every value, by writeTorch and by writeTorchCheckpoint", async () => {
    const [general, typed] = [join(temporary, "general.pt"), join(temporary, "typed.pt")];
    await writeTorch(general, file.value);
    await writeTorchCheckpoint(typed, await readTorchCheckpoint(file));
    for (const path of [general, typed]) {
      await using again = await openTorch(path);
      expect(await loaded(withoutArgs(again.value))).toEqual(await loaded(withoutArgs(file.value)));
      // A Namespace, or what weights_only=True takes in its place.
      expect(isNamespace(again.get("args"))).toBe(path === general);
      expect(plain(again.get("args"))).toEqual(golden.args);
    }
  });
});

function withoutArgs(value: TorchValue): TorchValue {
  return new Map([...(value as ReadonlyMap<TorchValue, TorchValue>)].filter(([key]) => key !== "args"));
}

/** Equal to the last bit, NaN included; the first difference is named. */
function expectSame(actual: ArrayLike<unknown> | undefined, expected: ArrayLike<unknown> | undefined): void {
  expect(actual?.constructor).toBe(expected?.constructor);
  expect(actual?.length).toBe(expected?.length);
  for (let i = 0; i < (expected?.length ?? 0); i++)
    if (!Object.is(actual?.[i], expected?.[i]))
      throw new Error(`element ${i} is ${String(actual?.[i])}, expected ${String(expected?.[i])}`);
}

/** @param expected Figures, or the value of a float32 scalar. */
async function expectTensor(tensor: unknown, expected: Figures | number | undefined, name: string): Promise<void> {
  if (!(tensor instanceof TorchTensor) || expected === undefined)
    throw new Error(`${name} is no tensor, or was not expected`);
  const { dtype, shape, data } = await tensor.read();
  const values = Array.from(data as ArrayLike<number | bigint>, Number);
  if (typeof expected === "number")
    return expect({ name, dtype, shape, values }).toEqual({ name, dtype: "float32", shape: [], values: [expected] });
  const { sum, abs_sum: absSum, ...rest } = expected;
  expect({ name, dtype, shape, first: values.slice(0, 4), last: values.at(-1) }).toEqual({ name, ...rest });
  // Both add in float64, in other orders: n rounding errors of the largest partial sum.
  const tolerance = values.length * 2 ** -52 * absSum;
  expect(Math.abs(values.reduce((a, b) => a + b, 0) - sum)).toBeLessThanOrEqual(tolerance);
  expect(Math.abs(values.reduce((a, b) => a + Math.abs(b), 0) - absSum)).toBeLessThanOrEqual(tolerance);
}

/** Maps and Namespaces as objects, for comparing with JSON. */
function plain(value: TorchValue | undefined): unknown {
  if (value instanceof Map)
    return Object.fromEntries(
      [...(value as ReadonlyMap<TorchValue, TorchValue>)].map(([key, item]) => [String(key as string), plain(item)]),
    );
  if (Array.isArray(value)) return (value as TorchValue[]).map(plain);
  if (isNamespace(value))
    return Object.fromEntries(Object.entries(value.fields).map(([key, item]) => [key, plain(item)]));
  return value;
}

/** All of a value, tensors read. */
async function loaded(value: TorchValue): Promise<unknown> {
  if (value instanceof TorchTensor) return (await value.read()) satisfies TensorValue;
  if (value instanceof Map) {
    const entries: unknown[] = [];
    for (const [key, item] of value as ReadonlyMap<TorchValue, TorchValue>) entries.push([key, await loaded(item)]);
    return { class: value.constructor.name, entries };
  }
  if (Array.isArray(value)) {
    const items = await Promise.all((value as TorchValue[]).map(loaded));
    return { class: Object.isFrozen(value) ? "tuple" : "list", items };
  }
  if (isNamespace(value)) return { class: "Namespace", fields: await loaded(new Map(Object.entries(value.fields))) };
  return value;
}
