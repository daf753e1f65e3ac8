import { checkInteger } from "./check.js";
import type { RandomKey } from "./key.js";
import { philox4x32 } from "./philox.js";

/**
 * Which elements of a stream to draw, and into what: `size` of them into a new array, or as many as `into` holds, from
 * element `offset` on (0 unless given). Element i is a function of the key and of i alone, so however a range is
 * split into slices, the numbers are the same.
 */
export type StreamSlice<Values> =
  | { readonly size: number; readonly offset?: number; readonly into?: undefined }
  | { readonly into: Values; readonly offset?: number; readonly size?: undefined };

/** The streams of one key, each with its own share of the counters: its uniforms tell nothing about its normals. */
export const LANE = { uniform: 0, normal: 1, integers: 2, permutation: 3 } as const;
export type Lane = (typeof LANE)[keyof typeof LANE];

/** The most elements of a slice: about what a typed array holds in Node 20. */
const MAX_SIZE = 2 ** 32;

const BLOCKS_PER_CHUNK = 1024; // 16 KiB of words: the second pass over them hits the L1 cache
const TWO_32 = 2 ** 32;

/**
 * Makes blocks of a key's stream, four uint32 words to a block, at the Philox counter
 *
 *     (block mod 2^32,  floor(block / 2^32) + lane·2^24,  key.c2,  key.c3)
 *
 * @param words (4·blocks) uint32. Overwritten.
 * @param firstBlock In [0, 2^52].
 */
export function streamBlocks(key: RandomKey, lane: Lane, firstBlock: number, words: Uint32Array): void {
  const high = Math.floor(firstBlock / TWO_32) + lane * 2 ** 24; // 2^20 at most below the lane: lanes never meet
  philox4x32(words, [firstBlock % TWO_32, high, key.c2, key.c3], [key.k0, key.k1]);
}

/**
 * Fills a slice of a stream, a chunk at a time.
 *
 * @param make Makes an array for a slice that brings none, and the chunk's own.
 * @param perBlock Elements made from one block.
 * @param convert Turns a chunk of whole blocks (4·blocks) into values (perBlock·blocks).
 * @returns The slice's array.
 */
export function fillSlice<Values extends Float32Array | Int32Array>(
  task: string,
  key: RandomKey,
  lane: Lane,
  slice: StreamSlice<Values>,
  make: (size: number) => Values,
  perBlock: 2 | 4,
  convert: (words: Uint32Array, values: Values) => void,
): Values {
  const { target, offset } = openSlice(task, slice, make, Number.MAX_SAFE_INTEGER);

  let block = Math.floor(offset / perBlock);
  let skip = offset - block * perBlock; // elements of the first block that come before the slice
  const chunkBlocks = Math.min(BLOCKS_PER_CHUNK, Math.ceil((skip + target.length) / perBlock));
  const words = new Uint32Array(4 * chunkBlocks);
  const values = make(perBlock * chunkBlocks);

  for (let done = 0; done < target.length;) {
    const count = Math.min(values.length - skip, target.length - done);
    const blocks = Math.ceil((skip + count) / perBlock); // fewer in the last chunk
    const chunk = blocks === chunkBlocks ? words : words.subarray(0, 4 * blocks);
    streamBlocks(key, lane, block, chunk);
    convert(chunk, values);
    target.set(values.subarray(skip, skip + count), done);
    done += count;
    block += blocks;
    skip = 0;
  }
  return target;
}

/**
 * Checks a slice and gives it an array.
 *
 * @param end Where the stream ends: no element at or past it may be asked for.
 * @throws {RangeError} If the size or the offset is no integer in range, or the slice runs past the end.
 */
export function openSlice<Values extends { readonly length: number }>(
  task: string,
  slice: StreamSlice<Values>,
  make: (size: number) => Values,
  end: number,
): { target: Values; offset: number } {
  const { offset = 0 } = slice;
  checkInteger(task, "offset", offset, 0, end);
  if (slice.size !== undefined) checkInteger(task, "size", slice.size, 0, MAX_SIZE);
  const size = slice.size ?? slice.into.length;
  if (size > end - offset) {
    throw new RangeError(
      `Cannot ${task}: elements ${offset} to ${offset + size} were asked for, expected none past ${end}`,
    );
  }
  return { target: slice.into ?? make(size), offset };
}
