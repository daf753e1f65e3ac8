import type { Tridiagonal } from "./tridiagonal.js";

/** Iterations that one eigenvalue may take; two are usual. */
const MAX_ITERATIONS = 60;

/**
 * Eigenvalues of a symmetric tridiagonal matrix by QL iterations with implicit shifts, in no particular order.
 *
 * Source: Dubrulle, Martin & Wilkinson 1968, "The implicit QL algorithm" (EISPACK's imtql1).
 *
 * @throws {RangeError} If an element is not finite.
 */
export function eigenvaluesOf({ diagonal, beside }: Tridiagonal): Float64Array {
  const n = diagonal.length;
  const d = diagonal.slice();
  const e = new Float64Array(n); // e[i] between i and i + 1
  e.set(beside.subarray(1));
  for (let low = 0; low < n; low++) {
    for (let iteration = 0; ; iteration++) {
      let high = low;
      while (high < n - 1 && Math.abs(e[high]!) > Number.EPSILON * (Math.abs(d[high]!) + Math.abs(d[high + 1]!)))
        high++;
      if (high === low) break;
      if (iteration === MAX_ITERATIONS) throw new RangeError("Cannot find the eigenvalues: the matrix is not finite");
      sweep(d, e, low, high);
    }
  }
  return d;
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
