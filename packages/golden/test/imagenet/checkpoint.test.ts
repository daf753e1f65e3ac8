/** The checkpoint that the branch's train.py wrote: its fields, its tensors, and the updates that led to it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  isBufferName,
  openTorch,
  readTorchCheckpoint,
  toFloat64,
  TorchTensor,
  writeTorchCheckpoint,
  type StateDict,
  type TorchCheckpoint,
  type TorchFile,
} from "@madformer/artifacts";
import type { TensorData } from "@madformer/engine";
import {
  batchSpecs,
  configFromReference,
  fromStateDict,
  hasText,
  isBuffer,
  LossConfig,
  madformerSpecs,
  toStateDict,
  trainedSpecs,
  trainingLoss,
  withBuffers,
  type FileTensor,
} from "@madformer/model";
import { learningRateFactor, OptimizerConfig, stepScalars, Trainer } from "@madformer/optim";
import { expectClose, goldenJson, type GoldenTensor, type Json } from "../golden.js";
import { FOLDER, META, tensorsOf } from "./set.js";

const golden = goldenJson("ckpt_tiny.json", FOLDER);
const config = configFromReference(golden.model_config as object);
let file: TorchFile;
let checkpoint: TorchCheckpoint;
let folder: string;
beforeAll(async () => {
  file = await openTorch(join(FOLDER, "ckpt_tiny.pt"));
  checkpoint = await readTorchCheckpoint(file);
  folder = await mkdtemp(join(tmpdir(), "golden-imagenet-"));
});
afterAll(async () => {
  await file.close();
  await rm(folder, { recursive: true });
});

/** All tensors of a dict, as float32. */
async function loaded(dict: StateDict): Promise<Record<string, FileTensor>> {
  const read: Record<string, FileTensor> = {};
  for (const [key, tensor] of dict) {
    if (!(tensor instanceof TorchTensor)) throw new Error(`${key} is no tensor of the file`);
    read[key] = { shape: tensor.shape, data: await tensor.readFloat32() };
  }
  return read;
}

/** What the set says of a tensor: shape, sums in float64, the first elements and the last. */
function expectFigures(key: string, { shape, data }: FileTensor, figures: Json): void {
  const sum = (of: (x: number) => number): number => data.reduce((total, x) => total + of(x), 0);
  expect([key, shape, [...data.slice(0, figures.first.length)], data.at(-1)]).toEqual([
    key,
    figures.shape,
    figures.first,
    figures.last,
  ]);
  const tolerance = data.length * 2 ** -52 * figures.abs_sum + 1e-12; // both add in float64, in other orders
  expectClose([sum((x) => x)], [figures.sum], tolerance, `sum of ${key}`);
  expectClose([sum(Math.abs)], [figures.abs_sum], tolerance, `absolute sum of ${key}`);
}

describe("ckpt_tiny.pt of the branch with classes", () => {
  test("has the branch's keys in their order, its counters and its arguments", () => {
    expect([...(file.value as ReadonlyMap<string, unknown>).keys()]).toEqual(golden.top_level_keys);
    for (const [name, value] of Object.entries(checkpoint.counters!))
      expect([name, value]).toEqual([name, golden[name]]);
    expect(Object.keys(checkpoint.counters!)).toEqual(golden.top_level_keys.slice(5));
    expect({ ...checkpoint.args }).toEqual(golden.args);
  });

  test.each(["model", "ema"] as const)("%s has every tensor, the buffers among them", async (part) => {
    const tensors = await loaded(checkpoint[part]);
    expect(Object.keys(tensors)).toEqual(Object.keys(golden[part]));
    for (const [key, tensor] of Object.entries(tensors)) expectFigures(`${part}.${key}`, tensor, golden[part][key]);
    expect(Object.keys(tensors).filter((key) => isBuffer(config, key))).toHaveLength(
      1 + config.arLayers + config.diffusionLayers,
    );
  });

  test("counts the optimizer's parameters without the buffers, and has none of what is not trained", () => {
    const names = [...checkpoint.model.keys()].filter((key) => !isBufferName(key));
    expect(names).toEqual(golden.opt.parameter_names_in_order);
    expect(checkpoint.opt.groups[0]?.params).toEqual(names);
    const missing = names.filter((key) => !checkpoint.opt.moments.has(key));
    expect(missing).toEqual(META.ckpt_tiny.opt_state_missing_parameters);
    expect([...checkpoint.opt.moments.keys()].map((key) => String(names.indexOf(key)))).toEqual(
      Object.keys(golden.opt.state),
    );
  });

  test("is written again, in its order and with every value", async () => {
    const path = join(folder, "again.pt");
    await writeTorchCheckpoint(path, checkpoint);
    await using again = await openTorch(path);
    expect([...(again.value as ReadonlyMap<string, unknown>).keys()]).toEqual(golden.top_level_keys);
    const copy = await readTorchCheckpoint(again);
    for (const part of ["model", "ema"] as const)
      expect(await loaded(copy[part])).toEqual(await loaded(checkpoint[part]));
    expect(copy.opt.groups).toEqual(checkpoint.opt.groups);
    expect([...copy.opt.moments.keys()]).toEqual([...checkpoint.opt.moments.keys()]);
    expect([copy.counters, copy.lrs, copy.args]).toEqual([checkpoint.counters, checkpoint.lrs, checkpoint.args]);
  });
});

test("the branch's training from its start to ckpt_tiny.pt", async () => {
  if (!hasText(config)) throw new Error("the checkpoint's model has no text");
  const data = tensorsOf("ckpt_tiny_train.safetensors");
  const { args } = golden;
  const optimizer = OptimizerConfig.parse({
    beta1: args.beta1,
    beta2: args.beta2,
    weightDecay: args.weight_decay,
    maxGradNorm: args.max_grad_norm,
  });
  const loss = LossConfig.parse({
    lambdaHidden: args.lambda_hidden_loss,
    lambdaText: args.text_loss_lambda,
    lambdaImage: args.image_loss_lambda,
  });
  const start = Object.entries(data).flatMap(([key, tensor]) => {
    const name = key.replace(/^start\./, "");
    return name === key || isBuffer(config, name) ? [] : [[name, tensor as FileTensor] as const];
  });
  const all = fromStateDict(madformerSpecs(config), Object.fromEntries(start));
  const params = Object.fromEntries(Object.keys(trainedSpecs(config, loss)).map((key) => [key, all[key]!]));
  const [K = 0, N = 0] = (data["t"] as GoldenTensor).shape;
  const A = (args.global_batch_size as number) / args.per_gpu_batch_size;
  const total = META.ckpt_tiny.total_steps as number;
  const at = (name: string, k: number): TensorData => {
    const values = data[name]!.data;
    return values.slice((k * values.length) / K, ((k + 1) * values.length) / K) as TensorData;
  };
  await using trainer = await Trainer.create(
    {
      name: "branch",
      parameters: trainedSpecs(config, loss),
      batch: batchSpecs(config, N),
      loss: (params, batch) => trainingLoss(params, config, batch, loss),
      optimizer,
      accumulate: A,
    },
    { params, ema: params },
  );
  for (let run = 0; run < K; run++) {
    const inputs = {
      latents: at("latents", run),
      noise: at("noise", run),
      t: at("t", run),
      text: at("input_ids", run),
    };
    const step = Math.floor(run / A) + 1;
    const schedule = { kind: args.lr_scheduler as "wsd", warmup: args.lr_warmup as number };
    const rate = (args.lr as number) * learningRateFactor(schedule, step - 1, total, "zero");
    await trainer.run(inputs, (run + 1) % A === 0 ? stepScalars(optimizer, step, rate, 0.9999) : undefined);
  }
  expect(K / A).toBe(checkpoint.counters?.["train_steps"]);

  const state = (await trainer.state.readAll()) as Record<"params" | "ema" | "m" | "v", Record<string, Float32Array>>;
  const specs = madformerSpecs(config);
  const noisy = (key: string): boolean =>
    // A gradient that is zero but for rounding, which AdamW makes steps of (data-imagenet/README.md).
    key.endsWith("to_k.bias") ||
    (loss.lambdaText > 0 &&
      config.text.tokens === 2 &&
      /(qkv_list\.0\.(weight|bias)|q_norm_list\.0\.weight)$/.test(key) &&
      key.startsWith(`blocks.${config.arLayers + config.diffusionLayers - 1}.`));
  const rates = (args.lr as number) * (K / A);
  for (const [part, tensors] of [
    ["params", checkpoint.model],
    ["ema", checkpoint.ema],
  ] as const) {
    const ours = withBuffers(
      config,
      new Map(Object.entries(toStateDict(specs, { ...all, ...state[part] }))),
      (frequencies) => frequencies,
    );
    const theirs = await loaded(tensors);
    expect([...ours.keys()]).toEqual(Object.keys(theirs));
    // No noise was recorded of these: ours are within 2e-6 of theirs. A noisy one moves by its rate at most.
    for (const [key, { data }] of ours)
      expectClose(data, theirs[key]!.data, noisy(key) ? 2 * rates : 5e-6, `${part} ${key}`);
  }
  for (const [key, { step, expAvg, expAvgSq }] of checkpoint.opt.moments) {
    expect(step).toBe(K / A);
    for (const [part, tensor] of [
      ["m", expAvg],
      ["v", expAvgSq],
    ] as const) {
      const ours = toStateDict({ [key]: specs[key]! }, { [key]: state[part][key]! })[key]!;
      const theirs = toFloat64(await (tensor as TorchTensor).read());
      const largest = theirs.reduce((max: number, x: number) => Math.max(max, Math.abs(x)), 0);
      expectClose(ours.data, theirs, 1e-4 * largest + 1e-7, `${part} of ${key}`);
    }
  }
});
