import { spec, type TensorSpec, type Tensors } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import { COEFFICIENTS, solverUpdate } from "../diffusion/solver.js";
import { needs, type Needs } from "../needs.js";
import { attend } from "../nn/attend.js";
import { Scope, type Parameters } from "../parameters.js";
import { hasText } from "../text/embedding.js";
import { textRope } from "../text/text-rope.js";
import { completeLayer, projectHeads } from "../transformer/layer.js";
import { ropePartners, ropeValues, type RopeTables } from "../transformer/rope.js";
import { downLevels, upLevels } from "../unet/levels.js";
import { networkTime } from "../unet/towers.js";
import { downsample, embed, timeShifts, upsample, type TimeShifts } from "../unet/unet.js";

/**
 * The sampler's programs, each a pure function of the parameters and its inputs. Finished blocks are present only as
 * keys and values, and so is the text. One image's block takes one run of `context`, which does everything that does
 * not depend on the timestep, and one run of `denoise` for each step:
 *
 *     text      the text of a class                    -> its keys and values, the same for all images of the class
 *     time      timesteps                              -> what they add in the U-Net
 *     first     the learned first tokens               -> condition of block 0
 *     context   block b-1, finished; cache             -> condition of block b, keys and values of block b-1
 *     denoise   block b, noised; condition; cache      -> block b, a step less noised
 *     append    cache; keys and values of block b-1    -> cache
 *
 * Source: arXiv:2506.07999, section 3.3; spec section 12; spec section 29; with everything skipped that section 17
 * lists: clean tokens run through the diffusion layers once per block instead of once per step, and no mask is needed.
 */
export interface SamplingShape {
  readonly config: MadformerConfig;
  /** Images of a batch, N. */
  readonly batchImages: number;
  /** Blocks that the cache has room for. */
  readonly cacheBlocks: number;
  /** Whether part of the room may be empty: then `cacheMask` says which. */
  readonly masked: boolean;
}

/** Layers whose keys and values finished blocks leave behind. */
export function cachedLayers(config: MadformerConfig): number[] {
  const { layers } = geometryOf(config);
  const { cleanLayers } = sampling(config);
  return Array.from({ length: layers }, (_, layer) => layer).filter(
    (layer) => layer < cleanLayers || usesNoisedCache(config, layer),
  );
}

/** Without a clean tower, finished blocks are seen through the noised tower's keys and values. */
function usesNoisedCache(config: MadformerConfig, layer: number): boolean {
  return config.clearClean && (layer >= config.arLayers ? !config.denoisingMlp : !config.clearCond);
}

/**
 * What sampling a block needs of the blocks before it: what the training pass needs for the prediction of the noise.
 */
const sampling = (config: MadformerConfig): Needs => needs(config, ["noisePred"]);

/** Whether finished blocks matter to those that come: as their condition or by their keys and values. */
export function usesContext(config: MadformerConfig): boolean {
  const { autoregressive, cleanLayers } = sampling(config);
  return autoregressive || cleanLayers > 0;
}

/** Names and channels of what timesteps add, in the order in which they are packed side by side. */
function shiftLayout(config: MadformerConfig, way: "down" | "up"): { key: string; channels: number }[] {
  const levels = way === "down" ? downLevels(config.unet) : upLevels(config.unet);
  return levels.flatMap(({ resnets }) => resnets.map(({ key, to }) => ({ key, channels: to })));
}

/** Channels of all shifts of one way of the U-Net together. */
export function shiftChannels(config: MadformerConfig, way: "down" | "up"): number {
  return shiftLayout(config, way).reduce((sum, { channels }) => sum + channels, 0);
}

function unpackShifts(packed: tf.Tensor2D, config: MadformerConfig, way: "down" | "up"): TimeShifts {
  let at = 0;
  return Object.fromEntries(
    shiftLayout(config, way).map(({ key, channels }) => {
      const shift = tf.slice(packed, [0, at], [-1, channels]);
      at += channels;
      return [key, shift];
    }),
  );
}

/** Program `time`: timesteps (S) -> what they add on the way down and up, packed: (S, channels) each. */
export function timeProgram(config: MadformerConfig, timesteps: number) {
  return {
    inputs: { t: spec([timesteps] as const) },
    run: (p: Parameters, { t }: { t: tf.Tensor1D }) => {
      const root = new Scope(p);
      const pack = (way: "down" | "up", name: string): tf.Tensor2D => {
        const shifts = timeShifts(root.in(name), way, config.unet, networkTime(t, config));
        return tf.concat(
          shiftLayout(config, way).map(({ key }) => shifts[key] as tf.Tensor2D),
          1,
        );
      };
      return { down: pack("down", "downsampler"), up: pack("up", "upsampler") };
    },
  };
}

/** What a program sees of finished blocks: (N·H, K, D) by layer, and which of the K tokens exist; and of the text. */
interface Cache {
  readonly keys: Readonly<Record<string, tf.Tensor3D>>;
  readonly values: Readonly<Record<string, tf.Tensor3D>>;
  readonly mask: tf.Tensor | undefined;
  readonly text: Tensors<TextSpecs>["text"];
}

type Shape3 = readonly [number, number, number];

/** Shapes of keys or of values, (N·H, L, D) by layer. */
type LayerSpecs = Readonly<Record<string, TensorSpec<Shape3>>>;

function layerSpecs({ config, batchImages }: SamplingShape, blocks: number, layers: readonly number[]): LayerSpecs {
  const { M, D } = geometryOf(config);
  const heads = spec([batchImages * config.heads, blocks * M, D] as const);
  return Object.fromEntries(layers.map((layer) => [String(layer), heads]));
}

/** Keys and values of the text as inputs of a program, (N·H, tokens, D) by layer; none without a text. */
export type TextSpecs = { readonly text?: { readonly keys: LayerSpecs; readonly values: LayerSpecs } };

/** @param layers Those that the program sees the text in. */
export function textSpecsOf(config: MadformerConfig, images: number, layers: readonly number[]): TextSpecs {
  if (!config.text || layers.length === 0) return {};
  const { D } = geometryOf(config);
  const heads = spec([images * config.heads, config.text.tokens, D] as const);
  const part = Object.fromEntries(layers.map((layer) => [String(layer), heads]));
  return { text: { keys: part, values: part } };
}

const range = (start: number, end: number): number[] =>
  Array.from({ length: Math.max(end - start, 0) }, (_, i) => start + i);

/** The cache as inputs of a program; none of it where there is nothing to see. */
type CacheSpecs = TextSpecs & {
  readonly keys?: LayerSpecs;
  readonly values?: LayerSpecs;
  readonly cacheMask?: TensorSpec<Shape3>;
};

function cacheSpecs(shape: SamplingShape, layers: readonly number[]): CacheSpecs {
  const { config, cacheBlocks, masked } = shape;
  if (cacheBlocks === 0 || layers.length === 0) return {};
  const heads = layerSpecs(shape, cacheBlocks, layers);
  const { M } = geometryOf(config);
  return { keys: heads, values: heads, ...(masked ? { cacheMask: spec([1, 1, cacheBlocks * M] as const) } : {}) };
}

function cacheOf({ keys = {}, values = {}, cacheMask, text }: Tensors<CacheSpecs>): Cache {
  return { keys, values, mask: cacheMask, text };
}

/** Attention over the cache, the text and some tokens of this run, in this order. */
function attendCached(
  q: tf.Tensor3D,
  cache: Cache,
  layer: number,
  tokens: readonly { readonly k: tf.Tensor3D; readonly v: tf.Tensor3D }[],
): tf.Tensor3D {
  const [k, v] = [cache.text?.keys[layer], cache.text?.values[layer]];
  const own = k && v ? [{ k, v }, ...tokens] : tokens;
  const [cachedK, cachedV] = [cache.keys[layer], cache.values[layer]];
  const all = (cached: tf.Tensor3D | undefined, parts: tf.Tensor3D[]): tf.Tensor3D => {
    const list = cached ? [cached, ...parts] : parts;
    return list.length === 1 ? (list[0] as tf.Tensor3D) : tf.concat(list, 1);
  };
  const ownTokens = own.reduce((sum, { k }) => sum + k.shape[1], 0);
  const mask = cachedK && cache.mask ? tf.concat([cache.mask, tf.zeros([1, 1, ownTokens])], 2) : undefined;
  return attend(
    q,
    all(
      cachedK,
      own.map(({ k }) => k),
    ),
    all(
      cachedV,
      own.map(({ v }) => v),
    ),
    mask,
  );
}

/** The rotary tables of a block, whose number is known only at the run. */
function ropeSpecs(config: MadformerConfig) {
  const { M, D } = geometryOf(config);
  return { cos: spec([M, D] as const), sin: spec([M, D] as const) };
}

/** Rotary tables of one block, as inputs of a program. */
export function ropeInputs(config: MadformerConfig, block: number): { cos: Float32Array; sin: Float32Array } {
  const { M, D } = geometryOf(config);
  const { cos, sin } = ropeValues(config);
  const part = (values: Float32Array): Float32Array => values.slice(block * M * D, (block + 1) * M * D);
  return { cos: part(cos), sin: part(sin) };
}

const tablesOf = (config: MadformerConfig, { cos, sin }: { cos: tf.Tensor2D; sin: tf.Tensor2D }): RopeTables => ({
  cos,
  sin,
  partners: ropePartners(config),
});

/** Keys and values that a run leaves behind, by layer. */
type Own = Record<string, tf.Tensor3D>;

/** The condition of a block, if the network is conditioned, and what its run leaves behind. */
export type ContextOutputs = { readonly condition?: tf.Tensor3D; readonly keys: Own; readonly values: Own };

export type FirstSpecs = TextSpecs & { readonly boi: TensorSpec<Shape3>; readonly rope: RopeSpecs };

/**
 * Program `first`: the learned tokens before the first block -> the condition of block 0. It is the same for every
 * image, or every image of a class, so it runs for one.
 */
export function firstProgram(config: MadformerConfig) {
  const { M } = geometryOf(config);
  const inputs: FirstSpecs = {
    boi: spec([1, M, config.width] as const),
    rope: ropeSpecs(config),
    ...textSpecsOf(config, 1, range(0, config.arLayers)),
  };
  return {
    inputs,
    run: (p: Parameters, inputs: Tensors<FirstSpecs>): ContextOutputs => {
      const none: Cache = { keys: {}, values: {}, mask: undefined, text: inputs.text };
      const [keys, values]: [Own, Own] = [{}, {}];
      const rope = tablesOf(config, inputs.rope);
      const condition = noisedLayers(p, config, inputs.boi, rope, none, 0, config.arLayers, {}, { keys, values });
      return { condition, keys, values };
    },
  };
}

/**
 * Noised tokens of one block through the layers [start, end); under `clearClean` their keys and values are left behind.
 */
function noisedLayers(
  p: Parameters,
  config: MadformerConfig,
  x: tf.Tensor3D,
  rope: RopeTables,
  cache: Cache,
  start: number,
  end: number,
  clean: Readonly<Record<string, { k: tf.Tensor3D; v: tf.Tensor3D }>>,
  left: { keys: Own; values: Own },
): tf.Tensor3D {
  for (let layer = start; layer < end; layer++) {
    const scope = new Scope(p).in(`blocks.${layer}`);
    const { q, k, v } = projectHeads(scope, config, "noised", x, rope, true);
    const before = clean[layer];
    const attended = attendCached(q as tf.Tensor3D, cache, layer, [...(before ? [before] : []), { k, v }]);
    x = completeLayer(scope, config, "noised", x, attended).y;
    if (usesNoisedCache(config, layer)) [left.keys[layer], left.values[layer]] = [k, v];
  }
  return x;
}

/**
 * The text and the first block through the diffusion layers with nothing hidden: every token sees all of both. The
 * text's keys and values are left behind for the steps to come; under `clearClean` each step makes them anew.
 *
 * Source: spec section 29, for `denoisingMlp`.
 *
 * @param words (N, tokens, C), the text as it leaves the autoregressive layers.
 * @returns The block's tokens.
 */
function jointLayers(
  p: Parameters,
  config: MadformerConfig,
  words: tf.Tensor3D,
  x: tf.Tensor3D,
  rope: RopeTables,
  left: { keys: Own; values: Own },
): tf.Tensor3D {
  if (!hasText(config)) throw new TypeError("Cannot let a text see a block: the model has no text");
  const ropeOfText = textRope(config);
  const none: Cache = { keys: {}, values: {}, mask: undefined, text: undefined };
  const { layers } = geometryOf(config);
  for (let layer = config.arLayers; layer < layers; layer++) {
    const scope = new Scope(p).in(`blocks.${layer}`);
    const goesOn = layer < layers - 1;
    const text = projectHeads(scope, config, "text", words, ropeOfText, goesOn);
    const own = projectHeads(scope, config, "noised", x, rope, true);
    if (!config.clearClean) [left.keys[layer], left.values[layer]] = [text.k, text.v];
    x = completeLayer(scope, config, "noised", x, attendCached(own.q as tf.Tensor3D, none, layer, [text, own])).y;
    if (text.q) words = completeLayer(scope, config, "text", words, attendCached(text.q, none, layer, [text, own])).y;
  }
  return x;
}

type Shape2 = readonly [number, number];
type RopeSpecs = ReturnType<typeof ropeSpecs>;

export type ContextSpecs = CacheSpecs & {
  readonly latents: TensorSpec<Shape3>;
  readonly shifts: TensorSpec<Shape2>;
  readonly clean: RopeSpecs;
  readonly noised: RopeSpecs;
};

/**
 * Program `context`: the block before, finished -> the condition of the block to come, and what it leaves in the cache.
 */
export function contextProgram(shape: SamplingShape) {
  const { config, batchImages: N } = shape;
  const { P, M } = geometryOf(config);
  const { blockSide: side, latentChannels, width: C } = config;
  const throughClean = sampling(config).cleanLayers;
  const read = cachedLayers(config).filter(
    (layer) => layer < Math.max(throughClean, config.clearClean ? config.arLayers : 0),
  );
  const inputs: ContextSpecs = {
    latents: spec([N, P, latentChannels] as const),
    shifts: spec([1, shiftChannels(config, "down")] as const),
    clean: ropeSpecs(config),
    noised: ropeSpecs(config),
    ...textSpecsOf(
      config,
      N,
      range(0, Math.max(throughClean - 1, sampling(config).autoregressive ? config.arLayers : 0)),
    ),
    ...cacheSpecs(shape, read),
  };
  const run = (p: Parameters, inputs: Tensors<ContextSpecs>): ContextOutputs => {
    const root = new Scope(p);
    const down = root.in("downsampler");
    const image = tf.reshape<tf.Rank.R4>(inputs.latents, [N, side, side, latentChannels]);
    const shifts = unpackShifts(inputs.shifts, config, "down");
    const states = downsample(down, image, shifts, config.unet);
    const embedded = tf.reshape<tf.Rank.R3>(embed(down, states.at(-1) as tf.Tensor4D), [N, M, C]);
    const cache = cacheOf(inputs);
    const [cleanRope, noisedRope] = [tablesOf(config, inputs.clean), tablesOf(config, inputs.noised)];

    // The clean tower, for its keys and values: nobody needs the last layer's queries.
    const [keys, values]: [Own, Own] = [{}, {}];
    const clean: Record<string, { k: tf.Tensor3D; v: tf.Tensor3D }> = {};
    let x = embedded;
    for (let layer = 0; layer < throughClean; layer++) {
      const scope = root.in(`blocks.${layer}`);
      const goesOn = layer < throughClean - 1;
      const { q, k, v } = projectHeads(scope, config, "clean", x, cleanRope, goesOn);
      [keys[layer], values[layer]] = [k, v];
      clean[layer] = { k, v };
      if (goesOn && q) x = completeLayer(scope, config, "clean", x, attendCached(q, cache, layer, [{ k, v }])).y;
    }
    if (!sampling(config).autoregressive) return { keys, values };
    const left = { keys, values };
    return {
      condition: noisedLayers(p, config, embedded, noisedRope, cache, 0, config.arLayers, clean, left),
      keys,
      values,
    };
  };
  return { inputs, run };
}

export type DenoiseSpecs = CacheSpecs & {
  readonly words?: TensorSpec<Shape3>;
  readonly x: TensorSpec<Shape3>;
  readonly previousData: TensorSpec<Shape3>;
  readonly condition?: TensorSpec<Shape3>;
  readonly coefficients: TensorSpec<readonly [number]>;
  readonly down: TensorSpec<Shape2>;
  readonly up: TensorSpec<Shape2>;
  readonly rope: RopeSpecs;
};

/**
 * What a step of the solver sees of the text: its keys and values; nothing; or itself, going through the diffusion
 * layers in turn, where it sees the block that is denoised (`textSeesNoise`).
 */
export type TextInStep = "seen" | "none" | "with-block";

/** Program `denoise`: one step of the solver for one block. */
export function denoiseProgram(shape: SamplingShape, clip: boolean, text: TextInStep = "seen") {
  const { config, batchImages: N } = shape;
  const { P, M, tokenSide, layers } = geometryOf(config);
  const { blockSide: side, latentChannels, width: C, arLayers } = config;
  const latents = spec([N, P, latentChannels] as const);
  const inputs: DenoiseSpecs = {
    x: latents,
    previousData: latents,
    ...(sampling(config).autoregressive ? { condition: spec([N, M, C] as const) } : {}),
    coefficients: spec([COEFFICIENTS.length] as const),
    down: spec([1, shiftChannels(config, "down")] as const),
    up: spec([1, shiftChannels(config, "up")] as const),
    rope: ropeSpecs(config),
    ...(text === "seen" ? textSpecsOf(config, N, range(arLayers, layers)) : {}),
    ...(text === "with-block" ? { words: spec([N, config.text?.tokens ?? 0, C] as const) } : {}),
    ...cacheSpecs(
      shape,
      cachedLayers(config).filter((layer) => layer >= arLayers),
    ),
  };
  const run = (p: Parameters, inputs: Tensors<DenoiseSpecs>) => {
    const root = new Scope(p);
    const { x, condition } = inputs;
    const image = tf.reshape<tf.Rank.R4>(x, [N, side, side, latentChannels]);
    const down = root.in("downsampler");
    const states = downsample(down, image, unpackShifts(inputs.down, config, "down"), config.unet);
    const embedded = tf.reshape<tf.Rank.R3>(embed(down, states.at(-1) as tf.Tensor4D), [N, M, C]);
    const rope = tablesOf(config, inputs.rope);
    const left: { keys: Own; values: Own } = { keys: {}, values: {} };
    const tokens: tf.Tensor3D = condition ? tf.add(condition, embedded) : embedded;
    const h = inputs.words
      ? jointLayers(p, config, inputs.words, tokens, rope, left)
      : noisedLayers(p, config, tokens, rope, cacheOf(inputs), arLayers, layers, {}, left);
    const map = tf.reshape<tf.Rank.R4>(h, [N, tokenSide, tokenSide, C]);
    const shifts = unpackShifts(inputs.up, config, "up");
    const output = tf.reshape<tf.Rank.R3>(upsample(root.in("upsampler"), map, shifts, states, config.unet), x.shape);
    const { prediction } = config;
    return { ...solverUpdate(x, output, inputs.previousData, inputs.coefficients, { clip, prediction }), ...left };
  };
  return { inputs, run };
}

/**
 * Program `append`: what some layers hold, and a block's own keys and values -> what they hold then. Where the cache
 * has all its room from the start, `place` says which of its tokens are the block's.
 *
 * @param blocks Blocks that the layers hold; none where there is nothing to append to.
 */
export function appendProgram(shape: SamplingShape, layers: readonly number[], blocks: number) {
  const { config, cacheBlocks, masked } = shape;
  const { M } = geometryOf(config);
  const [before, own] = [layerSpecs(shape, masked ? cacheBlocks : blocks, layers), layerSpecs(shape, 1, layers)];
  const place = masked ? { place: spec([1, cacheBlocks * M, 1] as const, "bool") } : {};
  const inputs: AppendSpecs = { before: { keys: before, values: before }, own: { keys: own, values: own }, ...place };
  const run = (_: Parameters, { before, own, place }: Tensors<AppendSpecs>) => {
    const join = (part: "keys" | "values"): Own =>
      Object.fromEntries(
        Object.entries(own[part]).map(([layer, tokens]) => {
          const held = before[part][layer] as tf.Tensor3D;
          const joined = place
            ? tf.where(place, tf.tile(tokens, [1, cacheBlocks, 1]), held)
            : tf.concat([held, tokens], 1);
          return [layer, joined];
        }),
      );
    return { keys: join("keys"), values: join("values") };
  };
  return { inputs, run };
}

export type AppendSpecs = {
  readonly before: { readonly keys: LayerSpecs; readonly values: LayerSpecs };
  readonly own: { readonly keys: LayerSpecs; readonly values: LayerSpecs };
  readonly place?: TensorSpec<Shape3>;
};
