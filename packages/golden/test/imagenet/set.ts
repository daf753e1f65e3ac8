/** The set of the branch with classes, and how its models are made of it. */
import { fileURLToPath } from "node:url";
import {
  configFromReference,
  fromStateDict,
  geometryOf,
  hasText,
  isBuffer,
  madformerSpecs,
  type MadformerConfig,
  type WithText,
} from "@madformer/model";
import { goldenJson, goldenTensors, type GoldenTensor } from "../golden.js";

/** The folder of the set: `MADFORMER_GOLDEN_IMAGENET`, else the copy in this package. */
export const FOLDER =
  process.env["MADFORMER_GOLDEN_IMAGENET"] ?? fileURLToPath(new URL("../../data-imagenet", import.meta.url));

export const META = goldenJson("meta.json", FOLDER);

/** All tensors of a file of the set. */
export const tensorsOf = (name: string): Record<string, GoldenTensor> => goldenTensors(name, FOLDER);

/** The variants of the set: flags of the config, by name. */
export const VARIANTS = Object.keys(META.forward as object);

/** The config of a variant: its name is its flags. */
export function configOf(variant: string, model: object = META.model as object): WithText {
  const config = configFromReference({
    ...model,
    clear_clean: variant.includes("clear_clean"),
    clear_cond: variant.includes("clear_cond"),
    denoising_mlp: variant.includes("denoising_mlp"),
  });
  if (!hasText(config)) throw new Error("the set's model has no text");
  return config;
}

/** A state dict of the set, as programs take it; its buffers are checked elsewhere. */
export function weightsOf(config: MadformerConfig, file = "model.safetensors"): Record<string, Float32Array> {
  const tensors = Object.entries(tensorsOf(file)).filter(([key]) => !isBuffer(config, key));
  return fromStateDict(
    madformerSpecs(config),
    Object.fromEntries(tensors) as Record<string, GoldenTensor & { data: Float32Array }>,
  );
}

/** Where text, clean and noised tokens begin and end in the tokens of one image, as the reference has them. */
export function partsOf(config: WithText): Record<"text" | "clean" | "noised", readonly [number, number]> {
  const { T, M } = geometryOf(config);
  const { tokens } = config.text;
  const L = T * M;
  return { text: [0, tokens], clean: [tokens, tokens + L], noised: [tokens + L, tokens + 2 * L] };
}
