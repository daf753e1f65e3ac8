/** TensorBoard reads our event files. `MADFORMER_PYTHON` names a Python that has it; else `python3` is asked. */
import { execFileSync, spawnSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { jest } from "@jest/globals";
import { trainStage } from "@madformer/train";
import { contextIn, jsonLines, temporaryFolder, tinyConfig, writeLatents } from "../src/testing.js";

const PYTHON = process.env["MADFORMER_PYTHON"] ?? "python3";
const found = spawnSync(PYTHON, ["-c", "import tensorboard; print(tensorboard.__version__)"], { encoding: "utf8" });
const version = found.status === 0 ? found.stdout.trim() : undefined;

(version ? test : test.skip)(
  version
    ? `TensorBoard ${version} reads a run that was resumed, each step once`
    : `TensorBoard reads a run that was resumed (skipped: ${PYTHON} cannot import tensorboard; set MADFORMER_PYTHON to a Python that can)`,
  async () => {
    await using folder = await temporaryFolder("tensorboard");
    const [latents, out] = [await writeLatents(join(folder.path, "latents")), join(folder.path, "out")];
    const config = tinyConfig({ logEvery: 1, checkpointEvery: 5, sampleEvery: 6, sampleImages: 1, sampleSteps: 2 });
    // It fails at step 8, after a checkpoint at 5: steps 6 to 8 and a grid are there when it goes on, and come again.
    const context = await contextIn(out);
    let last = 0;
    const clock = jest.spyOn(performance, "now").mockImplementation(() => 1000 * last); // each step is reported
    const log = {
      ...context.log,
      progress: (_: string, step: number): void => {
        last = step;
        if (step === 8) throw new Error("power cut");
      },
    };
    await expect(trainStage.run(config, { latents, from: undefined }, { ...context, log })).rejects.toThrow(
      "power cut",
    );
    clock.mockRestore();
    await trainStage.run(config, { latents, from: undefined }, await contextIn(out));

    const events = join(out, "logs", "tensorboard");
    expect(await readdir(events)).toHaveLength(2);
    const script = fileURLToPath(new URL("tensorboard-check.py", import.meta.url));
    const read = JSON.parse(
      execFileSync(PYTHON, [script, events], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
    ) as {
      scalars: Record<string, [step: number, value: number][]>;
      images: Record<string, unknown[]>;
    };
    const lines = await jsonLines<Record<string, number>>(join(out, "losses.jsonl"));
    expect(Object.keys(read.scalars).sort()).toEqual([
      ...["loss/clean", "loss/hidden", "loss/image", "loss/total", "optimizer/gradient_norm"],
      ...["optimizer/learning_rate", "speed/images_per_second", "speed/steps_per_second"],
    ]);
    const expected = (name: string) => lines.map((line) => [line["step"], Math.fround(line[name] as number)]);
    for (const [tag, name] of [
      ["loss/total", "loss"],
      ["loss/hidden", "hidden"],
      ["optimizer/gradient_norm", "gradNorm"],
      ["optimizer/learning_rate", "lr"],
    ] as const)
      expect(read.scalars[tag]).toEqual(expected(name));
    const png = "89504e47";
    expect(read.images).toEqual({ samples: [6, 12].map((step) => [step, 20, 20, png]) });
  },
);
