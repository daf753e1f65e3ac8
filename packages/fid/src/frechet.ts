import { notFinite } from "@madformer/artifacts";
import { choleskyFactor, CHOLESKY_BLOCK, type CholeskyFactor } from "./linalg/cholesky.js";
import { eigenvaluesOf } from "./linalg/eigenvalues.js";
import { addProduct, CHUNK, packColumns, type Packed } from "./linalg/products.js";
import { tridiagonalize, TRIDIAGONAL_BLOCK } from "./linalg/tridiagonal.js";
import { padded, Workspace, type Matrix } from "./linalg/workspace.js";

/** Mean and covariance of features. */
export interface Gaussian {
  /** (dims) */
  readonly mu: Float64Array;
  /** (dims, dims), symmetric, row-major */
  readonly sigma: Float64Array;
}

/** How far below zero a covariance may reach, as a fraction of its largest variance, before it is refused. */
const NEGATIVE_SHARE = 1e-4;

/**
 * The squared Fréchet distance between two Gaussians:
 *
 *     |mu1 - mu2|² + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)
 *
 * The last trace is the sum of the roots of the eigenvalues of S1 S2. These are also the eigenvalues of Lᵀ S2 L for any
 * L Lᵀ = S1, which is symmetric: a Cholesky factor with pivoting, two products, a reduction to tridiagonal form. Singular
 * covariances (fewer samples than dimensions) make the factor narrower and need no correction; the one of lower rank is
 * factored, so that no eigenvalue is zero but for rounding.
 *
 * Source: Heusel et al. 2017, arXiv:1706.08500, section 3; Dowson & Landau 1982. Reference code: pytorch-fid,
 * `fid_score.py` calculate_frechet_distance (spec section 15).
 * Departs from it: the reference takes the root of the product, which is not symmetric, by scipy's sqrtm; where that fails on
 * singular covariances it adds 1e-6 to both diagonals, and it drops imaginary parts up to 1e-3. Neither can occur here. Both
 * agree to rounding for regular covariances, to about 1e-6 of the distance for singular ones.
 *
 * @returns Zero or more, but for rounding: equal arguments can give -1e-13 times the trace.
 * @throws {RangeError} If the sizes differ, a number or the distance is not finite, or a sigma is not positive semidefinite.
 */
export function frechetDistance(a: Gaussian, b: Gaussian): number {
  const n = a.mu.length;
  for (const [name, { mu, sigma }] of Object.entries({ a, b })) {
    if (mu.length !== n || sigma.length !== n * n)
      throw new RangeError(
        `Cannot compare statistics: ${name} has ${mu.length} means and ${sigma.length} covariances, expected ${n} and ${n * n}`,
      );
    const bad = notFinite(mu) ?? notFinite(sigma);
    if (bad) throw new RangeError(`Cannot compare statistics: ${name} has a number that is not finite: ${bad}`);
  }
  let distance = 0;
  for (let i = 0; i < n; i++) distance += (a.mu[i]! - b.mu[i]!) ** 2 + a.sigma[i * n + i]! + b.sigma[i * n + i]!;
  distance -= 2 * traceOfRoot(a.sigma, b.sigma, n);
  if (!Number.isFinite(distance))
    throw new RangeError(`Cannot compare statistics: their distance is ${distance}, expected a finite number`);
  return distance;
}

/** tr (S1 S2)^(1/2) */
function traceOfRoot(s1: Float64Array, s2: Float64Array, n: number): number {
  const N = padded(n);
  const blocks = 4 * 2 * TRIDIAGONAL_BLOCK * N;
  const workspace = new Workspace(3 * N * N + 2 * N * CHUNK + 4 * (CHOLESKY_BLOCK + CHUNK) + blocks + 1024);
  const buffers = [workspace.matrix(n, n), workspace.matrix(n, n), workspace.matrix(n, n)] as const;
  const packed = [workspace.matrix(n + 4, CHUNK), workspace.matrix(n + 4, CHUNK)] as const;

  const [one, two] = [s1, s2].map((sigma, i): CholeskyFactor => {
    const buffer = buffers[i]!;
    for (let row = 0; row < n; row++) buffer.data.set(sigma.subarray(row * n, (row + 1) * n), row * N);
    const factor = choleskyFactor(workspace, buffer, n, packed[0]);
    let largest = 0;
    for (let row = 0; row < n; row++) largest = Math.max(largest, sigma[row * n + row]!);
    if (factor.remainder < -NEGATIVE_SHARE * largest)
      throw new RangeError(
        `Cannot compare statistics: sigma of ${i === 0 ? "a" : "b"} is not positive semidefinite: a variance of ${factor.remainder} is left`,
      );
    return factor;
  }) as [CholeskyFactor, CholeskyFactor];
  const [factored, other, free] = one.rank <= two.rank ? [one, s2, buffers[1]] : [two, s1, buffers[0]];
  const { rank } = factored;

  const product = congruence(workspace, factored, other, n, free, buffers[2], packed);
  const reflections = [0, 1].map(() => workspace.matrix(2 * TRIDIAGONAL_BLOCK, n)) as [Matrix, Matrix];
  const tridiagonal = tridiagonalize(workspace, product, rank, reflections, packed);
  return eigenvaluesOf(tridiagonal).reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
}

/**
 * Lᵀ S L in the lower triangle of a matrix.
 *
 * @param s (n, n), in its own order of rows and columns.
 * @param between Scratch.
 * @param to Zero.
 */
function congruence(
  { kernels }: Workspace,
  { factor, rank, order }: CholeskyFactor,
  s: Float64Array,
  n: number,
  between: Matrix,
  to: Matrix,
  packed: readonly [Matrix, Matrix],
): Matrix {
  const columns = padded(rank);
  between.data.fill(0);
  const chunks = Array.from({ length: Math.ceil(factor.rows / CHUNK) }, (_, i) => {
    const first = i * CHUNK;
    return [first, Math.min(CHUNK, factor.rows - first)] as const;
  });
  // S L: element (i, j) is a sum over k >= j, as L is zero above its diagonal.
  for (const [first, k] of chunks) {
    const left = packReordered(s, n, order, first, k, packed[0]);
    const right = packColumns(factor, first, k, packed[1], columns);
    addProduct(kernels, between, left, right, { zeros: (_, column) => column - first });
  }
  // Lᵀ (S L): element (i, j) is a sum over k >= i.
  for (const [first, k] of chunks) {
    const left = packColumns(factor, first, k, packed[0], columns);
    const right = packColumns(between, first, k, packed[1], columns);
    addProduct(kernels, to, left, right, { lower: true, zeros: (row) => row - first });
  }
  return to;
}

/** Packs columns [first, first + k) of S with rows and columns in another order, as `packRows` does. */
function packReordered(s: Float64Array, n: number, order: Int32Array, first: number, k: number, to: Matrix): Packed {
  const panels = padded(n) / 4;
  const columns = order.subarray(first, Math.min(first + k, n));
  to.data.fill(0, 0, panels * 4 * k);
  for (let panel = 0; panel < panels; panel++) {
    // Rows past the end repeat the last: nothing looks at what becomes of them.
    const [a, b, c, d] = [0, 1, 2, 3].map((row) => order[Math.min(4 * panel + row, n - 1)]! * n) as Four;
    let at = panel * 4 * k;
    for (const column of columns) {
      to.data[at] = s[a + column]!;
      to.data[at + 1] = s[b + column]!;
      to.data[at + 2] = s[c + column]!;
      to.data[at + 3] = s[d + column]!;
      at += 4;
    }
  }
  return { at: to.at, k, panels };
}

type Four = [number, number, number, number];
