import type { RandomKey } from "./key.js";
import { LANE, fillSlice, type StreamSlice } from "./stream.js";

/**
 * Draws numbers that are uniform in [0, 1): the top 24 bits of one word each,
 *
 *     x = floor(word / 2^8) · 2^-24
 *
 * All 2^24 multiples of 2^-24 are equally likely and exact in float32, so 0 is drawn and 1 is not, and no rounding can
 * make it so. (PyTorch's CPU draws lie on the same grid.)
 *
 * @returns (size) float32 in [0, 1). New and the caller's, or `slice.into`.
 * @throws {RangeError} If the slice's size or offset is not a non-negative integer.
 *
 * @example
 * const dropped = uniform(randomKey(17, "label-dropout", [step]), { size: batch }).map((u) => (u < 0.1 ? 1 : 0));
 */
export function uniform(key: RandomKey, slice: StreamSlice<Float32Array>): Float32Array {
  return fillSlice("draw uniform numbers", key, LANE.uniform, slice, (size) => new Float32Array(size), 4, uniforms);
}

function uniforms(words: Uint32Array, values: Float32Array): void {
  for (let i = 0; i < words.length; i++) values[i] = (words[i]! >>> 8) * 2 ** -24;
}
