import fc from "fast-check";
import { randomKey } from "./key.js";
import { feistel, gridOf, permutation, permutationAt, shiftsOneByOne, tableOfShifts } from "./permutation.js";

const key = randomKey(17, "shuffle", [0]);

function isBijection(order: Uint32Array): boolean {
  const seen = new Uint8Array(order.length);
  for (const value of order) {
    if (value >= order.length || seen[value] === 1) return false;
    seen[value] = 1;
  }
  return true;
}

/** As toEqual(), which takes seconds. */
function sameNumbers(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

describe("permutation()", () => {
  test.each([
    0, 1, 2, 3, 5, 64, 127, 128, 251, 255, 256, 257, 258, 263, 289, 324, 325, 512, 1009, 1024, 4096, 65_536, 70_000,
  ])("holds every integer below n = %i once", (n) => {
    const order = permutation(key, n);
    expect(order).toHaveLength(n);
    expect(isBijection(order)).toBe(true);
  });

  test("holds every integer below any n once", () => {
    fc.assert(fc.property(fc.nat(5000), fc.nat(), (n, seed) => isBijection(permutation(randomKey(seed, "p"), n))));
  });

  test("gives slices of one order, and permutationAt() its positions, on both sides of 256 and of the table", () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 255, 256, 257, 1009, 70_000), fc.nat(), fc.nat(), (n, from, to) => {
        const whole = permutation(key, n);
        const [start, end] = [from % n, to % (n + 1)].sort((a, b) => a - b) as [number, number];
        const part = permutation(key, n, { offset: start, size: end - start });
        expect(sameNumbers(part, whole.subarray(start, end))).toBe(true);
        expect(permutationAt(key, n, from % n)).toBe(whole[from % n]);
        const few = permutation(key, n, { into: new Uint32Array(1), offset: from % n }); // one shift after another
        expect(few[0]).toBe(whole[from % n]);
      }),
    );
  });

  test("gives another order for another key and another n", () => {
    const order = permutation(key, 1000);
    const same = (other: Uint32Array) => order.filter((value, i) => other[i] === value).length;
    // Two random orders agree in 1 place on average (Poisson): in more than 9 with a chance of 10^-7.
    expect(same(permutation(randomKey(17, "shuffle", [1]), 1000))).toBeLessThanOrEqual(9);
    expect(same(permutation(key, 1001))).toBeLessThanOrEqual(9);
  });

  test("orders nothing when there is nothing", () => {
    expect(permutation(key, 0)).toEqual(new Uint32Array(0));
    expect(permutation(key, 1)).toEqual(Uint32Array.of(0));
  });
});

describe("gridOf()", () => {
  test("holds n cells in an even number of rows, and less than a row more", () => {
    for (const n of [257, 258, 289, 1000, 70_000, 2 ** 20 + 1, 10 ** 9, 2 ** 32 - 1, 2 ** 32]) {
      const { rows, columns } = gridOf(n);
      expect(rows % 2).toBe(0);
      expect(columns).toBeLessThanOrEqual(rows);
      expect(rows * columns - n).toBeGreaterThanOrEqual(0);
      expect(rows * columns - n).toBeLessThan(rows);
    }
  });
});

describe("feistel()", () => {
  test("is a bijection of any domain, small ones too, and the same with a table as without", () => {
    for (let n = 1; n <= 300; n++) {
      const grid = gridOf(n);
      const [slow, fast] = [shiftsOneByOne(key, grid), tableOfShifts(key, grid)];
      const order = Uint32Array.from({ length: n }, (_, i) => feistel(i, n, grid, slow));
      expect(isBijection(order)).toBe(true);
      expect(order.every((value, i) => value === feistel(i, n, grid, fast))).toBe(true);
    }
  });
});
