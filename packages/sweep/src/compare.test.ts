import type { Made } from "@madformer/artifacts";
import { outputFolder, readOutput, readPipeline } from "@madformer/stage";
import { causesOf, differencesOf, measuresOf, runOfMade, runOfPipeline } from "./compare.js";
import { pointFolder, runJobs } from "./run.js";
import { bench, jobsFor } from "./testing.js";

const AXES = { axes: { "train.seed": [0, 1], "sample.steps": [1, 2] } };

async function twoRuns(first: string, second: string) {
  const on = await bench();
  const { runs, jobs } = await jobsFor(AXES, on.options);
  await runJobs(runs, jobs, on.options);
  const at = (point: string) => pointFolder(on.options.folder, point);
  const [a, b] = [
    await runOfPipeline("a", readPipeline(at(first))),
    await runOfPipeline("b", readPipeline(at(second))),
  ];
  return { on, a, b, at };
}

describe("differencesOf()", () => {
  test("says since which stage two runs differ, why, and what follows from that", async () => {
    const { on, a, b } = await twoRuns("seed-0-steps-1", "seed-1-steps-1");
    await using _ = on;
    const found = await differencesOf(on.store, a, b);
    expect(found.map(({ stage, state }) => [stage, state])).toEqual([
      ["data", "same"],
      ["train", "cause"],
      ["sample", "follows"],
    ]);
    expect(causesOf(found)).toEqual([{ stage: "train", state: "cause", changes: ["config.seed: 0, now 1"] }]);
  });

  test("names a second cause: a stage that had other inputs and differs by itself", async () => {
    const { on, a, b } = await twoRuns("seed-0-steps-1", "seed-1-steps-2");
    await using _ = on;
    const causes = causesOf(await differencesOf(on.store, a, b));
    expect(causes.map(({ stage }) => stage)).toEqual(["train", "sample"]);
    expect(causes[1]?.changes[0]).toBe("config.steps: 1, now 2");
  });

  test("is nothing for the same run, and names what has not run", async () => {
    const { on, a } = await twoRuns("seed-0-steps-1", "seed-0-steps-2");
    await using _ = on;
    expect(causesOf(await differencesOf(on.store, a, a))).toEqual([]);
    const less = { name: "less", made: new Map([...a.made].slice(0, 2)) };
    expect(causesOf(await differencesOf(on.store, a, less))).toEqual([
      { stage: "sample", state: "missing", changes: ["a has it, less has not"] },
    ]);
  });
});

test("runOfMade() follows a manifest back through the store", async () => {
  const { on, a, at } = await twoRuns("seed-0-steps-1", "seed-1-steps-1");
  await using _ = on;
  const last = (await readOutput(outputFolder(at("seed-0-steps-1"), "sample"))) as Made;
  const run = await runOfMade("m", last, on.store);
  expect([...run.made.keys()]).toEqual(["data", "train", "sample"]);
  expect(causesOf(await differencesOf(on.store, a, run))).toEqual([]);
});

test("measuresOf() has parameters, scores by their metric, and times, of those that have them", () => {
  const made = (stage: string, facts: object, seconds: number): Made =>
    ({ manifest: { facts }, record: { stage, seconds } }) as unknown as Made;
  const floor = { distance: 1 };
  const score = { metric: "FD", floor, final: 3, mean: 4, groups: [{ recall: 0.1 }, { recall: 0.2 }] };
  const a = new Map([
    ["export", made("export", { parameters: 10 }, 1)],
    ["score", made("score", score, 2)],
  ]);
  const b = new Map([["score", made("score", { ...score, metric: "FID", floor: null, final: 30 }, 4)]]);
  const rows = measuresOf([
    { name: "a", made: a },
    { name: "b", made: b },
  ]);
  expect(rows.map(({ name, values }) => [name, ...values])).toEqual([
    ["parameters", 10, undefined],
    ["FD", 3, undefined],
    ["FD, mean of the last checkpoints", 4, undefined],
    ["FID", undefined, 30],
    ["FID, mean of the last checkpoints", undefined, 4],
    ["FD of held-out data", 1, undefined],
    ["recall", 0.2, 0.2],
    ["time of all stages", 3, 4],
    ["time of export", 1, undefined],
    ["time of score", 2, 4],
  ]);
});
