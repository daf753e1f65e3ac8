/** Whatever happens to files of the stages, the same command again makes the same manifest. */
import { join } from "node:path";
import { openFolder } from "@madformer/artifacts";
import { ExportConfig, exportStage, trainStage } from "@madformer/train";
import { tryDamage } from "@madformer/stage";
import { contextIn, temporaryFolder, tinyConfig, writeLatents } from "../src/testing.js";

const config = tinyConfig({
  ...{ steps: 2, checkpointEvery: 1, keepLast: 1, logEvery: 1 },
  ...{ sampleEvery: 1, sampleImages: 1, sampleSteps: 1 },
});
const checkpoint = (step: number, parts = ["ema", "state", "weights"]) =>
  parts.map((part) => `checkpoints/step-000000${step}/${part}.safetensors`);
const CODEC = ["codec.json", "codec.safetensors"];

async function latentsIn(folder: string) {
  const path = join(folder, "latents");
  await writeLatents(path);
  return openFolder(path);
}

test("stage train makes the same again, whichever of its files is damaged or lost, and when it was interrupted", async () => {
  await using folder = await temporaryFolder("damage");
  const inputs = { latents: await latentsIn(folder.path), from: undefined };
  // It reports its first step, and the next that ends a fifth of a second later.
  expect(await tryDamage({ stage: trainStage, config, inputs, stopAfter: 1 }, folder.path)).toEqual({
    files: [...checkpoint(2), ...CODEC, "config.json", "losses.jsonl", "samples/step-0000001.png"].concat(
      "samples/step-0000002.png",
    ),
    left: [...checkpoint(1), ...CODEC, "config.json", "losses.jsonl", "samples/step-0000001.png"],
    problems: [],
  });
});

test("stage export makes the same again, whichever of its files is damaged or lost, and when it was interrupted", async () => {
  await using folder = await temporaryFolder("damage");
  const trained = await contextIn(join(folder.path, "trained"));
  await trainStage.run(config, { latents: await latentsIn(folder.path), from: undefined }, trained);
  const inputs = { train: await openFolder(trained.out) };
  const settings = ExportConfig.parse({ sampleSteps: 1 });
  const copied = [...checkpoint(2, ["ema", "weights"]), ...CODEC, "config.json", "ema.safetensors"];
  const programs = ["denoise.onnx", "first.onnx", "tables.safetensors", "time.onnx"];
  // Its second line says that programs come next.
  expect(await tryDamage({ stage: exportStage, config: settings, inputs, stopAfter: 2 }, folder.path)).toEqual({
    files: ["checkpoint.sound.pt", ...copied, ...programs.map((name) => `programs/${name}`), "weights.safetensors"],
    left: ["checkpoint.sound.pt", ...copied, "weights.safetensors"],
    problems: [],
  });
});
