import { pointsOf, smooth, thin, type Point } from "./curve.js";

describe("smooth()", () => {
  const noise = Array.from({ length: 30 }, (_, i) => Math.sin(i * i));

  test("is the weighted mean of its equation", () => {
    const w = Math.exp(-1 / 3);
    const slow = noise.map((_, i) => {
      const weights = noise.map((_, j) => w ** Math.abs(i - j));
      return noise.reduce((sum, y, j) => sum + (weights[j] ?? 0) * y, 0) / weights.reduce((a, b) => a + b, 0);
    });
    smooth(noise, 3).forEach((value, i) => expect(value).toBeCloseTo(slow[i] ?? NaN, 12));
  });

  test("does not lag: backwards it is the same", () => {
    const back = smooth(noise.toReversed(), 4).reverse();
    smooth(noise, 4).forEach((value, i) => expect(value).toBeCloseTo(back[i] ?? NaN, 12));
  });

  test("leaves values as they are for a window of 0, and a constant for any", () => {
    smooth(noise, 0).forEach((value, i) => expect(value).toBeCloseTo(noise[i] ?? NaN, 12));
    smooth([2, 2, 2], 7).forEach((value) => expect(value).toBeCloseTo(2, 12));
  });

  test("keeps gaps, and no mean holds them", () => {
    const values = smooth([1, NaN, 1, Infinity, 1], 2);
    expect(values.map(Number.isNaN)).toEqual([false, true, false, true, false]);
    expect(values[2]).toBeCloseTo(1, 12);
  });
});

describe("thin()", () => {
  const line = Array.from({ length: 1000 }, (_, i): Point => [i, i % 10]);

  test("keeps every spike, the ends, and the order", () => {
    const points = line.map((point): Point => (point[0] === 437 ? [437, 99] : point[0] === 439 ? [439, -99] : point));
    const kept = thin(points, 20);
    expect(kept.length).toBeLessThanOrEqual(42);
    expect(kept).toContainEqual([437, 99]);
    expect(kept).toContainEqual([439, -99]);
    expect([kept[0], kept.at(-1)]).toEqual([line[0], line[999]]);
    const xs = kept.map(([x]) => x);
    expect(xs).toEqual([...new Set(xs)].sort((a, b) => a - b));
  });

  test("leaves few points as they are", () => expect(thin(line, 500)).toEqual(line));
});

test("pointsOf() leaves out gaps", () => {
  expect(pointsOf([1, 2, 3, 4], [0, NaN, 2])).toEqual([
    [1, 0],
    [3, 2],
  ]);
});
