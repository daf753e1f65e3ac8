import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DataError, notFinite, openSafetensors, writeSafetensors, type TensorInput } from "@madformer/artifacts";
import type { StageContext } from "./stage.js";

/** Where work of many steps was left: everything it needs to go on is this, its state, and the config. */
export interface Progress {
  /** Steps done. */
  readonly step: number;
  /** What each step told: (step, width), row-major. */
  readonly told: Float32Array;
}

/** The state that steps change, such as that of a compiled program. */
export interface StateTensors {
  readonly fields: readonly { readonly name: string; readonly shape: readonly number[] }[];
  read(name: string): Promise<ArrayBufferView>;
  write(name: string, value: Float32Array): Promise<void>;
}

/** What the work is, for whoever finds it. */
export interface Work {
  /** Values that each step tells. */
  readonly width: number;
  /** Digest of what decides it, where one folder may come to hold another. */
  readonly identity?: string;
}

/** Where a stage keeps it. It is no file of the stage's output. */
export const PROGRESS_FILE = "tmp/checkpoint.safetensors";

type Place = Pick<StageContext, "out" | "files">;

/**
 * Keeps a state of float32 tensors, and what its steps told, whole or not at all: tensors `state/<name>` and `told`,
 * metadata `step` and `identity`.
 *
 * @throws {DataError} If a tensor of the state is not finite: with its name and the step.
 */
export async function keepProgress(
  { out, files }: Place,
  state: StateTensors,
  { step, told }: Progress,
  { identity }: Work,
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
  await writeSafetensors(temporary, tensors, {
    step: String(step),
    ...(identity === undefined ? {} : { identity }),
  });
  await files.add(temporary, PROGRESS_FILE); // the last one is there until this one is
}

/**
 * Puts a state back that was kept.
 *
 * @returns Where the work was left; undefined where there is nothing, it was damaged, or is of other work.
 * @throws {DataError} If its tensors are of another state. {FormatError} If one is not finite.
 */
export async function findProgress(
  { files }: Place,
  state: StateTensors,
  { width, identity }: Work,
): Promise<Progress | undefined> {
  if (!files.has(PROGRESS_FILE)) return undefined;
  const path = await files.path(PROGRESS_FILE);
  await using file = await openSafetensors(path);
  if (file.metadata["identity"] !== identity) return undefined;
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

/** Removes it, once what was worked for is finished. */
export async function dropProgress({ out, files }: Place): Promise<void> {
  await files.drop(PROGRESS_FILE);
  await rm(join(out, PROGRESS_FILE), { force: true });
}
