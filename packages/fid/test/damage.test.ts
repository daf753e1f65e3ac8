/** Whatever happens to files of a stage, the same command again makes the same manifest. */
import { join } from "node:path";
import { openFolder } from "@madformer/artifacts";
import { facesNetStage, featuresStage, scoreStage } from "@madformer/fid";
import { parseConfig, runInFolder, tryDamage } from "@madformer/stage";
import { contextIn, inFolder, squareShards } from "../src/faces-net/testing.js";

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
      left: ["tmp/state.safetensors"],
      problems: [],
    });
    await runInFolder(net.stage, net.config, { shards }, join(folder, "made-net"), options);
    const inputs = { images: shards, net: await openFolder(join(folder, "made-net")) };

    const features = { stage: featuresStage, config: parseConfig(featuresStage, { batchImages: 16 }) };
    expect(await tryDamage({ ...features, inputs }, join(folder, "features"))).toEqual({
      files: ["images/features.npy", "images/statistics.npz"],
      left: [],
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
