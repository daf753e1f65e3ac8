import { join } from "node:path";
import { statusAt, type StageRecord, type Store } from "@madformer/artifacts";
import type { Job } from "./jobs.js";

/** So many records are read, of the newest. */
const MAX_RECORDS = 2000;
/** Fields that the time of a stage grows with. */
const WORK = ["steps", "accumulate", "count"];

/** What is known of earlier runs, by stage function. */
export type Records = ReadonlyMap<string, readonly StageRecord[]>;

export async function readRecords(store: Store): Promise<Records> {
  const keys = await store.keys();
  const age = (key: string): number => statusAt(join(store.root, "keys", `${key}.json`))?.mtimeMs ?? 0;
  const newest = keys.map((key) => [age(key), key] as const).sort(([a], [b]) => b - a);
  const found = new Map<string, StageRecord[]>();
  for (const [, key] of newest.slice(0, MAX_RECORDS)) {
    const made = await store.peek(key);
    if (made === undefined || made === "damaged") continue;
    found.set(made.record.stage, [...(found.get(made.record.stage) ?? []), made.record]);
  }
  return found;
}

/** What makes one run like another: its config, and the engine it is computed with. */
const told = (config: unknown, compute: Job["compute"]): unknown =>
  JSON.parse(JSON.stringify({ config, compute })) as unknown;

/**
 * About how long a job takes, in seconds: the median of the runs whose configs are nearest to its own, each stretched
 * by how much more work the job's config names (steps of training or of a solver).
 *
 * @returns Undefined if its stage has never run.
 */
export function secondsOf(job: Pick<Job, "uses" | "config" | "compute">, records: Records): number | undefined {
  const config = leavesOf(told(job.config, job.compute));
  const runs = (records.get(job.uses) ?? []).map((record) => {
    const other = leavesOf(told(record.config, record.compute));
    const places = [...new Set([...config.keys(), ...other.keys()])];
    return { record, other, distance: places.filter((place) => config.get(place) !== other.get(place)).length };
  });
  const least = Math.min(...runs.map(({ distance }) => distance));
  const times = runs
    .filter(({ distance }) => distance === least)
    .map(({ record, other }) => record.seconds * moreWork(other, config))
    .sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)];
}

function moreWork(before: ReadonlyMap<string, unknown>, now: ReadonlyMap<string, unknown>): number {
  let factor = 1;
  for (const [place, value] of now) {
    const old = before.get(place);
    if (!WORK.includes(place.split(".").at(-1) ?? "")) continue;
    if (typeof value === "number" && typeof old === "number" && value > 0 && old > 0) factor *= value / old;
  }
  return factor;
}

function leavesOf(value: unknown, place = ""): Map<string, unknown> {
  if (typeof value !== "object" || value === null) return new Map([[place, value]]);
  const below = Object.entries(value).flatMap(([name, one]) => [
    ...leavesOf(one, place === "" ? name : `${place}.${name}`),
  ]);
  return new Map(below);
}
