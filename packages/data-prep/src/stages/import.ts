import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  DataError,
  isNamespace,
  notFiniteIn,
  openDataFile,
  readTorchCheckpoint,
  toFloat32,
  writeSafetensors,
  writeTorchCheckpoint,
  type Artifact,
  type DataFile,
  type TensorData,
  type TensorInput,
  type TensorValue,
  type TorchFile,
} from "@madformer/artifacts";
import {
  codecConfig,
  fileShape,
  isBuffer,
  madformerSpecs,
  parameterCount,
  PREDICTIONS,
  PRESETS,
  TORCH_FILES,
  torchFileOf,
  unlikeReference,
  trainedConfigText,
  withBuffers,
  type MadformerConfig,
  type PresetName,
} from "@madformer/model";
import { defineStage, type StageContext, type StageFiles } from "@madformer/stage";
import { z } from "zod";
import { inferConfig } from "../checkpoint/infer.js";
import { dictsOf, findLayout, misfit, type Dict, type Layout, type StateDictFound } from "../checkpoint/layout.js";
import { isHere, locate, type Located } from "../checkpoint/locate.js";
import { copyCodec, CODEC_FILES, finishCodec, hasCodec } from "../codec/files.js";
import { filesHere, importAutoencoder, isUrl, type AutoencoderSource } from "../codec/import-autoencoder.js";
import { unscaled } from "../codec/measure.js";

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hex digits");

/** The autoencoder of the paper's experiments. */
const SD_VAE_MSE = {
  from: "https://huggingface.co/stabilityai/sd-vae-ft-mse/resolve/31f26fdeee1355a5c34592e401dd41e45d25a493",
  sha256: "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
};

export const ImportConfig = z
  .strictObject({
    source: z
      .string()
      .min(1)
      .describe(
        "The checkpoint: a file (.pt, .pth, .bin, .safetensors) or a folder, https://..., s3://bucket/key, or hf:owner/name[@revision]",
      ),
    file: z
      .string()
      .min(1)
      .default("**/*.{pt,pth,bin,safetensors}")
      .describe("Which file, where the source holds several; of those that fit, the one with the highest number"),
    sha256: Sha256.optional().describe("SHA-256 of the file, if it is to be checked"),
    unsigned: z.boolean().default(false).describe("Whether to read a public bucket without credentials"),
    preset: z
      .enum(Object.keys(PRESETS) as [PresetName, ...PresetName[]])
      .optional()
      .describe(
        "The model, where neither shapes nor arguments in the file say what it is; without it, the preset of its shapes",
      ),
    blocks: z.int().positive().optional().describe("Blocks of an image, where the file does not say so"),
    arLayers: z.int().nonnegative().optional().describe("Autoregressive layers, where the file does not say so"),
    unetGroups: z
      .int()
      .positive()
      .optional()
      .describe("Groups of the U-Net's normalization, where the file does not say so"),
    unetHeads: z.int().positive().optional().describe("Heads of the U-Net's attention, where the file does not say so"),
    clearClean: z.boolean().optional().describe("Trained with --clear_clean, where the file does not say so"),
    clearCond: z.boolean().optional().describe("Trained with --clear_cond, where the file does not say so"),
    denoisingMlp: z.boolean().optional().describe("Trained with --denoising_mlp, where the file does not say so"),
    prediction: z
      .enum(PREDICTIONS)
      .optional()
      .describe("What the network predicts, where the file does not say so: epsilon in the released code"),
    quirks: z
      .enum(["reference", "sound"])
      .optional()
      .describe("The released code's oddities; without it as the file says, else those of the released code"),
    optimizer: z
      .boolean()
      .default(true)
      .describe("Keep the optimizer's state, if there is one: train can then go on where the file's run ended"),
    autoencoder: z
      .string()
      .min(1)
      .default(SD_VAE_MSE.from)
      .describe(
        "Folder, or URL of one, with the AutoencoderKL of diffusers that the latents are of, in its published units; not used with the input codec",
      ),
    autoencoderWeights: z
      .string()
      .min(1)
      .default("diffusion_pytorch_model.safetensors")
      .describe("Name of the weights' file there"),
    autoencoderSha256: Sha256.optional().describe("SHA-256 of the autoencoder's weights; needed for a URL"),
  })
  .refine((c) => autoencoderOf(c).sha256 !== undefined || !isUrl(c.autoencoder), {
    path: ["autoencoderSha256"],
    error: "needed for a URL: SHA-256 of the weights' file, 64 hex digits",
  })
  .readonly();
export type ImportConfig = z.infer<typeof ImportConfig>;

/** The autoencoder that a config names. */
function autoencoderOf(config: {
  readonly autoencoder: string;
  readonly autoencoderWeights: string;
  readonly autoencoderSha256?: string | undefined;
}): AutoencoderSource {
  const { autoencoder: from, autoencoderWeights: weights, autoencoderSha256 } = config;
  return { from, weights, sha256: autoencoderSha256 ?? (from === SD_VAE_MSE.from ? SD_VAE_MSE.sha256 : undefined) };
}

const WEIGHTS = "weights.safetensors";
const EMA = "ema.safetensors";

/**
 * Stage `import`: somebody's checkpoint in, the files that `export` writes out.
 *
 * Reads   what its config names; codec: codec.json, codec.safetensors
 * Writes  config.json (model, training step, where it came from), codec.json, codec.safetensors
 *         weights.safetensors, ema.safetensors: by the reference's keys, in the file's precision (float64 as
 *         float32); one set of weights stands for both
 *         checkpoint.pt or checkpoint.sound.pt: with the optimizer's state, if there was one (see `export`)
 *
 * A file's layout is found by its content: the reference's, a bare state dict, or one in the nests of other trainers,
 * with the prefixes of wrappers. Sizes follow from shapes. Tensors are copied one at a time.
 *
 * @throws {DataError} If the checkpoint cannot be had, or is none: all keys that do not fit stand in one list.
 * @throws {FormatError} If a file is damaged, or a weight is not finite.
 */
export const stage = defineStage({
  name: "import",
  summary: "Take weights from a checkpoint of PyTorch or a safetensors file: local, https, S3 or Hugging Face",
  config: ImportConfig,
  inputs: {
    codec: { summary: "The codec of the model's latents (stage vae), instead of --autoencoder", optional: true },
  },
  outside: (config) => [
    ...(isHere(config.source) ? [{ path: config.source, by: "time" } as const] : []),
    ...filesHere(autoencoderOf(config)),
  ],
  async run(config, { codec }, context) {
    const tmp = join(context.out, "tmp", "import");
    await mkdir(tmp, { recursive: true });
    const located = await locate(config, tmp, context);
    const opened = await openDataFile(located.path);
    await using _file = opened.file;
    const { layout, model, assumed } = read(opened, config);
    context.log.info(describe(model, layout));
    if (assumed.length > 0)
      context.log.warn(
        `nothing in the file says ${assumed.join(", ")}: taken from the released code's model; options name others`,
      );
    const { raw: trained, ema: averaged } = layout;
    if (!trained || !averaged)
      context.log.warn(
        `there is one set of weights, in ${(trained ?? averaged)!.where}: it stands for raw and for averaged ones`,
      );
    await takeCodec(config, codec, model, tmp, context);
    const step = await takeState(opened, config, layout, model, located, tmp, context);
    const [raw, ema] = [layout.raw ?? layout.ema!, layout.ema ?? layout.raw!];
    await takeWeights(WEIGHTS, raw, model, located, tmp, context);
    if (raw === ema) await copyWeights(tmp, located, context);
    else await takeWeights(EMA, ema, model, located, tmp, context);
    const from = { source: located.name, sha256: await located.sha256 };
    await context.files.write("config.json", trainedConfigText({ model, step }, { imported: from }));
    const torch = TORCH_FILES.find((name) => context.files.has(name));
    return {
      ...from,
      step,
      parameters: parameterCount(madformerSpecs(model)),
      tensors: Object.keys(madformerSpecs(model)).length,
      weights: raw === ema ? raw.where : `${raw.where} and ${ema.where}`,
      ...(torch === undefined ? {} : { torch }),
    };
  },
});

/** What is in a file, and the config of its model. */
function read(opened: DataFile, config: ImportConfig) {
  const { file } = opened;
  const fail = (problem: string): Error => file.error(problem);
  const layout = findLayout(dictsIn(opened), opened.kind === "torch" ? argsOf(opened.file) : new Map(), fail);
  const found = layout.ema ?? layout.raw!;
  const { model, assumed } = inferConfig(found.tensors, layout.args, config, fail);
  for (const dict of [layout.raw, layout.ema]) {
    const problem = dict && misfit(madformerSpecs(model), dict, (key) => isBuffer(model, key));
    if (problem !== undefined) throw fail(`${dict!.where} does not fit ${describe(model, layout)}: ${problem}`);
  }
  return { layout, model, assumed };
}

function dictsIn(opened: DataFile): Dict[] {
  if (opened.kind === "torch") return dictsOf(opened.file.value);
  if (opened.kind !== "safetensors") throw opened.file.error("it is numpy's, expected PyTorch's or safetensors");
  const { file } = opened;
  const tensors = file.names.map(
    (name) =>
      [name, { ...file.tensor(name), read: () => file.read(name), pieces: () => file.readPieces(name) }] as const,
  );
  return [{ path: [], tensors: new Map(tensors) }];
}

/** The command line that the reference keeps, as a Namespace or a dict. */
function argsOf(file: TorchFile): ReadonlyMap<string, unknown> {
  const args = file.get("args");
  if (isNamespace(args)) return new Map(Object.entries(args.fields));
  return args instanceof Map ? (args as ReadonlyMap<string, unknown>) : new Map();
}

/** A model in a line. */
function describe(model: MadformerConfig, { raw, ema, args }: Layout): string {
  const { arLayers, diffusionLayers, width, blocks } = model;
  const sets = [raw && `weights in ${raw.where}`, ema && `average in ${ema.where}`].filter(Boolean).join(", ");
  return (
    `a MADFormer of ${parameterCount(madformerSpecs(model)).toLocaleString("en")} parameters: ${arLayers} autoregressive and ` +
    `${diffusionLayers} diffusion layers of ${width} channels, ${blocks} blocks; ${sets}${args.size > 0 ? ", with arguments" : ""}`
  );
}

async function takeCodec(
  config: ImportConfig,
  codec: Artifact | undefined,
  model: MadformerConfig,
  tmp: string,
  context: StageContext,
): Promise<void> {
  const { files, log } = context;
  if (codec) await copyCodec(codec, files);
  else if (!hasCodec(files)) {
    log.info(`taking the autoencoder of ${config.autoencoder}`);
    const { config: autoencoder, scale, weights } = await importAutoencoder(autoencoderOf(config), tmp, context);
    await finishCodec(context, { codec: codecConfig({ ...unscaled(autoencoder), scale }), weights });
  }
  const { scale } = codecConfig(JSON.parse(await readFile(await files.path(CODEC_FILES[1]), "utf8")));
  if (scale.mean.length !== model.latentChannels)
    throw new DataError(
      `Cannot import: the model is of latents with ${model.latentChannels} channels, and the codec makes ${scale.mean.length}`,
    );
}

/** What an earlier attempt finished of the same file. */
async function hasOf(files: StageFiles, file: string, { sha256 }: Located): Promise<boolean> {
  return files.has(file) && (files.note(file) as { readonly of?: string } | undefined)?.of === (await sha256);
}

async function takeWeights(
  name: string,
  dict: StateDictFound,
  model: MadformerConfig,
  located: Located,
  tmp: string,
  { files, signal, log }: StageContext,
): Promise<void> {
  if (await hasOf(files, name, located)) return;
  const specs = Object.entries(madformerSpecs(model));
  let done = 0;
  const tensors = specs.map(([key, spec]): [string, TensorInput] => {
    const tensor = dict.tensors.get(key)!;
    const dtype = tensor.dtype === "float16" || tensor.dtype === "bfloat16" ? tensor.dtype : "float32";
    const kept = ({ data, ...value }: TensorValue): TensorValue =>
      dtype === value.dtype ? { ...value, data } : { ...value, dtype, data: toFloat32({ ...value, data }) };
    const data = async function* (): AsyncGenerator<TensorData> {
      signal.throwIfAborted();
      for await (const piece of tensor.pieces?.() ?? [await tensor.read()]) {
        const weights = kept(piece);
        if (notFiniteIn(weights) !== undefined)
          throw new DataError(
            `Cannot import ${JSON.stringify(located.name)}: ${dict.where}, ${key} is not finite: ${notFiniteIn(kept(await tensor.read()))}`,
          );
        yield weights.data;
      }
      log.progress("tensors", ++done, specs.length, { file: name });
    };
    return [key, { dtype, shape: fileShape(spec), data }];
  });
  const temporary = join(tmp, name);
  const written = await writeSafetensors(temporary, Object.fromEntries(tensors), { format: "pt" });
  await files.add(temporary, name, { of: await located.sha256 }, written);
}

/** One set of weights stands for both. */
async function copyWeights(tmp: string, located: Located, { files }: StageContext): Promise<void> {
  if (await hasOf(files, EMA, located)) return;
  await files.addSecondName(WEIGHTS, join(tmp, EMA), EMA, { of: await located.sha256 });
}

/**
 * Keeps the optimizer's state, if there is one and it is wanted.
 *
 * @returns Updates that the weights were made of: as the optimizer says, else the file's name, as the reference names
 *   them.
 */
async function takeState(
  opened: DataFile,
  config: ImportConfig,
  { raw, ema }: Layout,
  model: MadformerConfig,
  located: Located,
  tmp: string,
  { files, log }: StageContext,
): Promise<number> {
  // 0010000.pt, step_1000.pt; not bf16.pt
  const named = Number(/(?:^|[^a-z\d])(\d{1,15})\.[a-z]+$/i.exec(located.name)?.[1] ?? 0);
  if (opened.kind !== "torch" || opened.file.get("opt") === undefined || !raw || !ema) return named;
  let checkpoint;
  try {
    checkpoint = await readTorchCheckpoint(opened.file);
  } catch (error) {
    log.warn(`the optimizer's state is left out: ${(error as Error).message}`);
    return named;
  }
  const { opt, lrs, args, counters } = checkpoint;
  const step = [...opt.moments.values()][0]?.step ?? named;
  const name = torchFileOf(model);
  if (!config.optimizer || opt.moments.size === 0 || (await hasOf(files, name, located))) return step;
  log.info(`writing ${name}`);
  if (name !== TORCH_FILES[0])
    log.warn(
      `${name} is not for the released code, which computes something else: ${unlikeReference(model).join("; ")}`,
    );
  const inputs = (dict: StateDictFound) =>
    withBuffers(
      model,
      new Map(Object.keys(madformerSpecs(model)).map((key) => [key, dict.tensors.get(key)! as never])),
      ({ shape, data }): never => ({ dtype: "float32", shape, data }) as never,
    );
  try {
    await writeTorchCheckpoint(join(tmp, name), {
      model: inputs(raw),
      ema: inputs(ema),
      opt: {
        moments: new Map([...opt.moments].map(([key, moment]) => [raw.rename(key), moment])),
        groups: opt.groups.map((group) => ({ ...group, params: group.params.map(raw.rename) })),
      },
      lrs,
      args,
      ...(counters ? { counters } : {}),
    });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // what is foreign among the arguments
    log.warn(`the optimizer's state is left out: ${error.message}`);
    return step;
  }
  await files.add(join(tmp, name), name, { of: await located.sha256 });
  return step;
}
