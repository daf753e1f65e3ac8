/** Four 32-bit words: a Philox counter or one block of its output. Values are taken modulo 2^32. */
export type PhiloxCounter = readonly [c0: number, c1: number, c2: number, c3: number] | Uint32Array;

/** Two 32-bit words. Values are taken modulo 2^32. */
export type PhiloxKey = readonly [k0: number, k1: number];

/** Rounds of the full-strength generator. Seven already pass BigCrush (Salmon et al. 2011). */
export const PHILOX_ROUNDS = 10;

// The multipliers, and their 16-bit halves for the high word of a product.
const M0 = 0xd2511f53;
const M0_HIGH = 0xd251;
const M0_LOW = 0x1f53;
const M1 = 0xcd9e8d57;
const M1_HIGH = 0xcd9e;
const M1_LOW = 0x8d57;

// Taken from the global object once: in Jest's module sandbox each look-up of a global costs 0.2 microseconds.
const { imul } = Math;

// What a round adds to the key: the golden ratio and sqrt(3) - 1, as 32-bit fractions.
const WEYL0 = 0x9e3779b9;
const WEYL1 = 0xbb67ae85;

/**
 * Fills an array with blocks of Philox 4x32, a keyed bijection of 128-bit counters: of `counter` and those that follow.
 * One round maps (c0, c1, c2, c3) under the key (k0, k1) to
 *
 *     (high(M1·c2) ^ c1 ^ k0,  low(M1·c2),  high(M0·c0) ^ c3 ^ k1,  low(M0·c0))
 *
 * and adds (WEYL0, WEYL1) to the key. The bijection has no state, so any block can be made alone and in any order.
 * It is built to pass statistical tests, not to keep secrets.
 *
 * Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3";
 * DEShawResearch/random123 include/Random123/philox.h, whose known answers are the tests of this file.
 *
 * @param words (4·blocks) uint32. Overwritten. May be `counter` itself. A length that is no multiple of 4 leaves the
 *   rest of the array as it was.
 * @param counter The first block's counter. The increment carries from c0 into c1, and stops there.
 * @param rounds 10 everywhere in this project; fewer only to check published values.
 *
 * @example
 * const words = new Uint32Array(8); // two blocks
 * philox4x32(words, [0, 0, 0, 0], [0, 0]);
 * words[0]; // 0x6627e8d5
 */
export function philox4x32(words: Uint32Array, counter: PhiloxCounter, key: PhiloxKey, rounds = PHILOX_ROUNDS): void {
  // Everything below is int32 arithmetic (`| 0`), which V8 keeps in integer registers. Storing makes it unsigned again.
  let first0 = counter[0] | 0;
  let first1 = counter[1] | 0;
  const first2 = counter[2] | 0;
  const first3 = counter[3] | 0;
  const key0 = key[0] | 0;
  const key1 = key[1] | 0;

  for (let at = 0; at + 4 <= words.length; at += 4) {
    let c0 = first0;
    let c1 = first1;
    let c2 = first2;
    let c3 = first3;
    let k0 = key0;
    let k1 = key1;
    for (let round = 0; round < rounds; round++) {
      // high(M·c) from four 16-bit products: no sum exceeds 2^32 - 1, so nothing is lost when int32 wraps.
      const c0Low = c0 & 0xffff;
      const c0High = c0 >>> 16;
      const middle0 = (imul(c0High, M0_LOW) + (imul(c0Low, M0_LOW) >>> 16)) | 0;
      const carry0 = (imul(c0Low, M0_HIGH) + (middle0 & 0xffff)) | 0;
      const high0 = (imul(c0High, M0_HIGH) + (middle0 >>> 16) + (carry0 >>> 16)) | 0;

      const c2Low = c2 & 0xffff;
      const c2High = c2 >>> 16;
      const middle1 = (imul(c2High, M1_LOW) + (imul(c2Low, M1_LOW) >>> 16)) | 0;
      const carry1 = (imul(c2Low, M1_HIGH) + (middle1 & 0xffff)) | 0;
      const high1 = (imul(c2High, M1_HIGH) + (middle1 >>> 16) + (carry1 >>> 16)) | 0;

      const low0 = imul(c0, M0);
      const low1 = imul(c2, M1);
      c0 = high1 ^ c1 ^ k0;
      c1 = low1;
      c2 = high0 ^ c3 ^ k1;
      c3 = low0;
      k0 = (k0 + WEYL0) | 0;
      k1 = (k1 + WEYL1) | 0;
    }
    words[at] = c0;
    words[at + 1] = c1;
    words[at + 2] = c2;
    words[at + 3] = c3;

    first0 = (first0 + 1) | 0;
    if (first0 === 0) first1 = (first1 + 1) | 0;
  }
}
