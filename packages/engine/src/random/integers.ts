import { checkInteger } from "./check.js";
import type { RandomKey } from "./key.js";
import { LANE, fillSlice, type StreamSlice } from "./stream.js";

const { floor } = Math; // see philox.ts

const INT32_MIN = -(2 ** 31);
const INT32_END = 2 ** 31;

/**
 * Draws integers that are uniform in [low, high), as `torch.randint` and `jax.random.randint` do, from two words each:
 *
 *     x = low + floor((word0 · 2^32 + word1) · (high - low) / 2^64)
 *
 * A value's probability is off by less than 2^-64, at most 2^-32 of itself and for a thousand values 2^-54; nothing is
 * ever drawn again, so element i stays a function of the key and i.
 *
 * @param low The least value, in [-2^31, 2^31).
 * @param high One more than the greatest, in (low, 2^31].
 * @returns (size) int32 in [low, high). New and the caller's, or `slice.into`.
 * @throws {RangeError} If the range is empty or leaves int32, or the slice's size or offset is no non-negative integer.
 *
 * @example
 * const timesteps = integers(randomKey(17, "timestep", [step]), 0, 1000, { size: batch });
 */
export function integers(key: RandomKey, low: number, high: number, slice: StreamSlice<Int32Array>): Int32Array {
  const task = "draw integers";
  checkInteger(task, "low", low, INT32_MIN, INT32_END - 1);
  checkInteger(task, `high (low being ${low})`, high, low + 1, INT32_END);
  const span = high - low;
  return fillSlice(
    task,
    key,
    LANE.integers,
    slice,
    (size) => new Int32Array(size),
    2,
    (words, values) => {
      for (let i = 0; 2 * i < words.length; i++) {
        values[i] = low + multiplyHigh(words[2 * i]!, words[2 * i + 1]!, span);
      }
    },
  );
}

/**
 * floor((high · 2^32 + low) · span / 2^64), exactly: by 16-bit digits, so that no product passes 2^53.
 *
 * @param span In [0, 2^32].
 */
export function multiplyHigh(high: number, low: number, span: number): number {
  let carry = floor(((low & 0xffff) * span) / 65536);
  carry = floor(((low >>> 16) * span + carry) / 65536);
  carry = floor(((high & 0xffff) * span + carry) / 65536);
  return floor(((high >>> 16) * span + carry) / 65536);
}
