/** Kernels: weight by distance from the middle, in pixels of the larger of the two images, and where it ends. */
const KERNELS = {
  bilinear: { support: 1, weight: (x: number): number => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic },
  lanczos: { support: 3, weight: (x: number): number => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
} as const;
export type PilKernel = keyof typeof KERNELS;

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** Keys' cubic with a = -1/2. */
function cubic(x: number): number {
  const [d, a] = [Math.abs(x), -0.5];
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

/** What one output pixel is made of: `weights`, which add up to one, of the pixels from `first` on. */
export interface Taps {
  readonly first: number;
  readonly weights: Float64Array;
}

/**
 * What each of `to` pixels is made of, out of `from`.
 *
 * Source: Pillow, `Resample.c` precompute_coeffs.
 */
export function tapsOf(from: number, to: number, kernel: PilKernel): Taps[] {
  const { support, weight: weightAt } = KERNELS[kernel];
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support * reach + 0.5), 0);
    const end = Math.min(Math.trunc(center + support * reach + 0.5), from);
    const weights = Float64Array.from({ length: end - first }, (_, x) =>
      weightAt((x + first - center + 0.5) * (1 / reach)),
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}
