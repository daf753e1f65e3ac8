import * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import type { ImageOutput, Needs, OutputName } from "../needs.js";
import type { Recompute } from "../nn/part.js";
import type { Scope } from "../parameters.js";
import type { Observe } from "../transformer/towers-layer.js";
import type { Tower } from "../transformer/visibility.js";
import { downsample, embed, timeShifts, upsample, type TimeShifts } from "./unet.js";

/** What the way down gives: tokens, and what the way up takes from it. */
export interface TowersDown {
  /** (N, embeddedBlocks·M, C): the first clean blocks; none if nothing needs any. */
  readonly clean: tf.Tensor3D | undefined;
  /** (N, T·M, C) */
  readonly noised: tf.Tensor3D;
  /** States of the way down, first to last: (N·blocks, side, side, channels), side and channels by level. */
  readonly statesOf: (tower: Tower) => tf.Tensor4D[];
  /** What the blocks' times add, on either way. */
  readonly shiftsOf: (way: "down" | "up") => ShiftsOf;
}

/** Shifts for a batch of some parts, each the first blocks of all images. */
type ShiftsOf = (parts: readonly (readonly [Tower, number])[]) => TimeShifts;

/** Timesteps as the network sees them. */
export function networkTime(t: tf.Tensor1D, config: MadformerConfig): tf.Tensor1D {
  const scale = config.quirks.timestepScale;
  if (scale === "unit") return tf.mul(t, 1 / 1000);
  return scale === "raw" ? t : roundTimestep(t);
}

/** Timesteps below 1024 to the eight binary digits of bfloat16, halfway cases to the even neighbor. */
function roundTimestep(t: tf.Tensor1D): tf.Tensor1D {
  const above = (limit: number): tf.Tensor1D => tf.cast(tf.greaterEqual(t, limit), "float32");
  const unit = tf.add(1, tf.add(above(256), tf.mul(2, above(512)))); // 1, 2 or 4
  return tf.mul(tf.round(tf.div(t, unit)), unit);
}

/**
 * The way down for clean and noised blocks, in one batch.
 *
 * Source: spec section 6, steps 1 and 2.
 *
 * @param root The model's parameters.
 */
export function towersDown(
  root: Scope,
  config: MadformerConfig,
  batch: { readonly cleanX: tf.Tensor4D; readonly noisedX: tf.Tensor4D; readonly t: tf.Tensor2D },
  { embeddedBlocks, shrunkBlocks }: Needs,
  observe: Observe,
  recompute: Recompute,
): TowersDown {
  const { T, M, tokenSide } = geometryOf(config);
  const { blockSide: side, width: C, latentChannels, unet } = config;
  const N = batch.t.shape[0];
  const p = root.in("downsampler");
  const shiftsOf = blockShifts(root, config, batch.t);

  const image = [side, side, latentChannels] as const;
  const cleanImages = shrunkBlocks > 0 ? [rowsOfBlocks<tf.Rank.R4>(batch.cleanX, shrunkBlocks, image)] : [];
  const noisedImages = tf.reshape<tf.Rank.R4>(batch.noisedX, [N * T, ...image]);
  const images = joined([...cleanImages, noisedImages]); // (N·(shrunkBlocks + T), side, side, channels)
  const parts = [...(shrunkBlocks > 0 ? [["clean", shrunkBlocks] as const] : []), ["noised", T] as const];
  // (N·(shrunkBlocks + T), ...) each
  const states = downsample(p, images, shiftsOf("down")(parts), unet, recompute === "all");
  const partOf = (state: tf.Tensor4D, tower: Tower): tf.Tensor4D => {
    if (tower === "clean") return tf.slice(state, 0, N * shrunkBlocks);
    return shrunkBlocks > 0 ? tf.slice(state, N * shrunkBlocks, N * T) : state;
  };
  const statesOf = (tower: Tower): tf.Tensor4D[] => states.map((state) => partOf(state, tower));
  const lastOf = (tower: Tower): tf.Tensor4D => statesOf(tower).at(-1) as tf.Tensor4D;

  const noised = tf.reshape<tf.Rank.R3>(embed(p, lastOf("noised")), [N, T * M, C]);
  let clean: tf.Tensor3D | undefined;
  if (embeddedBlocks > 0) {
    const last = lastOf("clean");
    const shape = last.shape.slice(1);
    const some = rowsOfBlocks<tf.Rank.R4>(tf.reshape(last, [N, shrunkBlocks, ...shape]), embeddedBlocks, shape);
    clean = tf.reshape(embed(p, some), [N, embeddedBlocks * M, C]);
    observe("downsampler.clean.out", tf.reshape(clean, [N * embeddedBlocks, tokenSide, tokenSide, C]));
  }
  observe("downsampler.noised.out", tf.reshape(noised, [N * T, tokenSide, tokenSide, C]));
  for (const tower of ["clean", "noised"] as const)
    if (tower === "noised" || shrunkBlocks > 0)
      statesOf(tower).forEach((state, k) => observe(`downsampler.${tower}.res.${k}`, state));
  return { clean, noised, statesOf, shiftsOf };
}

/** Whose states and time an output goes up with. */
const TOWER_OF = { condition: "clean", noisePred: "noised", cleanTower: "clean" } as const;

/**
 * The way up for all wanted outputs, in one batch.
 *
 * Source: spec section 6, step 7.
 *
 * @param root The model's parameters.
 * @param tokens (N, T·M, C) float32, of those that are wanted.
 * @returns (N, T, P, channels) float32 each, new.
 */
export function towersUp(
  root: Scope,
  config: MadformerConfig,
  down: TowersDown,
  tokens: Readonly<Record<ImageOutput, tf.Tensor3D | undefined>>,
  wanted: readonly OutputName[],
  observe: Observe,
  recompute: Recompute,
): Partial<Record<ImageOutput, tf.Tensor4D>> {
  const { T, P, tokenSide } = geometryOf(config);
  const { width: C, latentChannels, unet } = config;
  const names = (Object.keys(TOWER_OF) as ImageOutput[]).filter(
    (name) => wanted.includes(name) && !(name === "cleanTower" && config.clearClean),
  );
  if (names.length === 0) return {};
  const maps = names.map((name) => {
    const h = tokens[name] as tf.Tensor3D;
    const map = tf.reshape<tf.Rank.R4>(h, [h.shape[0] * T, tokenSide, tokenSide, C]);
    observe(`upsampler.${name}.in`, map);
    return map;
  });
  const skips = names.map((name) => {
    const zero = name === "condition" && config.quirks.conditionSkips === "zero";
    return zero
      ? down.statesOf("noised").map((state) => tf.zeros<tf.Rank.R4>(state.shape))
      : down.statesOf(TOWER_OF[name]);
  });
  const states = (skips[0] ?? []).map((_, k) => joined(skips.map((list) => list[k] as tf.Tensor4D)));
  const shifts = down.shiftsOf("up")(names.map((name) => [TOWER_OF[name], T] as const));
  // (outputs·N·T, side, side, channels)
  const latents = upsample(root.in("upsampler"), joined(maps), shifts, states, unet, recompute === "all");
  const rows = latents.shape[0] / names.length; // N·T
  return Object.fromEntries(
    names.map((name, i) => [
      name,
      tf.reshape<tf.Rank.R4>(tf.slice(latents, i * rows, rows), [rows / T, T, P, latentChannels]),
    ]),
  );
}

/**
 * What the times of blocks add in the U-Net. Clean blocks have their noised block's time, or 0 under the quirk
 * `cleanTimestep: "zero"`.
 *
 * @param t (N, T) int32.
 */
function blockShifts(root: Scope, config: MadformerConfig, t: tf.Tensor2D): TowersDown["shiftsOf"] {
  const [N, T] = t.shape;
  const { unet, quirks } = config;
  const times = networkTime(tf.reshape(tf.cast(t, "float32"), [N * T]), config); // (N·T)
  return (way) => {
    const p = root.in(way === "down" ? "downsampler" : "upsampler");
    const noised = timeShifts(p, way, unet, times); // (N·T, channels) each
    const zero = quirks.cleanTimestep === "zero" ? timeShifts(p, way, unet, tf.zeros([1])) : {}; // (1, channels) each
    const clean = (key: string, shift: tf.Tensor2D, blocks: number): tf.Tensor2D => {
      const channels = shift.shape[1];
      if (quirks.cleanTimestep === "zero") return tf.tile(zero[key] as tf.Tensor2D, [N * blocks, 1]);
      return rowsOfBlocks(tf.reshape(shift, [N, T, channels]), blocks, [channels]);
    };
    return (parts) =>
      Object.fromEntries(
        Object.entries(noised).map(([key, shift]) => [
          key,
          joined(parts.map(([tower, blocks]) => (tower === "clean" ? clean(key, shift, blocks) : shift))),
        ]),
      );
  };
}

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
