import type { Digest, Made, Store } from "@madformer/artifacts";
import { askedOf } from "./compute.js";
import { entryDigest, lentOutput, oddOutput, outputFolder, readChecked } from "./output.js";
import { lookAgain, outsideDigest } from "./outside.js";
import { upTo, type Pipeline, type PipelineStage } from "./pipeline.js";

/** Whether what a pipeline shows of a stage is what it would make now. */
export type StageStatus =
  | {
      readonly name: string;
      readonly current: true;
      readonly made: Made;
      /** Whether files of it are in the remote store alone. */
      readonly elsewhere: boolean;
    }
  | { readonly name: string; readonly current: false; readonly why: string };

export interface StatusOptions {
  readonly store: Store;
  /** The digest of a stage function's program as it is now. */
  readonly program: (uses: string) => Digest | undefined;
  /** The remote store of the workspace, whose files are as good as files here. */
  readonly remote?: string | undefined;
  /** Whether files of all stages are to be here, not only those of the last. */
  readonly whole?: boolean;
}

/**
 * Looks whether there is anything to do for a stage of a pipeline and all that it needs, without loading a stage. Of
 * each stage, all of this is looked at:
 *
 * - what pipeline.json says about it, its program's digest, and the engine that is asked for, are those that its key
 *   was computed with, and so is the engine's version;
 * - what it reads outside of the workspace has the names, sizes and times that it had, or the same bytes;
 * - the store still knows the key, or `checked.json` says that the remote store has the files, and its record names the
 *   inputs' manifests as they are now;
 * - manifest and record in `out/` are the store's, byte for byte;
 * - every object has the size and the time that the store gave it; every file in `out/` is its object (the same inode),
 *   and there are no others. Where `checked.json` says that the files are in the remote store, some may be missing,
 *   except for those of the last stage, which people look at.
 *
 * Whatever is not so makes a stage one that is run, which finds out what it means.
 *
 * @returns In the order in which they run.
 */
export async function pipelineStatus(pipeline: Pipeline, last: string, options: StatusOptions): Promise<StageStatus[]> {
  const made = new Map<string, Made>();
  const found: StageStatus[] = [];
  for (const entry of upTo(pipeline.stages, last)) {
    const { remote, ...others } = options;
    const isWhole = options.whole === true || entry.name === last;
    const status = await stageStatus(pipeline.folder, entry, made, isWhole ? others : { ...others, remote });
    if (status.current) made.set(entry.name, status.made);
    found.push(status);
  }
  return found;
}

/** @param before What the stages before made, of those whose output is current. */
export async function stageStatus(
  folder: string,
  entry: PipelineStage,
  before: ReadonlyMap<string, Made>,
  { store, program, remote }: Omit<StatusOptions, "whole">,
): Promise<StageStatus> {
  const { name, needs, uses } = entry;
  const not = (why: string): StageStatus => ({ name, current: false, why });
  const waiting = Object.values(needs).filter((need) => !before.has(need));
  if (waiting.length > 0) return not(`waits for ${[...new Set(waiting)].join(", ")}`);
  const out = outputFolder(folder, name);
  const checked = await readChecked(out);
  if (checked === undefined) return not("its output is not there, or was not checked");
  if (checked.entry !== entryDigest(entry)) return not("pipeline.json says something else about it");
  if (checked.program !== program(uses)) return not("its program is another one");
  const asked = askedOf(entry.compute);
  for (const word of checked.asked ? new Set([...Object.keys(asked), ...Object.keys(checked.asked)]) : [])
    if (asked[word] !== checked.asked?.[word]) return not(`its ${word} is another one`);
  const engine = checked.engine ?? [];
  if (outsideDigest(await lookAgain(engine)) !== outsideDigest(engine)) return not("its engine is another version");

  const isLent = checked.remote !== undefined && checked.remote === remote;
  const made = (await store.lookup(checked.key)) ?? (isLent ? await lentOutput(out) : undefined);
  if (made === undefined) return not("the store does not know it");
  const { record } = made;
  const inputs = Object.entries(needs);
  const sameInputs =
    inputs.length === Object.keys(record.inputs).length &&
    inputs.every(([input, need]) => record.inputs[input]?.digest === before.get(need)?.record.manifest);
  if (!sameInputs) return not("an input is another one");
  const outside = outsideDigest(await lookAgain(checked.outside));
  if (record.program.sha256 !== checked.program || record.outside !== outside)
    return not("what it reads outside has changed");
  const odd = await oddOutput(out, made, store);
  if (odd === undefined) return { name, current: true, made, elsewhere: false };
  const other = isLent ? await oddOutput(out, made, store, true) : odd;
  return other === undefined ? { name, current: true, made, elsewhere: true } : not(other);
}
