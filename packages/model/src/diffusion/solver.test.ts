import { draw, expectClose, runOnce, TOLERANCE } from "../testing.js";
import { ddim, ddimTimesteps } from "./ddim.js";
import { dpmSolver, dpmSigmas, dpmTimesteps } from "./dpm-solver.js";
import { noiseSchedule } from "./noise-schedule.js";
import { COEFFICIENTS, coefficientsOf, solverUpdate, type SolverPlan } from "./solver.js";

/**
 * Data that is normal, with this mean and standard deviation. Then the best prediction of the noise is known, and so is
 * where the flow of probability takes a sample: it keeps its distance from the mean, in standard deviations of the
 * time.
 */
const [MEAN, STD] = [0.3, 0.5];
const at = (timestep: number) => {
  const abar = noiseSchedule().alphasCumprod[timestep]!;
  return { alpha: Math.sqrt(abar), spread: Math.sqrt(abar * STD ** 2 + 1 - abar), noise: Math.sqrt(1 - abar) };
};
const exact = (timestep: number, distance: number): number =>
  at(timestep).alpha * MEAN + at(timestep).spread * distance;
const predict = (x: number, timestep: number): number => {
  const { alpha, spread, noise } = at(timestep);
  return (noise * (x - alpha * MEAN)) / spread ** 2;
};

/** Follows a plan in doubles: what x is before each step, and at the end. */
function follow({ steps, clip }: SolverPlan, x: number): number[] {
  const path = [x];
  let previous = 0;
  for (const { timestep, sigma, alpha, keep, data, previousData, noise } of steps) {
    const prediction = predict(x, timestep);
    const raw = (x - sigma * prediction) / alpha;
    const x0 = clip ? Math.min(1, Math.max(-1, raw)) : raw;
    x = keep * x + data * x0 + previousData * previous + noise * prediction;
    previous = x0;
    path.push(x);
  }
  return path;
}

/** How far a plan is from the flow when it comes to a timestep. */
function errorAt(plan: SolverPlan, timestep: number): number {
  const distance = 1.7;
  const path = follow(plan, exact(plan.steps[0]!.timestep, distance));
  const i = plan.steps.findIndex((step) => step.timestep === timestep);
  return Math.abs(path[i]! - exact(timestep, distance));
}

describe("dpmSolver()", () => {
  test("is of second order on normal data", () => {
    // Steps of 111, 37 and 9 timesteps all come by timestep 111 + ...; coefficients of float32 end the series.
    const errors = [27, 111, 333].map((steps) => errorAt(dpmSolver(steps), 333));
    expect(errors[0]! / errors[1]!).toBeGreaterThan(0.7 * (111 / 27) ** 2);
    expect(errors[0]! / errors[1]!).toBeLessThan(1.6 * (111 / 27) ** 2);
    expect(errors[1]!).toBeLessThan(1e-4);
    expect(errors[2]!).toBeLessThan(2e-5);
  });

  test("ends on the data that it predicts", () => {
    for (const steps of [1, 2, 25]) {
      const last = dpmSolver(steps).steps.at(-1)!;
      expect(last).toMatchObject({ keep: 0, data: 1, previousData: 0, noise: 0 });
    }
  });

  test("looks back from the second step to the last but one", () => {
    const { steps } = dpmSolver(6);
    expect(steps.map(({ previousData }) => previousData !== 0)).toEqual([false, true, true, true, true, false]);
    // Of data that does not change, both orders make the same: their coefficients have the same sum.
    for (const [i, { data, previousData, keep, alpha, sigma }] of steps.slice(0, -1).entries()) {
      const next = steps[i + 1]!;
      expect(keep * alpha + data + previousData).toBeCloseTo(next.alpha, 5);
      expect(keep * sigma).toBeCloseTo(next.sigma, 6);
    }
  });

  test("spaces its timesteps evenly, from the last one down, without 0", () => {
    expect([...dpmTimesteps(8)]).toEqual([999, 874, 749, 624, 500, 375, 250, 125]);
    expect([...dpmTimesteps(1)]).toEqual([999]);
    expect([...dpmTimesteps(1000)].slice(0, 2)).toEqual([999, 998]);
    expect(dpmTimesteps(30)[15]).toBe(499); // 499.5, a little less in doubles
    expect(dpmTimesteps(2)[1]).toBe(500); // 499.5: to the even neighbour
  });

  test("has ratios of noise to data that fall to 0", () => {
    const sigmas = dpmSigmas(25);
    expect(sigmas).toHaveLength(26);
    for (let i = 0; i < 25; i++) expect(sigmas[i]!).toBeGreaterThan(sigmas[i + 1]!);
    expect(sigmas[25]).toBe(0);
    const { alpha, noise } = at(999);
    expect(sigmas[0]! / (noise / alpha)).toBeCloseTo(1, 6);
  });
});

describe("ddim()", () => {
  test("is of first order on normal data", () => {
    const errors = [10, 50, 250].map((steps) => errorAt(ddim(steps, { clip: false }), 300));
    for (const i of [0, 1]) {
      expect(errors[i]! / errors[i + 1]!).toBeGreaterThan(0.6 * 5);
      expect(errors[i]! / errors[i + 1]!).toBeLessThan(1.6 * 5);
    }
  });

  test("ends on the data that it predicts", () => {
    for (const steps of [1, 2, 25])
      expect(ddim(steps).steps.at(-1)!).toMatchObject({ timestep: 0, keep: 0, data: 1, previousData: 0, noise: 0 });
  });

  test("goes from each timestep to the next one: what it assumes there is what it is given", () => {
    const { steps } = ddim(8);
    steps.slice(0, -1).forEach(({ data, noise }, i) => {
      expect([data, noise]).toEqual([steps[i + 1]!.alpha, steps[i + 1]!.sigma]);
    });
    for (const { timestep, alpha, sigma } of steps) {
      expect(alpha).toBeCloseTo(at(timestep).alpha, 6);
      expect(sigma).toBeCloseTo(at(timestep).noise, 6);
    }
  });

  test("spaces its timesteps by the whole part of 1000 / steps, down to 0", () => {
    expect([...ddimTimesteps(8)]).toEqual([875, 750, 625, 500, 375, 250, 125, 0]);
    expect([...ddimTimesteps(3)]).toEqual([666, 333, 0]);
  });

  test("clips the data unless told otherwise", () => {
    expect([ddim(4).clip, ddim(4, { clip: false }).clip, dpmSolver(4).clip]).toEqual([true, false, false]);
    expect(ddim(4).name).not.toBe(ddim(4, { clip: false }).name);
  });
});

test.each([0, -1, 1.5, 1001, NaN])("dpmSolver() and ddim() refuse %d steps", (steps) => {
  expect(() => dpmSolver(steps)).toThrow(
    new RangeError(`Cannot plan dpm with ${steps} steps, expected a whole number from 1 to 1000`),
  );
  expect(() => ddim(steps)).toThrow(RangeError);
});

test.each([true, false])("solverUpdate() is the formula of SolverStep (clipping: %s)", async (clip) => {
  const step = { timestep: 7, sigma: 0.6, alpha: 0.8, keep: 0.3, data: 0.5, previousData: -0.2, noise: 0.7 };
  const [x, prediction, previous] = ["x", "prediction", "previous"].map((name) => draw(name, 2, 5)) as [
    ReturnType<typeof draw>,
    ReturnType<typeof draw>,
    ReturnType<typeof draw>,
  ];
  const coefficients = { shape: [COEFFICIENTS.length], data: coefficientsOf(step) };
  const { next, data } = await runOnce({ x, prediction, previous, coefficients }, (t) => ({
    ...solverUpdate(t.x, t.prediction, t.previous, t.coefficients, { clip, prediction: "epsilon" }),
  }));
  const x0 = Array.from(x.data, (value, i) => (value - 0.6 * prediction.data[i]!) / 0.8);
  const clipped = clip ? x0.map((value) => Math.min(1, Math.max(-1, value))) : x0;
  expect(x0.some((value) => Math.abs(value) > 1)).toBe(true);
  expectClose(data, clipped, TOLERANCE.elementwise);
  const expected = clipped.map(
    (value, i) => 0.3 * x.data[i]! + 0.5 * value - 0.2 * previous.data[i]! + 0.7 * prediction.data[i]!,
  );
  expectClose(next, expected, TOLERANCE.elementwise);
});
