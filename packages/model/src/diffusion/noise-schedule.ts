/** Timesteps that noise is added at: 0 (least) to 999 (most). */
export const TRAIN_TIMESTEPS = 1000;

/** A noise schedule: how much of the data is left at each timestep. */
export interface NoiseSchedule {
  /** (1000) float32, β_t. */
  readonly betas: Float32Array;
  /** (1000) float32, ᾱ_t: the share of the data's variance that is left. */
  readonly alphasCumprod: Float32Array;
}

/**
 * The linear schedule from 0.0001 to 0.02, to the last bit: β counts from both ends as `torch.linspace` does, ᾱ is a
 * running product in double precision whose every value is rounded to float32.
 *
 * Source: Ho et al. 2020, arXiv:2006.11239; spec section 11.
 */
export function noiseSchedule(): NoiseSchedule {
  const n = TRAIN_TIMESTEPS;
  const [first, last] = [Math.fround(1e-4), Math.fround(0.02)];
  const step = Math.fround(Math.fround(last - first) / Math.fround(n - 1));
  const betas = Float32Array.from({ length: n }, (_, i) => (i < n / 2 ? first + step * i : last - step * (n - 1 - i)));
  let product = 1;
  const alphasCumprod = betas.map((beta) => (product *= Math.fround(1 - beta)));
  return { betas, alphasCumprod };
}

/**
 * Factors of the forward process, x_t = signal_t · x_0 + noise_t · ε.
 *
 * @returns (1000) float32 each: sqrt(ᾱ) and sqrt(1 - ᾱ), in float32 throughout.
 */
export function forwardFactors({ alphasCumprod }: NoiseSchedule): {
  readonly signal: Float32Array;
  readonly noise: Float32Array;
} {
  return { signal: alphasCumprod.map(Math.sqrt), noise: alphasCumprod.map((a) => Math.sqrt(Math.fround(1 - a))) };
}
