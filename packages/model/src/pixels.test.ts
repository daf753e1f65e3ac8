import { pixelsOfFloats } from "./pixels.js";

describe("pixelsOfFloats()", () => {
  test("maps -1 to 0 and 1 to 255, and rounds to the nearest", () => {
    const step = 2 / 255;
    const values = [-1, 1, 0, -1 + 0.49 * step, -1 + 0.51 * step, -1 + 7 * step];
    expect([...pixelsOfFloats(Float32Array.from(values))]).toEqual([0, 255, 128, 0, 1, 7]);
  });

  test("clamps what is out of range, infinities too; NaN is black", () => {
    expect([...pixelsOfFloats(Float32Array.of(-7, 3, -Infinity, Infinity, NaN))]).toEqual([0, 255, 0, 255, 0]);
  });

  test("gives every pixel for its own value, and as many as there are", () => {
    const all = Float32Array.from({ length: 256 }, (_, i) => (i / 255) * 2 - 1);
    expect([...pixelsOfFloats(all)]).toEqual(Array.from({ length: 256 }, (_, i) => i));
    expect(pixelsOfFloats(new Float32Array(0))).toHaveLength(0);
  });

  test("computes in float32: half a step is on the side that float32 puts it", () => {
    // In doubles this value is below 12.5 / 255 and would be 12; (x + 1) / 2 · 255 + 0.5 in float32 is 13 exactly.
    const x = Math.fround((12.5 / 255) * 2 - 1);
    const exact = ((x + 1) / 2) * 255 + 0.5;
    const single = Math.fround(Math.fround(Math.fround(Math.fround(x + 1) / 2) * 255) + 0.5);
    expect(pixelsOfFloats(Float32Array.of(x))[0]).toBe(Math.trunc(single));
    expect(Math.abs(exact - 13)).toBeLessThan(1e-5);
  });
});
