import type { RandomKey } from "./key.js";
import { LANE, fillSlice, type StreamSlice } from "./stream.js";

/**
 * Draws numbers from the standard normal distribution, two from a pair of words (Box & Muller 1958):
 *
 *     u = (word0 + 1/2) · 2^-32,   v = (word1 + 1/2) · 2^-32
 *     x0 = sqrt(-2 ln u) · cos(2πv),   x1 = sqrt(-2 ln u) · sin(2πv)
 *
 * computed in double precision and rounded to float32 once. The tail ends at sqrt(66 ln 2) = 6.7637, which a true
 * normal passes once in 7·10^10 draws. (float32 normals end at 5.77 in PyTorch on the CPU and at 5.42 in JAX.)
 *
 * The logarithm, sine and cosine are series written out below, not those of `Math`, whose last bits ECMAScript leaves
 * to the engine and V8 to a build flag. What is used here (+, -, ·, /, sqrt, all rounded as IEEE 754 says) is the same
 * everywhere, so a seed gives the same bits on every machine and in every version of Node. It is also faster.
 *
 * @returns (size) float32. New and the caller's, or `slice.into`.
 * @throws {RangeError} If the slice's size or offset is not a non-negative integer.
 *
 * @example
 * const key = randomKey(17, "noise", [step, image]);
 * const whole = normal(key, { size: 4096 });
 * const half = normal(key, { size: 2048, offset: 2048 }); // equals whole.subarray(2048)
 * normal(key, { into: batch.subarray(0, 4096) }); // allocates no result
 */
export function normal(key: RandomKey, slice: StreamSlice<Float32Array>): Float32Array {
  return fillSlice("draw normal numbers", key, LANE.normal, slice, (size) => new Float32Array(size), 4, boxMuller);
}

const { clz32, sqrt } = Math; // see philox.ts
const LN_2 = 0.6931471805599453;
const SQRT_HALF = 0.7071067811865476;
/** 2^-bits, for bits in [0, 32]. */
const POWER_OF_HALF = Float64Array.from({ length: 33 }, (_, bits) => 2 ** -bits);

const QUADRANT = 2 ** 30; // a quarter turn, in units of 2^-32 turns
const RADIANS = 1.5707963267948966 / QUADRANT;

/**
 * Turns words into normals, pair by pair. The error of the double, before it is rounded, is below 4e-16 of the radius.
 *
 * @param words (2·pairs) uint32.
 * @param values (2·pairs) float32. Overwritten.
 */
export function boxMuller(words: Uint32Array, values: Float32Array): void {
  for (let i = 0; i < words.length; i += 2) {
    // u = mantissa · 2^(bits - 32), mantissa in [sqrt(1/2), sqrt(2)).
    const word0 = words[i]!;
    let bits = 32 - clz32(word0);
    let mantissa = (word0 + 0.5) * POWER_OF_HALF[bits]!;
    if (mantissa < SQRT_HALF) {
      mantissa *= 2;
      bits -= 1;
    }
    // ln(mantissa) = 2 artanh(z), |z| < 0.172: the first term left out is 2.4e-17 of the sum.
    const z = (mantissa - 1) / (mantissa + 1);
    const zz = z * z;
    let series = 1 / 17 + zz * (1 / 19);
    series = 1 / 11 + zz * (1 / 13 + zz * (1 / 15 + zz * series));
    series = 1 / 5 + zz * (1 / 7 + zz * (1 / 9 + zz * series));
    const radius = sqrt(-2 * ((bits - 32) * LN_2 + 2 * z * (1 + zz * (1 / 3 + zz * series))));

    // 2πv = quadrant · π/2 + t, |t| <= π/4: the first terms left out of the Taylor series are below 6e-17.
    const word1 = words[i + 1]!;
    const shifted = word1 + QUADRANT / 2; // below 2^33: not an int32
    const quadrant = (shifted >>> 30) & 3;
    const t = ((shifted & (QUADRANT - 1)) - QUADRANT / 2 + 0.5) * RADIANS;
    const tt = t * t;
    let sine = 1 / 362880 + tt * (-1 / 39916800 + tt * (1 / 6227020800 + tt * (-1 / 1307674368000)));
    sine = t * (1 + tt * (-1 / 6 + tt * (1 / 120 + tt * (-1 / 5040 + tt * sine))));
    let cosine = -1 / 3628800 + tt * (1 / 479001600 + tt * (-1 / 87178291200 + tt * (1 / 20922789888000)));
    cosine = 1 + tt * (-1 / 2 + tt * (1 / 24 + tt * (-1 / 720 + tt * (1 / 40320 + tt * cosine))));

    // A quarter turn takes (cos, sin) to (-sin, cos).
    const turned = (quadrant & 1) === 1;
    const x = radius * (turned ? sine : cosine);
    const y = radius * (turned ? cosine : sine);
    values[i] = quadrant === 1 || quadrant === 2 ? -x : x;
    values[i + 1] = quadrant >= 2 ? -y : y;
  }
}
