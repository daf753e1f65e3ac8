import * as tf from "@tensorflow/tfjs-core";
import type { MadformerConfig } from "../config.js";
import { attend } from "../nn/attend.js";
import { causalMask } from "../text/causal-mask.js";
import type { Heads } from "./layer.js";
import { visibleBlocks, type Stream } from "./visibility.js";

/**
 * Attention among the blocks of one or two towers, block by block, over exactly the keys that each block sees; all of
 * them see a text, if there is one, and the text itself alone.
 *
 * Source: spec sections 7 and 17: of all pairs of blocks, (T² + T) of 4 T² are looked at; spec section 25.
 *
 * @param towers Heads of the tokens there are; towers without queries are looked at only.
 * @param M Tokens of a block.
 * @returns For each tower with queries (N·H, L, D) float32, L as in its queries.
 */
export function blockAttention(
  config: MadformerConfig,
  layer: number,
  towers: Readonly<Partial<Record<Stream, Heads>>>,
  M: number,
): Partial<Record<Stream, tf.Tensor3D>> {
  const results: Partial<Record<Stream, tf.Tensor3D>> = {};
  const { text } = towers;
  if (text?.q) results.text = attend(text.q, text.k, text.v, causalMask(text.q.shape[1]));
  for (const tower of ["clean", "noised"] as const) {
    const heads = towers[tower];
    if (!heads?.q) continue;
    const blocks = heads.q.shape[1] / M;
    const seen = Array.from({ length: blocks }, (_, block) => visibleBlocks(config, layer, tower, block));
    const alone = seen.every((visible) => count(visible.clean) + count(visible.noised) === 1);
    if (alone) {
      results[tower] = attendWithin(heads.q, heads.k, heads.v, blocks, text);
      continue;
    }
    const attended = seen.map((visible, block) => {
      const gather = (name: "k" | "v"): tf.Tensor3D => {
        const blocks = (["clean", "noised"] as const).flatMap((from) => {
          const keys = towers[from]?.[name];
          return keys && count(visible[from]) > 0 ? [blocksOf(keys, visible[from], M)] : [];
        });
        const parts = text ? [text[name], ...blocks] : blocks;
        return parts.length === 1 ? (parts[0] as tf.Tensor3D) : tf.concat(parts, 1);
      };
      return attend(blocksOf(heads.q as tf.Tensor3D, [block, block + 1], M), gather("k"), gather("v"));
    });
    results[tower] = attended.length === 1 ? (attended[0] as tf.Tensor3D) : tf.concat(attended, 1);
  }
  return results;
}

const count = ([start, end]: readonly [number, number]): number => end - start;

/** Tokens of the blocks [start, end) of (B, L, D). */
function blocksOf(x: tf.Tensor3D, [start, end]: readonly [number, number], M: number): tf.Tensor3D {
  return start === 0 && end * M === x.shape[1] ? x : tf.slice(x, [0, start * M, 0], [-1, (end - start) * M, -1]);
}

/** Every block looks at itself alone, and at the text: blocks are a further axis of the batch. */
function attendWithin(
  q: tf.Tensor3D,
  k: tf.Tensor3D,
  v: tf.Tensor3D,
  blocks: number,
  text: Heads | undefined,
): tf.Tensor3D {
  const [B, L, D] = q.shape;
  const apart = (x: tf.Tensor3D): tf.Tensor3D => tf.reshape(x, [B * blocks, L / blocks, D]);
  const seen = (own: tf.Tensor3D, words: tf.Tensor3D | undefined): tf.Tensor3D => {
    if (!words) return apart(own);
    const [, tokens] = words.shape;
    const each = tf.tile(tf.reshape(words, [B, 1, tokens, D]), [1, blocks, 1, 1]); // (B, blocks, tokens, D)
    return tf.concat([tf.reshape<tf.Rank.R3>(each, [B * blocks, tokens, D]), apart(own)], 1);
  };
  return tf.reshape(attend(apart(q), seen(k, text?.k), seen(v, text?.v)), [B, L, D]);
}
