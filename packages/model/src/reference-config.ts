import type { z } from "zod";
import { madformerConfig, type MadformerConfig } from "./config.js";
import { QUIRKS, type Quirks } from "./quirks.js";
import type { TextConfig } from "./text/config.js";

/** A model's settings in the names of the reference's constructor; what is left out has its default there. */
export interface ReferenceSettings {
  readonly hidden_size?: number;
  readonly num_heads?: number;
  readonly depth?: number;
  readonly diff_depth?: number;
  readonly ar_len?: number;
  readonly pre_downsample_block_size?: number;
  readonly latent_channels?: number;
  readonly intermediate_size?: number;
  readonly rms_norm_eps?: number;
  readonly qk_norm_eps?: number;
  readonly no_qk_norm?: boolean;
  readonly unet_block_out_channels?: readonly number[];
  readonly unet_num_layers_per_block?: readonly number[];
  readonly unet_transformer_layers_per_block?: readonly number[];
  readonly unet_resnet_groups?: number;
  readonly unet_num_heads?: number;
  readonly unet_time_emb_dim?: number;
  readonly clear_clean?: boolean;
  readonly clear_cond?: boolean;
  readonly denoising_mlp?: boolean;
  /** Of the branch with classes. A model has a text if there is a vocabulary. */
  readonly vocab_size?: number;
  readonly max_position_embeddings?: number;
  readonly pad_token_id?: number;
  readonly rope_theta?: number;
  /** Ours, of a model with text: what else its config says. */
  readonly text?: Partial<TextConfig> | ReadonlyMap<string, unknown>;
  /** Ours: a switch that is not written out is that of the released code. */
  readonly single_tower?: boolean;
  /** Ours, as above: the released code predicts the noise. */
  readonly prediction?: MadformerConfig["prediction"];
  readonly quirks?: Partial<Quirks> | ReadonlyMap<string, unknown>;
}

/**
 * The config of a model of the reference, with the released code's behaviour except for the switches that are written
 * out, as `export` does where they are others.
 *
 * Source: spec section 1; spec section 18.
 *
 * @param settings Other fields, such as a checkpoint's `args` have, are ignored: they do not change the model.
 * @throws {ModelConfigError} If the result is not a valid config.
 */
export function configFromReference(settings: ReferenceSettings): MadformerConfig {
  const s = settings;
  const depth = s.depth ?? 28;
  const diffusionLayers = s.diff_depth ?? 14;
  const input: z.input<typeof MadformerConfig> = {
    latentChannels: s.latent_channels ?? 4,
    blocks: s.ar_len ?? 16,
    blockSide: Math.sqrt(s.pre_downsample_block_size ?? 1024),
    width: s.hidden_size ?? 1152,
    heads: s.num_heads ?? 18,
    mlpWidth: s.intermediate_size ?? 4096,
    arLayers: depth - diffusionLayers,
    diffusionLayers,
    unet: {
      channels: s.unet_block_out_channels ?? [512, 1024],
      layers: s.unet_num_layers_per_block ?? [2, 2],
      attention: (s.unet_transformer_layers_per_block ?? [0, 1]).map((layers) => layers === 1),
      groups: s.unet_resnet_groups ?? 8,
      heads: s.unet_num_heads ?? 8,
      timeChannels: s.unet_time_emb_dim ?? 128,
    },
    normEps: s.rms_norm_eps ?? 1e-5,
    qkNorm: !(s.no_qk_norm ?? false),
    qkNormEps: s.qk_norm_eps ?? 1e-6,
    clearClean: s.clear_clean ?? false,
    clearCond: s.clear_cond ?? false,
    denoisingMlp: s.denoising_mlp ?? false,
    singleTower: s.single_tower ?? false,
    ...(s.vocab_size === undefined ? {} : { text: textOf(s, s.vocab_size) }),
    prediction: s.prediction ?? "epsilon",
    quirks: { ...(s.vocab_size === undefined ? QUIRKS.reference : QUIRKS.imagenet), ...fieldsOf(s.quirks) },
  };
  return madformerConfig(input);
}

/** The text of the branch with classes, as far as its settings say. */
function textOf(s: ReferenceSettings, vocabulary: number): z.input<typeof TextConfig> {
  const zeroRow = s.pad_token_id ?? 128_004;
  return {
    tokens: s.max_position_embeddings ?? 2,
    vocabulary,
    zeroRow: zeroRow < vocabulary ? zeroRow : null,
    ropeTheta: s.rope_theta ?? 10_000,
    sampled: "first-block",
    ...fieldsOf(s.text),
  };
}

/** A dict of PyTorch's files is a Map. What is in it is checked with the rest of the config. */
function fieldsOf<T extends object>(written: Partial<T> | ReadonlyMap<string, unknown> | undefined): Partial<T> {
  const plain = (value: unknown): unknown =>
    value instanceof Map
      ? Object.fromEntries([...(value as ReadonlyMap<string, unknown>)].map(([key, item]) => [key, plain(item)]))
      : value;
  return plain(written) ?? {};
}

/**
 * What of a model the released code cannot know, in words: `condition is "autoregressive", there "with-noised"`. Where
 * there is something, weights with the reference's keys and shapes load there, and then compute something else.
 *
 * @returns Empty for a model that the released code computes alike.
 */
export function unlikeReference(config: MadformerConfig): string[] {
  const { quirks, singleTower, prediction, qkNormEps, text, denoisingMlp } = config;
  const reference = text ? QUIRKS.imagenet : QUIRKS.reference;
  const switches = (Object.keys(reference) as (keyof Quirks)[]).map(
    (name) => [name, quirks[name], reference[name]] as const,
  );
  const ofText = text
    ? [
        ["text.head", text.head, true] as const,
        ...(denoisingMlp ? [["text.sampled", text.sampled, "first-block"] as const] : []),
      ]
    : [];
  const others = [
    ["singleTower", singleTower, false],
    ["prediction", prediction, "epsilon"],
    ["qkNormEps", qkNormEps, 1e-6],
  ] as const;
  return [...switches, ...others, ...ofText]
    .filter(([, ours, theirs]) => ours !== theirs)
    .map(([name, ours, theirs]) => `${name} is ${JSON.stringify(ours)}, there ${JSON.stringify(theirs)}`);
}

/**
 * Names of PyTorch's file in an export: for a model that the released code computes alike, and for one that it does
 * not.
 */
export const TORCH_FILES = ["checkpoint.pt", "checkpoint.sound.pt"] as const;

/**
 * What PyTorch's file is called. The reference finds all keys and shapes of a model with other switches than its own,
 * and then computes something else; nothing in a state dict says so, therefore the file's name does.
 */
export function torchFileOf(model: MadformerConfig): (typeof TORCH_FILES)[number] {
  return unlikeReference(model).length === 0 ? "checkpoint.pt" : "checkpoint.sound.pt";
}
