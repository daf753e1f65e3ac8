import {
  geometryOf,
  madformerConfig,
  preset,
  PRESETS,
  QUIRKS,
  type MadformerConfig,
  type PresetName,
  type Quirks,
} from "@madformer/model";
import type { FoundTensor } from "./layout.js";

/** What a caller says of a model, because shapes cannot. */
export interface Told {
  readonly preset?: PresetName | undefined;
  readonly blocks?: number | undefined;
  readonly arLayers?: number | undefined;
  readonly unetGroups?: number | undefined;
  readonly unetHeads?: number | undefined;
  readonly clearClean?: boolean | undefined;
  readonly clearCond?: boolean | undefined;
  readonly denoisingMlp?: boolean | undefined;
  readonly prediction?: MadformerConfig["prediction"] | undefined;
  readonly quirks?: "reference" | "sound" | undefined;
}

/** What the shapes of a state dict say. */
type Sizes = ReturnType<typeof sizesOf>;

/**
 * The config of a model from its weights' shapes; what they do not say from the checkpoint's arguments, then from a
 * preset of the same shapes.
 *
 * @param args By the names of the reference's programs and constructor. Hostile: numbers that are none count as
 *   not there, and a switch of another kind is refused with the rest.
 * @param fail Makes the error to throw.
 * @returns The config, and what of it nothing says: there it is what the released code has.
 * @throws If nothing says what must be known, or the whole is not valid.
 */
export function inferConfig(
  tensors: ReadonlyMap<string, FoundTensor>,
  args: ReadonlyMap<string, unknown>,
  told: Told,
  fail: (problem: string) => Error,
): { readonly model: MadformerConfig; readonly assumed: readonly string[] } {
  const sizes = sizesOf(tensors, fail);
  const names = told.preset === undefined ? (Object.keys(PRESETS) as PresetName[]) : [told.preset];
  const alike = names.map(preset).find((config) => told.preset !== undefined || hasSizes(config, sizes));
  const number = (name: string): number | undefined => {
    const value = args.get(name);
    return typeof value === "number" && Number.isFinite(value) ? value : undefined;
  };
  const need = (value: number | undefined, what: string, option: string): number => {
    if (value !== undefined) return value;
    throw fail(`neither its arguments nor a preset of its shapes say ${what}: name it with ${option}`);
  };
  const arLayers =
    told.arLayers ?? argued(number("diff_depth"), (diffusion) => sizes.layers - diffusion) ?? alike?.arLayers;
  const text =
    sizes.vocabulary === undefined ? undefined : textOf(sizes.vocabulary, tensors.has("lm_head.weight"), args);
  const reference = text ? QUIRKS.imagenet : QUIRKS.reference;
  const defaults = preset("ffhq-1024");
  const assumed: string[] = [];
  const assume = (value: number | undefined, otherwise: number, what: string): number => {
    if (value === undefined) assumed.push(`${what} = ${otherwise}`);
    return value ?? otherwise;
  };
  /** A word that the weights have no trace of: of a file without arguments it has to be assumed. */
  const word = <T>(value: T | undefined, argument: string, otherwise: T, what: string): T => {
    if (value === undefined && args.size === 0) assumed.push(`${what} = ${String(otherwise)}`);
    return value ?? (args.get(argument) as T | undefined) ?? otherwise; // its kind is checked with the rest
  };
  try {
    const model = madformerConfig({
      latentChannels: sizes.latentChannels,
      blocks: need(told.blocks ?? number("ar_len") ?? alike?.blocks, "how many blocks an image has", "--blocks"),
      blockSide: Math.sqrt(sizes.tokens) * 2 ** (sizes.channels.length - 1),
      width: sizes.width,
      heads: assume(sizes.heads ?? number("num_heads") ?? alike?.heads, defaults.heads, "heads"),
      mlpWidth: sizes.mlpWidth,
      arLayers: need(arLayers, "how many of its layers are autoregressive", "--ar-layers"),
      diffusionLayers: sizes.layers - arLayers!,
      unet: {
        channels: sizes.channels,
        layers: sizes.resnets,
        attention: sizes.attention,
        timeChannels: sizes.timeChannels,
        groups: assume(
          told.unetGroups ?? number("unet_resnet_groups") ?? alike?.unet.groups,
          defaults.unet.groups,
          "unetGroups",
        ),
        heads: assume(
          told.unetHeads ?? number("unet_num_heads") ?? alike?.unet.heads,
          defaults.unet.heads,
          "unetHeads",
        ),
      },
      normEps: number("rms_norm_eps") ?? defaults.normEps,
      qkNorm: sizes.heads !== undefined,
      qkNormEps: number("qk_norm_eps") ?? defaults.qkNormEps,
      clearClean: word(told.clearClean, "clear_clean", false, "clearClean"),
      clearCond: word(told.clearCond, "clear_cond", false, "clearCond"),
      denoisingMlp: word(told.denoisingMlp, "denoising_mlp", false, "denoisingMlp"),
      singleTower: sizes.towers === 1,
      prediction: word(told.prediction, "prediction", "epsilon", "prediction"),
      ...(text ? { text } : {}),
      quirks: {
        ...(told.quirks === "sound" ? QUIRKS.sound : reference),
        ...(told.quirks === undefined ? switchesOf(args) : {}),
      },
    });
    return { model, assumed };
  } catch (cause) {
    throw cause instanceof TypeError ? fail(cause.message) : cause;
  }
}

/**
 * The text of a model with classes, whose table has so many rows: what its arguments say, else what the released code
 * has; a table without Llama 3's tokens is of numbers.
 */
function textOf(vocabulary: number, head: boolean, args: ReadonlyMap<string, unknown>): object {
  const number = (name: string, otherwise: number): number => {
    const value = args.get(name);
    return typeof value === "number" && Number.isFinite(value) ? value : otherwise;
  };
  const zeroRow = number("pad_token_id", 128_004);
  const isLlama = vocabulary > 128_000;
  return {
    tokens: number("max_position_embeddings", 2),
    vocabulary,
    classes: isLlama ? 1000 : vocabulary - 1,
    words: isLlama ? "llama-3" : "numbers",
    zeroRow: zeroRow < vocabulary ? zeroRow : null,
    ropeTheta: number("rope_theta", 10_000),
    sampled: "first-block",
    ...(objectOf(args.get("text")) as object | undefined),
    head,
  };
}

/** A dict of PyTorch's files as an object, and what is in it. */
function objectOf(value: unknown): unknown {
  if (!(value instanceof Map)) return value;
  return Object.fromEntries([...(value as ReadonlyMap<string, unknown>)].map(([key, item]) => [key, objectOf(item)]));
}

const argued = <T, R>(value: T | undefined, use: (value: T) => R): R | undefined =>
  value === undefined ? undefined : use(value);

/** Switches that are written out because they are not the reference's. What is in them is checked with the rest. */
function switchesOf(args: ReadonlyMap<string, unknown>): Partial<Quirks> {
  const written = args.get("quirks");
  return written instanceof Map ? Object.fromEntries(written as ReadonlyMap<string, unknown>) : {};
}

/** Reads sizes off shapes. Whether all tensors fit them is for `misfit` to say. */
function sizesOf(tensors: ReadonlyMap<string, FoundTensor>, fail: (problem: string) => Error) {
  const size = (key: string, axis: number): number => {
    const found = tensors.get(key)?.shape[axis];
    if (found === undefined || found < 1)
      throw fail(`its model has no ${key} with ${axis + 1} axes or more, which says how large the model is`);
    return found;
  };
  const count = (key: (index: number) => string): number => {
    let n = 0;
    while (tensors.has(key(n))) n++;
    return n;
  };
  const level = (i: number): string => `downsampler.down_blocks.${i}`;
  const levels = count((i) => `${level(i)}.resnets.0.conv1.weight`);
  const each = <T>(of: (level: number) => T): T[] => Array.from({ length: levels }, (_, i) => of(i));
  const width = size("boi_block", 2);
  const norm = tensors.get("blocks.0.self_attn.q_norm_list.0.weight")?.shape[0];
  return {
    width,
    tokens: size("boi_block", 1),
    latentChannels: size("downsampler.conv_in.weight", 1),
    channels: each((i) => size(`${level(i)}.resnets.0.conv1.weight`, 0)),
    resnets: each((i) => count((j) => `${level(i)}.resnets.${j}.conv1.weight`)),
    attention: each((i) => tensors.has(`${level(i)}.attentions.0.to_q.weight`)),
    timeChannels: size("downsampler.time_embedding.linear_2.weight", 0),
    layers: count((i) => `blocks.${i}.input_layernorm_list.0.weight`),
    mlpWidth: size("blocks.0.mlp_list.0.gate_proj.weight", 0),
    /** Undefined without a norm of queries, whose width is that of a head. */
    heads: norm === undefined ? undefined : width / norm,
    /** Of the image. */
    towers: count((i) => `blocks.0.input_layernorm_list.${i}.weight`) - (tensors.has("embed_tokens.weight") ? 1 : 0),
    /** Undefined without a text. */
    vocabulary: tensors.get("embed_tokens.weight")?.shape[0],
  };
}

/** Whether a config has these sizes. */
function hasSizes(config: MadformerConfig, sizes: Sizes): boolean {
  const { M, layers } = geometryOf(config);
  const { unet } = config;
  const ours = [config.width, M, config.latentChannels, layers, config.mlpWidth, unet.timeChannels];
  const theirs = [sizes.width, sizes.tokens, sizes.latentChannels, sizes.layers, sizes.mlpWidth, sizes.timeChannels];
  const lists = (u: { channels: readonly number[] }, more: readonly unknown[]): string => [u.channels, more].join("|");
  return (
    ours.join() === theirs.join() &&
    config.text?.vocabulary === sizes.vocabulary &&
    lists(unet, [unet.layers, unet.attention]) === lists(sizes, [sizes.resnets, sizes.attention]) &&
    (sizes.heads === undefined || sizes.heads === config.heads)
  );
}
