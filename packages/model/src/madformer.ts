import * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "./config.js";
import { Scope, under, type Parameters, type ParameterSpecs } from "./parameters.js";
import { dims } from "./shape.js";
import { blockAttention } from "./transformer/block-attention.js";
import { completeLayer, layerSpecs, projectHeads, type Heads } from "./transformer/layer.js";
import { ropeOfBlocks, ropeTables, type RopeTables } from "./transformer/rope.js";
import type { Tower } from "./transformer/visibility.js";
import {
  downsample,
  downsamplerSpecs,
  embed,
  timeShifts,
  upsample,
  upsamplerSpecs,
  type TimeShifts,
} from "./unet/unet.js";

/** All parameters of MADFormer, in the order of the reference's `state_dict`. Spec section 2. */
export function madformerSpecs(config: MadformerConfig): ParameterSpecs {
  const { M, layers } = geometryOf(config);
  const { unet, latentChannels, width } = config;
  return {
    boi_block: { shape: [1, M, width], initializer: { kind: "normal" } },
    ...under("downsampler", downsamplerSpecs(unet, latentChannels, width)),
    ...under("upsampler", upsamplerSpecs(unet, latentChannels, width)),
    ...(Object.assign(
      {},
      ...Array.from({ length: layers }, (_, i) => under(`blocks.${i}`, layerSpecs(config))),
    ) as ParameterSpecs),
  };
}

/** What the forward pass can give; what nobody wants is not computed. */
export type OutputName = "noisePred" | "condition" | "cleanTower";

/** Outputs of the forward pass, latents in blocks: (N, T, P, channels) float32 each. */
export type Outputs = Partial<Record<OutputName, tf.Tensor4D>>;

/** Is shown what a forward pass computes on the way, by the reference's names; used by tests and for inspection. */
export type Observe = (name: string, value: tf.Tensor) => void;

/**
 * MADFormer's training pass, every block at once: each block is denoised in the light of the clean blocks before it.
 *
 *     clean, noised = embed(cleanX, t), embed(noisedX, t)             the U-Net's way down: M tokens per block
 *     h = layers 0..N-1 of [first | clean[:-1]], beside clean         autoregressive: block j sees the blocks before j
 *     h = layers N.. of h + noised, beside clean                      diffusion: the same, and the noise of block j
 *     noisePred = unembed(h, t)                                       the way up, with the way down's states
 *
 * Two towers of weights, one for clean and one for noised tokens, attend to each other as `visibleBlocks` says.
 *
 * Source: arXiv:2506.07999, section 3; spec sections 5 to 7 and Junhaoo-Chen/MADFormer@b19ccb5 src/models.py MADFormer.forward.
 * Departs from it: what the wanted outputs do not depend on is not computed (spec section 17): without `cleanTower` the last
 * clean block takes no part, clean tokens end with the last layer in which somebody sees them, and there only their keys and
 * values exist. Quirks of the released code are switches of the config.
 *
 * @param p Parameters, as `madformerSpecs` lists them. Borrowed.
 * @param batch `cleanX`, `noisedX` (N, T, P, channels) float32: latents in blocks, pixels row-major. `t` (N, T) int32 in
 *   [0, 1000): the timestep of each block. Borrowed.
 * @param wanted Which outputs. `cleanTower` does not exist under `clearClean`.
 * @returns The outputs, new.
 * @throws {ShapeError} If a shape does not fit the config.
 */
export function forward(
  p: Parameters,
  config: MadformerConfig,
  batch: { readonly cleanX: tf.Tensor4D; readonly noisedX: tf.Tensor4D; readonly t: tf.Tensor2D },
  wanted: readonly OutputName[],
  observe: Observe = () => undefined,
): Outputs {
  const { T, P, M, blockSide: side, tokenSide, layers } = { ...config, ...geometryOf(config) };
  const { width: C, latentChannels, unet, quirks } = config;
  const { N } = dims(batch.cleanX, ["N", T, P, latentChannels], "forward: cleanX");
  dims(batch.noisedX, [N, T, P, latentChannels], "forward: noisedX");
  dims(batch.t, [N, T], "forward: t");
  const root = new Scope(p);
  const [down, up] = [root.in("downsampler"), root.in("upsampler")];

  // What the wanted outputs need.
  const wants = (name: OutputName): boolean => wanted.includes(name);
  const cleanTower = wants("cleanTower") && !config.clearClean;
  /** Whether the autoregressive layers' output for noised tokens matters. */
  const autoregressive = !config.clearCond || (wants("condition") && quirks.condition === "autoregressive");
  const cleanStates = cleanTower || (wants("condition") && quirks.conditionSkips === "clean");
  /** Clean blocks among the tokens: the last one is seen by no other. */
  const cleanBlocks = config.clearClean ? 0 : cleanTower ? T : T - 1;
  /** Clean blocks whose embedding is used, as tokens or shifted. */
  const embeddedBlocks = Math.max(cleanBlocks, autoregressive ? T - 1 : 0);
  const shrunkBlocks = cleanStates ? T : embeddedBlocks;
  /** The last layer in which somebody sees clean tokens. */
  const sees = (layer: number): boolean => (layer < config.arLayers ? autoregressive : !config.denoisingMlp);
  const lastSeen = cleanBlocks > 0 ? Math.max(-1, ...range(0, layers).filter(sees)) : -1;

  // Time: one point for each block. Clean blocks share it, or are at time 0.
  const t = networkTime(tf.reshape(tf.cast(batch.t, "float32"), [N * T]), config);
  const timesOf = (of: "down" | "up") => {
    const noised = timeShifts(of === "down" ? down : up, of, unet, t); // (N·T, channels)
    const zero = quirks.cleanTimestep === "zero" ? timeShifts(of === "down" ? down : up, of, unet, tf.zeros([1])) : {};
    const clean = (key: string, blocks: number): tf.Tensor2D => {
      const shift = noised[key] as tf.Tensor2D;
      const channels = shift.shape[1];
      if (quirks.cleanTimestep === "zero") return tf.tile(zero[key] as tf.Tensor2D, [N * blocks, 1]);
      return rowsOfBlocks(tf.reshape(shift, [N, T, channels]), blocks, [channels]);
    };
    /** Shifts for a batch of some parts, each some blocks of all images. */
    return (parts: readonly (readonly [Tower, number])[]): TimeShifts =>
      Object.fromEntries(
        Object.entries(noised).map(([key, shift]) => [
          key,
          joined(parts.map(([tower, blocks]) => (tower === "clean" ? clean(key, blocks) : shift))),
        ]),
      );
  };

  // The way down, clean and noised blocks in one batch.
  const image = [side, side, latentChannels] as const;
  const clean = shrunkBlocks > 0 ? [rowsOfBlocks<tf.Rank.R4>(batch.cleanX, shrunkBlocks, image)] : [];
  const images = joined<tf.Tensor4D>([...clean, tf.reshape(batch.noisedX, [N * T, ...image])]);
  const parts = [...(shrunkBlocks > 0 ? [["clean", shrunkBlocks] as const] : []), ["noised", T] as const];
  const states = downsample(down, images, timesOf("down")(parts), unet); // (N·(shrunkBlocks + T), side, side, channels)
  const statesOf = (tower: Tower): tf.Tensor4D[] =>
    states.map((state) =>
      tower === "clean"
        ? tf.slice(state, 0, N * shrunkBlocks)
        : shrunkBlocks > 0
          ? tf.slice(state, N * shrunkBlocks, N * T)
          : state,
    );
  const lastState = (tower: Tower): tf.Tensor4D => statesOf(tower).at(-1) as tf.Tensor4D;
  const tokens = (embedded: tf.Tensor4D, blocks: number): tf.Tensor3D => tf.reshape(embedded, [N, blocks * M, C]);
  const noised = tokens(embed(down, lastState("noised")), T); // (N, T·M, C)
  let embedded: tf.Tensor3D | undefined; // (N, embeddedBlocks·M, C)
  if (embeddedBlocks > 0) {
    const last = lastState("clean");
    const shape = last.shape.slice(1);
    const some = rowsOfBlocks<tf.Rank.R4>(tf.reshape(last, [N, shrunkBlocks, ...shape]), embeddedBlocks, shape);
    embedded = tokens(embed(down, some), embeddedBlocks);
  }
  if (embedded) observe("downsampler.clean.out", tf.reshape(embedded, [N * embeddedBlocks, tokenSide, tokenSide, C]));
  observe("downsampler.noised.out", tf.reshape(noised, [N * T, tokenSide, tokenSide, C]));
  for (const tower of ["clean", "noised"] as const)
    if (tower === "noised" || shrunkBlocks > 0)
      statesOf(tower).forEach((state, k) => observe(`downsampler.${tower}.res.${k}`, state));

  // Tokens: clean blocks, and for each block to generate the embedding of the block before it.
  const rope = ropeTables(config);
  const ropes: Record<Tower, RopeTables> = {
    clean: ropeOfBlocks(rope, M, 0, cleanBlocks),
    noised: rope,
  };
  const upTo = (x: tf.Tensor3D, blocks: number): tf.Tensor3D => tf.slice(x, [0, 0, 0], [-1, blocks * M, -1]);
  const first = tf.tile(root.get<tf.Tensor3D>("boi_block"), [N, 1, 1]); // (N, M, C)
  const x: Partial<Record<Tower, tf.Tensor3D>> = {};
  if (cleanBlocks > 0 && embedded) x.clean = upTo(embedded, cleanBlocks);
  if (autoregressive) x.noised = embedded ? tf.concat([first, upTo(embedded, T - 1)], 1) : first;
  let condition: tf.Tensor3D | undefined;

  for (let layer = 0; layer < layers; layer++) {
    if (layer === config.arLayers) {
      const before = x.noised;
      x.noised = config.clearCond ? noised : tf.add(before as tf.Tensor3D, noised);
      condition = quirks.condition === "with-noised" ? x.noised : before;
      if (!wants("noisePred") && !cleanTower) break; // the condition needs no further layer
    }
    for (const tower of ["clean", "noised"] as const) if (x[tower]) observe(`blocks.${layer}.in.${tower}`, x[tower]);
    const layerScope = root.in(`blocks.${layer}`);
    const heads: Partial<Record<Tower, Heads>> = {};
    const cleanGoesOn = cleanTower || layer < lastSeen;
    if (x.clean && (cleanGoesOn || layer === lastSeen))
      heads.clean = projectHeads(layerScope, config, "clean", x.clean, ropes.clean, cleanGoesOn);
    if (x.noised) heads.noised = projectHeads(layerScope, config, "noised", x.noised, ropes.noised, true);
    const attended = blockAttention(config, layer, heads, M);
    for (const tower of ["clean", "noised"] as const) {
      const [before, seen] = [x[tower], attended[tower]];
      if (!before || !seen) {
        delete x[tower]; // nobody needs these tokens any more
        continue;
      }
      const { y, attention } = completeLayer(layerScope, config, tower, before, seen);
      observe(`blocks.${layer}.self_attn.out.${tower}`, attention);
      observe(`blocks.${layer}.out.${tower}`, (x[tower] = y));
    }
  }

  // The way up, everything that is wanted in one batch.
  const results: [OutputName, Tower, tf.Tensor3D][] = [];
  if (wants("condition")) results.push(["condition", "clean", condition as tf.Tensor3D]);
  if (wants("noisePred")) results.push(["noisePred", "noised", x.noised as tf.Tensor3D]);
  if (cleanTower) results.push(["cleanTower", "clean", x.clean as tf.Tensor3D]);
  const maps = results.map(([name, , h]) => {
    const map = tf.reshape<tf.Rank.R4>(h, [N * T, tokenSide, tokenSide, C]);
    observe(`upsampler.${name}.in`, map);
    return map;
  });
  const skips = results.map(([name, tower]) =>
    name === "condition" && quirks.conditionSkips === "zero"
      ? states.map(({ shape: [, ...rest] }) =>
          tf.zeros<tf.Rank.R4>([N * T, ...rest] as [number, number, number, number]),
        )
      : statesOf(tower),
  );
  const joinedSkips = states.map((_, k) => joined(skips.map((list) => list[k] as tf.Tensor4D)));
  const shifts = timesOf("up")(results.map(([, tower]) => [tower, T] as const));
  const latents = upsample(up, joined(maps), shifts, joinedSkips, unet); // (results·N·T, side, side, channels)
  return Object.fromEntries(
    results.map(([name], i) => [
      name,
      tf.reshape<tf.Rank.R4>(tf.slice(latents, i * N * T, N * T), [N, T, P, latentChannels]),
    ]),
  );
}

/** Timesteps as the network sees them. */
export function networkTime(t: tf.Tensor1D, config: MadformerConfig): tf.Tensor1D {
  return config.quirks.timestepScale === "unit" ? tf.mul(t, 1 / 1000) : t;
}

const range = (start: number, end: number): number[] => Array.from({ length: end - start }, (_, i) => start + i);

/** Tensors one after another along the first axis; a single one as it is. */
function joined<T extends tf.Tensor>(parts: readonly T[]): T {
  return parts.length === 1 ? (parts[0] as T) : tf.concat(parts as T[], 0);
}

/** The first `blocks` blocks of every image, as rows: (N, T, ...) -> (N·blocks, ...shape) */
function rowsOfBlocks<R extends tf.Rank = tf.Rank.R2>(
  x: tf.Tensor,
  blocks: number,
  shape: readonly number[],
): tf.Tensor<R> {
  const [N = 0, T = 0] = x.shape;
  const zeros = x.shape.map(() => 0);
  const some = blocks === T ? x : tf.slice(x, zeros, [N, blocks, ...x.shape.slice(2)]);
  return tf.reshape<R>(some, [N * blocks, ...shape] as tf.ShapeMap[R]);
}
