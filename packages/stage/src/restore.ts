import type { Made, Store } from "@madformer/artifacts";
import { parseConfig } from "./config.js";
import { Lent } from "./lent.js";
import { foundAt, inputsOf, show } from "./main.js";
import { outputFolder, readChecked, readOutput } from "./output.js";
import { upTo, type Pipeline, type PipelineStage } from "./pipeline.js";
import type { StageRemote } from "./remote.js";
import { findStage, type BundleDigest } from "./run.js";
import type { Stage } from "./stage.js";
import { stageStatus } from "./status.js";

export interface RestoreOptions {
  readonly store: Store;
  readonly remote: StageRemote | undefined;
  /** The stage function by its name. */
  readonly stage: (uses: string) => Promise<Stage<never>>;
  /** Its program, as it is now. */
  readonly program: (uses: string) => Promise<BundleDigest>;
  readonly signal: AbortSignal;
  /** Whether the files of all stages are fetched, read by somebody or not. */
  readonly whole?: boolean;
  readonly stream?: NodeJS.WriteStream;
  /** Told of each stage that was brought back, and from where. */
  readonly onStage?: (name: string, from: string) => void;
}

/** What became of a stage. */
export interface Restored {
  readonly name: string;
  /**
   * - `current`: its output is what it would make now.
   * - `restored`: it was not, and is now.
   * - `known`: the same, but for files that are in the remote store, where nothing has read them.
   * - `unknown`: neither this store nor the remote one has it, or it could not be had.
   * - `waits`: a stage before it is unknown.
   */
  readonly state: "current" | "restored" | "known" | "unknown" | "waits";
  readonly made?: Made;
}

/**
 * Brings back what the store or the remote one has of a stage of a pipeline and all that it needs, one after another,
 * in this process. Runs no stage, and waits for none.
 *
 * What tells of stages comes first. Then come the files of the last stage, which people look at, and of those that are
 * read by stages that have to run; where they cannot be had, the stage that made them has to run, too, and needs the
 * files of those before it.
 *
 * @param last The stage; undefined for all.
 * @returns In the order in which they would run.
 */
export async function restorePipeline(
  pipeline: Pipeline,
  last: string | undefined,
  options: RestoreOptions,
): Promise<Restored[]> {
  const { store, remote, whole = false } = options;
  const entries = last === undefined ? pipeline.stages : upTo(pipeline.stages, last);
  const found = new Map<string, Restored>();
  for (const entry of entries) found.set(entry.name, await restoreOne(pipeline, entry, found, options));
  if (whole) return [...found.values()];

  const lent = new Lent(pipeline, store, remote);
  const wanted = last === undefined ? [] : [last];
  for (const entry of entries) wanted.push(...(await readBy(entry, found, options)));
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    const one = found.get(name);
    if (one?.state !== "known" || one.made === undefined) continue;
    const isHere = await lent.bring(name, one.made);
    found.set(name, isHere ? { ...one, state: "restored" } : { name, state: "unknown" });
    const entry = entries.find((other) => other.name === name);
    if (!isHere && entry) wanted.push(...(await readBy(entry, found, options)));
  }
  return [...found.values()];
}

/** What a stage makes, if it is known. */
async function restoreOne(
  pipeline: Pipeline,
  entry: PipelineStage,
  before: ReadonlyMap<string, Restored>,
  options: RestoreOptions,
): Promise<Restored> {
  const { store, remote, signal, whole = false, onStage } = options;
  const { name, uses, needs, config, compute } = entry;
  signal.throwIfAborted();
  const made = new Map<string, Made>();
  for (const need of Object.values(needs)) {
    const one = before.get(need)?.made;
    if (one === undefined) return { name, state: "waits" };
    made.set(need, one);
  }
  const program = await options.program(uses);
  const status = await stageStatus(pipeline.folder, entry, made, {
    store,
    program: () => program.sha256,
    ...(whole ? {} : { remote: remote?.name }),
  });
  if (status.current) return { name, state: status.elsewhere ? "known" : "current", made: status.made };
  const stage = await options.stage(uses);
  const parsed = parseConfig(stage, config, `"${name}" of ${pipeline.folder}/pipeline.json`);
  const inputs = inputsOf(stage, entry, pipeline.folder, made, store);
  const shown = await readOutput(outputFolder(pipeline.folder, name));
  const stream = options.stream ? { stream: options.stream } : {};
  const run = { program, store, signal, compute, title: name, shown, remote, ...stream };
  const wasLent = (await readChecked(outputFolder(pipeline.folder, name)))?.remote !== undefined;
  const found = await findStage(stage, parsed, inputs, run, whole);
  if (found === undefined) return { name, state: "unknown" };
  // Other stages may have had the same files: its logs are its own.
  if (whole && wasLent && found.fetched !== true) await remote?.bring(found, name);
  await show(pipeline, entry, found, program, store, remote);
  onStage?.(name, foundAt(found, remote));
  return { name, state: found.elsewhere === true ? "known" : "restored", made: found };
}

/** The stages whose files a stage reads before it runs, if it has to run and some of them are not here. */
async function readBy(
  { name, uses, needs }: PipelineStage,
  found: ReadonlyMap<string, Restored>,
  { stage }: RestoreOptions,
): Promise<string[]> {
  const state = found.get(name)?.state;
  const known = Object.entries(needs).filter(([, need]) => found.get(need)?.state === "known");
  if ((state !== "unknown" && state !== "waits") || known.length === 0) return [];
  const { inputs } = await stage(uses);
  return known.filter(([input]) => inputs[input]?.few !== true).map(([, need]) => need);
}
