import type { Made, Store } from "@madformer/artifacts";
import { parseConfig } from "./config.js";
import { foundAt, inputsOf, show } from "./main.js";
import { outputFolder, readOutput } from "./output.js";
import { upTo, type Pipeline } from "./pipeline.js";
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
   * - `unknown`: neither this store nor the remote one has it, or it could not be had.
   * - `waits`: a stage before it is unknown.
   */
  readonly state: "current" | "restored" | "unknown" | "waits";
  readonly made?: Made;
}

/**
 * Brings back what the store or the remote one has of a stage of a pipeline and all that it needs, one after another,
 * in this process. Runs no stage, and waits for none.
 *
 * @param last The stage; undefined for all.
 * @returns In the order in which they would run.
 */
export async function restorePipeline(
  pipeline: Pipeline,
  last: string | undefined,
  options: RestoreOptions,
): Promise<Restored[]> {
  const { store, remote, signal, onStage } = options;
  const made = new Map<string, Made>();
  const done: Restored[] = [];
  for (const entry of last === undefined ? pipeline.stages : upTo(pipeline.stages, last)) {
    const { name, uses, needs, config, compute } = entry;
    signal.throwIfAborted();
    if (Object.values(needs).some((need) => !made.has(need))) {
      done.push({ name, state: "waits" });
      continue;
    }
    const program = await options.program(uses);
    const status = await stageStatus(pipeline.folder, entry, made, { store, program: () => program.sha256 });
    if (status.current) {
      made.set(name, status.made);
      done.push({ name, state: "current", made: status.made });
      continue;
    }
    const stage = await options.stage(uses);
    const parsed = parseConfig(stage, config, `"${name}" of ${pipeline.folder}/pipeline.json`);
    const inputs = inputsOf(stage, entry, pipeline.folder, made, store);
    const shown = await readOutput(outputFolder(pipeline.folder, name));
    const stream = options.stream ? { stream: options.stream } : {};
    const run = { program, store, signal, compute, title: name, shown, remote, ...stream };
    const found = await findStage(stage, parsed, inputs, run);
    if (found === undefined) {
      done.push({ name, state: "unknown" });
      continue;
    }
    await show(pipeline, entry, found, program, store);
    onStage?.(name, foundAt(found, remote));
    made.set(name, found);
    done.push({ name, state: "restored", made: found });
  }
  return done;
}
