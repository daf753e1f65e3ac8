import { emaDecay, EmaConfig, gammaOf } from "./ema.js";

const decays = (ema: unknown, steps: readonly number[]): number[] =>
  steps.map((step) => emaDecay(EmaConfig.parse(ema), step));

/** How much each of n steps counts in the average after the last. */
function weightsOf(ema: unknown, n: number): number[] {
  let weights: number[] = [];
  for (let step = 1; step <= n; step++) {
    const [decay = NaN] = decays(ema, [step]);
    weights = [...weights.map((w) => w * decay), 1 - decay];
  }
  return weights;
}

describe("emaDecay()", () => {
  test("of the constant kind is the same at each step", () => {
    expect(decays({ kind: "constant" }, [1, 2, 1e6])).toEqual([0.9999, 0.9999, 0.9999]);
  });

  test("grows to it under warm-up", () => {
    expect(decays({ kind: "constant", decay: 0.5, warmup: true }, [1, 5, 8, 9])).toEqual([2 / 11, 6 / 15, 0.5, 0.5]);
  });

  test("of the power kind makes an average in which step j counts about j^γ", () => {
    expect(decays({ kind: "power", gamma: 3 }, [1, 2, 4])).toEqual([0, 0.5 ** 4, 0.75 ** 4]);
    const [gamma, n] = [3, 2000];
    const weights = weightsOf({ kind: "power", gamma }, n);
    expect(weights.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    // ((j^4 - (j-1)^4) / n^4 is the integral of 4 t³ over a step.
    for (const j of [100, 1000, 2000]) expect(weights[j - 1]).toBeCloseTo((j ** 4 - (j - 1) ** 4) / n ** 4, 12);
  });

  test("of the power kind has the relative deviation that it is told, 0.1 by default", () => {
    const n = 4000;
    for (const [ema, sigma] of [
      [{ kind: "power" }, 0.1],
      [{ kind: "power", sigmaRel: 0.2 }, 0.2],
    ] as const) {
      const weights = weightsOf(ema, n);
      const mean = weights.reduce((sum, w, i) => sum + w * (i + 1), 0);
      const variance = weights.reduce((sum, w, i) => sum + w * (i + 1 - mean) ** 2, 0);
      expect(Math.sqrt(variance) / n).toBeCloseTo(sigma, 3); // steps are discrete: off by about 1/n
    }
  });
});

test("gammaOf() gives the powers of the paper's two averages", () => {
  // Karras et al. 2024, section 3.1: σ_rel = 0.05 and 0.10 are γ = 16.97 and 6.94.
  expect(gammaOf(0.05)).toBeCloseTo(16.97, 2);
  expect(gammaOf(0.1)).toBeCloseTo(6.94, 2);
});
