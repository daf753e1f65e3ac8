import type { Artifact, Digest, Made, Store } from "@madformer/artifacts";
import {
  computeOf,
  lookEngine,
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
  /** The files that decide which version of its engine it gets, as they are. */
  readonly engine: readonly OutsideState[];
  readonly program: BundleDigest;
}

/** A job by its key. */
export interface KeyedJob extends Omit<KnownJob, "made"> {
  readonly key: Digest;
}

/**
 * The key of a job.
 *
 * @param before What the jobs that it needs have made.
 * @returns Undefined if one of them is not there.
 */
export async function keyedJob(
  job: Job,
  before: ReadonlyMap<Job, Made>,
  { store, load, program }: Knowing,
): Promise<KeyedJob | undefined> {
  const inputs: Record<string, Artifact> = {};
  for (const [input, need] of Object.entries(job.needs)) {
    const made = before.get(need);
    if (made === undefined) return undefined;
    inputs[input] = store.artifact(made);
  }
  const [stage, code] = [await load(job.uses), await program(job.uses)];
  const engine = await lookEngine(stage, job.compute ?? {});
  const compute = computeOf(stage, job.compute); // its version as it is now
  const outside = await lookOutside(stage.outside?.(job.config as never) ?? []);
  const key = stageKey(stage, code, job.config, inputs, outsideDigest(outside), compute);
  return { key, engine, outside, program: code };
}

/** What was made under a job's key, if the store has it whole. */
export async function knownJob(keyed: KeyedJob | undefined, { store }: Knowing): Promise<KnownJob | undefined> {
  if (keyed === undefined) return undefined;
  const made = await store.lookup(keyed.key);
  if (made === undefined || (await store.missing(made.manifest)).length > 0) return undefined;
  return { made, engine: keyed.engine, outside: keyed.outside, program: keyed.program };
}
