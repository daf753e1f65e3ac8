import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { collectGarbage } from "@madformer/artifacts";
import { outputFolder, readPipeline } from "@madformer/stage";
import { planOf, stagesOf } from "./plan.js";
import { pointFolder, runJobs, type SweepRunOptions } from "./run.js";
import { bench, jobsFor } from "./testing.js";

const AXES = { axes: { "train.seed": [0, 1], "sample.steps": [1, 2] } };

describe("runJobs()", () => {
  test("runs what points share once, shows it at each of them, and nothing the second time", async () => {
    await using on = await bench();
    const { runs, jobs } = await jobsFor(AXES, on.options);
    expect(await runJobs(runs, jobs, on.options)).toEqual({ made: 7, reused: 0, failed: [] });
    expect(on.ran).toEqual([
      "data of seed-0-steps-1",
      "train of seed-0-steps-1",
      "sample of seed-0-steps-1",
      "sample of seed-0-steps-2",
      "train of seed-1-steps-1",
      "sample of seed-1-steps-1",
      "sample of seed-1-steps-2",
    ]);
    for (const { name } of runs)
      for (const stage of ["data", "train", "sample"])
        expect(await readFile(join(on.options.folder, "pipelines", name, "out", stage, "files/all"), "utf8")).toMatch(
          /^\[/,
        );
    on.ran.length = 0;
    expect(await runJobs(runs, jobs, on.options)).toEqual({ made: 0, reused: 7, failed: [] });
    expect(on.ran).toEqual([]);
  });

  test("runs only what another value needs", async () => {
    await using on = await bench();
    const first = await jobsFor(AXES, on.options);
    await runJobs(first.runs, first.jobs, on.options);
    on.ran.length = 0;
    const more = await jobsFor({ axes: { "train.seed": [1, 0], "sample.steps": [1, 8] } }, on.options);
    expect(await runJobs(more.runs, more.jobs, on.options)).toMatchObject({ made: 2, reused: 5 });
    expect(on.ran).toEqual(["sample of seed-1-steps-8", "sample of seed-0-steps-8"]);
  });

  test("a point that fails is named with its stage and why; those that do not need it go on, also the next time", async () => {
    let broken = true;
    await using on = await bench((stage, point) => broken && stage === "train" && point.startsWith("seed-0"));
    const { runs, jobs } = await jobsFor(AXES, on.options);
    const ends: string[] = [];
    const onJob: SweepRunOptions["onJob"] = (_, end) => void ends.push(end);
    expect(await runJobs(runs, jobs, { ...on.options, onJob })).toEqual({
      made: 4,
      reused: 0,
      failed: ["seed-0-steps-1", "seed-0-steps-2"].map((point) => ({
        point,
        stage: "train",
        reason: "it was to fail",
      })),
    });
    expect(ends).toEqual(["made", "failed", "skipped", "skipped", "made", "made", "made"]);
    broken = false;
    expect(await runJobs(runs, jobs, on.options)).toEqual({ made: 3, reused: 4, failed: [] });
  });

  test("ends when it is interrupted, and goes on from there", async () => {
    await using on = await bench();
    const { runs, jobs } = await jobsFor(AXES, on.options);
    const own = new AbortController();
    const onJob = (): void => (on.ran.length === 3 ? own.abort(new Error("stopped")) : undefined);
    await expect(runJobs(runs, jobs, { ...on.options, signal: own.signal, onJob })).rejects.toThrow("stopped");
    expect(on.ran).toHaveLength(3);
    expect(await runJobs(runs, jobs, on.options)).toEqual({ made: 4, reused: 3, failed: [] });
  });

  test("runs as many at a time as it may, and none before what it needs", async () => {
    await using on = await bench();
    const { runs, jobs } = await jobsFor({ axes: { "sample.steps": [1, 2, 3, 4, 5] } }, on.options);
    let [now, most] = [0, 0];
    const execute: SweepRunOptions["execute"] = async (...args) => {
      most = Math.max(most, ++now);
      await on.options.execute(...args);
      now--;
    };
    expect(await runJobs(runs, jobs, { ...on.options, parallel: 3, execute })).toMatchObject({ made: 7, failed: [] });
    expect(most).toBe(3);
  });

  test("what its points show is no garbage, until its folder is removed", async () => {
    await using on = await bench();
    const { runs, jobs } = await jobsFor(AXES, on.options);
    await runJobs(runs, jobs, on.options);
    const later = new Date(Date.now() + 86_400_000);
    const collect = () => collectGarbage(on.store, { workspace: join(on.root, "mine"), since: later, dryRun: false });
    expect((await collect()).removed).toMatchObject({ objects: 0, keys: 0 });
    expect(await runJobs(runs, jobs, on.options)).toMatchObject({ made: 0 });
    await rm(on.options.folder, { recursive: true });
    expect((await collect()).removed.keys).toBe(7);
  });

  test("leaves the folder of a point complete: it is a pipeline", async () => {
    await using on = await bench();
    const { runs, jobs } = await jobsFor(AXES, on.options);
    await runJobs(runs, jobs, on.options);
    const { stages } = readPipeline(pointFolder(on.options.folder, "seed-1-steps-2"));
    expect(stages.find(({ name }) => name === "train")?.config).toEqual({ seed: 1 });
    expect(existsSync(outputFolder(pointFolder(on.options.folder, "seed-1-steps-2"), "more"))).toBe(false);
  });
});

describe("planOf()", () => {
  test("says what would run, what is reused, and how long it takes from records of the nearest configs", async () => {
    await using on = await bench();
    const first = await jobsFor({ axes: { "sample.steps": [1] } }, on.options);
    expect(stagesOf(await planOf(first.jobs, on.options))).toEqual(
      ["data", "train", "sample"].map((name) => ({ name, points: 1, runs: 1, reused: 0, seconds: 0, unknown: 1 })),
    );
    await runJobs(first.runs, first.jobs, on.options);
    const more = await jobsFor({ axes: { "sample.steps": [1, 2, 4], "train.seed": [0, 1] } }, on.options);
    const planned = await planOf(more.jobs, on.options);
    expect(planned.map(({ state }) => state)).toEqual([
      "reused",
      "reused",
      "reused",
      "runs",
      "waits",
      "runs",
      "waits",
      "runs",
      "waits",
    ]);
    const seconds = planned.filter(({ job }) => job.uses === "sample").map((job) => job.seconds ?? NaN);
    expect(seconds[2]! / seconds[0]!).toBeCloseTo(2, 6); // as many times the steps
    expect(seconds[4]! / seconds[0]!).toBeCloseTo(4, 6);
  });

  test("asks the remote store for what this machine does not know, by its key", async () => {
    await using on = await bench();
    const { runs, jobs } = await jobsFor(AXES, on.options);
    await runJobs(runs, jobs, on.options);
    await using empty = await bench();
    const remote = { find: (key: string) => on.store.lookup(key) };
    const states = (planned: { readonly state: string }[]): string[] => planned.map(({ state }) => state);
    expect(states(await planOf(jobs, empty.options, remote))).toEqual(jobs.map(() => "fetched"));
    expect(states(await planOf(jobs, empty.options))).toEqual(["runs", ...jobs.slice(1).map(() => "waits")]);
    expect(states(await planOf(jobs, on.options, remote))).toEqual(jobs.map(() => "reused"));
  });
});
