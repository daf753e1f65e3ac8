import type { UNetConfig } from "../config.js";

/** One residual block of a U-Net. */
export interface ResnetPlan {
  /** Key of the block below the U-Net: `down_blocks.0.resnets.1`. */
  readonly key: string;
  readonly from: number;
  readonly to: number;
  /** Key of the self-attention that follows it, where the level has one. */
  readonly attention?: string;
}

/** One level of a U-Net: its residual blocks, and the convolution that changes the side after them. */
export interface LevelPlan {
  readonly resnets: readonly ResnetPlan[];
  readonly resample?: { readonly key: string; readonly channels: number };
}

/** The way down, finest level first. Spec section 4; channels by the rule at the end of section 2. */
export function downLevels({ channels, layers, attention }: UNetConfig): LevelPlan[] {
  return channels.map((to, level) => ({
    resnets: Array.from({ length: layers[level] ?? 0 }, (_, j) => ({
      key: `down_blocks.${level}.resnets.${j}`,
      from: j === 0 ? (channels[level - 1] ?? to) : to,
      to,
      ...(attention[level] ? { attention: `down_blocks.${level}.attentions.${j}` } : {}),
    })),
    ...(level < channels.length - 1
      ? { resample: { key: `down_blocks.${level}.downsamplers.0.conv`, channels: to } }
      : {}),
  }));
}

/**
 * The way up, coarsest level first. Each residual block takes what comes from below and one state of the way down, last
 * state first; the last block of a level gets the state that the level's side was halved from, or the first
 * convolution's.
 */
export function upLevels({ channels, layers, attention }: UNetConfig): LevelPlan[] {
  const levels = channels.length;
  return channels.map((_, i) => {
    const level = levels - 1 - i;
    const to = channels[level] ?? 0;
    const below = channels[level + 1] ?? to; // what the level before gave
    const shallower = channels[level - 1] ?? channels[0] ?? 0;
    const count = (layers[level] ?? 0) + 1;
    return {
      resnets: Array.from({ length: count }, (_, j) => ({
        key: `up_blocks.${i}.resnets.${j}`,
        from: (j === 0 ? below : to) + (j === count - 1 ? shallower : to),
        to,
        ...(attention[level] ? { attention: `up_blocks.${i}.attentions.${j}` } : {}),
      })),
      ...(i < levels - 1 ? { resample: { key: `up_blocks.${i}.upsamplers.0.conv`, channels: to } } : {}),
    };
  });
}
