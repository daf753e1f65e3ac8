import { readFile } from "node:fs/promises";
import {
  DataError,
  digestFile,
  FormatError,
  notFinite,
  openSafetensors,
  openTorch,
  readAllWeights,
  readTorchCheckpoint,
  reasonOf,
  TorchTensor,
  type Artifact,
  type StateDict,
} from "@madformer/artifacts";
import {
  fromStateDict,
  madformerSpecs,
  TORCH_FILES,
  trainedConfig,
  trainedSpecs,
  type FileTensor,
  type MadformerConfig,
  type TrainedConfig,
} from "@madformer/model";
import type { FirstState, Weights } from "@madformer/optim";
import { differ } from "@madformer/stage";
import { CHECKPOINT_FILES, CheckpointError, isDamage, readCheckpointFiles } from "./checkpoint.js";
import type { TrainConfig } from "./config.js";
import type { Start } from "./loop.js";
import { stepName } from "./plan.js";

/** What a run can be carried on from. */
export interface Parent {
  /** In words, for messages. */
  readonly name: string;
  /** Undefined where nothing says so: of a checkpoint alone. */
  readonly model: MadformerConfig | undefined;
  /** Updates that it was made of; of a checkpoint alone, as its files say. */
  readonly step: number;
  /** Where it begins for a config, once its model is known. */
  start(config: TrainConfig): Start;
}

/**
 * Opens what a run is carried on from:
 *
 * - a training run (stage `train`), of which the newest checkpoint counts, whether or not it has ended;
 * - one of its checkpoints, `checkpoints/step-*`;
 * - an export (stage `export`, or what writes the same files), whose optimizer's state is in PyTorch's file.
 *
 * @throws {DataError} If it is none of them, or its config is not valid.
 */
export async function openParent(from: Artifact): Promise<Parent> {
  const has = (folder: string): boolean => CHECKPOINT_FILES.every((file) => from.files.includes(`${folder}${file}`));
  const newest = from.files
    .flatMap((file) => /^checkpoints\/step-(\d+)\/state\.safetensors$/.exec(file)?.[1] ?? [])
    .map(Number)
    .filter((step) => has(`checkpoints/${stepName(step)}/`))
    .sort((a, b) => b - a)[0];
  if (newest !== undefined) {
    const { model } = await configOf(from);
    return checkpointParent(from, `checkpoints/${stepName(newest)}/`, `checkpoint ${newest} of a training run`, model);
  }
  if (has("")) return checkpointParent(from, "", "a checkpoint", undefined);
  if (["config.json", "weights.safetensors", "ema.safetensors"].every((file) => from.files.includes(file)))
    return exportParent(from, await configOf(from));
  throw new DataError(
    'Cannot go on from the input "from": ' +
      `it holds ${from.files.length === 0 ? "no files" : from.files.slice(0, 3).join(", ")}, expected a training run with a checkpoint, one of its checkpoints, or an export`,
  );
}

/** A checkpoint with all its files. */
async function checkpointParent(
  from: Artifact,
  folder: string,
  name: string,
  model: MadformerConfig | undefined,
): Promise<Parent> {
  const step = await stepOf(await from.path(`${folder}state.safetensors`));
  const all = (config: TrainConfig) => readCheckpointFiles(name, (file) => from.path(`${folder}${file}`), config.model);
  return { name, model, step, start: (config) => startOf(from, folder, step, config, () => all(config)) };
}

/** An export: the optimizer's state is in PyTorch's file, if that was written. */
async function exportParent(
  from: Artifact,
  { model, step }: { readonly model: MadformerConfig; readonly step: number },
): Promise<Parent> {
  const torch = TORCH_FILES.find((file) => from.files.includes(file));
  const all = async (config: TrainConfig): Promise<FirstState> => {
    const { model } = config;
    if (torch === undefined)
      throw new DataError(`Cannot go on from an export without ${TORCH_FILES.join(" or ")}: ${BARE}`);
    const [params, ema] = [await weightsOf(from, "", "raw", model), await weightsOf(from, "", "ema", model)];
    return { params, ema, ...(await momentsOf(await from.path(torch), torch, config, step)) };
  };
  return { name: "an export", model, step, start: (config) => startOf(from, "", step, config, () => all(config)) };
}

const BARE = "it holds no optimizer's state; begin with its weights alone, carry = ema or raw";

function startOf(
  from: Artifact,
  folder: string,
  step: number,
  { carry, model }: TrainConfig,
  all: () => Promise<FirstState>,
): Start {
  if (carry === "all") return { step, load: all };
  const load = async (): Promise<FirstState> => {
    const weights = await weightsOf(from, folder, carry, model);
    return { params: weights, ema: weights };
  };
  return { step: 0, load };
}

/** @throws {DataError} If config.json is none. */
async function configOf(from: Artifact): Promise<TrainedConfig> {
  try {
    return trainedConfig(JSON.parse(await readFile(await from.path("config.json"), "utf8")));
  } catch (cause) {
    throw new DataError(`Cannot go on from the input "from": its config.json is not valid: ${reasonOf(cause)}`, {
      cause,
    });
  }
}

async function stepOf(path: string): Promise<number> {
  await using file = await openSafetensors(path);
  const { step = "" } = file.metadata;
  if (/^\d{1,15}$/.test(step)) return Number(step);
  throw new CheckpointError(`Cannot go on from ${JSON.stringify(path)}: its metadata has no step`);
}

/** @throws {CheckpointError} If the weights do not fit the model. {FormatError} If one is not finite. */
async function weightsOf(
  from: Artifact,
  folder: string,
  which: "ema" | "raw",
  model: MadformerConfig,
): Promise<Weights> {
  const file = `${folder}${which === "ema" ? "ema" : "weights"}.safetensors`;
  return fitting(file, async () => fromStateDict(madformerSpecs(model), await readAllWeights(await from.path(file))));
}

/**
 * AdamW's moments of PyTorch's file.
 *
 * @param step What they must be of: one number of updates for all parameters.
 * @throws {CheckpointError} If they are missing, do not fit the model, or are of another step.
 */
async function momentsOf(
  path: string,
  name: string,
  { model }: TrainConfig,
  step: number,
): Promise<{ readonly m: Weights; readonly v: Weights }> {
  return fitting(name, async () => {
    await using file = await openTorch(path);
    const { opt } = await readTorchCheckpoint(file);
    if (opt.moments.size === 0) throw new CheckpointError(`Cannot go on from ${name}: ${BARE}`);
    const other = [...opt.moments].find(([, moment]) => moment.step !== step);
    if (other)
      throw new CheckpointError(
        `Cannot go on from ${name}: the optimizer has made ${other[1].step} updates of "${other[0]}", expected ${step}, as config.json says`,
      );
    // What was not trained has none, and begins with none if it is trained now.
    const specs = madformerSpecs(model);
    const none = Object.keys(specs).filter((key) => !(key in trainedSpecs(model)) && !opt.moments.has(key));
    const read = async (kind: "expAvg" | "expAvgSq"): Promise<Weights> => {
      const moments = new Map([...opt.moments].map(([key, moment]) => [key, moment[kind]]));
      const zeros = none.map((key) => {
        const { shape } = specs[key]!;
        return [key, { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) }] as const;
      });
      return fromStateDict(specs, { ...(await tensorsOf(moments, path, kind)), ...Object.fromEntries(zeros) });
    };
    return { m: await read("expAvg"), v: await read("expAvgSq") };
  });
}

/** @throws {FormatError} If a value is not finite. */
async function tensorsOf(tensors: StateDict, path: string, kind: string): Promise<Record<string, FileTensor>> {
  const read: Record<string, FileTensor> = {};
  for (const [key, tensor] of tensors) {
    if (!(tensor instanceof TorchTensor)) continue;
    const data = await tensor.readFloat32();
    const bad = notFinite(data);
    if (bad) throw new FormatError(path, `${kind} of "${key}" is not finite: ${bad}`);
    read[key] = { shape: tensor.shape, data };
  }
  return read;
}

async function fitting<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!isDamage(cause) || cause instanceof CheckpointError) throw cause;
    throw new CheckpointError(`Cannot go on from ${name}: ${cause.message}`, { cause });
  }
}

/** What of a parent is another thing in the run that carries it on, and may not have been meant. */
export async function surprises(
  parent: Parent,
  from: Artifact,
  latents: Artifact,
  config: TrainConfig,
): Promise<string[]> {
  const found: string[] = [];
  const model = parent.model && differ(parent.model, config.model);
  if (model && model.length > 0) found.push(`the model is another than that of "from": ${model.join("; ")}`);
  if (from.files.includes("codec.json") && (await codecOf(from)) !== (await codecOf(latents)))
    found.push('the latents are of another codec than those that the model of "from" was trained on');
  return found;
}

async function codecOf(artifact: Artifact): Promise<string> {
  const digests = ["codec.json", "codec.safetensors"].map(async (file) =>
    artifact.files.includes(file) ? (await digestFile(await artifact.path(file))).sha256 : "none",
  );
  return (await Promise.all(digests)).join(" ");
}
