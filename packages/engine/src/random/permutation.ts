import { checkInteger } from "./check.js";
import { multiplyHigh } from "./integers.js";
import { foldIn, type RandomKey } from "./key.js";
import { LANE, openSlice, streamBlocks, type StreamSlice } from "./stream.js";

const { floor } = Math; // see philox.ts

/** The most elements a permutation may have. */
const MAX_N = 2 ** 32;

/** Up to this many, all n! orders are equally likely; above, a Feistel network has mixed well enough. */
const EXACT_N = 256;

/** As many as Mitchell et al. settle on. A multiple of 4: one block of Philox serves four rounds. */
const FEISTEL_ROUNDS = 24;

/**
 * A random order of the integers 0 to n - 1, or a slice of it: the order in which an epoch visits its images.
 *
 * A slice costs what it holds, however large n is (see `permutationAt`), so a run that resumes in the middle of an
 * epoch over 10^9 images makes its next batch at once and stores no order.
 *
 * @param n How many integers, in [0, 2^32]. Taken into the key: the orders of n and of n + 1 are unrelated.
 * @param slice Which positions; all n unless given.
 * @returns (size) uint32, no value twice. New and the caller's, or `slice.into`.
 * @throws {RangeError} If n is no such integer, or the slice is not within [0, n).
 *
 * @example
 * const key = randomKey(17, "shuffle", [epoch]);
 * const images = permutation(key, 70_000, { offset: batch * stepOfEpoch, size: batch });
 */
export function permutation(key: RandomKey, n: number, slice: StreamSlice<Uint32Array> = { size: n }): Uint32Array {
  const task = "permute";
  checkInteger(task, "n", n, 0, MAX_N);
  const { target, offset } = openSlice(task, slice, (size) => new Uint32Array(size), n);
  if (target.length === 0) return target;

  const own = foldIn(key, n);
  if (n <= EXACT_N) {
    target.set(fisherYates(own, n).subarray(offset, offset + target.length));
    return target;
  }
  const grid = gridOf(n);
  // From about here on a table of all the shifts costs less than one shift after another.
  const shiftOf = 8 * target.length >= grid.rows ? tableOfShifts(own, grid) : shiftsOneByOne(own, grid);
  for (let i = 0; i < target.length; i++) target[i] = feistel(offset + i, n, grid, shiftOf);
  return target;
}

/**
 * One position of `permutation(key, n)`, without the others: element `position`, in constant time and memory.
 *
 * Up to 256 elements it is a Fisher-Yates shuffle (Durstenfeld 1964), whose swaps are as near to uniform as `integers`.
 * Above, it is a Feistel network on the cells (row, column) of a nearly square grid of n cells or a few more,
 *
 *     row    <- (row + F_r(column)) mod rows       in even rounds r
 *     column <- (column + F_r(row)) mod columns    in odd rounds
 *
 * with F_r(x) from one word of Philox at the counter (x, r). Every round can be undone, so the network is a
 * bijection of the grid; where it leaves [0, n) it is applied again until it comes back ("cycle walking"), which
 * makes it a bijection of [0, n) and is rare, fewer than 1 in `columns`.
 *
 * With random F_r, the joint distribution of where two given elements go nears the uniform one `columns` times every
 * two rounds, in total variation (computed exactly for grids up to 10 x 10; so does that of three, up to 6 x 5). By
 * that rule 24 rounds leave 15^-11 = 2^-42 for the smallest grid, 18 x 15, and 2^-88 for 70,000 elements. The rows are
 * even in number because in a grid of odd sides every round, and so every order, would be an even permutation. Below
 * 256 the network would not do: in a 4 x 2 grid 24 rounds leave the order of all 8 elements 4·10^-3 from uniform.
 *
 * Source: Black & Rogaway 2002, "Ciphers with arbitrary finite domains", the methods Generalized-Feistel and
 * Cycle-Walking; Mitchell et al. 2021, arXiv:2106.06161, for the number of rounds. TensorFlow's `random_index_shuffle`
 * is the same idea on another cipher.
 * Departs from them: Philox in the rounds, an even number of rows, an exact shuffle of few elements.
 *
 * @param n How many elements, in [1, 2^32].
 * @param position In [0, n).
 * @returns An integer in [0, n), different for every position.
 * @throws {RangeError} If n or the position is no such integer.
 *
 * @example
 * const image = permutationAt(randomKey(17, "shuffle", [epoch]), 70_000, seen % 70_000);
 */
export function permutationAt(key: RandomKey, n: number, position: number): number {
  const task = "permute";
  checkInteger(task, "n", n, 1, MAX_N);
  checkInteger(task, `position (n being ${n})`, position, 0, n - 1);
  return permutation(key, n, { offset: position, size: 1 })[0]!;
}

function fisherYates(key: RandomKey, n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  const words = new Uint32Array(4 * Math.ceil(n / 2));
  streamBlocks(key, LANE.permutation, 0, words);
  for (let i = n - 1; i > 0; i--) {
    const j = multiplyHigh(words[2 * i]!, words[2 * i + 1]!, i + 1); // in [0, i]
    const moved = order[i]!;
    order[i] = order[j]!;
    order[j] = moved;
  }
  return order;
}

interface Grid {
  readonly rows: number;
  readonly columns: number;
}

/** F_r(x): how far round r moves along its axis the cells whose other coordinate is x. */
type ShiftOf = (round: number, x: number) => number;

/** The grid of n cells or a few more: rows even, columns at most rows. */
export function gridOf(n: number): Grid {
  const rows = 2 * Math.ceil(Math.sqrt(n) / 2);
  return { rows, columns: Math.ceil(n / rows) };
}

/** Where a position goes: through the network, and again until it is below n. */
export function feistel(position: number, n: number, { rows, columns }: Grid, shiftOf: ShiftOf): number {
  let cell = position;
  do {
    let row = floor(cell / columns);
    let column = cell - row * columns;
    for (let round = 0; round < FEISTEL_ROUNDS; round += 2) {
      row += shiftOf(round, column);
      if (row >= rows) row -= rows;
      column += shiftOf(round + 1, row);
      if (column >= columns) column -= columns;
    }
    cell = row * columns + column;
  } while (cell >= n);
  return cell;
}

// Block x + 2^32 · floor(r / 4) of the stream holds the words of F_r(x) for four rounds r.

/** The shifts of a grid for a few positions: a block of Philox each time. */
export function shiftsOneByOne(key: RandomKey, { rows, columns }: Grid): ShiftOf {
  const words = new Uint32Array(4);
  return (round, x) => {
    streamBlocks(key, LANE.permutation, x + 2 ** 32 * (round >>> 2), words);
    return scale(words[round & 3]!, round % 2 === 0 ? rows : columns);
  };
}

/** The shifts of a grid for many positions: all of them made in advance. */
export function tableOfShifts(key: RandomKey, { rows, columns }: Grid): ShiftOf {
  const table = new Uint32Array(FEISTEL_ROUNDS * rows); // (rounds / 4, rows, 4)
  for (let group = 0; 4 * group < FEISTEL_ROUNDS; group++) {
    const words = table.subarray(4 * group * rows, 4 * (group + 1) * rows);
    streamBlocks(key, LANE.permutation, 2 ** 32 * group, words);
    for (let i = 0; i < words.length; i++) words[i] = scale(words[i]!, i % 2 === 0 ? rows : columns);
  }
  return (round, x) => table[4 * ((round >>> 2) * rows + x) + (round & 3)]!;
}

/** floor(word · span / 2^32) for a span of at most 2^16: uniform in [0, span) but for 2^-16 of each probability. */
function scale(word: number, span: number): number {
  return floor(word * span * 2 ** -32);
}
