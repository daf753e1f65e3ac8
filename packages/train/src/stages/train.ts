import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError, LatentShards, readAllWeights, type Artifact } from "@madformer/artifacts";
import { computing } from "@madformer/engine";
import {
  codecConfig,
  codecSpecs,
  compileCodecDecoder,
  fromStateDict,
  geometryOf,
  latentsMirror,
  madformerSpecs,
  parameterCount,
  pixelsPerLatent,
  trainedConfigText,
  type CodecConfig,
  type CodecDecoder,
} from "@madformer/model";
import { ConfigError, defineStage } from "@madformer/stage";
import type { LatentSource } from "../batch.js";
import { TrainSettings, withModel, type TrainConfig } from "../config.js";
import { goesOn } from "../goes-on.js";
import { idle } from "../idle.js";
import { LOSSES, train } from "../loop.js";
import { planOf } from "../plan.js";
import type { Decode } from "../sample-grid.js";
import { openParent, surprises, type Parent } from "../start.js";

/** Files that every later stage wants to find beside the weights. */
const CODEC_FILES = ["codec.json", "codec.safetensors"] as const;
/** What classes are called, where the data set says it. */
const CLASS_NAMES = "classes.json";

/**
 * Stage `train`: latents in, a model out.
 *
 * Reads   latents: latents-*.arrow, codec.json, codec.safetensors, classes.json
 *         from: a checkpoint of a run before this one, or weights (`start.ts`)
 * Writes  config.json, codec.json, codec.safetensors, classes.json, and what the training loop writes (`loop.ts`)
 *
 * Killed at any moment, or damaged, and run again, it makes the same bytes. Aborted, it makes a checkpoint first.
 */
export const stage = defineStage({
  name: "train",
  summary: "Train a MADFormer on latents",
  config: TrainSettings,
  computing,
  inputs: {
    latents: {
      summary: "Latents of the images to train on, with their codec (stage latents)",
      stages: ["latents"],
    },
    from: {
      summary: "What to go on from: a training run, one of its checkpoints, or an export; see --carry",
      optional: true,
      stages: ["train", "export", "import"],
      unfinished: true,
    },
  },
  idle,
  free: ["logEvery"],
  notes: [...CODEC_FILES, CLASS_NAMES, "config.json", LOSSES],
  goesOn,
  run: async (settings, { latents, from }, context) => {
    const { out, files, log } = context;
    if (!from && settings.carry !== "all")
      throw new ConfigError(`Cannot train with carry "${settings.carry}": there is no input "from" to take weights of`);
    const parent = from && (await openParent(from));
    if (parent && !parent.model && settings.model === undefined)
      throw new ConfigError(
        `Cannot go on from ${parent.name} alone: its files do not say its model; name the training run that it is of, or the model`,
      );
    const config = withModel(settings, parent?.model);
    const shards = latents.files.filter((file) => /^latents-\d+\.arrow$/.test(file));
    if (shards.length === 0) throw new DataError('Cannot train: the input "latents" has no file latents-00000.arrow');
    await using data = await LatentShards.open(await Promise.all(shards.map((file) => latents.path(file))));
    const codec = codecConfig(JSON.parse(await readFile(await latents.path("codec.json"), "utf8")));
    checkFit(config, data, codec);
    checkClasses(config, latents);

    for (const file of [...CODEC_FILES, ...latents.files.filter((name) => name === CLASS_NAMES)]) {
      if (files.has(file)) continue;
      const temporary = join(out, "tmp", file);
      await copyFile(await latents.path(file), temporary);
      await files.add(temporary, file);
    }
    const start = parent?.start(config);
    const { steps, before, stepImages } = planOf(config, data.length, start?.step);
    if (parent) checkSteps(parent, steps, before);
    for (const surprise of parent && from ? await surprises(parent, from, latents, config) : []) log.warn(surprise);
    const origin =
      parent && from
        ? { from: { stage: from.manifest.stage, digest: from.digest, step: parent.step, carry: config.carry } }
        : {};
    const { model, ...training } = config;
    const text = trainedConfigText({ model, training: { ...training, images: data.length }, step: steps }, origin);
    // There may be that of a run that was to be shorter.
    const there = files.has("config.json") ? await readFile(await files.path("config.json"), "utf8") : undefined;
    if (there !== text) await files.write("config.json", text);
    if (parent && start) log.info(`carrying on ${CARRIED[config.carry]} ${parent.name}, step ${parent.step}`);

    await using decoder = config.sampleEvery > 0 ? await openDecoder(latents, codec, config) : undefined;
    const decode = decoder && decodeWith(decoder, data.height * pixelsPerLatent(codec));
    const { step, checkpoints, last } = await train(config, data, context, decode, start);
    const images = (step - before) * stepImages;
    return {
      step,
      images,
      epochs: images / data.length,
      checkpoints: [...checkpoints],
      parameters: parameterCount(madformerSpecs(config.model)),
      loss: last.loss,
      imageLoss: last.image,
      ...origin,
    };
  },
});

/** What is carried on, in words. */
const CARRIED = {
  all: "weights, average, optimizer's state and step of",
  ema: "the averaged weights of",
  raw: "the weights of",
} as const;

/** @throws {ConfigError} If nothing is left to do. */
function checkSteps({ name }: Parent, steps: number, before: number): void {
  if (steps > before) return;
  throw new ConfigError(
    `Cannot go on from ${name}: it has made ${before} updates, and steps (or epochs) count those too: expected more than ${before}, found ${steps}; ` +
      'or carry "ema" or "raw", to begin at step 1 with its weights',
  );
}

/** @throws {DataError} If the model cannot be trained on these latents. */
function checkFit({ model, batchImages, flip }: TrainConfig, data: LatentSource, codec: CodecConfig): void {
  const { latentSide } = geometryOf(model);
  const [found, expected] = [
    `${data.height} x ${data.width} x ${data.channels}`,
    `${latentSide} x ${latentSide} x ${model.latentChannels}`,
  ];
  if (found !== expected)
    throw new DataError(
      `Cannot train on these latents: they are ${found}, expected ${expected}: ` +
        `the model has ${model.blocks} blocks of ${model.blockSide} x ${model.blockSide} pixels with ${model.latentChannels} channels`,
    );
  if (data.length === 0) throw new DataError(`Cannot train on no latents, expected some for batches of ${batchImages}`);
  if (flip && !latentsMirror(codec))
    throw new DataError(
      `Cannot train with flip: the latents of a mirrored image are not mirrored with the codec "${codec.kind}"`,
    );
}

/** @throws {DataError} If the model is to be told classes, and the images have none, or more than it has. */
function checkClasses({ model: { text } }: TrainConfig, { manifest }: Artifact): void {
  const { classes } = manifest.facts;
  if (!text || typeof classes !== "number" || (classes > 0 && classes <= text.classes)) return;
  throw new DataError(
    `Cannot train on these latents: their images are of ${classes} classes, and the model is told one of ${text.classes}`,
  );
}

async function openDecoder(latents: Artifact, codec: CodecConfig, config: TrainConfig): Promise<CodecDecoder> {
  const side = geometryOf(config.model).latentSide * pixelsPerLatent(codec);
  const weights = fromStateDict(codecSpecs(codec), await readAllWeights(await latents.path("codec.safetensors")));
  return compileCodecDecoder(codec, weights, { batchImages: config.sampleImages, side });
}

function decodeWith(decoder: CodecDecoder, side: number): Decode {
  return async (latents, images, nameOf) => {
    const pixels = await decoder.decodePixels(latents, nameOf);
    const size = side * side * 3;
    return Array.from({ length: images }, (_, i) => ({
      width: side,
      height: side,
      pixels: pixels.subarray(i * size, (i + 1) * size),
    }));
  };
}
