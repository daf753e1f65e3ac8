import { spec, type TensorSpec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import { COEFFICIENTS, solverUpdate } from "../diffusion/solver.js";
import { networkTime } from "../madformer.js";
import { attend } from "../nn/attend.js";
import { Scope, type Parameters } from "../parameters.js";
import { completeLayer, projectHeads } from "../transformer/layer.js";
import { ropePartners, ropeValues, type RopeTables } from "../transformer/rope.js";
import { downLevels, upLevels } from "../unet/levels.js";
import { downsample, embed, timeShifts, upsample, type TimeShifts } from "../unet/unet.js";

type Tree = { readonly [name: string]: tf.Tensor | Tree };
type SpecTree = { readonly [name: string]: TensorSpec | SpecTree };

/**
 * The sampler's programs, each a pure function of the parameters and its inputs. Finished blocks are present only as keys
 * and values. One image's block takes one run of `context`, which does everything that does not depend on the timestep, and
 * one run of `denoise` for each step:
 *
 *     time      timesteps                              -> what they add in the U-Net
 *     first     the learned first tokens               -> condition of block 0
 *     context   block b-1, finished; cache             -> condition of block b, keys and values of block b-1
 *     denoise   block b, noised; condition; cache      -> block b, a step less noised
 *
 * Source: arXiv:2506.07999, section 3.3; spec section 12, with everything skipped that section 17 lists: clean tokens run
 * through the diffusion layers once per block instead of once per step, and no mask is needed.
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
  return Array.from({ length: layers }, (_, layer) => layer).filter((layer) =>
    layer < config.arLayers ? cleanLayers(config) > layer || usesNoisedCache(config, layer) : !config.denoisingMlp,
  );
}

/** Layers that clean tokens run through while sampling: up to the last one where somebody sees them. */
function cleanLayers(config: MadformerConfig): number {
  if (config.clearClean) return 0;
  if (!config.denoisingMlp) return geometryOf(config).layers;
  return config.clearCond ? 0 : config.arLayers;
}

/** Without a clean tower, finished blocks are seen through the noised tower's keys and values. */
function usesNoisedCache(config: MadformerConfig, layer: number): boolean {
  return config.clearClean && (layer >= config.arLayers ? !config.denoisingMlp : !config.clearCond);
}

/** Whether the autoregressive layers are needed for the condition. */
const conditioned = (config: MadformerConfig): boolean => !config.clearCond;

/** Whether finished blocks matter to those that come: as their condition or by their keys and values. */
export function usesContext(config: MadformerConfig): boolean {
  return conditioned(config) || cleanLayers(config) > 0;
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

/** What a program sees of finished blocks: (N·H, K, D) by layer, and which of the K tokens exist. */
interface Cache {
  readonly keys: Readonly<Record<string, tf.Tensor3D>>;
  readonly values: Readonly<Record<string, tf.Tensor3D>>;
  readonly mask: tf.Tensor | undefined;
}

function cacheSpecs({ config, batchImages, cacheBlocks, masked }: SamplingShape, layers: readonly number[]): SpecTree {
  if (cacheBlocks === 0 || layers.length === 0) return {};
  const { M, D } = geometryOf(config);
  const heads: Record<string, TensorSpec> = Object.fromEntries(
    layers.map((layer) => [String(layer), spec([batchImages * config.heads, cacheBlocks * M, D])]),
  );
  return { keys: heads, values: heads, ...(masked ? { cacheMask: spec([1, 1, cacheBlocks * M]) } : {}) };
}

function cacheOf(inputs: Tree): Cache {
  return {
    keys: (inputs["keys"] ?? {}) as Cache["keys"],
    values: (inputs["values"] ?? {}) as Cache["values"],
    mask: inputs["cacheMask"] as tf.Tensor | undefined,
  };
}

/** Attention over the cache and some tokens of this run, in this order. */
function attendCached(
  q: tf.Tensor3D,
  cache: Cache,
  layer: number,
  own: readonly { readonly k: tf.Tensor3D; readonly v: tf.Tensor3D }[],
): tf.Tensor3D {
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

/**
 * Program `first`: the learned tokens before the first block -> the condition of block 0. It is the same for every image, so
 * it runs for one.
 */
export function firstProgram(config: MadformerConfig) {
  const { M } = geometryOf(config);
  return {
    inputs: { boi: spec([1, M, config.width] as const), rope: ropeSpecs(config) },
    run: (p: Parameters, inputs: { boi: tf.Tensor3D; rope: { cos: tf.Tensor2D; sin: tf.Tensor2D } }) => {
      const none: Cache = { keys: {}, values: {}, mask: undefined };
      const [keys, values]: [Own, Own] = [{}, {}];
      const rope = tablesOf(config, inputs.rope);
      const condition = noisedLayers(p, config, inputs.boi, rope, none, 0, config.arLayers, {}, { keys, values });
      return { condition, keys, values };
    },
  };
}

/** Noised tokens of one block through the layers [start, end); under `clearClean` their keys and values are left behind. */
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

/** Program `context`: the block before, finished -> the condition of the block to come, and what it leaves in the cache. */
export function contextProgram(shape: SamplingShape) {
  const { config, batchImages: N } = shape;
  const { P, M } = geometryOf(config);
  const { blockSide: side, latentChannels, width: C } = config;
  const throughClean = cleanLayers(config);
  const read = cachedLayers(config).filter(
    (layer) => layer < Math.max(throughClean, config.clearClean ? config.arLayers : 0),
  );
  const inputs = {
    latents: spec([N, P, latentChannels] as const),
    shifts: spec([1, shiftChannels(config, "down")] as const),
    clean: ropeSpecs(config),
    noised: ropeSpecs(config),
    ...cacheSpecs(shape, read),
  };
  const run = (p: Parameters, inputs: Tree) => {
    const root = new Scope(p);
    const down = root.in("downsampler");
    const image = tf.reshape<tf.Rank.R4>(inputs["latents"] as tf.Tensor, [N, side, side, latentChannels]);
    const shifts = unpackShifts(inputs["shifts"] as tf.Tensor2D, config, "down");
    const states = downsample(down, image, shifts, config.unet);
    const embedded = tf.reshape<tf.Rank.R3>(embed(down, states.at(-1) as tf.Tensor4D), [N, M, C]);
    const cache = cacheOf(inputs);
    const [cleanRope, noisedRope] = ["clean", "noised"].map((name) =>
      tablesOf(config, inputs[name] as unknown as { cos: tf.Tensor2D; sin: tf.Tensor2D }),
    ) as [RopeTables, RopeTables];

    // The clean tower, for its keys and values: the last layer's queries are nobody's.
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
    if (!conditioned(config)) return { keys, values };
    const left = { keys, values };
    return {
      condition: noisedLayers(p, config, embedded, noisedRope, cache, 0, config.arLayers, clean, left),
      keys,
      values,
    };
  };
  return { inputs, run };
}

/** Program `denoise`: one step of the solver for one block. */
export function denoiseProgram(shape: SamplingShape, clip: boolean) {
  const { config, batchImages: N } = shape;
  const { P, M, tokenSide, layers } = geometryOf(config);
  const { blockSide: side, latentChannels, width: C, arLayers } = config;
  const latents = spec([N, P, latentChannels] as const);
  const inputs = {
    x: latents,
    previousData: latents,
    ...(conditioned(config) ? { condition: spec([N, M, C] as const) } : {}),
    coefficients: spec([COEFFICIENTS.length] as const),
    down: spec([1, shiftChannels(config, "down")] as const),
    up: spec([1, shiftChannels(config, "up")] as const),
    rope: ropeSpecs(config),
    ...cacheSpecs(
      shape,
      cachedLayers(config).filter((layer) => layer >= arLayers),
    ),
  };
  const run = (p: Parameters, inputs: Tree) => {
    const root = new Scope(p);
    const x = inputs["x"] as tf.Tensor3D;
    const image = tf.reshape<tf.Rank.R4>(x, [N, side, side, latentChannels]);
    const down = root.in("downsampler");
    const states = downsample(down, image, unpackShifts(inputs["down"] as tf.Tensor2D, config, "down"), config.unet);
    const embedded = tf.reshape<tf.Rank.R3>(embed(down, states.at(-1) as tf.Tensor4D), [N, M, C]);
    const condition = inputs["condition"] as tf.Tensor3D | undefined;
    const rope = tablesOf(config, inputs["rope"] as unknown as { cos: tf.Tensor2D; sin: tf.Tensor2D });
    const left: { keys: Own; values: Own } = { keys: {}, values: {} };
    const tokens = condition ? tf.add(condition, embedded) : embedded;
    const h = noisedLayers(p, config, tokens as tf.Tensor3D, rope, cacheOf(inputs), arLayers, layers, {}, left);
    const map = tf.reshape<tf.Rank.R4>(h, [N, tokenSide, tokenSide, C]);
    const shifts = unpackShifts(inputs["up"] as tf.Tensor2D, config, "up");
    const noise = tf.reshape<tf.Rank.R3>(upsample(root.in("upsampler"), map, shifts, states, config.unet), x.shape);
    const previous = inputs["previousData"] as tf.Tensor3D;
    const { next, data } = solverUpdate(x, noise, previous, inputs["coefficients"] as tf.Tensor1D, clip);
    return { noise, next, data, ...left };
  };
  return { inputs, run };
}
