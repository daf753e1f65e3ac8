import { assertFinite } from "./finite.js";

describe("assertFinite()", () => {
  const message = (image: number): string => `Image ${image} is not finite`;

  test("names the first image that is not finite, where, and how much of it", () => {
    const values = new Float32Array(12).fill(1);
    expect(() => assertFinite(values, 3, message)).not.toThrow();
    values.set([NaN, 1, -Infinity], 5);
    values[11] = NaN;
    const problem = "Image 1 is not finite: 2 of 4 elements, the first is NaN at index 1";
    expect(() => assertFinite(values, 3, message)).toThrow(RangeError);
    expect(() => assertFinite(values, 3, message)).toThrow(problem);
    expect(() => assertFinite(values.subarray(8), 1, message)).toThrow("Image 0 is not finite: 1 of 4 elements");
  });
});
