/**
 * A real PyTorch goes on from checkpoint.pt: its next update is ours. `MADFORMER_PYTHON` names a Python that has it;
 * else `python3` is asked. Gradients are computed here; that they are the reference's is the business of
 * packages/golden.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LatentShards, torchTensor, writeTorch, type TorchInput } from "@madformer/artifacts";
import { compile } from "@madformer/engine";
import { batchSpecs, fileShape, madformerSpecs, toStateDict, trainingLoss } from "@madformer/model";
import { addGradients, emaDecay, learningRateFactor, stateSpecs, stepScalars, type Weights } from "@madformer/optim";
import { batchOf, ExportConfig, exportStage, readCheckpoint, trainStage } from "@madformer/train";
import { artifactOf, contextIn, temporaryFolder, TINY_MODEL, tinyConfig, writeLatents } from "../src/testing.js";
import { trainerOf } from "../src/trainer.js";

const PYTHON = process.env["MADFORMER_PYTHON"] ?? "python3";
const found = spawnSync(PYTHON, ["-c", "import torch; torch.uint16; print(torch.__version__)"], { encoding: "utf8" });
const version = found.status === 0 ? found.stdout.trim() : undefined;

// The rate still falls, and the gradients are clipped: their norm is above 0.05.
const config = tinyConfig({
  model: { ...TINY_MODEL, quirks: "reference" },
  steps: 6,
  schedule: { kind: "cosine", warmup: 0.5 },
  optimizer: { maxGradNorm: 0.05 },
  ema: { kind: "constant", decay: 0.9 },
});

(version ? test : test.skip)(
  version
    ? `PyTorch ${version} takes a checkpoint with strict=True, and its next update is ours`
    : `PyTorch takes a checkpoint, and its next update is ours (skipped: ${PYTHON} cannot import torch 2.3 or newer; set MADFORMER_PYTHON to a Python that can)`,
  async () => {
    await using folder = await temporaryFolder("torch-step");
    const [latents, trained] = [await writeLatents(join(folder.path, "latents")), join(folder.path, "train")];
    await trainStage.run(config, { latents, from: undefined }, await contextIn(trained));
    const exported = await contextIn(join(folder.path, "export"));
    const settings = ExportConfig.parse({ programs: false });
    await exportStage.run(settings, { train: await artifactOf(trained, "train") }, exported);

    const { model, batchImages, steps, optimizer, schedule } = config;
    const specs = madformerSpecs(model);
    const checkpoint = await readCheckpoint(join(trained, "checkpoints"), model, steps);
    const shards = latents.files.filter((file) => file.endsWith(".arrow"));
    await using data = await LatentShards.open(await Promise.all(shards.map((file) => latents.path(file))));
    const batch = await batchOf(data, model, config, steps);
    const { params } = stateSpecs(specs);
    await using gradients = await compile(
      (state, batch) => addGradients(state, (p) => trainingLoss(p, model, batch, config.loss), 1),
      { state: { params, sum: params }, inputs: batchSpecs(model, batchImages) },
      { name: "gradients", initialState: { params: checkpoint.params } },
    );
    await gradients.run(batch);
    const { sum } = (await gradients.state.readAll()) as { sum: Weights };
    const rate = config.learningRate * learningRateFactor(schedule, steps, steps, model.quirks.warmupStart);
    await using trainer = await trainerOf(config, checkpoint);
    const decay = emaDecay(config.ema, steps + 1);
    const measures = await trainer.run(batch, stepScalars(optimizer, steps + 1, rate, decay));
    expect(measures!.gradNorm).toBeGreaterThan(optimizer.maxGradNorm);

    const inFile = (weights: Weights): TorchInput =>
      Object.fromEntries(
        Object.entries(toStateDict(specs, weights)).map(([name, tensor]) => [name, torchTensor(tensor)]),
      );
    const PARTS = ["params", "ema", "m", "v"] as const;
    const next = join(folder.path, "next.pt");
    const after: Record<string, TorchInput> = {};
    for (const part of PARTS) after[part] = inFile(await trainer.part(part));
    await writeTorch(next, {
      settings: {
        shapes: Object.entries(specs).map(([name, spec]) => [name, [...fileShape(spec)]]),
        ...{ total: steps, step: steps + 1, decay },
      },
      gradients: inFile(sum),
      before: Object.fromEntries(PARTS.map((part) => [part, inFile(checkpoint[part])])),
      ...after,
    });
    const script = fileURLToPath(new URL("torch-step.py", import.meta.url));
    const said = execFileSync(PYTHON, [script, join(exported.out, "checkpoint.pt"), next], { encoding: "utf8" });
    expect(said.trim()).toBe(version);
  },
);
