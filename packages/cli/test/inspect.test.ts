import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  OrderedDict,
  torchTensor,
  writeNpy,
  writeNpz,
  writeSafetensors,
  writeTorch,
  type TorchInput,
} from "@madformer/artifacts";
import { run } from "@madformer/cli";

let folder: string;
const at = (name: string): string => join(folder, name);

/** Runs the command; output as text. */
async function madformer(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await run(args, { out: (text) => (out += text), err: (text) => (err += text) });
  return { code, out: out.replaceAll(folder, "."), err: err.replaceAll(folder, ".") };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cli-"));
  const w = { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) };
  const odd = { shape: [1100], data: Float32Array.from({ length: 1100 }, (_, i) => (i === 0 ? NaN : i % 2)) };
  await writeSafetensors(
    at("a.bin"),
    { "layer.w": w, odd, none: { shape: [0], data: new Int32Array(0) } },
    { format: "pt", "\u001b[31m": "x\u202e" },
  );
  await writeNpz(at("a.npz"), { mu: { shape: [2], data: Float64Array.of(-1, 1) } });
  await writeNpy(at("a.npy"), { shape: [], data: Int32Array.of(7) });
  const state = { step: torchTensor({ shape: [], data: Float32Array.of(3) }), exp_avg: torchTensor(w) };
  const value: TorchInput = {
    model: new OrderedDict<TorchInput, TorchInput>([["layer.w", torchTensor(w)]]),
    opt: {
      state: new Map([[0, state]]),
      param_groups: [{ lr: 0.5, betas: Object.freeze([0.9, 0.95]), fused: null, params: [0] }],
    },
    lrs: { base_lrs: [0.5], last_epoch: 3, empty: {} },
    args: {
      kind: "namespace",
      fields: { name: "it's", big: 2n ** 70n, bad: NaN, one: Object.freeze([1]), id: null, ok: true },
    },
    more: [
      torchTensor({ dtype: "bfloat16", shape: [1], data: Uint16Array.of(0x3f80) }),
      Uint8Array.of(1),
      new Set(["s"]),
      { kind: "device", type: "cuda", index: 1 },
    ],
  };
  await writeTorch(at("a.pt"), value);
  await writeFile(at("text"), "hello, hello");
});
afterAll(() => rm(folder, { recursive: true }));

describe("madformer inspect", () => {
  test("lists a safetensors file, whatever its name, in aligned columns without control characters", async () => {
    const { code, out } = await madformer("inspect", at("a.bin"));
    expect(code).toBe(0);
    expect(out).toBe(`./a.bin: safetensors, 3 tensors, 1,106 parameters, 4.32 KiB of data, 4.56 KiB in all

metadata
  \\u001b[31m  x\\u202e
  format      pt

name     dtype    shape    elements
layer.w  float32  (2, 3)          6
odd      float32  (1100,)     1,100
none     int32    (0,)            0
`);
  });

  test("prints figures of the finite elements with --stats", async () => {
    const { out } = await madformer("inspect", at("a.bin"), "--stats");
    const lines = out.split("\n").slice(-5, -1);
    expect(lines).toEqual([
      "name     dtype    shape    elements  min  max     mean      std",
      "layer.w  float32  (2, 3)          6    1    6   3.5000   1.7078",
      "odd      float32  (1100,)     1,100    0    1  0.50045  0.50000  1 NaN or infinite",
      "none     int32    (0,)            0                              no finite element",
    ]);
  });

  test("prints JSON with --json", async () => {
    const { code, out } = await madformer("inspect", at("a.npz"), "--json", "--stats");
    expect(code).toBe(0);
    const stats = { min: -1, max: 1, mean: 0, std: 1, nonFinite: 0 };
    expect(JSON.parse(out)).toEqual({
      path: "./a.npz",
      kind: "npz",
      fileBytes: expect.any(Number) as number,
      tensors: [{ name: "mu", dtype: "float64", shape: [2], elements: 2, bytes: 16, stats }],
      totals: { tensors: 1, elements: 2, bytes: 16 },
    });
    expect(JSON.parse((await madformer("inspect", at("a.bin"), "--json")).out)).toMatchObject({
      metadata: { format: "pt" },
    });
  });

  test("lists a single array", async () => {
    expect((await madformer("inspect", at("a.npy"))).out).toMatch(
      /numpy array, 1 tensor, 1 element, 4 bytes of data.*\n\n.*\n\(the array\) {2}int32 {2}\(\) {12}1\n/,
    );
  });

  test("prints a PyTorch file as a tree, its optimizer in short", async () => {
    const { code, out } = await madformer("inspect", at("a.pt"));
    expect(code).toBe(0);
    expect(out.split("\n").slice(1)).toEqual([
      "",
      "name          dtype     shape   elements",
      "model         OrderedDict, 1 tensor, 6 parameters",
      "  layer.w     float32   (2, 3)         6",
      "opt           optimizer, state of 1 parameter (step, exp_avg), 2 tensors: see them with --filter",
      "  group 0     1 parameter, lr 0.5, betas (0.9, 0.95), fused None",
      "lrs           dict, 3 entries",
      "  base_lrs    [0.5]",
      "  last_epoch  3",
      "  empty       {}",
      "args          Namespace, 6 fields",
      "  name        'it\\'s'",
      "  big         1180591620717411303424",
      "  bad         nan",
      "  one         (1,)",
      "  id          None",
      "  ok          True",
      "more          list, 4 items",
      "  0           bfloat16  (1,)           1",
      "  1           <1 bytes>",
      "  2           {'s'}",
      "  3           <device cuda 1>",
      "",
    ]);
    expect(out).toMatch(/^\.\/a\.pt: PyTorch, 4 tensors, 14 parameters, 54 bytes of data, /);
  });

  test("prints a PyTorch file's other values in JSON", async () => {
    const { value, tensors } = JSON.parse((await madformer("inspect", at("a.pt"), "--json")).out) as {
      value: unknown;
      tensors: { name: string }[];
    };
    expect(tensors.map(({ name }) => name)).toEqual([
      "model.layer.w",
      "opt.state.0.step",
      "opt.state.0.exp_avg",
      "more.0",
    ]);
    expect(value).toEqual({
      model: { "layer.w": { tensor: "model.layer.w" } },
      opt: {
        state: { 0: { step: { tensor: "opt.state.0.step" }, exp_avg: { tensor: "opt.state.0.exp_avg" } } },
        param_groups: [{ lr: 0.5, betas: [0.9, 0.95], fused: null, params: [0] }],
      },
      lrs: { base_lrs: [0.5], last_epoch: 3, empty: {} },
      args: { name: "it's", big: "1180591620717411303424", bad: "nan", one: [1], id: null, ok: true },
      more: [{ tensor: "more.0" }, { bytes: "AQ==" }, ["s"], { kind: "device", type: "cuda", index: 1 }],
    });
  });

  test.each([
    ["step", ["opt.state.0.step"]],
    ["layer", ["model.layer.w"]],
    ["opt*", ["opt.state.0.step", "opt.state.0.exp_avg"]],
    ["*.?", ["model.layer.w", "more.0"]],
    ["nothing", []],
    ["*o*t*p", ["opt.state.0.step"]],
  ])("keeps what --filter %s matches", async (pattern, names) => {
    const { out } = await madformer("inspect", at("a.pt"), "--filter", pattern, "--json");
    const summary = JSON.parse(out) as { tensors: { name: string }[]; totals: unknown };
    expect(summary.tensors.map(({ name }) => name)).toEqual(names);
    expect(summary.totals).toMatchObject({ tensors: names.length, leftOut: 4 - names.length });
    expect((await madformer("inspect", at("a.pt"), "--filter", pattern)).out).toContain(` of 4, `);
  });

  test("says in one sentence what is wrong, and shows the stack with --debug", async () => {
    expect(await madformer("inspect", at("text"))).toEqual({
      code: 1,
      out: "",
      err: 'Cannot read "./text": it is none of: safetensors, PyTorch (.pt), numpy (.npy, .npz)\n',
    });
    await writeFile(at("page"), "<!DOCTYPE html><title>403</title>");
    await writeFile(at("empty"), "");
    expect((await madformer("inspect", at("page"))).err).toContain(
      "it is an HTML page, expected one of: safetensors, PyTorch (.pt), numpy (.npy, .npz)",
    );
    expect((await madformer("inspect", at("empty"))).err).toContain("it is empty, expected one of: safetensors,");
    const missing = await madformer("inspect", at("missing"));
    expect(missing).toEqual({ code: 1, out: "", err: 'Cannot open "./missing": there is no such file\n' });
    const debug = await madformer("inspect", at("missing"), "--debug");
    expect(debug.err).toMatch(/\n {4}at .*\n(.*\n)* *Caused by: Error: .*ENOENT/);
  });
});

describe("madformer", () => {
  test.each([
    [["--help"], 0, /Usage: madformer .*\n(.*\n)*Stages:\n(.*\n)*Commands:\n(.*\n)* {2}inspect/, /^$/],
    [["inspect", "--help"], 0, /Usage: madformer inspect .*\n(.*\n)*Examples:/, /^$/],
    [["--version"], 0, /^\d+\.\d+\.\d+\n$/, /^$/],
    [[], 2, /^$/, /Usage: madformer/],
    [["inspect"], 2, /^$/, /missing required argument 'file'\n\(madformer inspect --help says more\)/],
    [["inspect", "a", "--what"], 2, /^$/, /unknown option '--what'/],
    [["inspekt"], 2, /^$/, /unknown command 'inspekt'\n\(Did you mean inspect\?\)/],
  ])("%j ends with code %d", async (args, code, out, err) => {
    const result = await madformer(...args);
    expect(result.code).toBe(code);
    expect(result.out).toMatch(out);
    expect(result.err).toMatch(err);
  });

  test("runs as a program, and says so if it is not built", async () => {
    const program = new URL("../bin/madformer.mjs", import.meta.url).pathname;
    const result = await new Promise<{ code: unknown; out: string; err: string }>((resolve) =>
      execFile(process.execPath, [program, "inspect", at("a.npy")], (error, out, err) =>
        resolve({ code: error?.code ?? 0, out, err }),
      ),
    );
    if (result.err.includes("not built yet")) expect(result.code).toBe(1);
    else expect(result).toMatchObject({ code: 0, out: expect.stringContaining("numpy array") as string, err: "" });
  });
});
