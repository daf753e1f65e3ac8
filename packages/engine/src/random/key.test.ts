import fc from "fast-check";
import { foldIn, randomKey, type RandomKey } from "./key.js";

const wordsOf = ({ k0, k1, c2, c3 }: RandomKey) => [k0, k1, c2, c3];
const textOf = (key: RandomKey) => wordsOf(key).join(" ");

function bitsApart(a: RandomKey, b: RandomKey): number {
  const [x, y] = [wordsOf(a), wordsOf(b)];
  const ones = (word: number) => word.toString(2).replaceAll("0", "").length;
  return x.reduce((sum, word, i) => sum + ones((word ^ y[i]!) >>> 0), 0);
}

function flipped(value: number, bit: number): number {
  return Number(BigInt(value) ^ (1n << BigInt(bit)));
}

describe("randomKey()", () => {
  test("gives the same key for the same name, and a list without indices when there are none", () => {
    expect(randomKey(17, "noise", [1, 2])).toEqual(randomKey(17, "noise", [1, 2]));
    expect(randomKey(17, "noise")).toEqual(randomKey(17, "noise", []));
  });

  test("keeps apart what reads the same when written one after another", () => {
    const names: [number, string, number[]][] = [
      [1, "a", [1, 2]],
      [1, "a1", [2]],
      [1, "a12", []],
      [1, "a", [12]],
      [1, "a", [2, 1]],
      [11, "a", [2]],
      [1, "a", []],
      [1, "a", [0]],
      [1, "a", [0, 0]],
      [1, "a\0", []],
      [1, "a\0\0\0\0", []],
      [1, "a\0\0\0", [0]],
      [1, "aaaa", [0]],
      [1, "aaaa\0", []],
      [0x6100000001, "a", [1]],
      [1, "a", [2 ** 32]],
      [1, "a", [1, 0]],
      [1 + 2 ** 32, "a", [1, 2]],
      [1, "\ud800", []], // half of a pair has no UTF-8
      [1, "\ud801", []],
      [1, "\ufffd", []],
    ];
    expect(new Set(names.map((name) => textOf(randomKey(...name)))).size).toBe(names.length);
  });

  test("gives different keys to different names", () => {
    const name = fc.tuple(
      fc.nat(3),
      fc.stringMatching(/^[ab]{1,5}$/),
      fc.array(fc.nat(2), { maxLength: 3 }), // few choices, so that neighbours are tried
    );
    fc.assert(
      fc.property(name, name, (a, b) => {
        const same = JSON.stringify(a) === JSON.stringify(b);
        expect(textOf(randomKey(...a)) === textOf(randomKey(...b))).toBe(same);
      }),
      { numRuns: 1000 },
    );
  });

  test("shares no 32-bit word more often than chance among 2^16 neighbouring names", () => {
    // 2^16 words of 32 bits collide C(2^16, 2) / 2^32 = 0.5 times on average: more than 6 have a chance of 10^-6.
    const keys = Array.from({ length: 2 ** 16 }, (_, i) => wordsOf(randomKey(0, "noise", [i >> 8, i & 255])));
    for (let word = 0; word < 4; word++) {
      expect(keys.length - new Set(keys.map((key) => key[word])).size).toBeLessThanOrEqual(6);
    }
  });

  test("changes half of its 128 bits when one bit of the name changes", () => {
    const from = randomKey(0, "noise", [3, 5]);
    for (let bit = 0; bit < 53; bit++) {
      const letter = String.fromCharCode("e".charCodeAt(0) ^ (1 << (bit % 16)));
      const others = [
        randomKey(2 ** bit, "noise", [3, 5]),
        randomKey(0, `nois${letter}`, [3, 5]),
        randomKey(0, "noise", [flipped(3, bit), 5]),
        randomKey(0, "noise", [3, flipped(5, bit)]),
      ];
      // Binomial(128, 1/2) is 64 ± 5.7: further off than 27 has a chance of 2·10^-6, for each of 212 pairs.
      for (const other of others) expect(Math.abs(bitsApart(from, other) - 64)).toBeLessThanOrEqual(27);
    }
  });

  test.each([-1, 1.5, NaN, Infinity, 2 ** 53])("rejects %d as a seed and as an index", (value) => {
    const expected = `is ${value}, expected an integer in [0, 9007199254740991]`;
    expect(() => randomKey(value, "noise")).toThrow(new RangeError(`Cannot make a random key: seed ${expected}`));
    expect(() => randomKey(0, "noise", [7, value])).toThrow(
      new RangeError(`Cannot make a random key: indices[1] ${expected}`),
    );
    expect(() => foldIn(randomKey(0, "noise"), value)).toThrow(
      new RangeError(`Cannot fold into a random key: index ${expected}`),
    );
  });

  test("rejects a seed that is a string, in quotes, and a purpose that is empty", () => {
    expect(() => randomKey("17" as unknown as number, "noise")).toThrow('seed is "17", expected an integer');
    expect(() => randomKey(17, "")).toThrow(
      new RangeError('Cannot make a random key: purpose is "", expected a string that is not empty'),
    );
    expect(() => randomKey(17, undefined as unknown as string)).toThrow(RangeError);
  });
});

describe("foldIn()", () => {
  test("gives every child its own key, and none that a longer list of indices has", () => {
    const parent = randomKey(17, "noise", [3]);
    const keys = [parent, randomKey(17, "noise", [3, 5]), randomKey(17, "noise", [5])];
    for (let index = 0; index < 100; index++) keys.push(foldIn(parent, index));
    expect(new Set(keys.map(textOf)).size).toBe(103);
  });

  test("depends on the order in which indices are folded in", () => {
    const parent = randomKey(17, "noise");
    expect(foldIn(foldIn(parent, 1), 2)).not.toEqual(foldIn(foldIn(parent, 2), 1));
  });
});
