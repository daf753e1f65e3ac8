import type { Compute, ComputeWords } from "@madformer/stage";
import { jobsOf, titleOf } from "./jobs.js";
import { labelOf, runsOf } from "./points.js";
import { load, SOURCE, sweepOf } from "./testing.js";

const runs = (value: object) => runsOf(sweepOf(value), SOURCE, load);

describe("runsOf()", () => {
  test("makes each point a pipeline, with complete configs", async () => {
    const [first, second] = await runs({ axes: { "train.model.width": [4, 16] } });
    expect(first?.value).toMatchObject({ train: { config: { model: { width: 4 } } } });
    expect(second?.stages.map(({ name, complete }) => [name, complete])).toEqual([
      ["data", { count: 10, codec: "pca" }],
      ["train", { model: { width: 16, heads: 2 }, schedule: { kind: "plain" }, seed: 0 }],
      ["sample", { steps: 4, solver: "dpm", clip: false }],
    ]);
  });

  test("decides for each point what a condition of the pipeline depends on", async () => {
    const [pca, vae] = await runs({ axes: { "data.codec": ["pca", "vae"] } });
    expect(pca?.stages.map(({ name }) => name)).toEqual(["data", "train", "sample"]);
    expect(vae?.stages.map(({ name }) => name)).toEqual(["data", "more", "train", "sample"]);
  });

  test("varies engine and precision as it does fields, for stages that compute", async () => {
    const computing = {
      engines: { one: ["plain"], two: ["plain"] },
      choose: ({ engine = "one" }: ComputeWords) => {
        if (!["one", "two"].includes(engine)) throw new RangeError(`the engine is "${engine}", expected "one", "two"`);
        return { engine, precision: "plain" };
      },
      within: <T>(_: Compute, work: () => Promise<T>) => work(),
    };
    const compute = async (uses: string) => ({ ...(await load(uses)), ...(uses === "train" ? { computing } : {}) });
    const on = (axes: object) => runsOf(sweepOf({ axes }), SOURCE, compute);
    const points = await on({ "train.engine": ["one", "two"], "sample.steps": [1, 2] });
    expect(points[2]?.value).toMatchObject({ train: { engine: "two" } });
    expect(points.map(({ stages }) => stages[1]?.computes?.engine)).toEqual(["one", "one", "two", "two"]);
    expect(jobsOf(points).map(titleOf)).toEqual([
      "data of 4 points",
      "train of 2 points",
      "sample of engine-one-steps-1",
      "sample of engine-one-steps-2",
      "train of 2 points",
      "sample of engine-two-steps-1",
      "sample of engine-two-steps-2",
    ]);
    await expect(on({ "train.engine": ["three"] })).rejects.toThrow('the engine is "three", expected "one", "two"');
    await expect(on({ "data.engine": ["one"] })).rejects.toThrow('"engine" has no effect, it computes with no engine');
  });

  test("takes a whole object before a part of it", async () => {
    const [run] = await runs({ axes: { "train.schedule.steps": [7], "train.schedule": [{ kind: "warm" }] } });
    expect(run?.stages[1]?.complete).toMatchObject({ schedule: { kind: "warm", steps: 7 } });
  });

  test.each([
    [
      { axes: { "trian.seed": [1] } },
      'trian.seed: there is no stage "trian", expected one of: data, more, train, sample; did you mean train?',
    ],
    [{ axes: { "sample.step": [1] } }, 'there is no field "step", did you mean "steps"?'],
    [{ axes: { "sample.steps": [4, "8"] } }, 'steps: found "8", expected number (steps-8)'],
    [{ axes: { "sample.solver": ["dmp"] } }, 'found "dmp", expected one of: ddim, dpm; did you mean dpm?'],
    [
      { axes: { "train.model.width": [8, 9], "sample.steps": [1, 2] } },
      "heads must divide width (2 of 4 points, such as width-9-steps-1)",
    ],
    [
      { axes: { "sample.clip": [true, false], "sample.solver": ["ddim", "dpm"] } },
      "sample.clip has no effect with dpm; exclude it there (clip-true-solver-dpm)",
    ],
    [{ axes: { "train.seed": [1] }, stage: "data" }, 'train.seed: stage "train" does not run for "data"'],
    [{ axes: { "train.seed": [1] }, stage: "end" }, '"stage" is "end", expected one of'],
    [
      { axes: { "train.seed": [1] }, table: { rows: "train.seed", value: "score.mean" } },
      'score.mean: there is no stage "score"',
    ],
  ])("refuses %j before anything runs", async (value, message) => {
    await expect(runs(value)).rejects.toThrow(message);
    await expect(runs(value)).rejects.toThrow(/^Cannot use the sweep "try": /);
  });

  test("names all of it, once each", async () => {
    const axes = { "train.model.width": [9, 11], "sample.steps": [0, 1], "data.cuont": [1] };
    await expect(runs({ axes })).rejects.toThrow(
      /cuont.*count.*heads must divide width.*steps.*\(2 of 4 points, such as/s,
    );
  });
});

describe("jobsOf()", () => {
  test("has what several points share once, in an order in which it can run", async () => {
    const jobs = jobsOf(await runs({ axes: { "train.seed": [0, 1], "sample.steps": [1, 2, 4] } }));
    expect(jobs.map(titleOf)).toEqual([
      "data of 6 points",
      "train of 3 points",
      "sample of seed-0-steps-1",
      "sample of seed-0-steps-2",
      "sample of seed-0-steps-4",
      "train of 3 points",
      "sample of seed-1-steps-1",
      "sample of seed-1-steps-2",
      "sample of seed-1-steps-4",
    ]);
    expect(jobs[2]?.needs["checkpoint"]).toBe(jobs[1]);
  });

  test("does not care how a value was written: a default is what it is", async () => {
    const explicit = jobsOf(await runs({ axes: { "sample.steps": [4] } }));
    const implicit = jobsOf(await runs({ axes: { "sample.solver": ["dpm"] } }));
    expect(explicit.map(({ id }) => id)).toEqual(implicit.map(({ id }) => id));
  });
});

test("labelOf() says a setting as people do", () => {
  expect(labelOf({ "sample.steps": 4, "train.schedule": { kind: "warm" } })).toBe('steps 4, schedule {"kind":"warm"}');
});
