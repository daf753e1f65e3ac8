import { join } from "node:path";
import type { Artifact } from "@madformer/artifacts";
import { computing } from "@madformer/engine";
import {
  AutoencoderConfig,
  AutoencoderLossConfig,
  codecConfig,
  codecSpecs,
  latentSize,
  parameterCount,
  type PublishedAutoencoder,
} from "@madformer/model";
import { OptimizerConfig } from "@madformer/optim";
import { defineStage, type StageContext, type StageFiles } from "@madformer/stage";
import { z } from "zod";
import { finishCodec, hasCodec, readCodec, type Codec } from "../codec/files.js";
import { HeldImages } from "../codec/images.js";
import { filesHere, importAutoencoder, isUrl } from "../codec/import-autoencoder.js";
import { measureScale, reconstruct, unscaled, writePairs } from "../codec/measure.js";
import { trainAutoencoder } from "../codec/train-autoencoder.js";

const measures = {
  batchImages: z.int().positive().default(16).describe("Images of a step, images"),
  scaleImages: z.int().positive().default(512).describe("Images over which latents are measured, images"),
  pairs: z.int().positive().max(256).default(16).describe("Images shown with their reconstructions, images"),
};

const weight = (value: number, what: string) => z.number().nonnegative().default(value).describe(what);

const TrainConfig = z.strictObject({
  source: z.literal("train"),
  channels: z
    .array(z.int().positive())
    .min(1)
    .readonly()
    .default([32, 64, 64])
    .describe("Channels by level, finest first; each further level halves the side"),
  latentChannels: z.int().positive().default(4).describe("Channels of a latent pixel"),
  layers: z.int().positive().default(1).describe("Residual blocks of a level in the encoder; the decoder has one more"),
  groups: z.int().positive().default(8).describe("Groups of the group normalization; divides all channels"),
  midAttention: z.boolean().default(false).describe("Self-attention at the coarsest level"),
  steps: z.int().positive().default(2000).describe("Training steps, steps"),
  ...measures,
  images: z.int().positive().default(16_384).describe("The most images held in memory to train on, images"),
  learningRate: z.number().positive().default(2e-3).describe("Of the first steps; a cosine leads down to 1 % of it"),
  warmup: z.number().min(0).max(1).default(0.02).describe("Share of all steps spent warming up"),
  weightDecay: weight(0.01, "Decoupled decay of every parameter, times the rate"),
  maxGradNorm: weight(1, "Gradients are scaled to this 2-norm at most; 0 = never"),
  emaDecay: z
    .number()
    .min(0)
    .lt(1)
    .default(0.99)
    .describe("Decay of the moving average, whose weights are kept, by step"),
  ...AutoencoderLossConfig.unwrap().shape,
  seed: z.int().nonnegative().default(0).describe("Fixes first values, noise and order"),
  checkpointSteps: z.int().positive().default(200).describe("Steps between checkpoints, steps"),
});

const ImportConfig = z.strictObject({
  source: z.literal("import"),
  from: z
    .string()
    .min(1)
    .describe("Folder, or URL of one, with an AutoencoderKL of diffusers: config.json and its weights"),
  weights: z.string().min(1).default("diffusion_pytorch_model.safetensors").describe("Name of the weights' file there"),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hex digits")
    .optional()
    .describe("SHA-256 of the weights' file, which decides what is imported; needed for a URL"),
  scale: z
    .enum(["measured", "published"])
    .default("measured")
    .describe("Units of latents: measured by channel, or the published scaling factor, which the reference trains in"),
  ...measures,
});

/** Where an autoencoder comes from. */
export const VaeConfig = z.discriminatedUnion("source", [
  TrainConfig.refine((c) => c.channels.every((n) => n % c.groups === 0), {
    path: ["groups"],
    error: "groups must divide the channels of every level",
  }),
  ImportConfig.refine((c) => c.sha256 !== undefined || !isUrl(c.from), {
    path: ["sha256"],
    error: "needed for a URL: SHA-256 of the weights' file, 64 hex digits, which decides what is imported",
  }),
]);
export type VaeConfig = z.infer<typeof VaeConfig>;

/**
 * Stage `vae`: images in, an autoencoder out, trained on them or imported.
 *
 * Reads <shards>/images-*.arrow Writes <out>/codec.json, <out>/codec.safetensors, <out>/reconstructions.png (originals
 * beside what the codec makes of
 *         them); <out>/losses.jsonl if it was trained
 *
 * Training goes on from its last checkpoint, and ends with the same bits as one that was never stopped. Latents are
 * measured over some of the images, so that those of training have mean 0 and variance 1 by channel.
 *
 * @throws {DataError} If a loss is not finite, an image has another size than the others, or weights do not fit.
 */
export const stage = defineStage({
  name: "vae",
  summary: "Train an autoencoder on images, or import one",
  config: VaeConfig,
  computing,
  inputs: { shards: { summary: "Image shards (stage shards)", stages: ["shards"] } },
  idle: (config): Record<string, string> =>
    config.source === "import" && config.scale === "published"
      ? { scaleImages: 'with the scale "published", which is not measured' }
      : {},
  free: ["checkpointSteps"],
  outside: (config) => (config.source === "import" ? filesHere(config) : []),
  run: runVae,
});

async function runVae(config: VaeConfig, { shards }: { readonly shards: Artifact }, context: StageContext) {
  const { out, files, signal, log } = context;
  const held = config.source === "train" ? config.images : Math.max(config.scaleImages, config.pairs);
  const images = await HeldImages.read(shards, held, signal);
  const { codec, weights } = (await finishedCodec(config, files)) ?? (await makeCodec(config, images, context));
  const { pairs, psnr } = await reconstruct({ codec, weights }, images, images.spread(config.pairs), {
    batchImages: Math.min(config.batchImages, config.pairs),
    signal,
    onProgress: (done, total) => log.progress("reconstructions", done, total),
  });
  const temporary = join(out, "tmp", "reconstructions.png");
  await writePairs(temporary, pairs);
  await files.add(temporary, "reconstructions.png");
  const { side, channels } = latentSize(codec, images.side);
  return {
    kind: codec.kind,
    source: config.source,
    imageSide: images.side,
    side,
    channels,
    parameters: parameterCount(codecSpecs(codec)),
    steps: config.source === "train" ? config.steps : 0,
    psnr: Number(psnr.toFixed(3)), // dB
  };
}

/** The codec that an earlier attempt finished. */
async function finishedCodec({ source }: VaeConfig, files: StageFiles): Promise<Codec | undefined> {
  const whole = hasCodec(files) && (source === "import" || files.has("losses.jsonl"));
  return whole ? readCodec((file) => files.path(file)) : undefined;
}

async function makeCodec(config: VaeConfig, images: HeldImages, context: StageContext): Promise<Codec> {
  const { out, signal, log } = context;
  const made: Partial<PublishedAutoencoder> & Awaited<ReturnType<typeof train>> =
    config.source === "train"
      ? await train(config, images, context)
      : await importAutoencoder(config, join(out, "tmp"), context);
  const plain = { ...made, codec: unscaled(made.config) };
  const published = config.source === "import" && config.scale === "published" ? made.scale : undefined;
  const scale =
    published ??
    (await measureScale(plain, images, images.spread(config.scaleImages), {
      batchImages: config.batchImages,
      signal,
      onProgress: (done, total) => log.progress("measured", done, total),
    }));
  const codec = { codec: codecConfig({ ...plain.codec, scale }), weights: made.weights };
  await finishCodec(context, codec);
  return codec;
}

async function train(config: z.infer<typeof TrainConfig>, images: HeldImages, context: StageContext) {
  const { channels, latentChannels, layers, groups, midAttention } = config;
  const { weightDecay, maxGradNorm } = config;
  const autoencoder = AutoencoderConfig.parse({
    ...{ channels, latentChannels, layers, groups, midAttention },
    scalingFactor: 1, // latents are measured once it is trained
  });
  const weights = await trainAutoencoder(
    {
      ...config,
      config: autoencoder,
      loss: AutoencoderLossConfig.unwrap().strip().parse(config),
      optimizer: OptimizerConfig.parse({ beta2: 0.99, weightDecay, maxGradNorm }),
    },
    images,
    context,
  );
  return { config: autoencoder, weights };
}
