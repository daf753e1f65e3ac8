import { readdirSync } from "node:fs";
import { appendFile, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LatentShardWriter, openSafetensors, readRgb, writeSafetensors } from "@madformer/artifacts";
import { initialize, madformerSpecs, pixelsOfFloats } from "@madformer/model";
import { DivergedError, readCheckpoint, sampleGrid, trainStage, type Decode, type TrainConfig } from "@madformer/train";
import {
  artifactOf,
  CHANNELS,
  contentOf,
  contextIn,
  jsonLines,
  PLAIN_MODEL,
  SIDE,
  temporaryFolder,
  tinyConfig,
  writeLatents,
} from "../src/testing.js";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let latents: Awaited<ReturnType<typeof writeLatents>>;
beforeAll(async () => {
  folder = await temporaryFolder("train");
  latents = await writeLatents(join(folder.path, "latents"));
});
afterAll(() => folder[Symbol.asyncDispose]());

let outs = 0;
const newOut = (): string => join(folder.path, `out-${++outs}`);

/** Checkpoints at 4, 5, 8 and 12, of which 5, 8 and 12 stay; lines at 3, 6, 9 and 12; samples at 6 and 12. */
const config = tinyConfig({ keepAt: [0.4], sampleEvery: 6, sampleImages: 3, sampleSteps: 2 });
const SAVED = ["step-0000005", "step-0000008", "step-0000012"];

/** Trains until the end, or until a step has been reported, where it is aborted. */
async function run(out: string, options: { config?: TrainConfig; abortAt?: number; late?: boolean } = {}) {
  const controller = new AbortController();
  const context = await contextIn(out, controller.signal);
  const progress = (label: string, done: number, total: number, details?: Record<string, string>): void => {
    context.log.progress(label, done, total, details);
    if (done < (options.abortAt ?? Infinity)) return;
    const abort = (): void => controller.abort(new Error("enough"));
    if (options.late)
      setImmediate(abort); // while the next step is computed
    else abort();
  };
  const log = { ...context.log, progress };
  const facts = await trainStage.run(options.config ?? config, { latents, from: undefined }, { ...context, log });
  return { facts, ...context };
}

let whole: Awaited<ReturnType<typeof run>>;
let content: Record<string, string>;
beforeAll(async () => {
  whole = await run(newOut());
  content = await contentOf(whole.out);
});

/** A copy of the whole run's output, as if it had been going on. */
async function copyOfWhole(): Promise<string> {
  const out = newOut();
  await cp(whole.out, out, { recursive: true });
  return out;
}

describe("stage train", () => {
  test("writes a config that is complete, the codec, checkpoints, losses and samples", async () => {
    expect(Object.keys(content).sort()).toEqual([
      ...SAVED.flatMap((step) => ["ema", "state", "weights"].map((part) => `checkpoints/${step}/${part}.safetensors`)),
      ...["codec.json", "codec.safetensors", "config.json", "losses.jsonl"],
      ...["samples/step-0000006.png", "samples/step-0000012.png"],
    ]);
    const { model, ...training } = config;
    expect(JSON.parse(await readFile(join(whole.out, "config.json"), "utf8"))).toEqual({
      format: 1,
      model,
      training: { ...training, images: 7 },
      step: 12,
    });
    const lines = await jsonLines<Record<string, number>>(join(whole.out, "losses.jsonl"));
    expect(lines.map(({ step }) => step)).toEqual([3, 6, 9, 12]);
    expect(Object.keys(lines[0] ?? {})).toEqual(["step", "loss", "image", "hidden", "clean", "gradNorm", "lr"]);
    for (const { loss, image, hidden } of lines) expect(loss).toBeCloseTo(image! + 0.1 * hidden!, 5);
    expect(lines.map(({ lr }) => lr)).toEqual([3e-3, 3e-3, 3e-3, 3e-3 / 8]); // halves three times to step 11 of 12
    expect(whole.facts).toEqual({
      step: 12,
      images: 24,
      epochs: 24 / 7,
      checkpoints: [5, 8, 12],
      parameters: expect.any(Number) as number,
      loss: lines.at(-1)?.["loss"],
      imageLoss: lines.at(-1)?.["image"],
    });
    expect(whole.warnings).toEqual([]);
  });

  test("logs means over the steps since the line before", async () => {
    const out = newOut();
    await run(out, { config: tinyConfig({ keepAt: [0.4], logEvery: 1 }) });
    const each = await jsonLines<Record<string, number>>(join(out, "losses.jsonl"));
    const means = await jsonLines<Record<string, number>>(join(whole.out, "losses.jsonl"));
    for (const [i, line] of means.entries())
      for (const name of ["loss", "image", "hidden", "gradNorm"])
        expect(line[name]).toBeCloseTo(
          each.slice(3 * i, 3 * i + 3).reduce((sum, one) => sum + one[name]! / 3, 0),
          12,
        );
  });

  test("goes on where it was when it logs at other steps than before", async () => {
    const out = newOut();
    await expect(run(out, { abortAt: 1 })).rejects.toThrow("enough");
    const { warnings, infos } = await run(out, { config: { ...config, logEvery: 1 } });
    expect([warnings, infos[0]]).toEqual([[], expect.stringContaining("going on after step")]);
    const lines = await jsonLines<{ step: number }>(join(out, "losses.jsonl"));
    expect(lines[0]?.step).toBeGreaterThan(1);
    expect(lines.at(-1)?.step).toBe(12);
    const again = await contentOf(out);
    for (const file of Object.keys(content).filter((name) => name.startsWith("checkpoints/step-0000012/we")))
      expect(again[file]).toBe(content[file]);
  });

  test("says where it stands, and keeps speeds and times out of what it makes", async () => {
    expect(whole.reports.at(-1)).toMatchObject({ done: 12, total: 12 });
    expect(Object.keys(whole.reports[0]?.details ?? {})).toEqual(["steps/s", "images/s", "loss", "lr", "grad norm"]);
    const lines = await jsonLines<Record<string, unknown>>(join(whole.out, "logs", "log.jsonl"));
    expect(lines.map(({ step }) => step)).toEqual([3, 6, 9, 12]);
    for (const { time, stepsPerSecond, imagesPerSecond } of lines) {
      expect(Math.abs(Date.parse(time as string) - Date.now())).toBeLessThan(600_000);
      expect(stepsPerSecond).toBeGreaterThan(0);
      expect(imagesPerSecond as number).toBeCloseTo(2 * (stepsPerSecond as number), 6);
    }
  });

  test("samples with the averaged weights", async () => {
    const { ema } = await readCheckpoint(join(whole.out, "checkpoints"), config.model, 12);
    // The codec by hand: red, green and blue of patches of 2 x 2 pixels.
    const decode: Decode = async (latents, images) =>
      Array.from({ length: images }, (_, n) => ({
        width: 16,
        height: 16,
        pixels: pixelsOfFloats(
          Float32Array.from({ length: 16 * 16 * 3 }, (_, i) => {
            const [row, column, colour] = [Math.floor(i / 48), Math.floor(i / 3) % 16, i % 3];
            return 0.1 + 0.5 * 0.3 * latents[((n * 8 + (row >> 1)) * 8 + (column >> 1)) * 3 + colour]!;
          }),
        ),
      }));
    const settings = { step: 12, images: 3, solver: config.sampleSolver, steps: 2, signal: whole.signal };
    const grid = await sampleGrid(config.model, ema, decode, settings);
    const file = await readRgb(join(whole.out, "samples", "step-0000012.png"));
    expect(file).toMatchObject({ width: grid.width, height: grid.height });
    // Rounding decides about a level of 256 here and there.
    file.pixels.forEach((pixel, i) => expect(Math.abs(pixel - grid.pixels[i]!)).toBeLessThanOrEqual(1));
  });

  test("makes a grid of samples, the same images at each time", async () => {
    const [first, second] = await Promise.all(
      ["06", "12"].map((step) => readRgb(join(whole.out, "samples", `step-00000${step}.png`))),
    );
    expect(first).toMatchObject({ width: 2 * (16 + 2) + 2, height: 2 * (16 + 2) + 2 }); // three of 16 x 16 pixels
    // Two more updates of little weight: nearly the same images from the same noise. The fourth cell is white.
    const difference = first!.pixels.reduce((sum, x, i) => sum + Math.abs(x - second!.pixels[i]!), 0);
    expect(difference / first!.pixels.length).toBeLessThan(10);
    expect(first!.pixels.filter((x) => x < 255).length).toBeGreaterThan(1000);
  });

  test("updates and averages the weights by the number of the step", async () => {
    const out = newOut();
    const every = tinyConfig({
      ...{ steps: 3, checkpointEvery: 1, keepLast: 3, logEvery: 1 },
      ...{ schedule: { kind: "constant" }, optimizer: { weightDecay: 0 }, ema: { kind: "power", gamma: 0 } },
    });
    await run(out, { config: every });
    const at = async (step: number) => readCheckpoint(join(out, "checkpoints"), every.model, step);
    const all = (weights: Record<string, Float32Array>): number[] => Object.values(weights).flatMap((w) => [...w]);
    const [first, second, third] = [await at(1), await at(2), await at(3)];
    // The average of power 0 is the mean of all weights so far.
    expect(all(first.ema)).toEqual(all(first.params));
    const [one, two, three] = [all(first.params), all(second.params), all(third.params)];
    all(third.ema).forEach((mean, i) => expect(mean).toBeCloseTo((one[i]! + two[i]! + three[i]!) / 3, 6));
    // At the first step AdamW's moments are the gradient and its square: each weight moves by the rate, or less near
    // zero.
    const zero = all(initialize(madformerSpecs(every.model), every.seed));
    const moves = one.map((w, i) => Math.abs(w - zero[i]!)).sort((a, b) => a - b);
    expect(moves.at(-1)! / 3e-3).toBeCloseTo(1, 3);
    expect(moves[moves.length >> 1]! / 3e-3).toBeCloseTo(1, 2);
  });

  test("depends on nothing but config and data", async () => {
    const again = await run(newOut());
    expect(await contentOf(again.out)).toEqual(content);
    const other = await run(newOut(), { config: tinyConfig({ keepAt: [0.4], seed: 6 }) });
    expect((await contentOf(other.out))["losses.jsonl"]).not.toBe(content["losses.jsonl"]);
  });

  test("makes a checkpoint when aborted, leaves, and goes on to the same bytes", async () => {
    const out = newOut();
    await expect(run(out, { abortAt: 1 })).rejects.toThrow("enough");
    const [step = ""] = await readdir(join(out, "checkpoints"));
    expect(SAVED).not.toContain(step); // the step where it happened to be
    const resumed = await run(out);
    expect(resumed.infos).toEqual([`going on after step ${Number(step.slice(5))} of 12`]);
    expect(await contentOf(out)).toEqual(content);
    expect(resumed.facts).toEqual(whole.facts);
  });

  test("keeps no more checkpoints than it should while it goes on", async () => {
    const out = newOut();
    const every = tinyConfig({ checkpointEvery: 1, keepAt: [0.1], steps: 100 });
    const counts: number[] = [];
    const context = await contextIn(out);
    const log = { ...context.log, info: () => undefined };
    const controller = new AbortController();
    const progress = (_: string, step: number): void => {
      counts.push(readdirSync(join(out, "checkpoints")).length - (step >= 10 ? 1 : 0));
      if (step >= 15) controller.abort(new Error("enough"));
    };
    const { signal } = controller;
    await expect(
      trainStage.run(every, { latents, from: undefined }, { ...context, signal, log: { ...log, progress } }),
    ).rejects.toThrow("enough");
    expect(Math.max(...counts)).toBe(2);
  });

  test("does nothing where everything is there, but to remove what should not be", async () => {
    const out = await copyOfWhole();
    const checkpoint = (step: number): string => join(out, "checkpoints", `step-000000${step}`);
    await cp(checkpoint(5), checkpoint(4), { recursive: true }); // as if it was killed before it removed that
    const again = await run(out);
    expect(again.facts).toEqual(whole.facts);
    expect(again.reports).toEqual([]);
    expect(await contentOf(out)).toEqual(content);
  });

  const inWhole = (...path: string[]) => ["checkpoints", ...path];
  test.each([
    ["a damaged checkpoint", inWhole("step-0000012", "ema.safetensors"), "flip", 8],
    ["a note in a checkpoint that is another one", inWhole("step-0000012", "state.safetensors"), "flip a note", 8],
    ["a checkpoint without a file", inWhole("step-0000012", "state.safetensors"), "remove", 8],
    ["a kept checkpoint that is gone", inWhole("step-0000008"), "remove", 5],
    ["a kept checkpoint that lacks a file", inWhole("step-0000005", "weights.safetensors"), "remove", 0],
    ["a kept checkpoint that is damaged", inWhole("step-0000008", "state.safetensors"), "flip", 5],
    ["samples that are gone", ["samples", "step-0000006.png"], "remove", 5],
    ["samples that are damaged", ["samples", "step-0000006.png"], "flip", 5],
    ["samples of the last step that are gone", ["samples", "step-0000012.png"], "remove", 12],
    ["no losses", ["losses.jsonl"], "remove", 0],
    ["a digit of a loss that is another one", ["losses.jsonl"], "flip", 0],
    ["something after the last loss", ["losses.jsonl"], "append", 12],
  ] as const)("goes back to what is whole with %s", async (_, path, damage, from) => {
    const out = await copyOfWhole();
    const target = join(out, ...path);
    if (damage === "append") await appendFile(target, "x");
    else if (damage === "remove") await rm(target, { recursive: true });
    else {
      const bytes = await readFile(target);
      const at = damage === "flip" ? bytes.length >> 1 : bytes.indexOf('sums\\":{\\"loss') + 17; // a 0
      bytes[at] = bytes[at]! ^ 1;
      await writeFile(target, bytes);
    }
    const resumed = await run(out);
    expect(resumed.infos).toEqual(from === 0 ? [] : [`going on after step ${from} of 12`]);
    const skipped = [12, 8, 5].filter((step) => step > from && !path.includes(`step-000000${step}` as never));
    const warned = resumed.warnings.filter((warning) => warning.startsWith("Cannot go on from")).length;
    expect(warned).toBeGreaterThanOrEqual(skipped.length);
    expect(resumed.warnings.includes("no checkpoint can be used; starting again at step 1")).toBe(from === 0);
    expect(await contentOf(out)).toEqual(content);
    expect(resumed.facts).toEqual(whole.facts);
  });

  test("goes on where a line of losses is half written, and where a later run had been", async () => {
    const out = newOut();
    await expect(run(out, { abortAt: 1 })).rejects.toThrow("enough");
    await appendFile(join(out, "losses.jsonl"), '{"step":12,"loss":0.1}\n{"step":15,"lo');
    await mkdir(join(out, "tmp", "train", "step-0000012"), { recursive: true }); // cut off while it was written
    const { infos } = await run(out);
    expect(infos).toEqual([expect.stringMatching(/^going on after step \d+ of 12$/)]);
    expect(await contentOf(out)).toEqual(content);
  });

  test("accumulates gradients as one large batch would, to rounding, and resumes that too", async () => {
    const settings = { steps: 4, checkpointEvery: 2, learningRate: 1e-3 };
    const [large, parts] = [newOut(), newOut()];
    await run(large, { config: tinyConfig({ ...settings, batchImages: 6 }) });
    const accumulated = tinyConfig({ ...settings, batchImages: 2, accumulate: 3 });
    const { facts } = await run(parts, { config: accumulated });
    expect(facts).toMatchObject({ images: 24 });
    const weightsIn = async (out: string) => {
      await using file = await openSafetensors(join(out, "checkpoints", "step-0000004", "weights.safetensors"));
      const all: number[] = [];
      for (const name of file.names) all.push(...(await file.readFloat32(name)));
      return all;
    };
    const [a, b] = [await weightsIn(large), await weightsIn(parts)];
    // AdamW divides by the root of the second moment: where a gradient is nearly 0, rounding decides about its sign,
    // and a step has the size of the learning rate. Elsewhere the two agree to rounding.
    const differences = a.map((x, i) => Math.abs(x - b[i]!)).sort((x, y) => x - y);
    expect(differences[Math.floor(0.99 * differences.length)]).toBeLessThan(1e-5);
    expect(differences.at(-1)).toBeLessThan(4 * 2e-3);
    const [lossLarge, lossParts] = await Promise.all(
      [large, parts].map(async (out) => (await jsonLines<Record<string, number>>(join(out, "losses.jsonl"))).at(-1)!),
    );
    for (const name of ["loss", "image", "hidden", "gradNorm"])
      expect(lossParts![name]).toBeCloseTo(lossLarge![name]!, 4);

    const expected = await contentOf(parts);
    const resumed = newOut();
    await expect(run(resumed, { config: accumulated, abortAt: 1 })).rejects.toThrow("enough");
    await run(resumed, { config: accumulated });
    expect(await contentOf(resumed)).toEqual(expected);
  });

  test("stops where the loss is not finite, and names the step and the last good checkpoint", async () => {
    const out = newOut();
    const wild = tinyConfig({ learningRate: 1e18, schedule: { kind: "wsd", warmup: 0.5 }, checkpointEvery: 1 });
    const error: unknown = await run(out, { config: wild }).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(DivergedError);
    const { step, message } = error as DivergedError;
    const last = (await readdir(join(out, "checkpoints"))).sort().at(-1);
    expect(message).toMatch(
      new RegExp(`^Cannot go on training at step ${step}: the .* is (NaN|Infinity), expected a finite number; `),
    );
    expect(Number(last?.slice(5))).toBe(step - 1);
    expect(message).toContain(`the last good checkpoint is "${join(out, "checkpoints", last!)}"`);
  });

  test("stops where what a decoder makes of a sample is not finite", async () => {
    const broken = join(folder.path, "large");
    await cp(join(folder.path, "latents"), broken, { recursive: true });
    await writeSafetensors(join(broken, "codec.safetensors"), {
      mean: { shape: [12], data: new Float32Array(12).fill(3e38) },
      basis: { shape: [12, 3], data: new Float32Array(36).fill(3e38) },
    });
    const large = await artifactOf(broken, "latents");
    await expect(
      trainStage.run(config, { latents: large, from: undefined }, await contextIn(newOut())),
    ).rejects.toThrow(
      /^Cannot decode seed \d of the samples at training step 6: its pixels are not finite: \d+ of 768 elements/,
    );
  });

  test("saves nothing when it is aborted while it diverges", async () => {
    const out = newOut();
    const wild = tinyConfig({ learningRate: 1e30, checkpointEvery: 100, steps: 100 }); // the first update ends it
    await expect(run(out, { config: wild, abortAt: 1, late: true })).rejects.toThrow("there is no checkpoint yet");
    expect(await readdir(join(out, "checkpoints"))).toEqual([]);
  });
});

describe("stage train refuses", () => {
  const refused = (settings: Record<string, unknown>, input = latents) =>
    trainStage.run(tinyConfig(settings), { latents: input, from: undefined }, contextOf());
  let context: Awaited<ReturnType<typeof contextIn>>;
  beforeAll(async () => (context = await contextIn(newOut())));
  const contextOf = () => context;

  test("latents that do not fit the model", async () => {
    await expect(refused({ model: { ...PLAIN_MODEL, latentChannels: 4 } })).rejects.toThrow(
      "Cannot train on these latents: they are 8 x 8 x 3, expected 8 x 8 x 4: the model has 1 blocks of 8 x 8 pixels with 4 channels",
    );
  });

  test("an input without latents, and latents of no image", async () => {
    const empty = join(folder.path, "empty");
    await mkdir(empty);
    await expect(refused({}, await artifactOf(empty))).rejects.toThrow(
      'Cannot train: the input "latents" has no file latents-00000.arrow',
    );
    const path = join(empty, "latents-00000.arrow");
    await using writer = await LatentShardWriter.create(path, { height: SIDE, width: SIDE, channels: CHANNELS });
    await writer.finish();
    for (const file of ["codec.json", "codec.safetensors"])
      await cp(join(folder.path, "latents", file), join(empty, file));
    await expect(refused({}, await artifactOf(empty))).rejects.toThrow("Cannot train on no latents");
  });

  test("a codec whose weights are not finite, where samples are to be shown, and names the tensor", async () => {
    const broken = join(folder.path, "broken");
    await cp(join(folder.path, "latents"), broken, { recursive: true });
    const codec = join(broken, "codec.safetensors");
    await writeSafetensors(codec, {
      mean: { shape: [12], data: new Float32Array(12) },
      basis: { shape: [12, 3], data: new Float32Array(36).fill(Infinity, 30) },
    });
    await expect(refused({ sampleEvery: 6 }, await artifactOf(broken))).rejects.toThrow(
      `Cannot read ${JSON.stringify(codec)}: tensor "basis" is not finite: 6 of 36 elements, the first is Infinity at index 30`,
    );
  });

  test("to mirror latents whose codec does not mirror with the image", async () => {
    await expect(refused({ flip: true })).rejects.toThrow("Cannot train with flip: the latents of a mirrored image");
  });
});
