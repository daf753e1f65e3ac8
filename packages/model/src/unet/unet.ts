import * as tf from "@tensorflow/tfjs-core";
import type { UNetConfig } from "../config.js";
import { conv, convSpecs } from "../nn/conv.js";
import { part } from "../nn/part.js";
import { resnet, resnetSpecs, timeShift } from "../nn/resnet.js";
import { spatialAttention, spatialAttentionSpecs } from "../nn/spatial-attention.js";
import { under, type ParameterSpecs, type Scope } from "../parameters.js";
import { downLevels, upLevels, type LevelPlan, type ResnetPlan } from "./levels.js";
import { timeEmbedding, timeEmbeddingSpecs } from "./time-embedding.js";

/** Parameters of one level: its attentions come first, then its residual blocks, then what changes the side. */
function levelSpecs({ resnets, resample }: LevelPlan, config: UNetConfig): ParameterSpecs {
  return Object.assign(
    {},
    ...resnets.map(({ attention, to }) =>
      attention === undefined ? {} : under(attention, spatialAttentionSpecs(to, config.heads)),
    ),
    ...resnets.map(({ key, from, to }) => under(key, resnetSpecs(from, to, config.timeChannels))),
    resample ? under(resample.key, convSpecs(resample.channels, resample.channels, 3)) : {},
  ) as ParameterSpecs;
}

const levelsSpecs = (levels: readonly LevelPlan[], config: UNetConfig): ParameterSpecs =>
  Object.assign({}, ...levels.map((level) => levelSpecs(level, config))) as ParameterSpecs;

/** Parameters of `downsample`, in the order of the reference. */
export function downsamplerSpecs(config: UNetConfig, latentChannels: number, width: number): ParameterSpecs {
  const [first = 0, last = 0] = [config.channels[0], config.channels.at(-1)];
  return {
    ...under("conv_in", convSpecs(latentChannels, first, 3)),
    ...levelsSpecs(downLevels(config), config),
    ...under("conv_out", convSpecs(last, width, 3)),
    ...under("time_embedding", timeEmbeddingSpecs(config.timeChannels)),
  };
}

/** Parameters of `upsample`, in the order of the reference. */
export function upsamplerSpecs(config: UNetConfig, latentChannels: number, width: number): ParameterSpecs {
  const [first = 0, last = 0] = [config.channels[0], config.channels.at(-1)];
  return {
    ...levelsSpecs(upLevels(config), config),
    ...under("conv_in", convSpecs(width, last, 3)),
    ...under("time_embedding", timeEmbeddingSpecs(config.timeChannels)),
    ...under("conv_out", convSpecs(first, latentChannels, 3)),
  };
}

/** What each residual block of one U-Net adds for the time, by the block's key: (R, C) each. */
export type TimeShifts = Readonly<Record<string, tf.Tensor2D>>;

/**
 * The time's part in one way of the U-Net, for some points in time. It depends on nothing else, so that blocks of equal
 * time share it, and a sampler computes it once per timestep.
 *
 * @param p The downsampler's or the upsampler's parameters.
 * @param t (R) float32, timesteps as the network is meant to see them.
 */
export function timeShifts(p: Scope, way: "down" | "up", config: UNetConfig, t: tf.Tensor1D): TimeShifts {
  const activated = timeEmbedding(p.in("time_embedding"), t); // (R, E)
  const levels = way === "down" ? downLevels(config) : upLevels(config);
  return Object.fromEntries(
    levels.flatMap(({ resnets }) => resnets.map(({ key }) => [key, timeShift(p.in(key), activated)])),
  );
}

/**
 * The way down: blocks of latent pixels become tokens.
 *
 * Source: spec section 4, "Downsampler.forward", without its last convolution, which is `embed`.
 *
 * @param x (N, side, side, latent channels) float32.
 * @param shifts For R = 1 or N points in time.
 * @param again Whether each residual block is computed again for its gradients.
 * @returns The states that the way up takes, first to last; the last one is what `embed` takes.
 */
export function downsample(
  p: Scope,
  x: tf.Tensor4D,
  shifts: TimeShifts,
  config: UNetConfig,
  again = false,
): tf.Tensor4D[] {
  let h = conv(p.in("conv_in"), x);
  const states = [h];
  for (const { resnets, resample } of downLevels(config)) {
    for (const plan of resnets) {
      h = block(p, plan, { around: h, h }, shifts, config, again);
      states.push(h);
    }
    if (resample) states.push((h = conv(p.in(resample.key), h, 2)));
  }
  return states;
}

/** What a residual block takes, its `shift` besides. */
interface BlockInputs {
  readonly h: tf.Tensor4D;
  /** On the way down: h again, for the shortcut, so that its gradients are added up in one order in any case. */
  readonly around?: tf.Tensor4D;
  /** On the way up: what is put beside h. */
  readonly state?: tf.Tensor4D;
}

/** A residual block, with its attention if it has one. */
function block(
  p: Scope,
  { key, attention }: ResnetPlan,
  inputs: BlockInputs,
  shifts: TimeShifts,
  { groups, heads }: UNetConfig,
  again: boolean,
): tf.Tensor4D {
  const shift = shifts[key];
  const all: BlockInputs & { readonly shift?: tf.Tensor2D } = shift ? { ...inputs, shift } : inputs;
  return part(again, p, { ...all }, {}, (p, { h, around, state, shift }) => {
    const x = state ? tf.concat([h, state], 3) : h;
    const y = resnet(p.in(key), x, groups, shift, around ?? x);
    return { y: attention === undefined ? y : spatialAttention(p.in(attention), y, groups, heads) };
  }).y;
}

/**
 * The last convolution of the way down: the embedding of blocks, without a normalization or activation before it.
 *
 * @param state (N, side, side, channels) float32, the last state of `downsample`.
 * @returns (N, side, side, C) float32: N times M tokens.
 */
export function embed(p: Scope, state: tf.Tensor4D): tf.Tensor4D {
  return conv(p.in("conv_out"), state);
}

/**
 * The way up: tokens become blocks of latent pixels.
 *
 * Source: spec section 4, "Upsampler.forward".
 *
 * @param h (N, side, side, C) float32.
 * @param shifts For R = 1 or N points in time, of the upsampler.
 * @param states What `downsample` gave for the same blocks.
 * @param again Whether each residual block is computed again for its gradients.
 * @returns (N, side', side', latent channels) float32, without a normalization or activation before the last
 *   convolution.
 */
export function upsample(
  p: Scope,
  h: tf.Tensor4D,
  shifts: TimeShifts,
  states: readonly tf.Tensor4D[],
  config: UNetConfig,
  again = false,
): tf.Tensor4D {
  const left = [...states];
  h = conv(p.in("conv_in"), h);
  for (const { resnets, resample } of upLevels(config)) {
    for (const plan of resnets) h = block(p, plan, { h, state: left.pop() as tf.Tensor4D }, shifts, config, again);
    if (resample) h = conv(p.in(resample.key), doubled(h));
  }
  return conv(p.in("conv_out"), h);
}

/** Every pixel twice in both directions: nearest-neighbour resizing by two. (N, H, W, C) -> (N, 2H, 2W, C) */
export function doubled(x: tf.Tensor4D): tf.Tensor4D {
  const [, H, W] = x.shape;
  return tf.image.resizeNearestNeighbor(x, [2 * H, 2 * W]);
}
