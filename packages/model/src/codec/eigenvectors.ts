/** Eigenvalues of a symmetric matrix, from the largest on, and their vectors: row i belongs to value i. */
export interface Eigen {
  readonly values: Float64Array;
  /** (n, n) row-major, orthonormal rows. */
  readonly vectors: Float64Array;
  /** Rounds over all pairs of rows that it took. */
  readonly sweeps: number;
}

/** Sweeps after which even bad matrices have long converged: each squares what is left, once it is small. */
const MAX_SWEEPS = 60;

/**
 * Eigenvectors of a symmetric matrix without negative eigenvalues (except for rounding), such as a covariance, by
 * one-sided Jacobi rotations: pairs of rows of V A are rotated until all rows are orthogonal. Then A = Vᵀ diag(λ) V, as
 * A's singular vectors are its eigenvectors. All steps run along rows, and V is orthogonal whatever A's rank.
 *
 * A vector's sign is fixed: of its elements that are at least half as large as the largest, the first is positive. (The
 * largest itself may be tied with its negative.)
 *
 * Source: Hestenes 1958, "Inversion of matrices by biorthogonalization and related results".
 *
 * @param matrix (n, n) row-major. Borrowed.
 * @throws {RangeError} If it is not square, or an element is not finite.
 */
export function eigenvectors(matrix: Float64Array, n: number): Eigen {
  if (matrix.length !== n * n) throw new RangeError(`The matrix has ${matrix.length} elements, expected ${n} x ${n}`);
  if (!matrix.every(Number.isFinite)) throw new RangeError("Cannot find eigenvectors: an element is not finite");
  const [W, V] = [Float64Array.from(matrix), new Float64Array(n * n)]; // W = V A
  for (let i = 0; i < n; i++) V[i * n + i] = 1;
  // Rows this short are rounding: whether they are orthogonal nobody can say.
  const negligible = Number.EPSILON ** 2 * dot(W, 0, 0, n * n);
  const tolerance = n * Number.EPSILON; // what rounding leaves of a product of n terms
  let [sweeps, rotated] = [0, true];
  for (; rotated && sweeps < MAX_SWEEPS; sweeps++) {
    rotated = false;
    for (let i = 0; i < n - 1; i++)
      for (let j = i + 1; j < n; j++) {
        const [a, b, c] = [dot(W, i, i, n), dot(W, j, j, n), dot(W, i, j, n)];
        if (Math.min(a, b) <= negligible || Math.abs(c) <= tolerance * Math.sqrt(a * b)) continue;
        rotated = true;
        const zeta = (b - a) / (2 * c);
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cosine = 1 / Math.sqrt(1 + tangent * tangent);
        rotate(W, i, j, n, cosine, cosine * tangent);
        rotate(V, i, j, n, cosine, cosine * tangent);
      }
  }
  // λ = vᵀ A v, and A v is the row of W that v belongs to.
  const all = Array.from({ length: n }, (_, row) => {
    const vector = V.subarray(row * n, (row + 1) * n);
    return {
      value: W.subarray(row * n, (row + 1) * n).reduce((sum, x, i) => sum + x * (vector[i] as number), 0),
      vector,
    };
  }).sort((a, b) => b.value - a.value);
  const vectors = new Float64Array(n * n);
  all.forEach(({ vector }, row) => {
    const largest = vector.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
    const sign = (vector.find((x) => Math.abs(x) >= largest / 2) ?? 1) < 0 ? -1 : 1;
    vectors.set(
      vector.map((x) => sign * x),
      row * n,
    );
  });
  return { values: Float64Array.from(all, ({ value }) => value), vectors, sweeps };
}

/** Product of rows i and j. */
function dot(rows: Float64Array, i: number, j: number, n: number): number {
  let sum = 0;
  for (let k = 0, a = i * n, b = j * n; k < n; k++) sum += (rows[a + k] as number) * (rows[b + k] as number);
  return sum;
}

/** Rows i and j become c·i - s·j and s·i + c·j. */
function rotate(rows: Float64Array, i: number, j: number, n: number, c: number, s: number): void {
  for (let k = 0, a = i * n, b = j * n; k < n; k++) {
    const [x, y] = [rows[a + k] as number, rows[b + k] as number];
    rows[a + k] = c * x - s * y;
    rows[b + k] = s * x + c * y;
  }
}
