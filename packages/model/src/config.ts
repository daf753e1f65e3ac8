import { z } from "zod";
import { PREDICTIONS } from "./diffusion/prediction.js";
import { Quirks, QUIRKS } from "./quirks.js";
import { TextConfig } from "./text/config.js";

const UNetConfig = z
  .strictObject({
    channels: z
      .array(z.int().positive())
      .min(1)
      .readonly()
      .default([512, 1024])
      .describe("Channels by level, finest first; each further level halves the side"),
    layers: z
      .array(z.int().positive())
      .min(1)
      .readonly()
      .default([2, 2])
      .describe("Residual blocks by level on the way down; one more on the way up"),
    attention: z
      .array(z.boolean())
      .min(1)
      .readonly()
      .default([false, true])
      .describe("Whether a level has self-attention after each residual block"),
    groups: z.int().positive().default(8).describe("Groups of the group normalization; divides all channels"),
    heads: z
      .int()
      .positive()
      .default(8)
      .describe("Heads of the self-attention; should divide the channels of its levels"),
    timeChannels: z.int().positive().default(128).describe("Width of the time embedding"),
  })
  .refine((c) => c.layers.length === c.channels.length && c.attention.length === c.channels.length, {
    error: "channels, layers and attention must have one entry per level each",
  })
  .refine((c) => c.channels.every((n) => n % c.groups === 0), {
    path: ["groups"],
    error: "groups must divide the channels of every level",
  })
  .refine((c) => c.channels.every((n, level) => !c.attention[level] || n >= c.heads), {
    path: ["heads"],
    error: "heads must not exceed the channels of a level with attention",
  })
  .readonly();
export type UNetConfig = z.infer<typeof UNetConfig>;

/** What fixes the weights, their shapes and what the network computes. Stored beside every checkpoint. */
export const MadformerConfig = z
  .strictObject({
    latentChannels: z.int().positive().default(4).describe("Channels of a latent pixel"),
    blocks: z
      .int()
      .positive()
      .default(16)
      .describe("Blocks of an image, T: a square number; they lie in a square grid and are generated row by row"),
    blockSide: z.int().positive().default(32).describe("Side of a block in latent pixels, before the U-Net shrinks it"),
    width: z.int().positive().default(1152).describe("Channels of the residual stream, C"),
    heads: z.int().positive().default(18).describe("Attention heads, H; divides width"),
    mlpWidth: z.int().positive().default(4096).describe("Inner channels of a layer's SwiGLU"),
    arLayers: z.int().nonnegative().default(14).describe("Autoregressive layers, run once per block: N in the paper"),
    diffusionLayers: z.int().positive().default(14).describe("Layers after those, run at every denoising step"),
    unet: UNetConfig.prefault({}).describe("The U-Net around the transformer"),
    normEps: z.number().positive().default(1e-5).describe("Epsilon of the layers' RMSNorm"),
    qkNorm: z.boolean().default(true).describe("Normalize queries and keys"),
    qkNormEps: z.number().positive().default(1e-6).describe("Epsilon of the RMSNorm of queries and keys"),
    clearClean: z
      .boolean()
      .default(false)
      .describe("Without a clean tower: blocks see the shifted clean embeddings in the noised tower alone"),
    clearCond: z.boolean().default(false).describe("Without conditioning: the autoregressive output is not added"),
    denoisingMlp: z.boolean().default(false).describe("Diffusion layers see their own block alone"),
    singleTower: z
      .boolean()
      .default(false)
      .describe("One set of weights for clean and noised tokens (paper, Table 4; not in the released code)"),
    text: TextConfig.optional().describe(
      "The class of an image, as text in front of it; without it there are no classes",
    ),
    prediction: z
      .enum(PREDICTIONS)
      .default("epsilon")
      .describe("What the network predicts: the noise (the released code), the data (arXiv:2511.13720), or v"),
    quirks: z
      .union([z.enum(["reference", "imagenet", "sound"]).transform((name): Quirks => QUIRKS[name]), Quirks])
      .prefault("sound")
      .describe(
        "The released code's oddities: all (reference; imagenet for its branch with classes), none (sound), or each by name",
      )
      .meta({ presets: QUIRKS }),
  })
  .refine((c) => Number.isInteger(Math.sqrt(c.blocks)), { path: ["blocks"], error: "blocks must be a square number" })
  .refine((c) => c.width % c.heads === 0, { path: ["heads"], error: "heads must divide width" })
  .refine((c) => (c.width / c.heads) % 4 === 0, {
    path: ["heads"],
    error: "width / heads must be a multiple of 4: two axes of rotary pairs",
  })
  .refine((c) => c.blockSide % 2 ** (c.unet.channels.length - 1) === 0, {
    path: ["blockSide"],
    error: "blockSide must be divisible by 2 for each U-Net level after the first",
  })
  .refine((c) => !(c.clearClean && c.singleTower), {
    path: ["singleTower"],
    error: "singleTower has no meaning with clearClean, which has one tower only",
  })
  .refine((c) => c.text === undefined || c.quirks.condition !== "with-noised", {
    path: ["quirks"],
    error:
      'a model with text has the quirks "imagenet" or "sound": the released code with text has condition "autoregressive"',
  })
  .readonly();
export type MadformerConfig = z.infer<typeof MadformerConfig>;

/** Sizes that follow from a config. */
export interface Geometry {
  /** Blocks of an image, T. */
  readonly T: number;
  /** Blocks along a side of an image. */
  readonly grid: number;
  /** Latent pixels of a block, P. */
  readonly P: number;
  /** Side of a block in tokens. */
  readonly tokenSide: number;
  /** Tokens of a block, M. */
  readonly M: number;
  /** Side of an image in latent pixels. */
  readonly latentSide: number;
  readonly layers: number;
  /** Channels of a head, D. */
  readonly D: number;
}

/** Sizes that follow from a config. */
export function geometryOf(config: MadformerConfig): Geometry {
  const grid = Math.sqrt(config.blocks);
  const tokenSide = config.blockSide / 2 ** (config.unet.channels.length - 1);
  return {
    T: config.blocks,
    grid,
    P: config.blockSide ** 2,
    tokenSide,
    M: tokenSide ** 2,
    latentSide: grid * config.blockSide,
    layers: config.arLayers + config.diffusionLayers,
    D: config.width / config.heads,
  };
}

/** Named settings, each with where its numbers come from. */
export const PRESETS = {
  /** The released code's defaults for FFHQ at 1024 pixels: 1.3 billion parameters, latents of 128 x 128 x 4. */
  "ffhq-1024": { quirks: "reference" },
  /**
   * The defaults of the released code's branch for ImageNet at 256 pixels: 2.1 billion parameters, latents of 32 x 32 x
   * 4 in 4 blocks of 64 tokens, 1000 classes as two tokens of text. Its 16 heads are 72 wide, for which its own rotary
   * tables are not made (spec section 31.20); here they are.
   */
  "imagenet-256": { blocks: 4, blockSide: 16, heads: 16, quirks: "imagenet", text: { sampled: "first-block" } },
  /**
   * Small enough to train on two cores within minutes: 8 x 8 x 32 latents, principal components of 8 x 8 pixels, in 4
   * blocks of 16 tokens. What was tried beside it: docs/faces-64.md.
   */
  "faces-64": {
    latentChannels: 32,
    blocks: 4,
    blockSide: 4,
    width: 96,
    heads: 3,
    mlpWidth: 256,
    arLayers: 2,
    diffusionLayers: 3,
    unet: { channels: [64], layers: [1], attention: [false], timeChannels: 64 },
  },
  /** The smallest that has every part: for tests and continuous integration. */
  smoke: {
    blocks: 4,
    blockSide: 4,
    width: 32,
    heads: 2,
    mlpWidth: 64,
    arLayers: 1,
    diffusionLayers: 1,
    unet: { channels: [8, 16], layers: [1, 1], groups: 4, heads: 2, timeChannels: 8 },
  },
} as const satisfies Record<string, z.input<typeof MadformerConfig>>;
export type PresetName = keyof typeof PRESETS;

/**
 * A complete config, with defaults filled in.
 *
 * @throws {ModelConfigError} If a field is unknown, of the wrong kind or does not fit another one; every problem is
 *   named.
 */
export function madformerConfig(input: z.input<typeof MadformerConfig>): MadformerConfig {
  const result = MadformerConfig.safeParse(input);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join(".") || "config"}: ${message}`);
  throw new ModelConfigError(`The model's config is not valid: ${problems.join("; ")}`, { cause: result.error });
}

/** The config of a preset. */
export function preset(name: PresetName): MadformerConfig {
  return madformerConfig(PRESETS[name]);
}

/** A config that is not valid. */
export class ModelConfigError extends TypeError {
  override readonly name = "ModelConfigError";
}
