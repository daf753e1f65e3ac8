import { createHash } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { DataError, FormatError, notFinite, openSafetensors, writeSafetensors } from "@madformer/artifacts";
import {
  fileShape,
  fromStateDict,
  madformerSpecs,
  toStateDict,
  unlikeReference,
  type FileTensor,
  type MadformerConfig,
  type ParameterSpecs,
} from "@madformer/model";
import type { TrainingState, Weights } from "@madformer/optim";
import { stepName } from "./plan.js";

/** Parts of the state of training, by the name they have in programs. */
export const PARTS = ["params", "ema", "m", "v"] as const;
export type Part = keyof TrainingState;

/** Everything that training goes on from. */
export interface Checkpoint extends Readonly<Record<Part, Weights>> {
  readonly step: number;
  /** What the loop wants to know besides: JSON. */
  readonly notes: unknown;
}

/** The file of each part, and what its keys begin with there. Moments have the names that PyTorch gives them. */
const PLACES: Readonly<Record<Part, { readonly file: string; readonly prefix: string }>> = {
  params: { file: "weights", prefix: "" },
  ema: { file: "ema", prefix: "" },
  m: { file: "state", prefix: "exp_avg." },
  v: { file: "state", prefix: "exp_avg_sq." },
};
export const CHECKPOINT_FILES = ["weights.safetensors", "ema.safetensors", "state.safetensors"] as const;

/** A checkpoint that cannot be used: damaged, incomplete, or of another model. */
export class CheckpointError extends DataError {}

/**
 * Writes a checkpoint: a folder with `weights.safetensors` and `ema.safetensors` (the reference's keys and layouts) and
 * `state.safetensors` (AdamW's moments). It appears under its name when it is complete and on the disk. Each file says
 * in its metadata which step it is of and what its tensors' SHA-256 is, and, where the released code would compute
 * something else with tensors of these names and shapes, how (`not_reference`).
 *
 * @param folder Of all checkpoints; exists.
 * @param tmp Of files that are not complete, on the same disk; exists.
 * @param read A tensor of the state, as the program has it. Called twice for each, so that no two need be in memory.
 * @throws {DataError} If a tensor is not finite: with the step and the tensor.
 */
export async function writeCheckpoint(
  folder: string,
  tmp: string,
  model: MadformerConfig,
  { step, notes }: Pick<Checkpoint, "step" | "notes">,
  read: (part: Part, key: string) => Float32Array | Promise<Float32Array>,
): Promise<void> {
  const specs = madformerSpecs(model);
  const unlike = unlikeReference(model);
  const unfinished = join(tmp, stepName(step));
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished);
  for (const file of CHECKPOINT_FILES) {
    const parts = PARTS.filter((part) => `${PLACES[part].file}.safetensors` === file);
    const tensors = parts.flatMap((part) =>
      Object.keys(specs).map((key) => {
        const data = async (): Promise<Float32Array> => inFile(specs, key, await read(part, key)).data;
        const shape = fileShape(specs[key] as ParameterSpecs[string]);
        return [PLACES[part].prefix + key, { dtype: "float32", shape, data }] as const;
      }),
    );
    const digest = new TensorsDigest();
    for (const [name, { data }] of tensors) {
      const values = await data();
      const bad = notFinite(values);
      if (bad)
        throw new DataError(
          `Cannot write the checkpoint of step ${step}: tensor ${JSON.stringify(name)} of ${file} is not finite: ${bad}`,
        );
      digest.add(name, values);
    }
    await writeSafetensors(join(unfinished, file), Object.fromEntries(tensors), {
      format: "pt",
      step: String(step),
      sha256: digest.hex(),
      ...(unlike.length > 0 ? { not_reference: unlike.join("; ") } : {}),
      ...(file === "state.safetensors" ? { notes: JSON.stringify(notes) } : {}),
    });
  }
  await rename(unfinished, join(folder, stepName(step)));
  await syncFolder(folder);
}

/**
 * Reads a checkpoint, every byte of it checked.
 *
 * @throws {CheckpointError} If it is damaged, incomplete, not finite, or does not fit the model.
 */
export async function readCheckpoint(folder: string, model: MadformerConfig, step: number): Promise<Checkpoint> {
  const path = join(folder, stepName(step));
  const checkpoint = await readCheckpointFiles(path, async (file) => join(path, file), model);
  if (checkpoint.step !== step)
    throw new CheckpointError(`Cannot go on from ${JSON.stringify(path)}: it is of step ${checkpoint.step}`);
  return checkpoint;
}

/**
 * The same, of files that lie anywhere.
 *
 * @param name What errors call it.
 * @param pathOf Where a file of it is.
 */
export async function readCheckpointFiles(
  name: string,
  pathOf: (file: (typeof CHECKPOINT_FILES)[number]) => Promise<string>,
  model: MadformerConfig,
): Promise<Checkpoint> {
  const specs = madformerSpecs(model);
  const parts: Partial<Record<Part, Weights>> = {};
  const steps = new Set<string>();
  let notes: unknown;
  try {
    for (const file of CHECKPOINT_FILES) {
      const path = await pathOf(file);
      await using tensors = await openSafetensors(path);
      const digest = new TensorsDigest();
      for (const part of PARTS.filter((part) => `${PLACES[part].file}.safetensors` === file)) {
        const found: Record<string, FileTensor> = {};
        for (const key of Object.keys(specs)) {
          const name = PLACES[part].prefix + key;
          const data = await tensors.readWeights(name);
          digest.add(name, data);
          found[key] = { shape: tensors.tensor(name).shape, data };
        }
        parts[part] = fromStateDict(specs, found);
      }
      const { step = "", sha256 } = tensors.metadata;
      steps.add(step);
      if (!/^\d{1,15}$/.test(step) || steps.size > 1 || sha256 !== digest.hex())
        throw new FormatError(path, "its tensors are not those of its metadata");
      if (file === "state.safetensors") notes = JSON.parse(tensors.metadata["notes"] ?? "null");
    }
  } catch (cause) {
    if (!isDamage(cause)) throw cause;
    throw new CheckpointError(`Cannot go on from ${JSON.stringify(name)}: ${cause.message}`, { cause });
  }
  return { ...(parts as Record<Part, Weights>), step: Number([...steps][0]), notes };
}

/** Whether an error says that a file is not what it should be, rather than that the disk or the program fails. */
export function isDamage(error: unknown): error is Error {
  const code =
    (error as NodeJS.ErrnoException).code ?? ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
  return (
    error instanceof SyntaxError || // FormatError is one, and so is JSON that does not parse
    (error as Error).name === "ShapeError" ||
    code === "ENOENT" ||
    code === "ENOTDIR"
  );
}

/** Steps of the checkpoints in a folder, rising. Whether they are whole is not known yet. */
export async function checkpointSteps(folder: string): Promise<number[]> {
  const steps = (await readdir(folder)).flatMap((name) => {
    const step = Number(/^step-(\d+)$/.exec(name)?.[1]);
    return name === stepName(step) ? [step] : [];
  });
  return steps.sort((a, b) => a - b);
}

/** Removes a folder or file so that at no moment a part of it is there under its name. */
export async function removeWhole(path: string, tmp: string): Promise<void> {
  const doomed = join(tmp, "removed");
  await rm(doomed, { recursive: true, force: true });
  await rename(path, doomed);
  await rm(doomed, { recursive: true, force: true });
}

function inFile(specs: ParameterSpecs, key: string, data: Float32Array): FileTensor {
  return toStateDict({ [key]: specs[key] as ParameterSpecs[string] }, { [key]: data })[key] as FileTensor;
}

/** SHA-256 over names and elements of tensors, in the order in which they are added. */
class TensorsDigest {
  private readonly hash = createHash("sha256");

  add(name: string, data: Float32Array): void {
    this.hash.update(`${name}\n`);
    this.hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  hex(): string {
    return this.hash.digest("hex");
  }
}

/** Makes a new name durable. Not every system lets a folder be opened; there the rename has to do. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  try {
    await handle?.sync();
  } finally {
    await handle?.close();
  }
}
