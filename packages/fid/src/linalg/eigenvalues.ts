import type { Tridiagonal } from "./tridiagonal.js";

/**
 * Eigenvalues of a symmetric tridiagonal matrix by QL iterations with implicit shifts, in no particular order.
 *
 * Source: Dubrulle, Martin & Wilkinson 1968, "The implicit QL algorithm" (EISPACK's imtql1).
 *
 * @throws {RangeError} If an element is not finite.
 */
export function eigenvaluesOf({ diagonal, beside }: Tridiagonal): Float64Array {
  const n = diagonal.length;
  let scale = 0;
  for (const x of [diagonal, beside]) for (const value of x) scale = Math.max(scale, Math.abs(value)); // NaN stays
  if (scale === 0) return new Float64Array(n);
  if (!Number.isFinite(scale)) throw new RangeError("Cannot find eigenvalues: an element of the matrix is not finite");
  // Squares of elements neither overflow nor vanish if the largest is one.
  const d = diagonal.map((value) => value / scale);
  const e = new Float64Array(n); // e[i] stands between i and i + 1
  for (let i = 1; i < n; i++) e[i - 1] = beside[i]! / scale;
  for (let low = 0; low < n; low++)
    for (let high = endOfBlock(d, e, low); high > low; high = endOfBlock(d, e, low)) sweep(d, e, low, high);
  return d.map((value) => value * scale);
}

/** The last row that hangs together with row `low`: behind it is zero, except for rounding. */
function endOfBlock(d: Float64Array, e: Float64Array, low: number): number {
  let i = low;
  while (i < d.length - 1 && Math.abs(e[i]!) > Number.EPSILON * (Math.abs(d[i]!) + Math.abs(d[i + 1]!))) i++;
  return i;
}

/** One QL step on rows [low, high], with the shift of Wilkinson. */
function sweep(d: Float64Array, e: Float64Array, low: number, high: number): void {
  const slope = (d[low + 1]! - d[low]!) / (2 * e[low]!);
  const root = Math.sqrt(slope * slope + 1);
  let g = d[high]! - d[low]! + e[low]! / (slope + (slope < 0 ? -root : root));
  let [sine, cosine, p] = [1, 1, 0];
  for (let i = high - 1; i >= low; i--) {
    const f = sine * e[i]!;
    const b = cosine * e[i]!;
    const r = Math.sqrt(f * f + g * g);
    e[i + 1] = r;
    if (r === 0) {
      // The matrix falls apart here.
      d[i + 1] = d[i + 1]! - p;
      e[high] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    g = d[i + 1]! - p;
    const t = (d[i]! - g) * sine + 2 * cosine * b;
    p = sine * t;
    d[i + 1] = g + p;
    g = cosine * t - b;
  }
  d[low] = d[low]! - p;
  e[low] = g;
  e[high] = 0;
}
