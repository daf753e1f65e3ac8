import { firstNonFinite } from "./finite.js";

test("firstNonFinite() finds one bad element at any place of any length, and nothing where there is none", () => {
  for (let length = 0; length <= 13; length++) {
    expect(firstNonFinite(new Float32Array(length).fill(2 ** 127))).toBe(-1);
    for (const value of [NaN, Infinity, -Infinity])
      for (let at = 0; at < length; at++) {
        const data = new Float32Array(length).fill(-1);
        data[at] = value;
        expect(firstNonFinite(data)).toBe(at);
        data[length - 1] = -value; // infinities that cancel each other
        expect(firstNonFinite(data)).toBe(at);
      }
  }
});
