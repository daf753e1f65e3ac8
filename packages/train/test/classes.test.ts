/** A model that is told the class of each image: batches, training, resuming, export. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors, openTorch, readTorchCheckpoint, type Artifact, type TorchTensor } from "@madformer/artifacts";
import { loadProgram } from "@madformer/engine";
import {
  classTokens,
  configFromReference,
  hasText,
  initialize,
  madformerSpecs,
  Sampler,
  solverPlan,
} from "@madformer/model";
import { batchOf, ExportConfig, exportStage, readCheckpoint, trainStage, type LatentSource } from "@madformer/train";
import {
  artifactOf,
  contextIn,
  jsonLines,
  PLAIN_MODEL,
  temporaryFolder,
  tinyConfig,
  writeLatents,
} from "../src/testing.js";

const TEXT = { classes: 3, vocabulary: 4, words: "numbers", zeroRow: null };
const settings = (changes: Record<string, unknown> = {}) =>
  tinyConfig({ model: { ...PLAIN_MODEL, quirks: "imagenet", text: TEXT }, steps: 4, checkpointEvery: 2, ...changes });
const { model } = settings();
if (!hasText(model)) throw new Error("no text");
const HEAD = "lm_head.weight";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let latents: Artifact;
beforeAll(async () => {
  folder = await temporaryFolder("classes");
  latents = await writeLatents(join(folder.path, "latents"), 7, 3);
  await writeFile(join(folder.path, "latents", "classes.json"), '["cat","dog","owl"]');
  latents = await artifactOf(join(folder.path, "latents"), "latents");
});
afterAll(() => folder[Symbol.asyncDispose]());

let outs = 0;
async function trained(changes: Record<string, unknown> = {}, from?: Artifact, data = latents, abortAt = Infinity) {
  const controller = new AbortController();
  const context = await contextIn(join(folder.path, `out-${++outs}`), controller.signal);
  const progress = (_: string, step: number): void => {
    if (step >= abortAt) controller.abort(new Error("enough"));
  };
  const log = { ...context.log, progress };
  await trainStage.run(settings(changes), { latents: data, from }, { ...context, log });
  return context;
}
const state = (out: string, step: number, of = model) => readCheckpoint(join(out, "checkpoints"), of, step);

describe("batchOf()", () => {
  const source = (label: number | null): LatentSource => ({
    length: 4,
    height: 8,
    width: 8,
    channels: 3,
    read: async () => ({ mean: new Float32Array(192), logvar: null, label }),
  });
  const options = { seed: 1, batchImages: 2, accumulate: 1, flip: false };

  test("has the texts of its images' classes", async () => {
    const { text } = await batchOf(source(2), model, options, 0);
    expect(text).toEqual(classTokens(model.text, [2, 2]));
    const { text: none } = await batchOf(source(2), tinyConfig().model, options, 0);
    expect(none).toBeUndefined();
  });

  test.each([
    [null, "it has no class"],
    [3, "it is of class 3"],
  ])("refuses an image of the class %s", async (label, found) => {
    await expect(batchOf(source(label), model, options, 4)).rejects.toThrow(
      new RegExp(`^Cannot train on image \\d at step 5: ${found}, expected one from 0 to 2$`),
    );
  });
});

describe("stage train, with classes,", () => {
  test("trains all of the text but a head without a loss, which stays as it was drawn", async () => {
    const { out } = await trained();
    const first = initialize(madformerSpecs(model), settings().seed);
    const { params, ema, m } = await state(out, 4);
    expect([params[HEAD], ema[HEAD]]).toEqual([first[HEAD], first[HEAD]]);
    expect(m[HEAD]?.every((x) => x === 0)).toBe(true);
    for (const key of ["embed_tokens.weight", "blocks.0.self_attn.qkv_list.0.weight"])
      expect(params[key]).not.toEqual(first[key]);
    const [line] = await jsonLines<Record<string, number>>(join(out, "losses.jsonl"));
    expect(Object.keys(line!)).not.toContain("text");
  });

  test.each([1, 2])("trains the head with a text loss, which its lines name (accumulate %d)", async (accumulate) => {
    const { out } = await trained({ loss: { lambdaText: 0.5 }, accumulate });
    const first = initialize(madformerSpecs(model), settings().seed);
    expect((await state(out, 4)).params[HEAD]).not.toEqual(first[HEAD]);
    const lines = await jsonLines<Record<string, number>>(join(out, "losses.jsonl"));
    // Four tokens, none of which it knows yet.
    for (const { text } of lines) expect(Math.abs((text ?? NaN) - Math.log(4))).toBeLessThan(1);
  });

  test("goes on after it was interrupted, and makes the same", async () => {
    const whole = await trained();
    await expect(trained({}, undefined, latents, 1)).rejects.toThrow("enough");
    const out = join(folder.path, `out-${outs}`);
    const log = await contextIn(out);
    await trainStage.run(settings(), { latents, from: undefined }, log);
    expect(log.infos.some((line) => line.startsWith("going on after step"))).toBe(true);
    expect(await state(out, 4)).toEqual(await state(whole.out, 4));
  });

  test("refuses images of no class, and of more than the model is told", async () => {
    const facts = (classes: number) => ({ ...latents, manifest: { ...latents.manifest, facts: { classes } } });
    for (const classes of [0, 4])
      await expect(trained({}, undefined, facts(classes))).rejects.toThrow(
        `Cannot train on these latents: their images are of ${classes} classes, and the model is told one of 3`,
      );
  });
});

describe("stage export, with classes,", () => {
  let runFolder: string;
  let run: Artifact;
  let out: string;
  beforeAll(async () => {
    runFolder = (await trained()).out;
    run = await artifactOf(runFolder, "train");
    out = join(folder.path, "export");
    await exportStage.run(
      ExportConfig.parse({ sampleSteps: 2, programImages: 2 }),
      { train: run },
      await contextIn(out),
    );
  });

  test("writes the branch's layout: buffers, no moments of the head, counters, what its constructor takes", async () => {
    await using file = await openTorch(join(out, "checkpoint.pt"));
    const { model: weights, opt, args, counters } = await readTorchCheckpoint(file);
    const keys = Object.keys(madformerSpecs(model));
    const buffers = [...weights.keys()].filter((key) => !keys.includes(key));
    const layers = [0, 1].map((layer) => `blocks.${layer}.self_attn.text_rope.inv_freq`);
    expect(buffers).toEqual(["text_rope.inv_freq", ...layers]);
    const frequencies = weights.get("text_rope.inv_freq");
    expect([...(await (frequencies as TorchTensor).readFloat32())]).toEqual([1, 0.1, 0.01, 0.001].map(Math.fround));
    expect(opt.groups[0]?.params).toEqual(keys);
    expect([...opt.moments.keys()]).toEqual(keys.filter((key) => key !== HEAD));
    expect(counters).toEqual({ train_steps: 4, step_in_current_epoch: 1, running_loss: 0, epoch: 1 }); // 3 steps of 2
    expect(args).toMatchObject({
      dataset: "imagenet",
      text_loss_lambda: 0,
      image_loss_lambda: 1,
      vocab_size: 4,
      num_frames: 1,
    });
    expect(configFromReference(args as never)).toEqual(model);
  });

  test("hands on the names of classes", async () => {
    expect((await artifactOf(out)).files).toContain("classes.json");
  });

  test("is gone on from, as its run is", async () => {
    const [a, b] = [await trained({ steps: 6 }, await artifactOf(out, "export")), await trained({ steps: 6 }, run)];
    expect(await state(a.out, 6)).toEqual(await state(b.out, 6));
  });

  test("writes the program of a text, whose outputs make the example", async () => {
    await using tables = await openSafetensors(join(out, "programs", "tables.safetensors"));
    expect(tables.names).toEqual(expect.arrayContaining(["text.classes", "example.text"]));
    expect([...(await tables.read("text.classes")).data]).toEqual([0, 1, 0, 2, 0, 3]);
    const [noise, text] = [await tables.readFloat32("example.noise"), (await tables.read("example.text")).data];
    await using program = await loadProgram(join(out, "programs", "text.onnx"));
    expect(program.outputs.map(({ name }) => name)).toEqual(expect.arrayContaining(["keys/0", "values/1"]));
    const { ema } = await state(runFolder, 4);
    await using sampler = await Sampler.create(model, ema, { batchImages: 2, programs: "shared" });
    const latentsOf = await sampler.sample(solverPlan("dpm-solver++", 2), noise, { text: text as Int32Array });
    expect([...latentsOf]).toEqual([...(await tables.readFloat32("example.latents"))]);
  });
});
