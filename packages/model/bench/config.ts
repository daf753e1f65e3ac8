import { readFileSync } from "node:fs";
import { z } from "zod";
import { configFromReference, type MadformerConfig } from "../src/index.js";

/** What `--config FILE` may hold. Names are the reference's, shortened. */
const BenchConfig = z.object({
  hidden: z.int().positive().describe("Width of the residual stream"),
  heads: z.int().positive(),
  depth: z.int().positive().describe("Layers"),
  diff_depth: z.int().positive().describe("Diffusion layers among them"),
  blocks: z.int().positive().describe("Blocks of an image"),
  block_latent: z.int().positive().describe("Side of a block in latent pixels"),
  mlp: z.int().positive(),
  unet_channels: z.array(z.int().positive()),
  batch: z.int().positive().describe("Images of a training step"),
  unet_layers: z.array(z.int().positive()).optional(),
  unet_transformer_layers: z.array(z.int().nonnegative()).optional(),
  unet_groups: z.int().positive().optional(),
  unet_heads: z.int().positive().optional(),
  unet_time_emb: z.int().positive().optional(),
  sample_steps: z.int().positive().default(8),
  sample_batch: z.int().positive().optional(),
});

/** The reference point of docs/benchmarks.md. */
const DEFAULT: z.input<typeof BenchConfig> = {
  hidden: 256,
  heads: 8,
  depth: 8,
  diff_depth: 4,
  blocks: 4,
  block_latent: 16,
  mlp: 1024,
  unet_channels: [64, 128],
  batch: 8,
};

/** Sizes that engines are compared at. */
const BY_SIZE: Readonly<Record<string, z.input<typeof BenchConfig>>> = {
  tiny: {
    ...{ hidden: 64, heads: 4, depth: 4, diff_depth: 2, blocks: 4, block_latent: 8, mlp: 128, batch: 8 },
    ...{ unet_channels: [16, 32], unet_groups: 16, unet_heads: 2, unet_time_emb: 16 },
  },
  middle: { ...DEFAULT, hidden: 128, heads: 4, depth: 4, diff_depth: 2, mlp: 512, unet_channels: [32, 64], batch: 4 },
  reference: DEFAULT,
};
export const SIZES = Object.keys(BY_SIZE);

/** What is measured. */
export interface Bench {
  readonly model: MadformerConfig;
  readonly batch: number;
  readonly sampleBatch: number;
  readonly sampleSteps: number;
}

/** The model and batch of a file, or of the reference point. */
export function benchConfig(path: string | undefined): Bench {
  return benchOf(path === undefined ? DEFAULT : JSON.parse(readFileSync(path, "utf8")));
}

/** The model and batch of one of `SIZES`. */
export function benchSize(name: string): Bench {
  const config = BY_SIZE[name];
  if (config === undefined) throw new RangeError(`Cannot bench size "${name}", expected one of ${SIZES.join(", ")}`);
  return benchOf(config);
}

/** A model and batch as `--config` describes them. */
export function benchOf(config: unknown): Bench {
  const c = BenchConfig.parse(config);
  const levels = c.unet_channels.length;
  const model = configFromReference({
    hidden_size: c.hidden,
    num_heads: c.heads,
    depth: c.depth,
    diff_depth: c.diff_depth,
    ar_len: c.blocks,
    pre_downsample_block_size: c.block_latent ** 2,
    intermediate_size: c.mlp,
    unet_block_out_channels: c.unet_channels,
    unet_num_layers_per_block: c.unet_layers ?? c.unet_channels.map(() => 2),
    unet_transformer_layers_per_block:
      c.unet_transformer_layers ?? c.unet_channels.map((_, level) => (level === levels - 1 ? 1 : 0)),
    ...(c.unet_groups === undefined ? {} : { unet_resnet_groups: c.unet_groups }),
    ...(c.unet_heads === undefined ? {} : { unet_num_heads: c.unet_heads }),
    ...(c.unet_time_emb === undefined ? {} : { unet_time_emb_dim: c.unet_time_emb }),
  });
  return { model, batch: c.batch, sampleBatch: c.sample_batch ?? c.batch, sampleSteps: c.sample_steps };
}
