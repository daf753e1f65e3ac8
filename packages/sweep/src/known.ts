import { type Artifact, type Made, type Store } from "@madformer/artifacts";
import {
  lookOutside,
  outsideDigest,
  stageKey,
  type OutsideState,
  type BundleDigest,
  type Stage,
} from "@madformer/stage";
import type { Job } from "./jobs.js";

/** What it takes to know whether the store has what a job would make. */
export interface Knowing {
  readonly store: Store;
  /** The stage function by its name. */
  readonly load: (uses: string) => Promise<Stage<never>>;
  /** Its program, as it is now. */
  readonly program: (uses: string) => Promise<BundleDigest>;
}

export interface KnownJob {
  readonly made: Made;
  /** What it read outside of the workspace, as it is. */
  readonly outside: readonly OutsideState[];
  readonly program: BundleDigest;
}

/**
 * What a job would make, if the store has it whole.
 *
 * @param before What the jobs that it needs have made.
 */
export async function knownJob(
  job: Job,
  before: ReadonlyMap<Job, Made>,
  { store, load, program }: Knowing,
): Promise<KnownJob | undefined> {
  const inputs: Record<string, Artifact> = {};
  for (const [input, need] of Object.entries(job.needs)) {
    const made = before.get(need);
    if (made === undefined) return undefined;
    inputs[input] = store.artifact(made);
  }
  const [stage, code] = [await load(job.uses), await program(job.uses)];
  const outside = await lookOutside(stage.outside?.(job.config as never) ?? []);
  const made = await store.lookup(stageKey(stage, code, job.config, inputs, outsideDigest(outside)));
  if (made === undefined || (await store.missing(made.manifest)).length > 0) return undefined;
  return { made, outside, program: code };
}
