import type { Matrix } from "./workspace.js";

// What the tests of this folder share: matrices, and plain loops to compare with.

/** Numbers from a normal distribution, the same for the same seed. */
export function normals(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32 + 2 ** -33;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Rows of a matrix of normal numbers. */
export function randomRows(rows: number, columns: number, seed = 1): number[][] {
  const draw = normals(seed);
  return Array.from({ length: rows }, () => Array.from({ length: columns }, draw));
}

/** A · B */
export function times(a: readonly number[][], b: readonly number[][]): number[][] {
  return a.map((row) => b[0]!.map((_, j) => row.reduce((sum, x, k) => sum + x * b[k]![j]!, 0)));
}

export function transposed(a: readonly number[][]): number[][] {
  return a[0]!.map((_, j) => a.map((row) => row[j]!));
}

/** A covariance of a given rank: XᵀX. */
export function semidefinite(n: number, rank: number, seed = 1): number[][] {
  const x = randomRows(rank, n, seed);
  return times(transposed(x), x);
}

/** Rows that are orthonormal, in random directions. */
export function orthonormal(n: number, seed = 1): number[][] {
  const basis: number[][] = [];
  for (const row of randomRows(n, n, seed)) {
    for (const other of [...basis, ...basis]) {
      const along = row.reduce((sum, x, i) => sum + x * other[i]!, 0);
      other.forEach((x, i) => (row[i] = row[i]! - along * x));
    }
    const norm = Math.hypot(...row);
    basis.push(row.map((x) => x / norm));
  }
  return basis;
}

export function fill(matrix: Matrix, rows: readonly number[][]): Matrix {
  rows.forEach((row, i) => matrix.data.set(row, i * matrix.columns));
  return matrix;
}

/** The first rows and columns of a matrix. */
export function rowsOf({ data, columns: stride }: Matrix, rows: number, columns: number): number[][] {
  return Array.from({ length: rows }, (_, i) => [...data.subarray(i * stride, i * stride + columns)]);
}

export function largestDifference(a: readonly number[][], b: readonly number[][]): number {
  return Math.max(...a.map((row, i) => Math.max(...row.map((x, j) => Math.abs(x - b[i]![j]!)))));
}

/** Eigenvalues of a small symmetric matrix by Jacobi's rotations, in ascending order. */
export function jacobiEigenvalues(rows: readonly number[][]): number[] {
  const a = rows.map((row) => [...row]);
  const n = a.length;
  for (let round = 0; round < 12; round++)
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        if (a[p]![q]! === 0) continue;
        const angle = 0.5 * Math.atan2(2 * a[p]![q]!, a[q]![q]! - a[p]![p]!);
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        for (const row of a) [row[p], row[q]] = [c * row[p]! - s * row[q]!, s * row[p]! + c * row[q]!];
        const [x, y] = [a[p]!, a[q]!].map((row) => [...row]) as [number[], number[]];
        for (let k = 0; k < n; k++) [a[p]![k], a[q]![k]] = [c * x[k]! - s * y[k]!, s * x[k]! + c * y[k]!];
      }
  return a.map((row, i) => row[i]!).sort((x, y) => x - y);
}
