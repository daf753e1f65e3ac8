import { checkInteger, shown } from "./check.js";
import { philox4x32 } from "./philox.js";

/**
 * The name of one stream of random numbers: 128 bits, as plain data. It has no position and never changes, so it can be
 * used twice, kept, written as JSON or sent to a worker; the same key always gives the same numbers.
 */
export interface RandomKey {
  /** Low and high word of the Philox key, uint32. */
  readonly k0: number;
  readonly k1: number;
  /** The two high words of the Philox counter, uint32. The two low ones count the blocks of the stream. */
  readonly c2: number;
  readonly c3: number;
}

// Where derivation starts: sixteen ASCII bytes, little endian. The last byte is the version of this derivation.
const START: readonly number[] = [0x6664616d, 0x656d726f, 0x61722f72, 0x312f646e]; // "madformer/rand/1"

const TWO_32 = 2 ** 32;

/**
 * Makes the key of the stream that belongs to a seed, a purpose and a list of indices.
 *
 * A 128-bit state takes in one 64-bit block m after another, each as a Philox key:
 *
 *     state <- philox4x32(counter = state, key = m)
 *
 * first the seed, then (length of the purpose, number of indices), then the purpose, four UTF-16 units to a block and
 * zeros at the end, then one block for each index. All four words of the last state are the stream's name.
 *
 * Two different inputs do not share a stream in practice. The second block fixes how many follow and what each means,
 * so different inputs are different lists of blocks: `"a", [1, 2]` is not `"a1", [2]`, and `[]` is not `[0]`. Where two
 * lists of one length differ in a single block, the states differ but for an accident of 2^-128 and can never meet
 * again, because every later step is a bijection. Any other pair meets with the same 2^-128, so a run with 2^40 streams
 * has two alike with probability 2^-49. (Against someone who searches for collisions none of this holds: Philox is no
 * cipher.) Streams of different keys do not overlap either: they are the outputs of different bijections, or of
 * disjoint counters.
 *
 * @param seed The run's seed, an integer in [0, 2^53).
 * @param purpose What the numbers are for: "noise", "timestep", "shuffle". Not empty.
 * @param indices What they belong to, integers in [0, 2^53): step, image, block. Their order matters.
 * @throws {RangeError} If the seed or an index is no such integer, or the purpose is empty.
 *
 * @example
 * const key = randomKey(17, "noise", [step, image]);
 * const noise = normal(key, { size: 16 * 64 * 64 }); // this image's, whatever the batch it is in
 */
export function randomKey(seed: number, purpose: string, indices: readonly number[] = []): RandomKey {
  const task = "make a random key";
  checkInteger(task, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  if (typeof purpose !== "string" || purpose === "") {
    throw new RangeError(`Cannot ${task}: purpose is ${shown(purpose)}, expected a string that is not empty`);
  }

  const state = Uint32Array.from(START);
  absorbInteger(state, seed);
  absorb(state, purpose.length, indices.length);
  for (let at = 0; at < purpose.length; at += 4) {
    absorb(state, twoUnits(purpose, at), twoUnits(purpose, at + 2));
  }
  for (const [position, index] of indices.entries()) {
    checkInteger(task, `indices[${position}]`, index, 0, Number.MAX_SAFE_INTEGER);
    absorbInteger(state, index);
  }
  return keyOf(state);
}

/**
 * Makes the key of one of a key's children, for code that was given a key and needs several: one per block, per layer.
 * It takes in one more index as `randomKey` does; no other list of indices leads to the same key, since `randomKey`
 * takes in how many there are: `foldIn(randomKey(17, "noise", [3]), 5)` is not `randomKey(17, "noise", [3, 5])`.
 *
 * @param index Which child, an integer in [0, 2^53).
 * @throws {RangeError} If it is no such integer.
 *
 * @example
 * for (let block = 0; block < blocks; block++) normal(foldIn(imageKey, block), { size: 1024 });
 */
export function foldIn(key: RandomKey, index: number): RandomKey {
  checkInteger("fold into a random key", "index", index, 0, Number.MAX_SAFE_INTEGER);
  const state = Uint32Array.of(key.k0, key.k1, key.c2, key.c3);
  absorbInteger(state, index);
  return keyOf(state);
}

function absorb(state: Uint32Array, low: number, high: number): void {
  philox4x32(state, state, [low, high]);
}

function absorbInteger(state: Uint32Array, value: number): void {
  absorb(state, value % TWO_32, Math.floor(value / TWO_32));
}

function twoUnits(text: string, at: number): number {
  // Past the end charCodeAt() is NaN, which `|` and `<<` take for 0.
  return text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16);
}

function keyOf(state: Uint32Array): RandomKey {
  return { k0: state[0]!, k1: state[1]!, c2: state[2]!, c3: state[3]! };
}
