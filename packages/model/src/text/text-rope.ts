import * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";
import { partnersWithin, type RopeTables } from "../transformer/rope.js";
import type { TextConfig } from "./config.js";

/**
 * Frequencies of the text's rotary embedding, in float32:
 *
 *     inv_freq[i] = 1 / theta^(2i / D)
 *
 * Source: Su et al. 2021, arXiv:2104.09864; spec section 23.
 *
 * @param D Width of a head.
 * @returns (D / 2), radians per position.
 */
export function textFrequencies(theta: number, D: number): Float32Array {
  return Float32Array.from({ length: D / 2 }, (_, i) => 1 / Math.fround(theta ** Math.fround((2 * i) / D)));
}

/**
 * Tables of the rotary embedding of a text, one-dimensional: position 0 is left as it is. Dimension i turns with
 * dimension i + D / 2, both by the same angle.
 *
 * @returns For the text's tokens: (tokens, D).
 */
export function textRope(config: MadformerConfig & { readonly text: TextConfig }): RopeTables {
  const { D } = geometryOf(config);
  const { tokens, ropeTheta } = config.text;
  const frequencies = textFrequencies(ropeTheta, D);
  const table = (of: (angle: number) => number): tf.Tensor2D => {
    const angle = (position: number, j: number): number => Math.fround(position * (frequencies[j % (D / 2)] ?? 0));
    return tf.tensor2d(
      Float32Array.from({ length: tokens * D }, (_, i) => of(angle(Math.floor(i / D), i % D))),
      [tokens, D],
    );
  };
  return { cos: table(Math.cos), sin: table(Math.sin), partners: partnersWithin(D, D) };
}
