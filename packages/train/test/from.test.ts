/** Runs that go on: from another run, from its export, and in their own folder. */
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openFolder, openTorch, readTorchCheckpoint, writeTorchCheckpoint, type Artifact } from "@madformer/artifacts";
import { parseConfig, runInFolder } from "@madformer/stage";
import type { Weights } from "@madformer/optim";
import { ExportConfig, exportStage, readCheckpoint, trainStage } from "@madformer/train";
import {
  artifactOf,
  contentOf,
  contextIn,
  jsonLines,
  PLAIN_MODEL,
  temporaryFolder,
  tinyConfig,
  writeLatents,
} from "../src/testing.js";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let latents: Artifact;
let outs = 0;
const newOut = (): string => join(folder.path, `out-${++outs}`);

/**
 * Everything but the length: a rate that does not depend on it, checkpoints at 4, 8 and 12, lines at 3, 6, 9 and 12.
 */
const settings = (changes: Record<string, unknown> = {}) => ({
  ...tinyConfig({ schedule: { kind: "constant" } }),
  ...changes,
});
const { model } = settings();

async function run(from: Artifact | undefined, changes: Record<string, unknown>, abortAt = Infinity, out = newOut()) {
  const controller = new AbortController();
  const context = await contextIn(out, controller.signal);
  const progress = (_: string, step: number): void => {
    if (step >= abortAt) controller.abort(new Error("enough"));
  };
  const config = parseConfig(trainStage, settings(changes));
  const facts = await trainStage.run(config, { latents, from }, { ...context, log: { ...context.log, progress } });
  return { ...context, facts };
}
const stepIn = async (out: string, step: number) => readCheckpoint(join(out, "checkpoints"), model, step);
const numbers = (weights: Weights): number[] => Object.values(weights).flatMap((values) => [...values]);
const withoutRest = (content: Record<string, string>) =>
  Object.fromEntries(Object.entries(content).filter(([file]) => /^(checkpoints|samples)\//.test(file)));

let whole: Awaited<ReturnType<typeof run>>; // 12 steps
let first: Awaited<ReturnType<typeof run>>; // 6 of them
let parents: Record<"run" | "checkpoint" | "export", Artifact>;
beforeAll(async () => {
  folder = await temporaryFolder("from");
  latents = await writeLatents(join(folder.path, "latents"));
  whole = await run(undefined, {});
  first = await run(undefined, { steps: 6 });
  const exported = await contextIn(newOut());
  const train = await artifactOf(first.out, "train");
  await exportStage.run(ExportConfig.parse({ programs: false }), { train }, exported);
  parents = {
    run: train,
    checkpoint: await artifactOf(join(first.out, "checkpoints", "step-0000006"), "folder"),
    export: await artifactOf(exported.out, "export"),
  };
});
afterAll(() => folder[Symbol.asyncDispose]());

describe("stage train goes on from", () => {
  test.each(["run", "checkpoint", "export"] as const)("a %s as if it had never stopped", async (kind) => {
    const { out, facts, infos, warnings } = await run(parents[kind], {});
    expect(withoutRest(await contentOf(out))).toEqual(withoutRest(await contentOf(whole.out)));
    const lines = await jsonLines<{ step: number }>(join(out, "losses.jsonl"));
    const all = await jsonLines<{ step: number }>(join(whole.out, "losses.jsonl"));
    expect(lines).toEqual(all.filter(({ step }) => step > 6));
    const origin = { stage: parents[kind].manifest.stage, digest: parents[kind].digest, step: 6, carry: "all" };
    expect(facts).toEqual({ ...whole.facts, images: 12, epochs: 12 / 7, from: origin });
    expect(JSON.parse(await readFile(join(out, "config.json"), "utf8"))).toMatchObject({ step: 12, from: origin });
    const name = { run: "checkpoint 6 of a training run", checkpoint: "a checkpoint", export: "an export" }[kind];
    expect(infos).toEqual([
      `carrying on weights, average, optimizer's state and step of ${name}, step 6`,
      "going on after step 6 of 12",
    ]);
    expect(warnings).toEqual([]);
  });

  test("a run of other batches and rates, and is itself resumed to the same bytes", async () => {
    const changes = { learningRate: 1e-3, batchImages: 1, accumulate: 3, steps: 11, checkpointEvery: 5 };
    const { out, facts } = await run(parents.run, changes);
    expect(facts).toMatchObject({ step: 11, images: 15, checkpoints: [10, 11], from: { step: 6 } });
    expect((await stepIn(out, 11)).params).not.toEqual((await stepIn(whole.out, 12)).params);
    const again = newOut();
    await expect(run(parents.run, changes, 1, again)).rejects.toThrow("enough"); // after its first step
    const { infos } = await run(parents.run, changes, Infinity, again);
    expect(infos.at(-1)).toMatch(/^going on after step ([789]|10) of 11$/);
    expect(await contentOf(again)).toEqual(await contentOf(out));
  });

  // A step so small that it changes nothing that is looked at.
  const still = { steps: 1, learningRate: 1e-12, optimizer: { ...settings().optimizer, weightDecay: 0 } };
  test.each([
    ["run", "ema", "ema"],
    ["run", "raw", "params"],
    ["checkpoint", "ema", "ema"],
    ["export", "raw", "params"],
  ] as const)("the weights of a %s alone (%s), at step 1", async (kind, carry, part) => {
    const { out, facts } = await run(parents[kind], { ...still, carry });
    expect(facts).toMatchObject({ step: 1, images: 2, from: { step: 6, carry } });
    const [before, after] = [await stepIn(first.out, 6), await stepIn(out, 1)];
    const [wanted, params, ema] = [numbers(before[part]), numbers(after.params), numbers(after.ema)];
    wanted.forEach((value, i) => {
      expect(Math.abs(params[i]! - value)).toBeLessThan(1e-6);
      expect(Math.abs(ema[i]! - value)).toBeLessThan(1e-6);
    });
    // The moments are those of one gradient: (1 - b2) g² and ((1 - b1) g)².
    const [m, v] = [numbers(after.m), numbers(after.v)];
    m.forEach((value, i) => expect(v[i]!).toBeCloseTo(0.05 * (value / 0.1) ** 2, 5));
  });

  test("the model of its parent where none is named, and says where it is another", async () => {
    const { model: _, ...rest } = settings({ steps: 7 });
    const config = parseConfig(trainStage, rest);
    expect(config.model).toBeUndefined();
    const context = await contextIn(newOut());
    await trainStage.run(config, { latents, from: parents.run }, context);
    expect(context.warnings).toEqual([]);
    expect(JSON.parse(await readFile(join(context.out, "config.json"), "utf8"))).toMatchObject({ model });

    // A checkpoint alone says its shapes, and not what is computed with them.
    const alone = trainStage.run(config, { latents, from: parents.checkpoint }, await contextIn(newOut()));
    await expect(alone).rejects.toThrow(
      "Cannot go on from a checkpoint alone: its files do not say its model; name the training run that it is of, or the model",
    );

    const quirks = { ...model.quirks, ropePairs: "across-axes" };
    const { warnings } = await run(parents.run, { steps: 7, model: { ...PLAIN_MODEL, quirks } });
    expect(warnings).toEqual([
      'the model is another than that of "from": quirks.ropePairs: "within-axis", now "across-axes"',
    ]);
    await expect(run(parents.run, { model: { ...PLAIN_MODEL, mlpWidth: 32 } })).rejects.toThrow(
      /^Cannot go on from "checkpoint 6 of a training run": .* has shape .*, expected/,
    );
  });

  test("weights of another codec with a warning", async () => {
    const other = newOut();
    await cp(first.out, other, { recursive: true });
    await writeFile(join(other, "codec.json"), "{}");
    const { warnings } = await run(await artifactOf(other, "train"), { steps: 7 });
    expect(warnings).toEqual(['the latents are of another codec than those that the model of "from" was trained on']);
  });
});

describe("stage train does not go on", () => {
  test("where nothing is left to do, and says what counts", async () => {
    for (const parent of Object.values(parents))
      await expect(run(parent, { steps: 6 })).rejects.toThrow(
        /^Cannot go on from .*: it has made 6 updates, and steps \(or epochs\) count those too: expected more than 6, found 6; or carry "ema" or "raw"/,
      );
  });

  test("from what is no checkpoint", async () => {
    await expect(run(latents, {})).rejects.toThrow(
      'Cannot go on from the input "from": it holds codec.json, codec.safetensors, latents-00000.arrow, expected a training run with a checkpoint, one of its checkpoints, or an export',
    );
  });

  test("from an export without the optimizer's state, unless with its weights alone", async () => {
    const bare = newOut();
    const exported = await openFolder(join(folder.path, "out-3"));
    await cp(join(folder.path, "out-3"), bare, { recursive: true });
    await rm(join(bare, "checkpoint.sound.pt"));
    const from = await artifactOf(bare, "export");
    await expect(run(from, {})).rejects.toThrow(
      "Cannot go on from an export without checkpoint.pt or checkpoint.sound.pt: it holds no optimizer's state; begin with its weights alone, carry = ema or raw",
    );
    expect((await run(from, { steps: 1, carry: "ema" })).facts.step).toBe(1);

    await using file = await openTorch(await exported.path("checkpoint.sound.pt"));
    const checkpoint = await readTorchCheckpoint(file);
    const moments = new Map([...checkpoint.opt.moments].map(([key, moment]) => [key, { ...moment, step: 5 }]));
    for (const [kept, problem] of [
      [moments, /the optimizer has made 5 updates of "boi_block", expected 6, as config.json says/],
      [new Map(), /it holds no optimizer's state/],
    ] as const) {
      const opt = { ...checkpoint.opt, moments: kept };
      await writeTorchCheckpoint(join(bare, "checkpoint.sound.pt"), { ...checkpoint, opt });
      await expect(run(await artifactOf(bare, "export"), {})).rejects.toThrow(problem);
    }
  });

  test("with weights of a parent that there is not", async () => {
    await expect(run(undefined, { carry: "ema" })).rejects.toThrow(
      'Cannot train with carry "ema": there is no input "from" to take weights of',
    );
  });
});

describe("stage train in the folder of a shorter run", () => {
  const program = { sha256: "0".repeat(64), externals: [] };
  const signal = new AbortController().signal;
  const stream = { write: () => true } as unknown as NodeJS.WriteStream;
  const runIn = async (out: string, changes: Record<string, unknown>) => {
    const config = parseConfig(trainStage, settings(changes));
    return runInFolder(trainStage, config, { latents, from: undefined }, out, { program, signal, stream });
  };
  const NOT_CONTENT = ["manifest.json", "record.json", ".madformer.json"];
  const content = async (out: string) =>
    Object.fromEntries(Object.entries(await contentOf(out)).filter(([file]) => !NOT_CONTENT.includes(file)));

  // The run of 8 steps has a line of its own at 8, where the longer one has none.
  test.each([
    ["steps", { steps: 8 }, {}],
    ["epochs", { epochs: 2 }, { epochs: 24 / 7 }],
  ])("goes on to more %s, to the bytes of a run that was longer from the start", async (_, shorter, longer) => {
    const out = newOut();
    await runIn(out, { ...shorter, sampleEvery: 4, sampleImages: 1, sampleSteps: 1 });
    const all = { ...longer, sampleEvery: 4, sampleImages: 1, sampleSteps: 1 };
    const { manifest, reused } = await runIn(out, all);
    const atOnce = newOut();
    expect([reused, manifest]).toEqual([false, (await runIn(atOnce, all)).manifest]);
    expect(await content(out)).toEqual(await content(atOnce));
    const lines = await jsonLines<{ step: number }>(join(out, "losses.jsonl"));
    expect(lines.map(({ step }) => step)).toEqual([3, 6, 9, 12]);
    expect((await runIn(out, all)).reused).toBe(true);
  });

  test.each([
    [{ schedule: { kind: "wsd", warmup: 0 } }, {}, 'the schedule "wsd" spans all steps'],
    [{ keepAt: [0.5] }, {}, "keepAt names shares of all steps"],
    [{}, { steps: 1 }, "a run can go on to more steps, or more epochs, not to fewer"],
    [{}, { learningRate: 1 }, "config.learningRate: 0.003, now 1); name another folder"],
  ])("does not go on where that would be another run: %j, then %j", async (before, after, problem) => {
    const out = newOut();
    await runIn(out, { steps: 2, ...before });
    const kept = await content(out);
    await expect(runIn(out, { steps: 4, ...before, ...after })).rejects.toThrow(problem);
    expect(await content(out)).toEqual(kept);
    expect((await runIn(out, { steps: 2, ...before })).reused).toBe(true);
  });
});
