import { addProduct, packColumns } from "./products.js";
import { padded, type Matrix, type Workspace } from "./workspace.js";

/** Rows that are reduced before the rest of the matrix is brought up to date. */
export const TRIDIAGONAL_BLOCK = 32;

/** A symmetric tridiagonal matrix: `beside[i]` is at row i, column i - 1. */
export interface Tridiagonal {
  readonly diagonal: Float64Array;
  readonly beside: Float64Array;
}

/**
 * The tridiagonal matrix that has the eigenvalues of a symmetric one: Householder reflections from the last row
 * upwards,
 *
 *     A -> H A H = A - v wᵀ - w vᵀ,   H = 1 - tau v vᵀ,   p = tau A v,   w = p - tau/2 (p·v) v
 *
 * in blocks, so that half of the work is a product of matrices.
 *
 * Source: Dongarra, Hammarling & Sorensen 1989, "Block reduction of matrices to condensed forms"; LAPACK's dlatrd with
 * "U".
 *
 * @param a Of n rows; the lower triangle and the four by four elements around the diagonal are read. Overwritten.
 * @param reflections Two scratch matrices of 2 · TRIDIAGONAL_BLOCK rows and a's columns, zero.
 * @param packed Two scratch matrices of at least as many elements.
 */
export function tridiagonalize(
  { kernels }: Workspace,
  a: Matrix,
  n: number,
  reflections: readonly [Matrix, Matrix],
  packed: readonly [Matrix, Matrix],
): Tridiagonal {
  const { data, columns: stride } = a;
  const rowBytes = stride * 8;
  const [diagonal, beside] = [new Float64Array(n), new Float64Array(n)];
  // The rows of [V; W] and of [W; V]: their product is what the pending reflections take from A.
  const [vw, wv] = reflections;
  const row = ({ data }: Matrix, i: number): Float64Array => data.subarray(i * stride, (i + 1) * stride);
  const address = ({ at }: Matrix, i: number): number => at + i * rowBytes;

  let rest = n;
  while (rest > 0) {
    const steps = Math.min(TRIDIAGONAL_BLOCK, rest);
    vw.data.fill(0);
    wv.data.fill(0);
    for (let t = 0; t < steps; t++) {
      const i = rest - 1 - t;
      const quads = padded(i + 1) / 4;
      for (let s = 0; s < t; s++) {
        const [v, w] = [row(vw, s), row(wv, s)];
        kernels.axpy(-v[i]!, address(wv, s), address(a, i), quads);
        kernels.axpy(-w[i]!, address(vw, s), address(a, i), quads);
      }
      const x = data.subarray(i * stride, i * stride + i);
      diagonal[i] = data[i * stride + i]!;
      if (i === 0) break;
      const [v, w] = [row(vw, t), row(wv, t)];
      const { tau, beta } = reflector(x, v);
      beside[i] = beta;
      if (tau === 0) continue;
      kernels.symmetric(a.at, rowBytes, address(vw, t), address(wv, t), padded(i) / 4);
      for (let s = 0; s < t; s++) {
        const [alongV, alongW] = [vw, wv].map((of) => kernels.dot(address(of, s), address(vw, t), quads)) as Pair;
        kernels.axpy(-alongW, address(vw, s), address(wv, t), quads);
        kernels.axpy(-alongV, address(wv, s), address(wv, t), quads);
      }
      const along = kernels.dot(address(wv, t), address(vw, t), quads);
      for (let j = 0; j < i; j++) w[j] = tau * (w[j]! - (tau / 2) * along * v[j]!);
    }
    rest -= steps;
    if (rest === 0) break;
    for (let s = 0; s < steps; s++) {
      row(vw, steps + s).set(row(wv, s));
      row(wv, steps + s).set(row(vw, s));
    }
    const columns = padded(rest);
    const left = packColumns(vw, 0, 2 * steps, packed[0], columns);
    const right = packColumns(wv, 0, 2 * steps, packed[1], columns);
    addProduct(kernels, a, left, right, { alpha: -1, lower: true });
  }
  return { diagonal, beside };
}

type Pair = [number, number];

/**
 * The reflection that takes x to beta times the last unit vector. `v` receives its vector, 1 at the last place.
 *
 * @returns tau, 0 if x is there already, and beta.
 */
function reflector(x: Float64Array, v: Float64Array): { tau: number; beta: number } {
  const last = x.length - 1;
  const alpha = x[last]!;
  let largest = 0;
  for (let j = 0; j < last; j++) largest = Math.max(largest, Math.abs(x[j]!));
  if (largest === 0) return { tau: 0, beta: alpha };
  // Scaled, so that no square overflows or vanishes.
  const scale = Math.max(largest, Math.abs(alpha));
  let squares = 0;
  for (let j = 0; j <= last; j++) squares += (x[j]! / scale) ** 2;
  const beta = (alpha > 0 ? -1 : 1) * scale * Math.sqrt(squares);
  for (let j = 0; j < last; j++) v[j] = x[j]! / (alpha - beta);
  v[last] = 1;
  return { tau: (beta - alpha) / beta, beta };
}
