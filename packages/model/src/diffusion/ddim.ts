import { assertSteps } from "./dpm-solver.js";
import { noiseSchedule, TRAIN_TIMESTEPS } from "./noise-schedule.js";
import type { SolverPlan, SolverStep } from "./solver.js";

const f32 = Math.fround;

/** Timesteps of DDIM with `steps` steps, "leading" spacing: multiples of floor(1000 / steps), downwards to 0. */
export function ddimTimesteps(steps: number): Int32Array {
  const stride = Math.floor(TRAIN_TIMESTEPS / steps);
  return Int32Array.from({ length: steps }, (_, i) => (steps - 1 - i) * stride);
}

/**
 * DDIM without noise of its own (eta 0):
 *
 *     x₀ = (x - sqrt(1 - ᾱ) ε) / sqrt(ᾱ)        x' = sqrt(ᾱ') x₀ + sqrt(1 - ᾱ') ε
 *
 * with ᾱ' of the timestep before, and 1 after the last. The noise ε is not derived anew from a clipped x₀.
 *
 * Source: Song et al. 2020, arXiv:2010.02502, eq. 12; spec section 11.
 *
 * @param clip Clip x₀ to [-1, 1], as the reference's scheduler does unless told otherwise.
 * @throws {RangeError} If there are no steps, or more than there are timesteps.
 */
export function ddim(steps: number, { clip = true }: { readonly clip?: boolean } = {}): SolverPlan {
  assertSteps("ddim", steps);
  const { alphasCumprod } = noiseSchedule();
  const stride = Math.floor(TRAIN_TIMESTEPS / steps);
  const list = Array.from(ddimTimesteps(steps), (timestep): SolverStep => {
    const abar = alphasCumprod[timestep] ?? NaN;
    const next = timestep - stride < 0 ? 1 : (alphasCumprod[timestep - stride] ?? NaN);
    return {
      timestep,
      sigma: f32(Math.sqrt(f32(1 - abar))), // x₀ = (x - sqrt(1 - ᾱ) ε) / sqrt(ᾱ)
      alpha: f32(Math.sqrt(abar)),
      keep: 0,
      data: f32(Math.sqrt(next)), // x' = sqrt(ᾱ') x₀ + sqrt(1 - ᾱ') ε
      previousData: 0,
      noise: f32(Math.sqrt(f32(1 - next))),
    };
  });
  return { name: `ddim${clip ? "" : " without clipping"}, ${steps} steps`, steps: list, clip };
}
