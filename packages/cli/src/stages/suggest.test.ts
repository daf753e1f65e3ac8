import { configSchema } from "@madformer/stage";
import { flagOf, optionsOf } from "./options.js";
import { suggestCommand, suggestOption } from "./suggest.js";
import { STAGES } from "./table.js";

/** Flags of a stage's command. */
async function flagsOf(name: string): Promise<string[]> {
  const stage = await STAGES.find((entry) => entry.name === name)!.load();
  return [
    ...Object.keys(stage.inputs),
    ...["out", "config", ...(stage.computing ? ["engine", "precision", "threads"] : [])],
    ...optionsOf(configSchema(stage)).map(({ path }) => flagOf(path)),
  ];
}

describe("suggestOption()", () => {
  test.each([
    ["train", "--lr", "--learning-rate"],
    ["train", "--batch-size", "--batch-images"],
    ["train", "--batch_size=3", "--batch-images"],
    ["train", "--weight-decay", "--optimizer.weight-decay"],
    ["train", "--warmup", "--schedule.warmup or --ema.warmup"],
    ["train", "--arLayers", "--model.ar-layers"],
    ["train", "--resume", "--from"],
    ["train", "--learning-rte", "--learning-rate"],
    ["train", "--log_every", "--log-every"],
    ["train", "-out", "--out"],
    ["train", "--output-dir", "--out"],
    ["sample", "--ckpt", "--checkpoint"],
    ["sample", "--num-sampling-steps", "--steps"],
    ["sample", "--seed", "--seeds"],
    ["shards", "--image-size", "--side"],
    ["dataset", "--path", "--source.path"],
    ["features", "--dims", "--inception-dims"],
    ["vae", "--lr", "--learning-rate"],
    ["train", "--model.dim", "--model.width"],
    ["train", "--optimizer.wd", "--optimizer.weight-decay"],
    ["train", "--model.num_heads", "--model.heads"],
    ["shards", "--back", "--background"],
    ["train", "--checkpointing", "--checkpoint-every"],
    ["train", "--keep", "--keep-last or --keep-at"],
    ["train", "--device", "--engine"],
    ["sample", "--bf16", "--precision"],
  ])("of %s takes %s for %s", async (stage, flag, meant) => {
    expect(suggestOption(flag, await flagsOf(stage))).toBe(`Did you mean ${meant}?`);
  });

  test("says why there is no such option, or nothing", async () => {
    expect(suggestOption("--device", await flagsOf("shards"))).toMatch(/no need for it: the engine/);
    expect(suggestOption("--constructor", await flagsOf("train"))).toBeUndefined();
    expect(suggestOption("--", await flagsOf("train"))).toBeUndefined();
  });
});

test.each([
  ["smaple", "Did you mean sample?"],
  ["fid", "Did you mean score?"],
  ["toString", undefined],
])("suggestCommand() answers %s with %s", (word, hint) => {
  expect(suggestCommand(word, [...STAGES.map(({ name }) => name), "gc"])).toBe(hint);
});
