import { noiseSchedule, TRAIN_TIMESTEPS } from "./noise-schedule.js";
import type { SolverPlan, SolverStep } from "./solver.js";

const f32 = Math.fround;

/** Half to even, as NumPy rounds. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** Timesteps of `steps` solver steps: spread evenly over 999 to 0, the last one, 0, left out. Spec section 11. */
export function dpmTimesteps(steps: number): Int32Array {
  const last = TRAIN_TIMESTEPS - 1;
  const stride = last / steps; // multiplied as NumPy's linspace does: 15 · (999 / 30) is a little less than 499.5
  return Int32Array.from({ length: steps }, (_, i) => (i === 0 ? last : roundHalfEven((steps - i) * stride)));
}

/**
 * Ratios of noise to data, sqrt((1 - ᾱ) / ᾱ), at the solver's timesteps, and 0 at the end.
 *
 * @returns (steps + 1) float32.
 */
export function dpmSigmas(steps: number): Float32Array {
  const { alphasCumprod } = noiseSchedule();
  const sigmas = Array.from(dpmTimesteps(steps), (t) => {
    const abar = alphasCumprod[t] ?? NaN;
    return Math.sqrt(f32(f32(1 - abar) / abar));
  });
  return Float32Array.from([...sigmas, 0]);
}

/**
 * DPM-Solver++ of second order with multiple steps (2M), from the time of (α, s) to that of (α', s'):
 *
 *     x₀ = (x - s ε) / α                                 α² + s² = 1,  λ = ln α - ln s
 *     x' = (s'/s) x - α' (e⁻ʰ - 1) (x₀ + D₁/2)           h = λ' - λ
 *     D₁ = (x₀ - x₀ of the step before) / r              r = h₀ / h,  h₀ of the step before
 *
 * The first step and the last are of first order: D₁ = 0. All coefficients are computed in float32, one operation at a
 * time, as the reference's scheduler does.
 *
 * Source: Lu et al. 2022, arXiv:2211.01095, algorithm 2; spec section 11 (midpoint, linear spacing, final sigma zero).
 *
 * @param steps At least 1.
 * @throws {RangeError} If there are no steps, or more than there are timesteps.
 */
export function dpmSolver(steps: number): SolverPlan {
  assertSteps("dpm", steps);
  const timesteps = dpmTimesteps(steps);
  const points = Array.from(dpmSigmas(steps), (sigma) => {
    const alpha = f32(1 / f32(Math.sqrt(f32(f32(sigma * sigma) + 1))));
    const s = f32(sigma * alpha);
    return { alpha, s, lambda: f32(f32(Math.log(alpha)) - f32(Math.log(s))) };
  });
  const list = Array.from({ length: steps }, (_, i): SolverStep => {
    const [from, to] = [points[i] as Point, points[i + 1] as Point];
    const before = points[i - 1];
    const h = f32(to.lambda - from.lambda);
    const shrink = f32(to.alpha * f32(f32(Math.exp(-h)) - 1)); // α' (e⁻ʰ - 1)
    const step = {
      timestep: timesteps[i] ?? 0,
      sigma: from.s, // x₀ = (x - s ε) / α
      alpha: from.alpha,
      keep: f32(to.s / from.s), // x' = (s'/s) x ...
      noise: 0,
    };
    // x' - (s'/s) x = -α' (e⁻ʰ - 1) x₀
    if (before === undefined || i === steps - 1) return { ...step, data: -shrink, previousData: 0 };
    const ratio = f32(f32(from.lambda - before.lambda) / h); // r = h₀ / h
    const slope = f32(f32(0.5 * shrink) * f32(1 / ratio)); // α' (e⁻ʰ - 1) / (2 r)
    // x' - (s'/s) x = -α' (e⁻ʰ - 1) x₀ - slope · (x₀ - previous x₀)
    return { ...step, data: f32(-shrink - slope), previousData: slope };
  });
  return { name: `dpm-solver++(2M), ${steps} steps`, steps: list, clip: false };
}

type Point = { readonly alpha: number; readonly s: number; readonly lambda: number };

/** @throws {RangeError} If a number of steps makes no sense. */
export function assertSteps(solver: string, steps: number): void {
  if (!Number.isInteger(steps) || steps < 1 || steps > TRAIN_TIMESTEPS)
    throw new RangeError(
      `Cannot plan ${solver} with ${steps} steps, expected a whole number from 1 to ${TRAIN_TIMESTEPS}`,
    );
}
