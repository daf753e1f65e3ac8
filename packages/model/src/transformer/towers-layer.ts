import type * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import type { Needs } from "../needs.js";
import type { Scope } from "../parameters.js";
import { blockAttention } from "./block-attention.js";
import { completeLayer, projectHeads, type Heads } from "./layer.js";
import type { RopeTables } from "./rope.js";
import type { Stream, Tower } from "./visibility.js";

/** Is shown what a forward pass computes on the way, by the reference's names; used by tests and for inspection. */
export type Observe = (name: string, value: tf.Tensor) => void;

/**
 * Tokens of the towers, as far as somebody needs them: (N, L, C) float32 each, L a multiple of M; of the text, its
 * tokens.
 */
export type Towers = Partial<Record<Stream, tf.Tensor3D>>;

const STREAMS = ["text", "clean", "noised"] as const satisfies readonly Stream[];

/**
 * One layer of both towers: each has weights of its own, and tokens of either look at the blocks that `visibleBlocks`
 * names. A text has weights of its own too; it looks at itself, and all others at it.
 *
 * Source: spec section 5; spec section 22.
 *
 * @param p The layer's parameters.
 * @param layer Its number, from 0.
 * @param ropes Of each tower's tokens.
 * @param need Clean tokens and text end with the last layer in which they are seen, where they are keys and values
 *   alone.
 * @returns What comes out of the layer, new.
 */
export function towersLayer(
  p: Scope,
  config: MadformerConfig,
  layer: number,
  x: Towers,
  ropes: Readonly<Record<Tower, RopeTables> & Partial<Record<"text", RopeTables>>>,
  need: Needs,
  observe: Observe,
): Towers {
  for (const tower of STREAMS) if (x[tower]) observe(`blocks.${layer}.in.${tower}`, x[tower]);
  const heads: Partial<Record<Stream, Heads>> = {};
  const textGoesOn = need.text || layer < need.textLayers - 1;
  if (x.text && ropes.text && (textGoesOn || layer < need.textLayers))
    heads.text = projectHeads(p, config, "text", x.text, ropes.text, textGoesOn); // (N·H, L, D) each
  const cleanGoesOn = need.cleanTower || layer < need.cleanLayers - 1;
  if (x.clean && (cleanGoesOn || layer < need.cleanLayers))
    heads.clean = projectHeads(p, config, "clean", x.clean, ropes.clean, cleanGoesOn); // (N·H, L, D) each
  if (x.noised) heads.noised = projectHeads(p, config, "noised", x.noised, ropes.noised, true); // (N·H, L, D) each
  const attended = blockAttention(config, layer, heads, geometryOf(config).M); // (N·H, L, D) each
  const next: Towers = {};
  for (const tower of STREAMS) {
    const [before, seen] = [x[tower], attended[tower]];
    if (!before || !seen) continue; // no one needs these tokens any more
    const { y, attention } = completeLayer(p, config, tower, before, seen); // (N, L, C) each
    observe(`blocks.${layer}.self_attn.out.${tower}`, attention);
    observe(`blocks.${layer}.out.${tower}`, (next[tower] = y));
  }
  return next;
}
