import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, registerRoot, type Made } from "@madformer/artifacts";
import {
  askedOf,
  entryDigest,
  outputFolder,
  putOutput,
  readChecked,
  readOutput,
  type StageDefaults,
} from "@madformer/stage";
import { titleOf, type Job } from "./jobs.js";
import { keyedJob, knownJob, type Knowing } from "./known.js";
import type { PointRun } from "./points.js";

export interface SweepRunOptions extends Knowing {
  /** The sweep's folder of outputs: a workspace to the store, so what its points show is no garbage. */
  readonly folder: string;
  /** Runs a stage of a pipeline's folder in a process of its own. Rejects with the reason if it fails. */
  readonly execute: (folder: string, stage: string, title: string) => Promise<void>;
  /** What `defaults.json` beside the pipelines says: their folders have it beside them, too. */
  readonly defaults?: StageDefaults | undefined;
  /** How many stages run at a time. */
  readonly parallel: number;
  readonly signal: AbortSignal;
  /** Called when a job has ended, in whatever way. */
  readonly onJob?: (job: Job, end: JobEnd) => void;
}

export type JobEnd = "made" | "reused" | "failed" | "skipped";

export interface SweepRun {
  readonly made: number;
  readonly reused: number;
  /** Points that are not complete, each with the stage that failed, and why. */
  readonly failed: readonly { readonly point: string; readonly stage: string; readonly reason: string }[];
}

/** The folder of a point, which holds its pipeline.json and its outputs. */
export function pointFolder(folder: string, point: string): string {
  return join(folder, "pipelines", point);
}

/**
 * Runs the jobs of a sweep, and shows each one's output at all points that have it. What the store knows is only
 * shown. A job that fails takes those along that need it; all others go on. The same again goes on where it was
 * interrupted.
 *
 * @throws `signal.reason` if aborted, when what was running has ended.
 */
export async function runJobs(
  runs: readonly PointRun[],
  jobs: readonly Job[],
  options: SweepRunOptions,
): Promise<SweepRun> {
  const { folder, parallel, signal, onJob } = options;
  const pipelines = await makeFolder(folder, "pipelines");
  if (options.defaults) await writeJson(join(pipelines, "defaults.json"), options.defaults);
  for (const { name, value } of runs) await writeJson(join(await makeFolder(pipelines, name), "pipeline.json"), value);
  const made = new Map<Job, Made>();
  const failed = new Map<Job, { readonly stage: string; readonly reason: string }>();
  const counts = { made: 0, reused: 0 };
  const waiting = new Set(jobs);
  const running = new Set<Promise<void>>();

  const end = (job: Job, how: JobEnd): void => {
    if (how === "made" || how === "reused") counts[how]++;
    onJob?.(job, how);
  };
  const start = async (job: Job): Promise<void> => {
    try {
      const { made: one, reused } = await runJob(job, made, options);
      made.set(job, one);
      end(job, reused ? "reused" : "made");
    } catch (error) {
      if (signal.aborted) return;
      const reason = error instanceof Error ? error.message : String(error);
      failed.set(job, { stage: job.owners[0]?.entry.name ?? job.uses, reason });
      end(job, "failed");
    }
  };
  while (waiting.size > 0 && !signal.aborted) {
    for (const job of waiting) {
      const cause = Object.values(job.needs)
        .map((need) => failed.get(need))
        .find(Boolean);
      if (cause) {
        failed.set(job, cause);
        waiting.delete(job);
        end(job, "skipped");
      } else if (running.size < parallel && Object.values(job.needs).every((need) => made.has(need))) {
        waiting.delete(job);
        const one: Promise<void> = start(job).finally(() => running.delete(one));
        running.add(one);
      }
    }
    if (running.size > 0) await Promise.race(running);
  }
  await Promise.all(running);
  signal.throwIfAborted();
  const unfinished = runs.flatMap(({ name }) => {
    const job = jobs.find((one) => failed.has(one) && one.owners.some(({ point }) => point.name === name));
    const cause = job && failed.get(job);
    return cause ? [{ point: name, ...cause }] : [];
  });
  return { ...counts, failed: unfinished };
}

async function runJob(
  job: Job,
  before: ReadonlyMap<Job, Made>,
  options: SweepRunOptions,
): Promise<{ readonly made: Made; readonly reused: boolean }> {
  const { store, folder, signal } = options;
  const [first, ...others] = job.owners;
  if (first === undefined) throw new Error(`Job ${titleOf(job)} has no point`);
  const known = await knownJob(await keyedJob(job, before, options), options);
  if (known) {
    const { made, engine, outside, program } = known;
    await show(job.owners, made, { key: made.record.key, program: program.sha256, engine, outside }, options);
    return { made, reused: true };
  }
  signal.throwIfAborted();
  const own = pointFolder(folder, first.point.name);
  await options.execute(own, first.entry.name, titleOf(job));
  signal.throwIfAborted();
  const out = outputFolder(own, first.entry.name);
  const [made, checked] = [await readOutput(out), await readChecked(out)];
  if (made === undefined || checked === undefined || (await store.lookup(checked.key)) === undefined)
    throw new Error(`Stage "${first.entry.name}" has ended, and its output is not there`);
  await show(others, made, checked, options);
  return { made, reused: false };
}

/** Puts what a job made where its points show it. */
async function show(
  owners: Job["owners"],
  made: Made,
  checked: Pick<Parameters<typeof putOutput>[3], "key" | "program" | "engine" | "outside">,
  { store, folder }: SweepRunOptions,
): Promise<void> {
  if (owners.length === 0) return;
  const names = owners.map(({ point, entry }) => [`${point.name}/${entry.name}`, checked.key] as const);
  await registerRoot(store, folder, Object.fromEntries(names)); // before it is shown: nobody removes it
  const { key, program, engine = [], outside } = checked;
  for (const { point, entry } of owners)
    await putOutput(
      pointFolder(folder, point.name),
      entry.name,
      made,
      { key, entry: entryDigest(entry), program, asked: entry.computes && askedOf(entry.compute), engine, outside },
      store,
    );
}

async function writeJson(path: string, value: unknown): Promise<void> {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  if ((await readFile(path, "utf8").catch(() => undefined)) !== text) await writeFile(path, text);
}
