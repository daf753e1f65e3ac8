/** Checkpoints as people have them, from the released code's file on. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  openSafetensors,
  openTorch,
  torchTensor,
  writeSafetensors,
  writeTorch,
  type TensorInput,
} from "@madformer/artifacts";
import { madformer } from "../src/testing.js";

const GOLDEN = fileURLToPath(new URL("../../golden/data", import.meta.url));
const RELEASED = join(GOLDEN, "ckpt_tiny.pt");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "import-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** The U-Net's groups and heads stand nowhere in a file of the released code. */
const TINY = ["--unet-groups", "4", "--unet-heads", "2"];

function imported(source: string, name: string, ...more: string[]) {
  const out = join(folder, name);
  return madformer("import", "--source", source, "--autoencoder", join(GOLDEN, "vae4"), "--out", out, ...more);
}

/** The released code's weights, as plain tensors. */
async function weights(part: "model" | "ema"): Promise<[string, { shape: readonly number[]; data: Float32Array }][]> {
  await using file = await openTorch(RELEASED);
  const tensors = [];
  for (const [key, tensor] of file.tensors(part))
    tensors.push([key, { shape: tensor.shape, data: await tensor.readFloat32() }] as [string, never]);
  return tensors;
}

async function expectWeights(name: string, file: string, part: "model" | "ema"): Promise<void> {
  await using opened = await openSafetensors(join(folder, name, file));
  const expected = await weights(part);
  expect(opened.names).toHaveLength(expected.length);
  for (const [key, { data }] of expected) expect(await opened.readFloat32(key)).toEqual(data);
}

/** A safetensors file whose tensor says that it is of another type. */
function withDtype(file: Uint8Array, key: string, dtype: string): Uint8Array {
  const bytes = Buffer.from(file);
  const end = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString("utf8", 8, end)) as Record<string, object>;
  const text = Buffer.from(JSON.stringify({ ...header, [key]: { ...header[key], dtype } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, bytes.subarray(end)]);
}

test("the released code's file becomes what export writes, and is sampled", async () => {
  const { code, out, err } = await imported(RELEASED, "released", ...TINY);
  expect([code, err]).toEqual([0, expect.not.stringContaining("nothing in the file says")]);
  expect(JSON.parse(out)).toMatchObject({ step: 3, parameters: 59332, tensors: 161, torch: "checkpoint.pt" });
  await expectWeights("released", "weights.safetensors", "model");
  await expectWeights("released", "ema.safetensors", "ema");
  const config = JSON.parse(await readFile(join(folder, "released", "config.json"), "utf8")) as { model: object };
  expect(config.model).toMatchObject({ blocks: 4, blockSide: 4, width: 24, heads: 2, arLayers: 1, diffusionLayers: 1 });
  const options = ["--seeds", "0-1", "--steps", "2", "--out", join(folder, "images")];
  const sampled = await madformer("sample", "--checkpoint", join(folder, "released"), ...options);
  expect([sampled.code, sampled.err]).toEqual([0, expect.not.stringContaining("Cannot")]);

  // Its optimizer's state is one that training goes on from, and the file is one that can be imported again.
  const again = await imported(join(folder, "released", "checkpoint.pt"), "again", ...TINY);
  expect(JSON.parse(again.out)).toMatchObject({ step: 3, torch: "checkpoint.pt" });
  await expectWeights("again", "ema.safetensors", "ema");
});

test("bare state dicts, prefixes of wrappers and nests of trainers are the same weights", async () => {
  const ema = await weights("ema");
  const named = (prefix: string, rename = (key: string): string => key) =>
    new Map(ema.map(([key, { shape, data }]) => [prefix + rename(key), torchTensor({ shape, data })] as const));
  const inside = (key: string): string => key.replace(/^(blocks\.\d+\.)/, "$1_orig_mod.");
  const files: Record<string, unknown> = {
    bare: named(""),
    ddp: { model: named("module.") },
    compiled: { state_dict: named("_orig_mod.module."), epoch: 3 },
    bf16: named(""), // whose name says no step
    step_40: named(""),
    inside: { state_dict: named("net.", inside) },
    averaged: {
      ema_model: new Map([...named("module."), ["n_averaged", torchTensor({ shape: [], data: Float32Array.of(7) })]]),
    },
  };
  const told = [...TINY, "--blocks", "4", "--ar-layers", "1"];
  await mkdir(join(folder, "files"));
  for (const [name, value] of Object.entries(files)) {
    const path = join(folder, "files", `${name}.pt`);
    await writeTorch(path, value as never);
    const { code, out, err } = await imported(path, name, ...told);
    expect([name, code, err]).toEqual([name, 0, expect.not.stringContaining("Cannot")]);
    expect(err).toMatch(/warning: there is one set of weights, in .*: it stands for raw and for averaged ones/);
    expect([name, JSON.parse(out)]).toEqual([name, expect.objectContaining({ step: name === "step_40" ? 40 : 0 })]);
    await expectWeights(name, "weights.safetensors", "ema");
    await expectWeights(name, "ema.safetensors", "ema");
  }
  const tensors: Record<string, TensorInput> = Object.fromEntries(
    ema.map(([key, tensor]) => [`module.${key}`, tensor]),
  );
  await writeSafetensors(join(folder, "files", "a.safetensors"), tensors);
  expect((await imported(join(folder, "files", "a.safetensors"), "safe", ...told)).code).toBe(0);
  await expectWeights("safe", "ema.safetensors", "ema");
  expect((await imported(join(folder, "files", "a.safetensors"), "untold", ...TINY)).err).toMatch(
    /say how many layers are autoregressive: name it with --ar-layers|how many blocks an image has: name it with --blocks/,
  );
});

test("how it was trained is read from the arguments, told, or named as assumed", async () => {
  const ema = await weights("ema");
  const tensors = new Map(ema.map(([key, { shape, data }]) => [key, torchTensor({ shape, data })] as const));
  const single = new Map([...tensors].filter(([key]) => !/_(list|layernorm_list)\.1\./.test(key)));
  const files: [string, Map<string, unknown>, object, string[], object][] = [
    ["clear-clean", tensors, { clear_clean: true }, [], { clearClean: true, clearCond: false, prediction: "epsilon" }],
    ["clear-cond", tensors, { clear_cond: true, denoising_mlp: true }, [], { clearCond: true, denoisingMlp: true }],
    ["data", tensors, { prediction: "x" }, [], { prediction: "x", clearClean: false }],
    ["single", single, { single_tower: true }, [], { singleTower: true, clearClean: false }],
    [
      "told",
      tensors,
      { prediction: "x" },
      ["--clear-clean", "--prediction", "v"],
      { clearClean: true, prediction: "v" },
    ],
  ];
  const told = [...TINY, "--blocks", "4", "--ar-layers", "1"];
  for (const [name, model, args, options, expected] of files) {
    const path = join(folder, `${name}.pt`);
    await writeTorch(path, { model, ema: model, args } as never);
    const { code, err } = await imported(path, name, ...told, ...options);
    expect([name, code, err]).toEqual([name, 0, expect.not.stringContaining("nothing in the file says")]);
    const config = JSON.parse(await readFile(join(folder, name, "config.json"), "utf8")) as { model: object };
    expect([name, config.model]).toEqual([name, expect.objectContaining(expected)]);
  }
  const [bare, odd] = [join(folder, "no-arguments.pt"), join(folder, "odd.pt")];
  await writeTorch(bare, tensors);
  expect((await imported(bare, "without-arguments", ...told, "--clear-cond")).err).toContain(
    "nothing in the file says clearClean = false, denoisingMlp = false, prediction = epsilon: taken from",
  );
  await writeTorch(odd, { model: tensors, args: { prediction: "noise" } });
  expect((await imported(odd, "odd", ...told)).err).toMatch(/prediction: Invalid option: expected one of/);
});

test("keys that do not fit stand in one list, and what nothing says is named", async () => {
  const ema = await weights("ema");
  const wrong = new Map(ema.map(([key, { shape, data }]) => [key, torchTensor({ shape, data })] as const));
  wrong.delete("upsampler.conv_out.bias");
  wrong.set("head.weight", torchTensor({ shape: [1], data: Float32Array.of(1) }));
  wrong.set("blocks.1.mlp_list.0.up_proj.weight", torchTensor({ shape: [2], data: Float32Array.of(1, 2) }));
  const path = join(folder, "wrong.pt");
  await writeTorch(path, wrong);
  const { code, err } = await imported(path, "wrong", ...TINY, "--blocks", "4", "--ar-layers", "1");
  expect([code, err]).toEqual([
    1,
    expect.stringContaining(
      "1 missing: upsampler.conv_out.bias; 1 unexpected: head.weight; 1 of another shape: blocks.1.mlp_list.0.up_proj.weight (2), expected (40, 24)",
    ),
  ]);
  const safe = join(folder, "foreign.safetensors");
  const key = "upsampler.conv_out.bias";
  const as = (dtype: "uint8", shape: readonly number[]) => ({ dtype, shape, data: new Uint8Array(shape[0]!) });
  await writeSafetensors(safe, { ...Object.fromEntries(ema), [key]: as("uint8", [4]) });
  await writeFile(safe, withDtype(await readFile(safe), key, "F8_E4M3"));
  const told = [...TINY, "--blocks", "4", "--ar-layers", "1"];
  expect((await imported(safe, "foreign", ...told)).err).toContain(
    `: 1 of a type that is not read here: ${key} (F8_E4M3)`,
  );
  expect((await imported(RELEASED, "assumed")).err).toContain("nothing in the file says unetGroups = 8, unetHeads = 8");
  await writeTorch(path, { state_dict: { w: torchTensor({ shape: [1], data: Float32Array.of(1) }) } });
  expect((await imported(path, "none")).err).toContain("no part of it is a MADFormer: no tensor is called boi_block");
});
