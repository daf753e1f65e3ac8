import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  digestFile,
  openSafetensors,
  openTorch,
  readTorchCheckpoint,
  TorchTensor,
  writeSafetensors,
  type Artifact,
  type TensorInput,
} from "@madformer/artifacts";
import { loadProgram, type InputValues, type Program, type TensorSpec, type Tree } from "@madformer/engine";
import {
  configFromReference,
  geometryOf,
  madformerSpecs,
  parameterCount,
  QUIRKS,
  unlikeReference,
} from "@madformer/model";
import { ExportConfig, exportStage, trainStage } from "@madformer/train";
import {
  artifactOf,
  contentOf,
  contextIn,
  PLAIN_MODEL,
  temporaryFolder,
  TINY_MODEL,
  tinyConfig,
  writeLatents,
} from "../src/testing.js";

// A schedule whose rate is still falling at the end, and three checkpoints of which each is kept.
const config = tinyConfig({
  model: { ...TINY_MODEL, quirks: "reference" },
  steps: 6,
  checkpointEvery: 3,
  keepLast: 1,
  keepAt: [0.3],
  schedule: { kind: "cosine", warmup: 0.5 },
  optimizer: { maxGradNorm: 0.5 },
});
const { model } = config;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let trained: string;
let train: Artifact;
beforeAll(async () => {
  folder = await temporaryFolder("export");
  const latents = await writeLatents(join(folder.path, "latents"));
  trained = join(folder.path, "train");
  await trainStage.run(config, { latents, from: undefined }, await contextIn(trained));
  train = await artifactOf(trained, "train");
});
afterAll(() => folder[Symbol.asyncDispose]());

let outs = 0;
async function exported(settings: Record<string, unknown>, input = train) {
  const context = await contextIn(join(folder.path, `out-${++outs}`));
  const facts = await exportStage.run(ExportConfig.parse(settings), { train: input }, context);
  return { ...context, facts };
}

async function tensorsOf(path: string): Promise<Record<string, { shape: readonly number[]; data: number[] }>> {
  await using file = await openSafetensors(path);
  const tensors: Record<string, { shape: readonly number[]; data: number[] }> = {};
  for (const name of file.names)
    tensors[name] = { shape: file.tensor(name).shape, data: [...(await file.readFloat32(name))] };
  return tensors;
}

let whole: Awaited<ReturnType<typeof exported>>;
beforeAll(async () => (whole = await exported({ sampleSteps: 3, programImages: 2 })));

describe("stage export", () => {
  test("writes the last weights, those of every kept checkpoint, and what training wrote about them", async () => {
    const [from, to] = [await contentOf(trained), await contentOf(whole.out)];
    const kept = ["checkpoints/step-0000002", "checkpoints/step-0000006"];
    const weights = kept.flatMap((step) => [`${step}/ema.safetensors`, `${step}/weights.safetensors`]);
    const same = ["codec.json", "codec.safetensors", "config.json", ...weights];
    const programs = ["context", "denoise", "first", "time"].map((name) => `programs/${name}.onnx`);
    expect(Object.keys(to).sort()).toEqual(
      [
        ...same,
        ...["checkpoint.pt", "ema.safetensors", "weights.safetensors"],
        ...programs,
        "programs/tables.safetensors",
      ].sort(),
    );
    for (const file of same) expect(to[file]).toBe(from[file]);
    for (const part of ["ema", "weights"])
      expect(to[`${part}.safetensors`]).toBe(from[`checkpoints/step-0000006/${part}.safetensors`]);
    expect(whole.facts).toEqual({
      step: 6,
      checkpoints: [2, 6],
      parameters: parameterCount(madformerSpecs(model)),
      weightsDigest: (await digestFile(join(whole.out, "weights.safetensors"))).sha256,
      emaDigest: (await digestFile(join(whole.out, "ema.safetensors"))).sha256,
      programs: ["context", "denoise", "first", "time"],
      torch: "checkpoint.pt",
    });
    expect(whole.warnings).toEqual([]);
  });

  test("writes the same bytes each time", async () => {
    const again = await exported({ sampleSteps: 3, programImages: 2 });
    expect(await contentOf(again.out)).toEqual(await contentOf(whole.out));
  });

  test("leaves out what it is told to", async () => {
    const { out, facts } = await exported({ torch: false, programs: false });
    const names = new Set(Object.keys(await contentOf(out)).map((file) => file.split("/")[0]));
    const copies = ["codec.json", "codec.safetensors", "config.json", "ema.safetensors", "weights.safetensors"];
    expect([...names].sort()).toEqual(["checkpoints", ...copies]);
    expect(facts.programs).toEqual([]);
    expect(facts.torch).toBeUndefined();
  });

  test("checkpoint.pt holds weights, average, optimizer, schedule and a command line in the reference's layout", async () => {
    await using file = await openTorch(join(whole.out, "checkpoint.pt"));
    const { model: dict, ema, opt, lrs, args } = await readTorchCheckpoint(file);
    const last = join(trained, "checkpoints", "step-0000006");
    const valuesOf = async (tensors: ReadonlyMap<string, unknown>) => {
      const values: Record<string, { shape: readonly number[]; data: number[] }> = {};
      for (const [name, tensor] of tensors) {
        if (!(tensor instanceof TorchTensor)) throw new Error(`${name} is no tensor`);
        values[name] = { shape: tensor.shape, data: [...(await tensor.readFloat32())] };
      }
      return values;
    };
    const order = Object.keys(madformerSpecs(model));
    expect([...dict.keys()]).toEqual(order); // the optimizer counts by it
    expect(await valuesOf(dict)).toEqual(await tensorsOf(join(last, "weights.safetensors")));
    expect(await valuesOf(ema)).toEqual(await tensorsOf(join(last, "ema.safetensors")));
    const state = await tensorsOf(join(last, "state.safetensors"));
    expect([...opt.moments.keys()]).toEqual(order);
    expect([...opt.moments.values()].every(({ step }) => step === 6)).toBe(true);
    const moments = (kind: "expAvg" | "expAvgSq") =>
      valuesOf(new Map([...opt.moments].map(([key, moment]) => [key, moment[kind]])));
    for (const [kind, prefix] of [["expAvg", "exp_avg."] as const, ["expAvgSq", "exp_avg_sq."] as const])
      for (const [key, value] of Object.entries(await moments(kind))) expect(value).toEqual(state[prefix + key]);

    // The cosine is at its floor, 1 %, where the next update would be.
    const rate = opt.groups[0]?.lr ?? NaN;
    expect(rate).toBeCloseTo(3e-5, 15);
    expect(opt.groups).toEqual([
      { lr: rate, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.05, initialLr: 3e-3, params: order },
    ]);
    expect(lrs).toEqual({ baseLrs: [3e-3], lastEpoch: 6, stepCount: 7, lastLr: [rate] });
    expect(args).toMatchObject({
      ...{ lr: 3e-3, max_grad_norm: 0.5, lr_scheduler: "cosine", lr_warmup: 0.5, global_batch_size: 2, epochs: 2 },
      ...{ image_size: 16, ar_len: 4, block_size: 4, pre_downsample_block_size: 16, spatial_len: 16, diff_depth: 1 },
    });
    expect(configFromReference(args)).toEqual(model);
    expect(args).not.toHaveProperty("quirks");
    expect(args).not.toHaveProperty("not_reference");
  });

  // All keys match in PyTorch, and nothing there knows switches: name, arguments, metadata and a warning have to say
  // so.
  test.each([
    ["sound switches", "sound", 7],
    ["one switch of its own", { ...QUIRKS.reference, ropePairs: "within-axis" }, 1],
  ])("a model with %s becomes checkpoint.sound.pt, which says what it is", async (_, quirks, count) => {
    const config = tinyConfig({ model: { ...PLAIN_MODEL, quirks }, steps: 1 });
    const out = join(folder.path, `sound-${count}`);
    const latents = await artifactOf(join(folder.path, "latents"));
    await trainStage.run(config, { latents, from: undefined }, await contextIn(out));
    const { out: to, facts, warnings } = await exported({ programs: false }, await artifactOf(out, "train"));
    expect(Object.keys(await contentOf(to)).filter((file) => file.endsWith(".pt"))).toEqual(["checkpoint.sound.pt"]);
    expect(facts.torch).toBe("checkpoint.sound.pt");
    expect(warnings).toEqual([
      expect.stringMatching(
        /^checkpoint.sound.pt is not for the released code: .*ropePairs is "within-axis", there "across-axes"/,
      ),
    ]);
    await using file = await openTorch(join(to, "checkpoint.sound.pt"));
    const { args } = await readTorchCheckpoint(file);
    expect(configFromReference(args)).toEqual(config.model);
    expect(args["quirks"]).toEqual(new Map(Object.entries(config.model.quirks)));
    const unlike = unlikeReference(config.model);
    expect(unlike).toHaveLength(count);
    expect(args["not_reference"]).toBe(`The released code computes something else: ${unlike.join("; ")}`);
    await using weights = await openSafetensors(join(to, "ema.safetensors"));
    expect(weights.metadata["not_reference"]).toBe(unlike.join("; "));
  });

  test("the saved programs and their tables are all that sampling takes", async () => {
    const programs = join(whole.out, "programs");
    const [time, first, context, denoise] = (await Promise.all(
      ["time", "first", "context", "denoise"].map((name) => loadProgram(join(programs, `${name}.onnx`))),
    )) as [Program, Program, Program, Program];
    const tables = await tensorsOf(join(programs, "tables.safetensors"));
    const table = (name: string): Float32Array => Float32Array.from(tables[name]!.data);
    const [N, size] = [2, 16 * 3];
    const { T, M, D } = geometryOf(model);
    const H = model.heads;
    type Layers = Record<string, Float32Array>;
    type Results = Record<"condition" | "down" | "up" | "next" | "data", Float32Array<ArrayBuffer>> &
      Record<"keys" | "values", Layers>;
    type Inputs = InputValues<Tree<TensorSpec>>;
    const run = async (program: Program, inputs: Inputs): Promise<Results> => (await program.run(inputs)) as Results;
    const wanted = (program: Program, inputs: Inputs): Inputs =>
      Object.fromEntries(
        Object.entries(inputs).filter(([name]) => program.inputs.some((field) => field.name.split("/")[0] === name)),
      );
    const rope = (block: number) =>
      Object.fromEntries(
        ["cos", "sin"].map((name) => [name, table(`rope.${name}`).slice(block * M * D, (block + 1) * M * D)]),
      );
    const row = (packed: Float32Array, i: number, rows: number): Float32Array =>
      packed.slice((i * packed.length) / rows, ((i + 1) * packed.length) / rows);
    const ofBlock = (x: Float32Array, block: number): Float32Array<ArrayBuffer> =>
      Float32Array.from({ length: N * size }, (_, i) => x[(Math.floor(i / size) * T + block) * size + (i % size)]!);

    const steps = 3;
    const times = await run(time, { t: table("timesteps") });
    // (N·H, 3 M, D) of each layer: room for the three blocks before the last; what is not there yet is masked.
    const room = (): Layers => Object.fromEntries([0, 1].map((layer) => [layer, new Float32Array(N * H * 3 * M * D)]));
    const cache = { keys: room(), values: room() };
    let before = new Float32Array(0);
    for (let block = 0; block < T; block++) {
      const mask = (blocks: number) => new Float32Array(3 * M).fill(-1e30, blocks * M);
      let condition: Float32Array;
      if (block === 0) {
        const { condition: once } = await run(first, { boi: table("boi"), rope: rope(0) });
        condition = Float32Array.from([...once, ...once]);
      } else {
        const result = await run(
          context,
          wanted(context, {
            latents: before,
            shifts: row(times.down, steps, steps + 1), // the clean timestep is the last one
            clean: rope(block - 1),
            noised: rope(block),
            keys: { 0: cache.keys[0]!, 1: cache.keys[1]! },
            values: { 0: cache.values[0]!, 1: cache.values[1]! },
            cacheMask: mask(block - 1),
          }),
        );
        condition = result.condition;
        for (const kind of ["keys", "values"] as const)
          for (const [layer, own] of Object.entries(result[kind]))
            for (let head = 0; head < N * H; head++)
              cache[kind][layer]!.set(own.slice(head * M * D, (head + 1) * M * D), (head * 3 + block - 1) * M * D);
      }
      let x: Float32Array<ArrayBuffer> = ofBlock(table("example.noise"), block);
      let previousData = new Float32Array(x.length);
      for (let step = 0; step < steps; step++) {
        const result = await run(denoise, {
          ...{ x, previousData, condition, rope: rope(block) },
          coefficients: row(table("coefficients"), step, steps),
          ...{ down: row(times.down, step, steps + 1), up: row(times.up, step, steps + 1) },
          ...{ keys: { 1: cache.keys[1]! }, values: { 1: cache.values[1]! }, cacheMask: mask(block) },
        });
        [x, previousData] = [result.next, result.data];
      }
      before = x;
      // The files hold standard operators, the engine runs ONNX Runtime's own: the same numbers except for rounding.
      ofBlock(table("example.latents"), block).forEach((value, i) =>
        expect(Math.abs(x[i]! - value)).toBeLessThan(1e-4 * Math.max(1, Math.abs(value))),
      );
    }
    await Promise.all([time, first, context, denoise].map((program) => program.dispose()));
  });

  /** A copy of the run, in a file of which one tensor has changed. */
  async function withChanged(file: string, name: string, change: (data: Float32Array) => void): Promise<Artifact> {
    const copy = join(folder.path, `changed-${++outs}`);
    await cp(trained, copy, { recursive: true });
    const tensors: Record<string, TensorInput> = {};
    {
      await using opened = await openSafetensors(join(copy, file));
      for (const name of opened.names) tensors[name] = await opened.read(name);
    }
    change(tensors[name]!.data as Float32Array);
    await writeSafetensors(join(copy, file), tensors);
    return await artifactOf(copy);
  }
  const PLAIN = { torch: false, programs: false };

  test.each([
    ["an earlier checkpoint", "checkpoints/step-0000002/weights.safetensors", "boi_block", PLAIN],
    ["the last average", "checkpoints/step-0000006/ema.safetensors", "boi_block", PLAIN],
    ["the codec", "codec.safetensors", "mean", PLAIN],
    ["the optimizer", "checkpoints/step-0000006/state.safetensors", "exp_avg_sq.boi_block", { programs: false }],
  ] as const)(
    "refuses weights of %s that are not finite, and names file and tensor",
    async (_, file, name, settings) => {
      const input = await withChanged(file, name, (data) => (data[3] = NaN));
      await expect(exported(settings, input)).rejects.toThrow(
        new RegExp(
          `^Cannot read ".*/${file}": tensor "${name}" is not finite: 1 of \\d+ elements, the first is NaN at index 3$`,
        ),
      );
    },
  );

  test("stops where the example of the programs is not finite", async () => {
    const ema = "checkpoints/step-0000006/ema.safetensors";
    const input = await withChanged(ema, "boi_block", (data) => data.fill(3e38));
    await expect(exported({ torch: false, sampleSteps: 2 }, input)).rejects.toThrow(
      "Cannot sample image 0 of the example in tables.safetensors: its latents are not finite after step 1 of 2 of block 1",
    );
  });

  test("refuses a run that has not ended, and a config that is none", async () => {
    const copy = join(folder.path, "copy");
    await cp(trained, copy, { recursive: true });
    await rm(join(copy, "checkpoints", "step-0000006"), { recursive: true });
    await expect(exported({}, await artifactOf(copy))).rejects.toThrow(
      "Cannot export: the newest checkpoint is of step 2, expected that of the last step, 6",
    );
    const text = await readFile(join(copy, "config.json"), "utf8");
    await writeFile(join(copy, "config.json"), text.replace('"seed"', '"sede"'));
    await expect(exported({}, await artifactOf(copy))).rejects.toThrow(
      /^Cannot export: config.json of the training run is not valid: /,
    );
  });
});
