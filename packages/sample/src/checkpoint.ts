import { readFile } from "node:fs/promises";
import { DataError, openSafetensors, reasonOf, type Artifact } from "@madformer/artifacts";
import {
  codecConfig,
  codecSpecs,
  fromStateDict,
  madformerConfig,
  madformerSpecs,
  type CodecConfig,
  type MadformerConfig,
  type ParameterSpecs,
} from "@madformer/model";
import { z } from "zod";

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
export interface Checkpoint {
  readonly model: MadformerConfig;
  readonly codec: CodecConfig;
  readonly codecWeights: Weights;
  /** The final weights. */
  readonly final: KeptWeights;
  /** All that were kept, by training step; the final ones are the last. */
  readonly kept: readonly KeptWeights[];
}

const ConfigFile = z.object({ format: z.literal(1), model: z.unknown(), step: z.int().nonnegative() });

/**
 * Opens what `export` made:
 *
 *     config.json                    the model's config and the training step
 *     {weights,ema}.safetensors      the final weights, and their average
 *     codec.json, codec.safetensors  latents to images
 *     checkpoints/step-*\/           the same weights of kept checkpoints
 *
 * Weights are read when they are asked for, and must be finite.
 *
 * @throws {DataError} If a file is missing, damaged, or does not fit the config. {FormatError} If a weight is not finite.
 */
export async function openCheckpoint(artifact: Artifact): Promise<Checkpoint> {
  const config = ConfigFile.safeParse(await readJson(artifact, "config.json"));
  if (!config.success)
    throw new DataError(
      `Cannot use this checkpoint: config.json lacks ${config.error.issues[0]?.path.join(".") ?? "fields"}`,
    );
  const model = madformerConfig(config.data.model as never);
  const codec = codecConfig(await readJson(artifact, "codec.json"));
  const codecWeights = await readWeights(artifact, "codec.safetensors", codecSpecs(codec));
  const specs = madformerSpecs(model);
  const weightsIn = (folder: string, name: string, step: number): KeptWeights => ({
    name,
    step,
    load: (which) => readWeights(artifact, `${folder}${which === "ema" ? "ema" : "weights"}.safetensors`, specs),
  });
  const final = weightsIn("", "final", config.data.step);
  const steps = artifact.files
    .map((file) => /^checkpoints\/step-(\d+)\/ema\.safetensors$/.exec(file))
    .flatMap((match) =>
      match ? [{ folder: match[0].slice(0, -"ema.safetensors".length), step: Number(match[1]) }] : [],
    )
    .filter(({ step }) => step !== final.step)
    .sort((a, b) => a.step - b.step);
  const kept = [
    ...steps.map(({ folder, step }) => weightsIn(folder, `step-${String(step).padStart(7, "0")}`, step)),
    final,
  ];
  return { model, codec, codecWeights, final, kept };
}

async function readJson(artifact: Artifact, file: string): Promise<unknown> {
  const path = await artifact.path(file);
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new DataError(`Cannot read ${file} of the checkpoint: ${reasonOf(cause)}`, { cause });
  }
}

async function readWeights(artifact: Artifact, file: string, specs: ParameterSpecs): Promise<Weights> {
  await using opened = await openSafetensors(await artifact.path(file));
  return fromStateDict(specs, await opened.readAllWeights());
}
