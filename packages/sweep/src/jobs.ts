import { canonicalJson, sha256, type Digest } from "@madformer/artifacts";
import type { Compute } from "@madformer/stage";
import type { PointRun, PointStage } from "./points.js";

/** Where a job's output is shown: a stage of a point. */
export interface Owner {
  readonly point: PointRun;
  readonly entry: PointStage;
}

/**
 * A stage that runs once, for all points that have it: same function, same complete config, same engine, same jobs
 * before it.
 */
export interface Job {
  readonly id: Digest;
  readonly uses: string;
  readonly config: unknown;
  /** What it computes with, if it computes. */
  readonly compute: Compute | undefined;
  /** Input -> the job that makes it. */
  readonly needs: Readonly<Record<string, Job>>;
  /** The first is the one in whose folder it runs. */
  readonly owners: readonly Owner[];
}

/**
 * What has to run for all points together.
 *
 * @returns Each after those that it needs; the first point's first.
 */
export function jobsOf(runs: readonly PointRun[]): Job[] {
  const jobs = new Map<Digest, Job & { readonly owners: Owner[] }>();
  for (const point of runs) {
    const own = new Map<string, Job>();
    for (const entry of point.stages) {
      const needs = Object.fromEntries(
        Object.entries(entry.needs).map(([input, need]) => [input, own.get(need) as Job]),
      );
      const before = Object.fromEntries(Object.entries(needs).map(([input, { id }]) => [input, id]));
      const plain: unknown = JSON.parse(JSON.stringify(entry.complete));
      const { uses, computes: compute } = entry;
      const id = sha256(canonicalJson({ uses, config: plain, compute: compute ?? null, needs: before }));
      const job = jobs.get(id) ?? { id, uses, config: entry.complete, compute, needs, owners: [] };
      job.owners.push({ point, entry });
      jobs.set(id, job);
      own.set(entry.name, job);
    }
  }
  return [...jobs.values()];
}

/** What messages call a job: its stage, with its point if it is of one alone. */
export function titleOf({ owners }: Job): string {
  const [first] = owners;
  const points = new Set(owners.map(({ point }) => point.name)).size;
  return `${first?.entry.name} of ${points === 1 ? first?.point.name : `${points} points`}`;
}
