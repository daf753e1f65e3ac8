import { rm } from "node:fs/promises";
import { DataError, type Made, type ObjectRef, type Store } from "@madformer/artifacts";
import { checkedPath, lentOutput, outputFolder, putOutput, readChecked } from "./output.js";
import type { Pipeline, PipelineStage } from "./pipeline.js";
import type { StageRemote } from "./remote.js";
import type { InputSpecs } from "./stage.js";

/** Files that the remote store has and that cannot be had: the stage that made them has to run. */
export class InputLost extends DataError {}

/**
 * What a pipeline shows of stages whose files are in the remote store and not all here: gets the files, shows them, and
 * takes the word back where it was not true.
 */
export class Lent {
  /** Stages whose files could not be had. */
  readonly lost = new Set<string>();

  constructor(
    private readonly pipeline: Pick<Pipeline, "folder">,
    private readonly store: Store,
    private readonly remote: StageRemote | undefined,
  ) {}

  /**
   * Gets all files of a stage that is lent, and shows them.
   *
   * @returns Whether they are here now. If not, the stage's output no longer counts.
   */
  async bring(name: string, made: Made): Promise<boolean> {
    if (this.lost.has(name)) return false;
    const isHere =
      (await this.remote?.bring(made, name)) === true || (await this.store.missing(made.manifest)).length === 0;
    if (!isHere) await this.lose(name);
    const checked = isHere ? await readChecked(outputFolder(this.pipeline.folder, name)) : undefined;
    if (checked?.remote !== undefined) {
      const { remote: _, ...now } = checked;
      await this.store.remember({ manifest: made.manifest, record: made.record });
      await putOutput(this.pipeline.folder, name, made, now, this.store);
    }
    return isHere;
  }

  /** Gets one file of a stage that is not here. */
  async bringOne(name: string, made: Made, ref: ObjectRef): Promise<boolean> {
    if (!(await this.isLent(name, made))) return false;
    const isHere = !this.lost.has(name) && (await this.remote?.bringOne(made, ref)) === true;
    if (!isHere) await this.lose(name);
    return isHere;
  }

  /** Whether what is shown of a stage says that its files are in the remote store. */
  async isLent(name: string, made: Made): Promise<boolean> {
    return (await lentOutput(outputFolder(this.pipeline.folder, name)))?.record.digest === made.record.digest;
  }

  /** Without `checked.json` the stage is one that has to run. */
  private async lose(name: string): Promise<void> {
    this.lost.add(name);
    await rm(checkedPath(outputFolder(this.pipeline.folder, name)), { recursive: true, force: true });
  }
}

/**
 * Gets what a stage reads, as far as it is in the remote store alone: all files of an input, unless the stage reads few
 * of them.
 *
 * @param before What the stages before made, by their names.
 * @throws {InputLost} If that cannot be had.
 */
export async function bringInputs(
  { name, needs }: PipelineStage,
  inputs: InputSpecs,
  before: ReadonlyMap<string, Made>,
  lent: Lent,
): Promise<void> {
  for (const [input, need] of Object.entries(needs)) {
    const made = before.get(need);
    if (made === undefined || inputs[input]?.few === true || !(await lent.isLent(need, made))) continue;
    if (!(await lent.bring(need, made))) throw inputLost(name, [need]);
  }
}

export function inputLost(name: string, lost: Iterable<string>, cause?: unknown): InputLost {
  return new InputLost(
    `Cannot run ${name}: files of ${[...lost].join(", ")} are in the remote store alone, and cannot be had from there; the same command again makes them`,
    { cause },
  );
}
