/** Whatever happens to files of a stage, the same command again makes the same manifest. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { jest } from "@jest/globals";
import { openFolder, writePng, type Artifact } from "@madformer/artifacts";
import { facesNetStage, featuresStage, scoreStage } from "@madformer/fid";
import { parseConfig, runInFolder, tryDamage } from "@madformer/stage";
import { artifactOf, contextIn, inFolder, squarePixels, squareShards } from "../src/faces-net/testing.js";

const program = { sha256: "0".repeat(64), externals: [] };
const nowhere = { write: () => true } as unknown as NodeJS.WriteStream;

test("the stages make the same again, whichever of their files is damaged or lost, and when they were interrupted", () =>
  inFolder(async (folder) => {
    const shards = await squareShards(join(folder, "shards"), 48, 32);
    const options = { program, signal: new AbortController().signal, stream: nowhere };

    const net = {
      stage: facesNetStage,
      config: parseConfig(facesNetStage, { steps: 4, dims: 64, batchImages: 4, checkpointSteps: 1 }),
    };
    // It says what it leaves out, then reports each step.
    expect(await tryDamage({ ...net, inputs: { shards }, stopAfter: 3 }, join(folder, "net"))).toEqual({
      files: ["losses.jsonl", "net.json", "net.safetensors"],
      left: ["tmp/checkpoint.safetensors"],
      problems: [],
    });
    await runInFolder(net.stage, net.config, { shards }, join(folder, "made-net"), options);
    const inputs = { images: shards, net: await openFolder(join(folder, "made-net")) };

    const features = { stage: featuresStage, config: parseConfig(featuresStage, { batchImages: 16 }) };
    const samples = { images: await samplesIn(join(folder, "samples")), net: inputs.net };
    // It reports each batch: one in the first group, and the first of two in the second.
    expect(await tryDamage({ ...features, inputs: samples, stopAfter: 2 }, join(folder, "features"))).toEqual({
      files: ["classifier.npz", ...filesOf("step-1"), ...filesOf("step-2")],
      left: filesOf("step-1"),
      problems: [],
    });
    await runInFolder(features.stage, features.config, inputs, join(folder, "made-features"), options);
    const made = await openFolder(join(folder, "made-features"));

    const score = { stage: scoreStage, config: parseConfig(scoreStage, {}) };
    expect(await tryDamage({ ...score, inputs: { reference: made, samples: made } }, join(folder, "score"))).toEqual({
      files: ["scores.json"],
      left: [],
      problems: [],
    });
  }));

/** What a sampler made of two checkpoints: 16 images, and 20. */
async function samplesIn(folder: string): Promise<Artifact> {
  const groups = [];
  for (const [name, images] of [
    ["step-1", 16],
    ["step-2", 20],
  ] as const) {
    await mkdir(join(folder, name), { recursive: true });
    for (let i = 0; i < images; i++)
      await writePng(join(folder, name, `${String(i).padStart(8, "0")}.png`), squarePixels(i, 32).pixels, 32, 32);
    groups.push({ name, folder: name });
  }
  return artifactOf(folder, "sample", { groups });
}

const filesOf = (group: string): string[] => [`${group}/features.npy`, `${group}/statistics.npz`];

test("faces-net goes on from its state where it was killed after the last step", () =>
  inFolder(async (folder) => {
    const shards = await squareShards(join(folder, "shards"), 48, 32);
    const config = parseConfig(facesNetStage, { steps: 4, dims: 64, batchImages: 4, checkpointSteps: 1 });
    const context = await contextIn(join(folder, "net"));
    jest.spyOn(context.files, "write").mockRejectedValueOnce(new Error("power cut"));
    await expect(facesNetStage.run(config, { shards }, context)).rejects.toThrow("power cut");
    const again = await contextIn(join(folder, "net"));
    await facesNetStage.run(config, { shards }, again);
    expect(again.lines).toContain("going on from step 3 of 4");
  }));

test("faces-net does not train again because its losses were kept and nothing is wrong", () =>
  inFolder(async (folder) => {
    const shards = await squareShards(join(folder, "shards"), 48, 32);
    const config = parseConfig(facesNetStage, { steps: 2, dims: 64, batchImages: 4 });
    const run = async (): Promise<number> => {
      const context = await contextIn(join(folder, "net"));
      let steps = 0;
      await facesNetStage.run(
        config,
        { shards },
        { ...context, log: { ...context.log, progress: () => void steps++ } },
      );
      return steps;
    };
    expect([await run(), await run()]).toEqual([2, 0]);
  }));
