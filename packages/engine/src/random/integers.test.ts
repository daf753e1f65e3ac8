import fc from "fast-check";
import { multiplyHigh } from "./integers.js";

const split = (word: bigint) => [Number(word >> 32n), Number(word & 0xffffffffn)] as const;

describe("multiplyHigh()", () => {
  test("steps from one value to the next at exactly the word where it should", () => {
    const span = fc.oneof(
      fc.integer({ min: 2, max: 2 ** 32 }),
      fc.integer({ min: 2, max: 1000 }),
      fc.constant(2 ** 32),
    );
    fc.assert(
      fc.property(span, fc.maxSafeNat(), (span, choice) => {
        const value = 1 + (choice % (span - 1)); // in [1, span)
        const first = (BigInt(value) * 2n ** 64n + BigInt(span) - 1n) / BigInt(span); // the least word of this value
        expect(multiplyHigh(...split(first), span)).toBe(value);
        expect(multiplyHigh(...split(first - 1n), span)).toBe(value - 1);
      }),
      { numRuns: 2000 },
    );
  });

  test("takes the first word to 0 and the last to span - 1", () => {
    for (const span of [1, 2, 3, 1000, 2 ** 31, 2 ** 32 - 1, 2 ** 32]) {
      expect(multiplyHigh(0, 0, span)).toBe(0);
      expect(multiplyHigh(0xffffffff, 0xffffffff, span)).toBe(span - 1);
    }
  });
});
