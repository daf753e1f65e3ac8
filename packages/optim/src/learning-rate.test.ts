import { learningRateFactor, ScheduleConfig } from "./learning-rate.js";

const TOTAL = 200;
const wsd = (step: number, warmup = 0.1): number => learningRateFactor({ kind: "wsd", warmup }, step, TOTAL, "zero");
const cosine = (step: number, warmup = 0.1): number =>
  learningRateFactor({ kind: "cosine", warmup }, step, TOTAL, "zero");

describe("learningRateFactor()", () => {
  test("of a constant schedule is 1 at every step", () => {
    for (const step of [0, 1, TOTAL, 3 * TOTAL])
      expect(learningRateFactor({ kind: "constant" }, step, TOTAL, "zero")).toBe(1);
  });

  test("warms up linearly, from 0 or from the rate of the first step", () => {
    for (const kind of ["wsd", "cosine"] as const) {
      const factors = (start: "zero" | "first-step"): number[] =>
        [0, 1, 10, 19, 20].map((step) => learningRateFactor({ kind, warmup: 0.1 }, step, TOTAL, start));
      expect(factors("zero").slice(0, 4)).toEqual([0, 1 / 20, 10 / 20, 19 / 20]);
      expect(factors("first-step").slice(0, 4)).toEqual([1 / 20, 2 / 20, 11 / 20, 1]);
      expect([factors("zero")[4], factors("first-step")[4]]).toEqual([1, 1]);
    }
  });

  test("has no warm-up of less than a step", () => {
    expect([wsd(0, 0), wsd(0, 0.004)]).toEqual([1, 1]);
    expect(wsd(0, 0.0051)).toBe(0); // one step of 200
  });

  test("of warmup-stable-decay is stable to 85 %, then halves every 2.5 %", () => {
    expect([wsd(20), wsd(100), wsd(169), wsd(170)]).toEqual([1, 1, 1, 1]);
    expect(wsd(175)).toBeCloseTo(1 / 2, 12);
    expect(wsd(185)).toBeCloseTo(1 / 8, 12);
    expect(wsd(200)).toBeCloseTo(1 / 64, 12);
    expect(wsd(205)).toBeCloseTo(1 / 128, 12); // and goes on
  });

  test("of a cosine is 1 after the warm-up, half way in the middle, 1 % at the end", () => {
    expect(cosine(20)).toBeCloseTo(1, 12);
    expect(cosine(110)).toBeCloseTo(0.505, 12);
    expect(cosine(200)).toBeCloseTo(0.01, 12);
  });
});

test("ScheduleConfig knows its kinds and their shares of warm-up", () => {
  expect(ScheduleConfig.parse({ kind: "wsd" })).toEqual({ kind: "wsd", warmup: 0.01 });
  expect(ScheduleConfig.safeParse({ kind: "constant", warmup: 0.1 }).success).toBe(false);
  expect(ScheduleConfig.safeParse({ kind: "cosine", warmup: 1.1 }).success).toBe(false);
});
