/** A checkpoint of the released code's branch with classes, as its train.py wrote it. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openSafetensors, openTorch, readTorchCheckpoint, type TorchTensor } from "@madformer/artifacts";
import { madformer } from "../src/testing.js";

const GOLDEN = fileURLToPath(new URL("../../golden", import.meta.url));
const RELEASED = join(GOLDEN, "data-imagenet", "ckpt_tiny.pt");

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "import-classes-"))));
afterAll(() => rm(folder, { recursive: true }));

test("becomes what export writes, is sampled by class, and goes back with all that it had", async () => {
  const out = join(folder, "imported");
  const from = ["--source", RELEASED, "--autoencoder", join(GOLDEN, "data", "vae4")];
  const imported = await madformer("import", ...from, "--unet-groups", "4", "--unet-heads", "2", "--out", out);
  expect([imported.code, imported.err]).toEqual([0, expect.not.stringContaining("nothing in the file says")]);

  await using file = await openTorch(RELEASED);
  const theirs = await readTorchCheckpoint(file);
  const parameters = [...theirs.model.keys()].filter((key) => !key.endsWith("inv_freq"));
  expect(JSON.parse(imported.out)).toMatchObject({ step: 3, tensors: parameters.length, torch: "checkpoint.pt" });
  for (const [name, dict] of [
    ["weights", theirs.model],
    ["ema", theirs.ema],
  ] as const) {
    await using written = await openSafetensors(join(out, `${name}.safetensors`));
    expect(written.names).toHaveLength(parameters.length);
    for (const key of parameters)
      expect(await written.readFloat32(key)).toEqual(await (dict.get(key) as TorchTensor).readFloat32());
  }
  const { model } = JSON.parse(await readFile(join(out, "config.json"), "utf8")) as { model: Record<string, unknown> };
  expect(model).toMatchObject({
    heads: 2,
    quirks: { condition: "autoregressive", conditionSkips: "clean" },
    text: { tokens: 2, vocabulary: 21, classes: 20, head: true, sampled: "first-block" },
  });

  await using again = await openTorch(join(out, "checkpoint.pt"));
  const ours = await readTorchCheckpoint(again);
  expect([[...ours.model.keys()], ours.counters, ours.args]).toEqual([
    [...theirs.model.keys()],
    theirs.counters,
    theirs.args,
  ]);
  expect([...ours.opt.moments.keys()]).toEqual([...theirs.opt.moments.keys()]);
  expect(ours.opt.groups).toEqual(theirs.opt.groups);

  const options = ["--seeds", "0-3", "--classes", "7,3", "--steps", "2", "--out", join(folder, "images")];
  const sampled = await madformer("sample", "--checkpoint", out, ...options);
  expect([sampled.code, sampled.err]).toEqual([0, expect.not.stringContaining("Cannot")]);
  const labels = JSON.parse(await readFile(join(folder, "images", "labels.json"), "utf8")) as { labels: object };
  expect(labels.labels).toEqual({ 0: 7, 1: 3, 2: 7, 3: 3 });
});
