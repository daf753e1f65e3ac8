import { join } from "node:path";
import { DataError, notFinite, openSafetensors, writeSafetensors, type TensorInput } from "@madformer/artifacts";
import type { Program } from "@madformer/engine";
import type { StageContext } from "@madformer/stage";

/** A training run as it was left: everything it needs to go on is this file and the config. */
export interface Progress {
  /** Steps done. */
  readonly step: number;
  /** What each step told: (step, width), row-major. */
  readonly told: Float32Array;
}

/** Where a stage keeps it. */
const FILE = "tmp/checkpoint.safetensors";

type Place = Pick<StageContext, "out" | "files">;

/** A program that trains something. */
type Training = { readonly state: Pick<Program["state"], "fields" | "read" | "write"> };

/**
 * Keeps a program's state, and what its steps told, whole or not at all.
 *
 * @throws {DataError} If a tensor of the state is not finite: with its name and the step.
 */
export async function writeCheckpoint(
  { out, files }: Place,
  { state }: Training,
  { step, told }: Progress,
): Promise<void> {
  const tensors: Record<string, TensorInput> = { told: { dtype: "float32", shape: [told.length], data: told } };
  const read = async (name: string): Promise<Float32Array> => {
    const values = (await state.read(name)) as Float32Array;
    const bad = notFinite(values);
    if (bad) throw new DataError(`Cannot save the training at step ${step}: "${name}" is not finite: ${bad}`);
    return values;
  };
  for (const { name, shape } of state.fields)
    tensors[`state/${name}`] = { dtype: "float32", shape, data: () => read(name) };
  const temporary = join(out, "tmp", "next.safetensors");
  await writeSafetensors(temporary, tensors, { step: String(step) });
  await files.add(temporary, FILE); // the last one is there until this one is
}

/**
 * Puts a checkpoint's state back into a program.
 *
 * @param width Values that each step told.
 * @returns Where the run was left; undefined where there is no checkpoint, or it was damaged.
 * @throws {DataError} If it is one of another program. {FormatError} If it is not finite.
 */
export async function readCheckpoint(
  { files }: Place,
  { state }: Training,
  width: number,
): Promise<Progress | undefined> {
  if (!files.has(FILE)) return undefined;
  const path = await files.path(FILE);
  await using file = await openSafetensors(path);
  const step = Number(file.metadata["step"]);
  const told = await file.readWeights("told");
  const fits = state.fields.every(
    ({ name, shape }) => file.has(`state/${name}`) && file.tensor(`state/${name}`).shape.join() === shape.join(),
  );
  if (!Number.isInteger(step) || told.length !== step * width || !fits)
    throw new DataError(
      `Cannot go on from ${JSON.stringify(path)}: it is of another training; remove it to start anew`,
    );
  for (const { name } of state.fields) await state.write(name, await file.readWeights(`state/${name}`));
  return { step, told };
}
