import type { Digest, Made } from "@madformer/artifacts";
import { readRecords, secondsOf } from "./estimate.js";
import type { Job } from "./jobs.js";
import { keyedJob, knownJob, type Knowing } from "./known.js";

/** What would become of a job. */
export interface PlannedJob {
  readonly job: Job;
  /**
   * `fetched`: the remote store has it; `waits`: something before it would run; it would too, unless that comes out
   * as it was before.
   */
  readonly state: "reused" | "fetched" | "runs" | "waits";
  /** About how long it takes, if it runs; unknown for a stage that never ran. */
  readonly seconds: number | undefined;
}

/**
 * Looks what the store knows, and how long earlier runs took. Runs nothing.
 *
 * @param remote Asked for what the store does not know, by its key.
 */
export async function planOf(
  jobs: readonly Job[],
  knowing: Knowing,
  remote?: { find(key: Digest): Promise<Made | undefined> },
): Promise<PlannedJob[]> {
  const records = await readRecords(knowing.store);
  const made = new Map<Job, Made>();
  const planned: PlannedJob[] = [];
  for (const job of jobs) {
    const keyed = await keyedJob(job, made, knowing);
    const known = await knownJob(keyed, knowing);
    const there = known || !keyed ? undefined : await remote?.find(keyed.key);
    const found = known?.made ?? there;
    if (found) made.set(job, found);
    const waits = Object.values(job.needs).some((need) => !made.has(need));
    planned.push({
      job,
      state: known ? "reused" : there ? "fetched" : waits ? "waits" : "runs",
      seconds: secondsOf(job, records),
    });
  }
  return planned;
}

/** Whether a job is computed. */
export const isRun = ({ state }: PlannedJob): boolean => state === "runs" || state === "waits";

/** The jobs of one stage of the pipeline, together. */
export interface PlannedStage {
  readonly name: string;
  /** Points that have it. */
  readonly points: number;
  readonly runs: number;
  readonly reused: number;
  /** Of those that run and whose stage has run before. */
  readonly seconds: number;
  /** How many of those that run have no record. */
  readonly unknown: number;
}

/** A plan by the pipeline's stages, in their order. */
export function stagesOf(planned: readonly PlannedJob[]): PlannedStage[] {
  const names = [...new Set(planned.flatMap(({ job }) => job.owners.map(({ entry }) => entry.name)))];
  return names
    .map((name) => {
      const own = planned.filter(({ job }) => job.owners[0]?.entry.name === name);
      const points = planned.flatMap(({ job }) => job.owners.filter(({ entry }) => entry.name === name));
      const running = own.filter(isRun);
      return {
        name,
        points: points.length,
        runs: running.length,
        reused: own.length - running.length,
        seconds: running.reduce((sum, { seconds = 0 }) => sum + seconds, 0),
        unknown: running.filter(({ seconds }) => seconds === undefined).length,
      };
    })
    .filter(({ runs, reused }) => runs + reused > 0);
}
