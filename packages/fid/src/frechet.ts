import { notFinite } from "@madformer/artifacts";
import { choleskyFactor, CHOLESKY_BLOCK, type CholeskyFactor } from "./linalg/cholesky.js";
import { eigenvaluesOf } from "./linalg/eigenvalues.js";
import { addProduct, CHUNK, PRODUCT_BLOCK, packColumns, type Packed } from "./linalg/products.js";
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
 * The last trace is the sum of the singular values of L1ᵀ L2, for any factors L1 L1ᵀ = S1 and L2 L2ᵀ = S2. They are the
 * roots of the eigenvalues of
 *
 *     G = L1ᵀ S2 L1
 *
 * Eigenvalues are usually found with errors of the largest one's size, and the roots of small ones are off by 1e-8 of
 * it. Here L1 is Cholesky's factor with pivoting, whose columns become smaller from first to last, so that an element
 * of G is as exact as it is small. That survives the reduction to tridiagonal form and the QL iterations if they begin
 * with what is large: both begin at the end, and G is reversed. Singular covariances (fewer samples than dimensions)
 * make L1 narrower and need no correction: the one of lower rank is S1, or else the one whose last pivot is smaller.
 *
 * Source: Heusel et al. 2017, arXiv:1706.08500, section 3; Dowson & Landau 1982. Reference code: pytorch-fid,
 * `fid_score.py` calculate_frechet_distance (spec section 15). Departs from it: the reference takes the root of the
 * product, which is not symmetric, by scipy's sqrtm; where that fails on singular covariances it adds 1e-6 to both
 * diagonals, and it drops imaginary parts up to 1e-3. Neither can occur here. Both agree to rounding for regular
 * covariances, to about 1e-6 of the distance for singular ones. Source of the order: Martin, Reinsch & Wilkinson 1968,
 * "Householder's tridiagonalization of a symmetric matrix". Limits: many variances that are equal to the last bit, and
 * some 1e7 times smaller, cost digits: then 1e-8 of the trace.
 *
 * @returns Zero or more, except for rounding: equal arguments can give -1e-13 times the trace.
 * @throws {RangeError} If the sizes differ, a number or the distance is not finite, or a sigma is not positive
 *   semidefinite.
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
  const width = padded(n);
  const blocks = 4 * 2 * TRIDIAGONAL_BLOCK * width;
  const workspace = new Workspace(3 * width * width + 2 * width * CHUNK + 4 * (CHOLESKY_BLOCK + CHUNK) + blocks + 1024);
  const buffers = [workspace.matrix(n, n), workspace.matrix(n, n), workspace.matrix(n, n)] as const;
  const packed = [workspace.matrix(n + 4, CHUNK), workspace.matrix(n + 4, CHUNK)] as const;

  const [one, two] = [s1, s2].map((sigma, i): CholeskyFactor => {
    const buffer = buffers[i]!;
    for (let row = 0; row < n; row++) buffer.data.set(sigma.subarray(row * n, (row + 1) * n), row * width);
    const factor = choleskyFactor(workspace, buffer, n, packed[0]);
    let largest = 0;
    for (let row = 0; row < n; row++) largest = Math.max(largest, sigma[row * n + row]!);
    if (factor.remainder < -NEGATIVE_SHARE * largest)
      throw new RangeError(
        `Cannot compare statistics: sigma of ${i === 0 ? "a" : "b"} is not positive semidefinite: a variance of ${factor.remainder} is left`,
      );
    return factor;
  }) as [CholeskyFactor, CholeskyFactor];
  const takesOne = one.rank < two.rank || (one.rank === two.rank && lastPivot(one) <= lastPivot(two));
  const [factored, other, free] = takesOne ? [one, s2, buffers[1]] : [two, s1, buffers[0]];
  const { rank } = factored;

  const squares = reversedCongruence(workspace, factored, other, n, free, buffers[2], packed);
  const reflections = [0, 1].map(() => workspace.matrix(2 * TRIDIAGONAL_BLOCK, n)) as [Matrix, Matrix];
  const tridiagonal = tridiagonalize(workspace, squares, rank, reflections, packed);
  return eigenvaluesOf(tridiagonal).reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
}

/** The last pivot as a share of the first. */
function lastPivot({ factor: { data, columns: stride }, rank }: CholeskyFactor): number {
  const last = Math.max(rank - 1, 0);
  return data[last * stride + last]! / data[0]!;
}

/**
 * Lᵀ S L in the lower triangle of a matrix, its last row and column first, by S = T + Tᵀ with T lower triangular: M =
 * Lᵀ (T L), then M + Mᵀ. Both products are of triangles, three fifths of the work of Lᵀ (S L).
 *
 * @param factored Its factor is overwritten.
 * @param s (n, n), in its own order of rows and columns.
 * @param between Scratch.
 * @param to Zero.
 */
function reversedCongruence(
  { kernels }: Workspace,
  { factor, rank, order }: CholeskyFactor,
  s: Float64Array,
  n: number,
  between: Matrix,
  to: Matrix,
  packed: readonly [Matrix, Matrix],
): Matrix {
  const columns = padded(rank);
  for (let row = 0; row < factor.rows; row++)
    factor.data.subarray(row * factor.columns, row * factor.columns + rank).reverse();
  /** The first row of the reversed factor that is not zero in a block of columns from this one on. */
  const firstRow = (column: number): number => rank - column - PRODUCT_BLOCK;
  between.data.fill(0);
  // T L: element (i, j) is a sum over k from the first row of column j to i.
  for (const [first, k] of chunksOf(factor)) {
    const left = packLower(s, n, order, first, k, packed[0]);
    const right = packColumns(factor, first, k, packed[1], columns);
    const zeros = (row: number, column: number): number =>
      row + PRODUCT_BLOCK <= first ? k : firstRow(column) - first;
    addProduct(kernels, between, left, right, { zeros });
  }
  // Lᵀ (T L): element (i, j) is a sum over k from the first row of both columns.
  for (const [first, k] of chunksOf(factor)) {
    const left = packColumns(factor, first, k, packed[0], columns);
    const right = packColumns(between, first, k, packed[1], columns);
    addProduct(kernels, to, left, right, { zeros: (row, column) => firstRow(Math.min(row, column)) - first });
  }
  const { data, columns: stride } = to;
  for (let column = 0; column < rank; column += PRODUCT_BLOCK)
    for (let i = column; i < rank; i++)
      for (let j = column; j < Math.min(column + PRODUCT_BLOCK, i + 1); j++)
        data[i * stride + j] = data[i * stride + j]! + data[j * stride + i]!;
  // The elements around the diagonal are read on both sides.
  for (let i = 0; i < rank; i++)
    for (let j = i + 1; j < Math.min(rank, i + 4); j++) data[i * stride + j] = data[j * stride + i]!;
  return to;
}

/** Where chunks of a matrix' rows begin, and their sizes. */
function chunksOf({ rows }: Matrix): (readonly [first: number, k: number])[] {
  return Array.from({ length: Math.ceil(rows / CHUNK) }, (_, i) => [i * CHUNK, Math.min(CHUNK, rows - i * CHUNK)]);
}

/**
 * Packs columns [first, first + k) of T, as `packRows` does: S with rows and columns in another order, nothing of what
 * is above the diagonal and half of what is on it.
 */
function packLower(s: Float64Array, n: number, order: Int32Array, first: number, k: number, to: Matrix): Packed {
  const panels = padded(n) / 4;
  to.data.fill(0, 0, panels * 4 * k);
  for (let panel = Math.floor(first / 4); panel < panels; panel++) {
    const start = panel * 4 * k;
    // Rows past the end repeat the last: nothing looks at what becomes of them.
    const [a, b, c, d] = [0, 1, 2, 3].map((row) => order[Math.min(4 * panel + row, n - 1)]! * n) as Four;
    const below = Math.min(first + k, 4 * panel); // columns that are left of the diagonal in all four rows
    let at = start;
    for (let j = first; j < below; j++, at += 4) {
      const column = order[j]!;
      to.data[at] = s[a + column]!;
      to.data[at + 1] = s[b + column]!;
      to.data[at + 2] = s[c + column]!;
      to.data[at + 3] = s[d + column]!;
    }
    for (let j = Math.max(first, below); j < Math.min(first + k, 4 * panel + 4, n); j++)
      for (let i = j; i < Math.min(4 * panel + 4, n); i++)
        to.data[start + 4 * (j - first) + (i & 3)] = s[order[i]! * n + order[j]!]! * (i === j ? 0.5 : 1);
  }
  return { at: to.at, k, panels };
}

type Four = [number, number, number, number];
