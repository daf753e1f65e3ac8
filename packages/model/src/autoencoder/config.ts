import { z } from "zod";
import { ModelConfigError } from "../config.js";

/** What fixes an autoencoder's weights and what it computes. */
export const AutoencoderConfig = z
  .strictObject({
    imageChannels: z.int().positive().default(3).describe("Channels of an image"),
    latentChannels: z.int().positive().default(4).describe("Channels of a latent pixel"),
    channels: z
      .array(z.int().positive())
      .min(1)
      .readonly()
      .default([128, 256, 512, 512])
      .describe("Channels by level, finest first; each further level halves the side"),
    layers: z
      .int()
      .positive()
      .default(2)
      .describe("Residual blocks of a level in the encoder; the decoder has one more"),
    groups: z.int().positive().default(32).describe("Groups of the group normalization; divides all channels"),
    midAttention: z.boolean().default(true).describe("Self-attention with one head at the coarsest level"),
    quantConv: z.boolean().default(true).describe("A 1x1 convolution after the encoder"),
    postQuantConv: z.boolean().default(true).describe("A 1x1 convolution before the decoder"),
    scalingFactor: z
      .number()
      .positive()
      .default(0.18215)
      .describe("Latents are multiplied with this, which brings their variance near 1"),
  })
  .refine((c) => c.channels.every((n) => n % c.groups === 0), {
    path: ["groups"],
    error: "groups must divide the channels of every level",
  })
  .readonly();
export type AutoencoderConfig = z.infer<typeof AutoencoderConfig>;

/** Image pixels along a side of a latent pixel. */
export function downsamplingFactor({ channels }: AutoencoderConfig): number {
  return 2 ** (channels.length - 1);
}

/** The fields of diffusers' `config.json` that matter here. */
const DiffusersConfig = z
  .object({
    _class_name: z.literal("AutoencoderKL").optional(),
    in_channels: z.int().positive().default(3),
    out_channels: z.int().positive().default(3),
    latent_channels: z.int().positive().default(4),
    block_out_channels: z.array(z.int().positive()).min(1),
    layers_per_block: z.int().positive().default(1),
    norm_num_groups: z.int().positive().default(32),
    act_fn: z.literal("silu").default("silu"),
    down_block_types: z.array(z.literal("DownEncoderBlock2D")).optional(),
    up_block_types: z.array(z.literal("UpDecoderBlock2D")).optional(),
    mid_block_add_attention: z.boolean().default(true),
    use_quant_conv: z.boolean().default(true),
    use_post_quant_conv: z.boolean().default(true),
    scaling_factor: z.number().positive().default(0.18215),
    shift_factor: z.number().nullable().default(null),
    latents_mean: z.array(z.number()).nullable().default(null),
    latents_std: z.array(z.number().positive()).nullable().default(null),
  })
  .refine((c) => c.in_channels === 3 && c.out_channels === 3, {
    path: ["in_channels"],
    error: (issue) => {
      const { in_channels, out_channels } = issue.input as { in_channels: number; out_channels: number };
      return `it takes images of ${in_channels} channels and makes ${out_channels}, expected 3 and 3: images are RGB here`;
    },
  })
  .refine(
    (c) =>
      [c.down_block_types, c.up_block_types].every(
        (t) => (t?.length ?? c.block_out_channels.length) === c.block_out_channels.length,
      ),
    {
      path: ["block_out_channels"],
      error: "down_block_types, up_block_types and block_out_channels must be equally long",
    },
  )
  .refine(
    (c) => [c.latents_mean, c.latents_std].every((values) => values === null || values.length === c.latent_channels),
    {
      path: ["latents_mean"],
      error: "latents_mean and latents_std must have one number for each channel of a latent",
    },
  )
  .refine((c) => (c.latents_mean === null) === (c.latents_std === null), {
    path: ["latents_mean"],
    error: "latents_mean and latents_std must come together",
  })
  .refine((c) => !c.shift_factor || c.latents_mean === null, {
    path: ["shift_factor"],
    error: "shift_factor and latents_mean cannot both be used",
  });

/** An autoencoder that diffusers saved: its config, and the units of latents that were published with it. */
export interface PublishedAutoencoder {
  readonly config: AutoencoderConfig;
  /**
   * What models of these latents see, (z - mean) / std by channel, where z is the latent x times the scaling factor s:
   *
   *     s (x - shift)             with `shift_factor`
   *     s (x - mean) / std        with `latents_mean` and `latents_std`
   */
  readonly scale: { readonly mean: readonly number[]; readonly std: readonly number[] };
}

/**
 * An autoencoder from the `config.json` that diffusers wrote beside its weights.
 *
 * @throws {ModelConfigError} If it is no AutoencoderKL, or has a part that this one has not.
 */
export function autoencoderFromDiffusers(json: unknown): PublishedAutoencoder {
  const parsed = DiffusersConfig.safeParse(json);
  const result = parsed.success
    ? AutoencoderConfig.safeParse({
        imageChannels: parsed.data.in_channels,
        latentChannels: parsed.data.latent_channels,
        channels: parsed.data.block_out_channels,
        layers: parsed.data.layers_per_block,
        groups: parsed.data.norm_num_groups,
        midAttention: parsed.data.mid_block_add_attention,
        quantConv: parsed.data.use_quant_conv,
        postQuantConv: parsed.data.use_post_quant_conv,
        scalingFactor: parsed.data.scaling_factor,
      })
    : parsed;
  if (result.success && parsed.success) {
    const { latentChannels: C, scalingFactor } = result.data;
    const { shift_factor: shift, latents_mean: mean, latents_std: std } = parsed.data;
    return {
      config: result.data,
      scale: {
        mean: (mean ?? Array<number>(C).fill(shift ?? 0)).map((x) => x * scalingFactor),
        std: std ?? Array<number>(C).fill(1),
      },
    };
  }
  const error = parsed.error ?? result.error!;
  const problems = error.issues.map(({ path, message }) => `${path.join(".") || "config"}: ${message}`);
  throw new ModelConfigError(`The autoencoder's config is not one that can be used: ${problems.join("; ")}`, {
    cause: error,
  });
}
