import { notFinite } from "./finite.js";

describe("notFinite()", () => {
  test("finds one bad element at any place of any length", () => {
    for (const value of [NaN, Infinity, -Infinity])
      for (let length = 1; length <= 13; length++)
        for (let at = 0; at < length; at++)
          for (const data of [new Float32Array(length).fill(1), new Float64Array(length).fill(1)]) {
            data[at] = value;
            expect(notFinite(data)).toBe(`1 of ${length} elements, the first is ${value} at index ${at}`);
          }
  });

  test("counts all of them, infinities that cancel each other too", () => {
    const data = Float32Array.of(1, Infinity, 2, 3, -Infinity, 4, 5, NaN, 6);
    expect(notFinite(data)).toBe("3 of 9 elements, the first is Infinity at index 1");
    expect(notFinite(data.subarray(2, 7))).toBe("1 of 5 elements, the first is -Infinity at index 2");
  });

  test("has nothing against the largest numbers, the smallest ones and none", () => {
    const [largest, smallest] = [2 ** 127 * (2 - 2 ** -23), 2 ** -149];
    expect(notFinite(Float32Array.of(largest, largest, -0, smallest, -largest))).toBeUndefined();
    expect(notFinite(new Float64Array(9).fill(Number.MAX_VALUE))).toBeUndefined(); // their sum is infinite
    expect(notFinite(new Float32Array(0))).toBeUndefined();
  });
});
