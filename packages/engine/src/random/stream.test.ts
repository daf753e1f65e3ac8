import fc from "fast-check";
import { integers, normal, permutation, permutationAt, randomKey, uniform, type StreamSlice } from "./index.js";

const key = randomKey(17, "noise", [3, 5]);
const draws = [
  ["uniform()", "draw uniform numbers", (slice: StreamSlice<Float32Array>) => uniform(key, slice), Float32Array],
  ["normal()", "draw normal numbers", (slice: StreamSlice<Float32Array>) => normal(key, slice), Float32Array],
  ["integers()", "draw integers", (slice: StreamSlice<Int32Array>) => integers(key, -5, 1000, slice), Int32Array],
] as const;

describe.each(draws)("%s", (_, task, drawTyped, Values) => {
  const draw = drawTyped as (slice: StreamSlice<Float32Array | Int32Array>) => Float32Array | Int32Array;

  test("gives the same numbers however a range is cut into slices", () => {
    // Cuts fall inside blocks, inside Box-Muller pairs and past a chunk of 4096 elements; the range crosses word 0 of
    // c1.
    const start = fc.constantFrom(0, 1, 4095, 2 ** 33 - 5, 2 ** 34 - 3, 2 ** 34 - 4097, 2 ** 45 + 7, 2 ** 53 - 20_000);
    const lengths = fc.array(fc.oneof(fc.nat(9), fc.constantFrom(4094, 4096, 5001)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(start, lengths, (start, lengths) => {
        const size = lengths.reduce((sum, length) => sum + length, 0);
        const parts = new Values(size);
        let done = 0;
        for (const length of lengths) {
          parts.set(draw({ size: length, offset: start + done }), done);
          done += length;
        }
        const whole = draw({ size, offset: start });
        expect(Buffer.from(parts.buffer).equals(Buffer.from(whole.buffer))).toBe(true); // toEqual() takes seconds
      }),
    );
  });

  test("fills an array it is given, no more and no less, and returns it", () => {
    const whole = new Values(12).fill(-9);
    const part = whole.subarray(3, 9);
    expect(draw({ into: part, offset: 2 })).toBe(part);
    expect([...whole]).toEqual([-9, -9, -9, ...draw({ size: 6, offset: 2 }), -9, -9, -9]);
  });

  test("begins at element 0, and may draw nothing", () => {
    expect(draw({ size: 5 })).toEqual(draw({ size: 5, offset: 0 }));
    expect(draw({ size: 0, offset: 3 })).toEqual(new Values(0));
    expect(draw({ into: new Values(0) })).toEqual(new Values(0));
  });

  test("goes on past element 2^32 without repeating the beginning", () => {
    const beginnings = [0, 2 ** 32, 2 ** 33, 2 ** 34, 2 ** 35, 2 ** 52].map((offset) =>
      draw({ size: 8, offset }).join(),
    );
    expect(new Set(beginnings).size).toBe(beginnings.length);
  });

  test.each([-1, 0.5, NaN, 2 ** 53])("rejects %d as an offset and as a size", (value) => {
    expect(() => draw({ size: 1, offset: value })).toThrow(
      new RangeError(`Cannot ${task}: offset is ${value}, expected an integer in [0, 9007199254740991]`),
    );
    expect(() => draw({ size: value })).toThrow(
      new RangeError(`Cannot ${task}: size is ${value}, expected an integer in [0, 4294967296]`),
    );
  });

  test("rejects a slice past the last element that can be named", () => {
    expect(draw({ size: 1, offset: 2 ** 53 - 2 })).toHaveLength(1);
    expect(() => draw({ size: 2, offset: 2 ** 53 - 2 })).toThrow(
      new RangeError(
        `Cannot ${task}: elements 9007199254740990 to 9007199254740992 were asked for, ` +
          "expected none past 9007199254740991",
      ),
    );
  });
});

describe("integers()", () => {
  test.each([
    [0, 0, "high (low being 0) is 0, expected an integer in [1, 2147483648]"],
    [5, 4, "high (low being 5) is 4, expected an integer in [6, 2147483648]"],
    [0, 2 ** 31 + 1, "high (low being 0) is 2147483649, expected an integer in [1, 2147483648]"],
    [-(2 ** 31) - 1, 0, "low is -2147483649, expected an integer in [-2147483648, 2147483647]"],
    [0.5, 3, "low is 0.5, expected an integer in [-2147483648, 2147483647]"],
    [0, NaN, "high (low being 0) is NaN, expected an integer in [1, 2147483648]"],
  ])("rejects the range [%d, %d)", (low, high, message) => {
    expect(() => integers(key, low, high, { size: 1 })).toThrow(new RangeError(`Cannot draw integers: ${message}`));
  });

  test("gives the one value of a range of one", () => {
    expect([...integers(key, 7, 8, { size: 5 })]).toEqual([7, 7, 7, 7, 7]);
  });

  test("reaches both ends of the whole of int32", () => {
    const values = integers(key, -(2 ** 31), 2 ** 31, { size: 100_000 });
    expect(values.reduce((a, b) => Math.min(a, b))).toBeLessThan(-(2 ** 31) * (1 - 2e-4)); // missed once in e^10
    expect(values.reduce((a, b) => Math.max(a, b))).toBeGreaterThan(2 ** 31 * (1 - 2e-4));
  });
});

describe("permutation()", () => {
  test.each([
    [-1, "n is -1, expected an integer in [0, 4294967296]"],
    [2.5, "n is 2.5, expected an integer in [0, 4294967296]"],
    [2 ** 32 + 1, "n is 4294967297, expected an integer in [0, 4294967296]"],
  ])("rejects %d as n", (n, message) => {
    expect(() => permutation(key, n, { size: 0 })).toThrow(new RangeError(`Cannot permute: ${message}`));
  });

  test("rejects a slice that is not within it", () => {
    expect(() => permutation(key, 10, { offset: 8, size: 3 })).toThrow(
      new RangeError("Cannot permute: elements 8 to 11 were asked for, expected none past 10"),
    );
    expect(() => permutation(key, 10, { offset: 11, size: 0 })).toThrow("offset is 11, expected an integer in [0, 10]");
    expect(() => permutation(key, 10, { into: new Uint32Array(11) })).toThrow(RangeError);
  });
});

describe("permutationAt()", () => {
  test("rejects a position that is not in it, and an order of nothing", () => {
    expect(() => permutationAt(key, 10, 10)).toThrow(
      new RangeError("Cannot permute: position (n being 10) is 10, expected an integer in [0, 9]"),
    );
    expect(() => permutationAt(key, 10, -1)).toThrow(RangeError);
    expect(() => permutationAt(key, 0, 0)).toThrow(
      new RangeError("Cannot permute: n is 0, expected an integer in [1, 4294967296]"),
    );
  });
});
