import { readFile } from "node:fs/promises";
import { DataError, readAllWeights, reasonOf, type Artifact } from "@madformer/artifacts";
import {
  codecConfig,
  codecSpecs,
  fromStateDict,
  madformerSpecs,
  trainedConfig,
  type CodecConfig,
  type MadformerConfig,
  type ParameterSpecs,
} from "@madformer/model";

/** Weights as programs take them. */
export type Weights = Record<string, Float32Array>;

/** One set of weights that training kept. */
export interface KeptWeights {
  /** `final`, or `step-0000400`. */
  readonly name: string;
  readonly step: number;
  load(which: "ema" | "raw"): Promise<Weights>;
}

/** A model that images can be sampled from. */
export interface TrainedModel {
  readonly model: MadformerConfig;
  readonly codec: CodecConfig;
  readonly codecWeights: Weights;
  /** The final weights; of a training run that has not ended, the newest. */
  readonly final: KeptWeights;
  /** All that were kept, by training step; the final ones are the last. */
  readonly kept: readonly KeptWeights[];
  /** Updates of the whole training run. */
  readonly steps: number;
}

/**
 * Opens what `export` made, or a training run:
 *
 *     config.json                    the model's config and the training step
 *     {weights,ema}.safetensors      the final weights, and their average; not in a training run
 *     codec.json, codec.safetensors  latents to images
 *     checkpoints/step-*\/           the same weights of kept checkpoints
 *
 * Weights are read when they are asked for, and must be finite.
 *
 * @throws {DataError} If a file is missing, damaged, or does not fit the config. {FormatError} If a weight is not
 *   finite.
 */
export async function openTrainedModel(artifact: Artifact): Promise<TrainedModel> {
  const { model, step } = await read(artifact, "config.json", trainedConfig);
  const codec = await read(artifact, "codec.json", codecConfig);
  const weights = async (file: string, specs: ParameterSpecs): Promise<Weights> =>
    fromStateDict(specs, await readAllWeights(await artifact.path(file)));
  const codecWeights = await weights("codec.safetensors", codecSpecs(codec));
  const specs = madformerSpecs(model);
  const weightsIn = (folder: string, name: string, step: number): KeptWeights => ({
    name,
    step,
    load: (which) => weights(`${folder}${which === "ema" ? "ema" : "weights"}.safetensors`, specs),
  });
  const steps = artifact.files
    .flatMap((file) => /^checkpoints\/step-(\d+)\/ema\.safetensors$/.exec(file)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
  const nameOf = (step: number): string => `step-${String(step).padStart(7, "0")}`;
  const keptAt = (step: number, name = nameOf(step)): KeptWeights =>
    weightsIn(`checkpoints/${nameOf(step)}/`, name, step);
  const newest = steps.at(-1);
  const isRun = newest !== undefined && !artifact.files.includes("ema.safetensors");
  const final = isRun ? keptAt(newest, newest === step ? "final" : nameOf(newest)) : weightsIn("", "final", step);
  const kept = [...steps.filter((step) => step !== final.step).map((step) => keptAt(step)), final];
  return { model, codec, codecWeights, final, kept, steps: step };
}

/**
 * The checkpoints that a config asks for, by training step.
 *
 * @param wanted `final`, `all`, or a list such as `1000,final`.
 * @throws {DataError} If one is not there: with the steps of those that are.
 */
export function chosenCheckpoints(
  { kept, final }: Pick<TrainedModel, "kept" | "final">,
  wanted: string,
): readonly KeptWeights[] {
  if (wanted === "all") return kept;
  const steps = new Set(wanted.split(",").map((word) => (word === "final" ? final.step : Number(word))));
  const there = kept.map(({ step }) => step);
  const missing = [...steps].filter((step) => !there.includes(step));
  if (missing.length > 0)
    throw new DataError(
      `Cannot sample checkpoints ${wanted}: there is none of step ${missing.join(", ")}, expected some of ${there.join(", ")}`,
    );
  return kept.filter(({ step }) => steps.has(step));
}

/** @throws {DataError} If a file is missing, no JSON, or does not say what it should. */
async function read<T>(artifact: Artifact, file: string, parse: (value: unknown) => T): Promise<T> {
  const path = await artifact.path(file);
  try {
    return parse(JSON.parse(await readFile(path, "utf8")));
  } catch (cause) {
    throw new DataError(`Cannot read ${file} of the checkpoint: ${reasonOf(cause)}`, { cause });
  }
}
