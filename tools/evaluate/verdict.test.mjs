import { noiseOf, verdictOf } from "./verdict.mjs";

describe("noiseOf()", () => {
  test("is the t quantile times the deviation of a difference", () => {
    // Standard deviation 1, two degrees of freedom: 4.303 * sqrt(2).
    expect(noiseOf([9, 10, 11])).toBeCloseTo(4.303 * Math.SQRT2, 10);
    expect(noiseOf([5, 5, 5, 5])).toBe(0);
  });

  test("holds as often as it says: 19 times of 20, whatever the number of repeats", () => {
    let state = 1;
    const uniform = () => (state = (state * 48271) % 2147483647) / 2147483647;
    const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    for (const repeats of [2, 4, 10]) {
      let held = 0;
      const trials = 20_000;
      for (let i = 0; i < trials; i++) {
        const base = Array.from({ length: repeats + 1 }, normal);
        const [score, again] = [normal(), normal()]; // of the same model, and independent of what the noise is of
        if (Math.abs(score - again) <= noiseOf(base)) held++;
      }
      expect(held / trials).toBeGreaterThan(0.945); // three standard errors are 0.005
      expect(held / trials).toBeLessThan(0.955);
    }
  });

  test("refuses too few scores, and more than it has quantiles for", () => {
    expect(() => noiseOf([1, 2])).toThrow("2 scores, expected 3 to 11");
    expect(() => noiseOf(Array.from({ length: 12 }, () => 1))).toThrow("12 scores, expected 3 to 11");
  });
});

describe("verdictOf()", () => {
  test.each([
    [7, "better"],
    [8, "no difference beyond noise"],
    [10, "no difference beyond noise"],
    [11, "worse within noise"],
    [12, "worse within noise"],
    [12.5, "worse"],
  ])("a score of %d against 10 with a noise of 2: %s", (score, verdict) =>
    expect(verdictOf(score, 10, 2)).toBe(verdict),
  );

  test("is none where a number is none", () => {
    expect(() => verdictOf(NaN, 10, 2)).toThrow("the score is NaN, expected a number");
    expect(() => verdictOf(1, 10, Infinity)).toThrow("the noise is Infinity");
  });
});
