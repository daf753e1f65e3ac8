import { choleskyFactor } from "./cholesky.js";
import { eigenvaluesOf } from "./eigenvalues.js";
import { addProduct, packColumns, packRows } from "./products.js";
import {
  fill,
  jacobiEigenvalues,
  largestDifference,
  randomRows,
  rowsOf,
  semidefinite,
  times,
  transposed,
} from "./testing.js";
import { tridiagonalize, TRIDIAGONAL_BLOCK } from "./tridiagonal.js";
import { padded, Workspace } from "./workspace.js";

describe("addProduct()", () => {
  /** More than one block of 64 rows and columns, and a rest. */
  const [rows, columns, k] = [68, 132, 40] as const;

  test.each([1, -0.5])("adds %d times the product of packed columns", (alpha) => {
    const workspace = new Workspace(2 * (k * rows + k * columns) + rows * columns);
    const [a, b, c] = [randomRows(k, rows, 1), randomRows(k, columns, 2), randomRows(rows, columns, 3)];
    const target = fill(workspace.matrix(rows, columns), c);
    const left = packColumns(fill(workspace.matrix(k, rows), a), 0, k, workspace.matrix(k, rows));
    const right = packColumns(fill(workspace.matrix(k, columns), b), 0, k, workspace.matrix(k, columns));
    addProduct(workspace.kernels, target, left, right, { alpha });
    const product = times(transposed(a), b);
    const expected = c.map((row, i) => row.map((x, j) => x + alpha * product[i]![j]!));
    expect(largestDifference(rowsOf(target, rows, columns), expected)).toBeLessThan(1e-13);
  });

  test("computes the lower triangle from a corner on, and leaves what is right of its blocks alone", () => {
    const n = 140;
    const workspace = new Workspace(4 * n * n);
    const a = randomRows(n, k, 1);
    const source = fill(workspace.matrix(n, k), a);
    const corner = 4;
    const packed = packRows(source, corner, 8, 20, workspace.matrix(n, k));
    const target = workspace.matrix(n, n);
    addProduct(workspace.kernels, target, packed, packed, { lower: true, corner });
    const part = a.slice(corner).map((row) => row.slice(8, 28));
    const expected = times(part, transposed(part));
    const actual = rowsOf(target, n, n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j <= i; j++) {
        const value = i < corner || j < corner ? 0 : expected[i - corner]![j - corner]!;
        expect(Math.abs(actual[i]![j]! - value)).toBeLessThan(1e-13);
      }
    expect(actual[corner]![corner + 64]).toBe(0);
  });

  test("skips rows that are known to be zero", () => {
    const workspace = new Workspace(8 * 128 * 128);
    const [a, b] = [randomRows(8, 128, 1), randomRows(8, 64, 2)];
    const left = packColumns(fill(workspace.matrix(8, 128), a), 0, 8, workspace.matrix(8, 128));
    const right = packColumns(fill(workspace.matrix(8, 64), b), 0, 8, workspace.matrix(8, 64));
    const target = workspace.matrix(128, 64);
    addProduct(workspace.kernels, target, left, right, { zeros: (row) => (row === 0 ? 5 : 99) });
    const expected = times(transposed(a.slice(5)), b.slice(5)).map((row, i) => row.map((x) => (i < 64 ? x : 0)));
    expect(largestDifference(rowsOf(target, 128, 64), expected)).toBeLessThan(1e-14);
  });
});

/** Sizes around the blocks of 64 and 32 and the groups of four. */
const SIZES = [1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 67, 130];

describe("choleskyFactor()", () => {
  const factorOf = (rows: number[][]) => {
    const n = rows.length;
    const workspace = new Workspace(padded(n) ** 2 + 70 * padded(n) + 300);
    const scratch = workspace.matrix(70, n + 4);
    return { n, ...choleskyFactor(workspace, fill(workspace.matrix(n, n), rows), n, scratch) };
  };

  test.each(SIZES.flatMap((n) => [n, Math.ceil(n / 2), 1].map((rank) => [n, Math.min(rank, n)] as const)))(
    "factors a matrix of %d rows and rank %d",
    (n, wanted) => {
      const s = semidefinite(n, wanted, n);
      const { factor, rank, order, remainder } = factorOf(s);
      expect(rank).toBe(wanted);
      expect([...order].sort((a, b) => a - b)).toEqual(s.map((_, i) => i));
      const l = rowsOf(factor, n, n);
      l.forEach((row, i) => row.forEach((x, j) => (j > i || j >= rank ? expect(x).toBe(0) : undefined)));
      const largest = Math.max(...s.map((row, i) => row[i]!));
      const reordered = [...order].map((i) => [...order].map((j) => s[i]![j]!));
      expect(largestDifference(times(l, transposed(l)), reordered)).toBeLessThan(1e-13 * largest);
      expect(Math.abs(remainder)).toBeLessThan(1e-13 * largest);
    },
  );

  test("takes the largest of what is left on the diagonal each time", () => {
    const { factor, n } = factorOf(semidefinite(20, 20, 5));
    const diagonal = rowsOf(factor, n, n).map((row, i) => row[i]!);
    expect(diagonal).toEqual(diagonal.toSorted((a, b) => b - a));
  });

  test("says how negative a matrix is", () => {
    expect(
      factorOf([
        [2, 0, 0],
        [0, -3, 0],
        [0, 0, 1],
      ]),
    ).toMatchObject({ rank: 2, remainder: -3 });
  });

  test("finds rank zero in zeros", () => {
    expect(
      factorOf([
        [0, 0],
        [0, 0],
      ]),
    ).toMatchObject({ rank: 0, remainder: 0 });
  });
});

describe("tridiagonalize() and eigenvaluesOf()", () => {
  const reduce = (rows: number[][]) => {
    const n = rows.length;
    const N = padded(n);
    const workspace = new Workspace(N * N + 8 * TRIDIAGONAL_BLOCK * N);
    const matrix = () => workspace.matrix(2 * TRIDIAGONAL_BLOCK, n);
    const a = fill(workspace.matrix(n, n), rows);
    return tridiagonalize(workspace, a, n, [matrix(), matrix()], [matrix(), matrix()]);
  };
  const symmetric = (n: number, seed: number): number[][] => {
    const x = randomRows(n, n, seed);
    return x.map((row, i) => row.map((value, j) => value + x[j]![i]!));
  };

  test.each(SIZES)("find the eigenvalues of a symmetric matrix of %d rows", (n) => {
    const a = symmetric(n, n);
    const found = eigenvaluesOf(reduce(a)).sort();
    const expected = jacobiEigenvalues(a);
    const size = Math.max(...expected.map(Math.abs));
    expected.forEach((value, i) => expect(Math.abs(found[i]! - value)).toBeLessThan(1e-13 * size));
  });

  test("find eigenvalues that are equal, zero, or far apart", () => {
    const values = [0, 0, 0, 1, 1, 1, 1e-8, 1e8, 1e4];
    const basis = symmetric(values.length, 3); // made orthogonal, column by column
    const columns: number[][] = [];
    for (const row of basis) {
      for (const other of [...columns, ...columns]) {
        const along = row.reduce((sum, x, i) => sum + x * other[i]!, 0);
        other.forEach((x, i) => (row[i] = row[i]! - along * x));
      }
      const norm = Math.hypot(...row);
      columns.push(row.map((x) => x / norm));
    }
    const a = times(
      transposed(columns),
      columns.map((row, i) => row.map((x) => x * values[i]!)),
    );
    const found = eigenvaluesOf(reduce(a)).sort();
    values.sort((x, y) => x - y).forEach((value, i) => expect(Math.abs(found[i]! - value)).toBeLessThan(1e-6));
  });

  test("leave a diagonal matrix as it is, and squares neither overflow nor vanish", () => {
    const diagonal = [3, -1, 2].map((x, i) => [0, 1, 2].map((j) => (i === j ? x : 0)));
    expect([...reduce(diagonal).diagonal]).toEqual([3, -1, 2]);
    for (const scale of [1e-180, 1e180]) {
      const a = symmetric(6, 1);
      const found = eigenvaluesOf(reduce(a.map((row) => row.map((x) => x * scale)))).sort();
      jacobiEigenvalues(a).forEach((value, i) => expect(found[i]! / scale).toBeCloseTo(value, 12));
    }
  });

  test("lose no digits where a row is nearly tridiagonal already", () => {
    for (const sign of [1, -1]) {
      const a = symmetric(5, 2);
      [3e-9, -2e-9, 1e-9, sign].forEach((x, j) => ((a[4]![j] = x), (a[j]![4] = x)));
      const found = eigenvaluesOf(reduce(a)).sort();
      jacobiEigenvalues(a).forEach((value, i) => expect(Math.abs(found[i]! - value)).toBeLessThan(1e-14 * 10));
    }
  });

  test("refuse what is not finite", () => {
    for (const [diagonal, beside] of [
      [1, Infinity],
      [NaN, 1],
      [-Infinity, 0],
    ] as const)
      expect(() =>
        eigenvaluesOf({ diagonal: Float64Array.of(1, diagonal), beside: Float64Array.of(0, beside) }),
      ).toThrow(RangeError);
  });
});
