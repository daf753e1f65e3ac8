import { addProduct, packRows } from "./products.js";
import type { Matrix, Workspace } from "./workspace.js";

/** A factor of a positive semidefinite matrix S: with rows and columns in the order `order`, S = L · Lᵀ. */
export interface CholeskyFactor {
  /** (n, rank) in the first columns, lower trapezoidal; everything else is zero. */
  readonly factor: Matrix;
  readonly rank: number;
  /** `order[i]` is the row of S that row i of the factor belongs to. */
  readonly order: Int32Array;
  /** The smallest element that was left on the diagonal: negative beyond rounding if S is not positive semidefinite. */
  readonly remainder: number;
}

/** Columns that are factored before the rest of the matrix is brought up to date. */
export const CHOLESKY_BLOCK = 64;

/**
 * Cholesky factor with diagonal pivoting, right for singular matrices too: it ends when what is left on the diagonal is
 * rounding, not above n · 2⁻⁵² times the largest element.
 *
 * Source: Higham 1990, "Analysis of the Cholesky decomposition of a semi-definite matrix", section 1; blocks as in
 * LAPACK working note 161 (Lucas 2004).
 *
 * @param s Of n rows; the lower triangle is read. Overwritten by the factor.
 * @param scratch At least as many elements as n by CHOLESKY_BLOCK, padded.
 */
export function choleskyFactor({ kernels }: Workspace, s: Matrix, n: number, scratch: Matrix): CholeskyFactor {
  const { data, columns: stride, at } = s;
  const order = Int32Array.from({ length: n }, (_, i) => i);
  // Packed columns of a block, the row of the pivot, and what is left on the diagonal.
  const rowBytes = stride * 8;
  const pivotRow = scratch.data.subarray(0, CHOLESKY_BLOCK + 2);
  const diagonal = scratch.data.subarray(CHOLESKY_BLOCK + 2, CHOLESKY_BLOCK + 2 + n);
  const addressOf = (part: Float64Array): number => part.byteOffset;
  const largestAt = (from: number): number => {
    let best = from;
    for (let i = from + 1; i < n; i++) if (diagonal[i]! > diagonal[best]!) best = i;
    return best;
  };

  let threshold: number | undefined;
  let rank = n;
  for (let start = 0; start < n && rank === n; start += CHOLESKY_BLOCK) {
    const end = Math.min(start + CHOLESKY_BLOCK, n);
    for (let i = start; i < n; i++) diagonal[i] = data[i * stride + i]!;
    for (let j = start; j < end; j++) {
      const pivot = largestAt(j);
      threshold ??= diagonal[pivot]! * n * Number.EPSILON;
      if (!(diagonal[pivot]! > threshold)) {
        rank = j;
        break;
      }
      exchange(s, j, pivot, n);
      swap(diagonal, j, pivot);
      swap(order, j, pivot);
      const root = Math.sqrt(diagonal[j]!);
      data[j * stride + j] = root;
      const columns = j - start;
      pivotRow.fill(0);
      pivotRow.set(data.subarray(j * stride + start, j * stride + j));
      kernels.choleskyColumn(
        at + (j + 1) * rowBytes + start * 8,
        n - j - 1,
        rowBytes,
        addressOf(pivotRow),
        Math.ceil(columns / 2),
        columns * 8,
        1 / root,
        addressOf(diagonal) + (j + 1) * 8,
      );
    }
    if (rank < n || end === n) break;
    const panel = packRows(s, end, start, CHOLESKY_BLOCK, scratch); // overwrites `diagonal`, which is made anew
    addProduct(kernels, s, panel, panel, { alpha: -1, corner: end, lower: true });
  }
  const left = rank < n ? diagonal.subarray(rank).reduce((least, x) => Math.min(least, x), 0) : 0;
  for (let i = 0; i < s.rows; i++) data.fill(0, i * stride + Math.min(i + 1, rank), (i + 1) * stride);
  return { factor: s, rank, order, remainder: left };
}

/** Exchanges rows and columns i < j of a symmetric matrix of n rows, in its lower triangle alone. */
function exchange({ data, columns: stride }: Matrix, i: number, j: number, n: number): void {
  if (i === j) return;
  const [rowI, rowJ] = [i * stride, j * stride];
  for (let k = 0; k < i; k++) swap(data, rowI + k, rowJ + k);
  for (let k = i + 1; k < j; k++) swap(data, k * stride + i, rowJ + k);
  for (let k = j + 1; k < n; k++) swap(data, k * stride + i, k * stride + j);
  swap(data, rowI + i, rowJ + j);
}

function swap(array: Float64Array | Int32Array, i: number, j: number): void {
  const before = array[i]!;
  array[i] = array[j]!;
  array[j] = before;
}
