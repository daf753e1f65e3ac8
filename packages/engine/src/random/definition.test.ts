import fc from "fast-check";
import { foldIn, integers, normal, permutation, permutationAt, randomKey, uniform, type RandomKey } from "./index.js";

/*
 * Everything the package documents, written a second time: slow, with big integers, sharing no code with the first. If
 * a test here fails, every seed of every user gives other numbers.
 */

const MASK = 0xffffffffn;
type Block = [bigint, bigint, bigint, bigint];

function philox([c0, c1, c2, c3]: Block, [k0, k1]: [bigint, bigint]): Block {
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & MASK, (p0 >> 32n) ^ c3 ^ k1, p0 & MASK];
    [k0, k1] = [(k0 + 0x9e3779b9n) & MASK, (k1 + 0xbb67ae85n) & MASK];
  }
  return [c0, c1, c2, c3];
}

/** Bytes to 64-bit little-endian blocks, zeros at the end. */
function blocksOf(bytes: Uint8Array): bigint[] {
  return Array.from({ length: Math.ceil(bytes.length / 8) }, (_, block) =>
    bytes.slice(8 * block, 8 * block + 8).reduce((sum, byte, at) => sum + (BigInt(byte) << BigInt(8 * at)), 0n),
  );
}

function absorb(state: Block, block: bigint): Block {
  return philox(state, [block & MASK, block >> 32n]);
}

function slowKey(seed: number, purpose: string, indices: readonly number[]): Block {
  const [startLow, startHigh] = blocksOf(new TextEncoder().encode("madformer/rand/1")) as [bigint, bigint];
  const counts = BigInt(purpose.length) + (BigInt(indices.length) << 32n);
  const text = blocksOf(Buffer.from(purpose, "utf16le"));
  return [BigInt(seed), counts, ...text, ...indices.map(BigInt)].reduce(absorb, [
    startLow & MASK,
    startLow >> 32n,
    startHigh & MASK,
    startHigh >> 32n,
  ]);
}

/** Word number `at` of a lane. */
function slowWord([k0, k1, c2, c3]: Block, lane: number, at: bigint): bigint {
  const block = at / 4n;
  return philox([block & MASK, (block >> 32n) + (BigInt(lane) << 24n), c2, c3], [k0, k1])[Number(at % 4n)]!;
}

function slowUniform(key: Block, i: number): number {
  return Number(slowWord(key, 0, BigInt(i)) >> 8n) / 2 ** 24;
}

function slowNormal(key: Block, i: number): number {
  const first = BigInt(i) & ~1n;
  const u = (Number(slowWord(key, 1, first)) + 0.5) / 2 ** 32;
  const v = (Number(slowWord(key, 1, first + 1n)) + 0.5) / 2 ** 32;
  return Math.fround(Math.sqrt(-2 * Math.log(u)) * (i % 2 === 0 ? Math.cos : Math.sin)(2 * Math.PI * v));
}

function slowBelow(key: Block, lane: number, i: number, span: number): number {
  const high = slowWord(key, lane, 2n * BigInt(i));
  const low = slowWord(key, lane, 2n * BigInt(i) + 1n);
  return Number((((high << 32n) + low) * BigInt(span)) >> 64n);
}

function slowPermutation(key: Block, n: number): (position: number) => number {
  const own = absorb(key, BigInt(n));
  if (n <= 256) {
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = slowBelow(own, 3, i, i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return (position) => order[position]!;
  }
  let rows = 2;
  while (rows * rows < n) rows += 2;
  const columns = Math.ceil(n / rows);
  const shift = (round: number, x: number, span: number) => {
    const block = BigInt(x) + (BigInt(Math.floor(round / 4)) << 32n);
    return Number((slowWord(own, 3, 4n * block + BigInt(round % 4)) * BigInt(span)) >> 32n);
  };
  return (position) => {
    let cell = position;
    do {
      let [row, column] = [Math.floor(cell / columns), cell % columns];
      for (let round = 0; round < 24; round++) {
        if (round % 2 === 0) row = (row + shift(round, column, rows)) % rows;
        else column = (column + shift(round, row, columns)) % columns;
      }
      cell = row * columns + column;
    } while (cell >= n);
    return cell;
  };
}

const seed = fc.maxSafeNat();
const name = fc.tuple(seed, fc.string({ minLength: 1, unit: "binary" }), fc.array(fc.maxSafeNat(), { maxLength: 4 }));
const offset = fc.oneof(
  fc.nat(1000),
  fc.maxSafeNat().map((i) => Math.min(i, Number.MAX_SAFE_INTEGER - 8)),
);

function wordsOf({ k0, k1, c2, c3 }: RandomKey): Block {
  return [BigInt(k0), BigInt(k1), BigInt(c2), BigInt(c3)];
}

describe("the documented definition", () => {
  test("of a key is what randomKey() and foldIn() make", () => {
    fc.assert(
      fc.property(name, fc.maxSafeNat(), ([seed, purpose, indices], index) => {
        const key = randomKey(seed, purpose, indices);
        expect(wordsOf(key)).toEqual(slowKey(seed, purpose, indices));
        expect(wordsOf(foldIn(key, index))).toEqual(absorb(slowKey(seed, purpose, indices), BigInt(index)));
      }),
    );
  });

  test("of an element is what uniform(), normal() and integers() draw, at any offset", () => {
    fc.assert(
      fc.property(seed, offset, fc.integer({ min: 1, max: 2 ** 32 }), (seed, offset, span) => {
        const [key, slow] = [randomKey(seed, "definition"), slowKey(seed, "definition", [])];
        const at = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => offset + i);
        const slice = { size: 8, offset };
        const low = -(2 ** 31);
        expect([...uniform(key, slice)]).toEqual(at.map((i) => slowUniform(slow, i)));
        expect([...integers(key, low, low + span, slice)]).toEqual(at.map((i) => low + slowBelow(slow, 2, i, span)));
        // The two compute cosines in different ways: one draw in 10^8 is rounded to the other side.
        const normals = normal(key, slice);
        for (const [i, expected] of at.map((i) => slowNormal(slow, i)).entries()) {
          expect(Math.abs(normals[i]! - expected)).toBeLessThanOrEqual(1e-7 * Math.abs(expected));
        }
      }),
    );
  });

  test.each([1, 2, 3, 8, 255, 256, 257, 258, 1000, 70_000, 2 ** 32 - 1, 2 ** 32])(
    "of an order is what permutationAt() and permutation() give for n = %i",
    (n) => {
      const slow = slowPermutation(slowKey(5, "shuffle", [n]), n);
      const key = randomKey(5, "shuffle", [n]);
      const positions = [0, 1, n >>> 1, n - 2, n - 1].filter((i) => i >= 0 && i < n);
      for (const position of positions) expect(permutationAt(key, n, position)).toBe(slow(position));
      if (n <= 1000) expect([...permutation(key, n)]).toEqual(Array.from({ length: n }, (_, i) => slow(i)));
    },
  );

  test("gives these numbers, whatever else changes", () => {
    const [key, slow] = [randomKey(17, "noise", [3, 5]), slowKey(17, "noise", [3, 5])];
    const far = 2 ** 40 + 1;
    const [order, longOrder] = [slowPermutation(slow, 10), slowPermutation(slow, 70_000)];
    const both = (fast: ArrayLike<number>, slow: (i: number) => number) => {
      expect(Array.from(fast, (_, i) => slow(i))).toEqual(Array.from(fast));
      return Array.from(fast);
    };

    expect(both([key.k0, key.k1, key.c2, key.c3], (i) => Number(slow[i]))).toEqual([
      3019582913, 1355158060, 1006744610, 1241612871,
    ]);
    const draws = uniform(key, { size: 4 }).map((u) => u * 2 ** 24);
    expect(both(draws, (i) => slowUniform(slow, i) * 2 ** 24)).toEqual([956393, 16214782, 14667930, 9777639]);
    expect(both(normal(key, { size: 4 }), (i) => slowNormal(slow, i))).toEqual([
      -1.1946380138397217, -0.20025797188282013, -0.4002515375614166, -1.6342532634735107,
    ]);
    expect(both(normal(key, { size: 2, offset: far }), (i) => slowNormal(slow, far + i))).toEqual([
      0.6092851161956787, 0.3969178795814514,
    ]);
    expect(both(integers(key, 0, 1000, { size: 6 }), (i) => slowBelow(slow, 2, i, 1000))).toEqual([
      984, 772, 665, 625, 551, 287,
    ]);
    expect(both(permutation(key, 10), order)).toEqual([8, 3, 7, 5, 9, 4, 0, 2, 1, 6]);
    expect(both(permutation(key, 70_000, { size: 6 }), longOrder)).toEqual([2997, 12798, 50717, 30246, 28440, 68265]);
  });
});
