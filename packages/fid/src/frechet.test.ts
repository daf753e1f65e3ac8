import { frechetDistance, type Gaussian } from "./frechet.js";
import { jacobiEigenvalues, orthonormal, randomRows, semidefinite, times, transposed } from "./linalg/testing.js";

const gaussian = (mu: readonly number[], sigma: readonly number[][]): Gaussian => ({
  mu: Float64Array.from(mu),
  sigma: Float64Array.from(sigma.flat()),
});
const trace = (a: readonly number[][]): number => a.reduce((sum, row, i) => sum + row[i]!, 0);
const zeros = (n: number): number[] => new Array<number>(n).fill(0);
const diagonal = (values: readonly number[]): number[][] =>
  values.map((value, i) => values.map((_, j) => (i === j ? value : 0)));

describe("frechetDistance()", () => {
  test("is the squared distance of the means where covariances are equal", () => {
    const sigma = semidefinite(20, 50);
    const [m, n] = randomRows(2, 20, 2) as [number[], number[]];
    const expected = m.reduce((sum, x, i) => sum + (x - n[i]!) ** 2, 0);
    expect(frechetDistance(gaussian(m, sigma), gaussian(n, sigma))).toBeCloseTo(expected, 10);
  });

  test("is a sum over the axes where covariances are diagonal", () => {
    const [a, b] = [
      [4, 1, 0, 9, 0.25],
      [1, 0, 0, 16, 4],
    ];
    const expected = a.reduce((sum, x, i) => sum + (Math.sqrt(x) - Math.sqrt(b[i]!)) ** 2, 0);
    const mu = zeros(5);
    expect(frechetDistance(gaussian(mu, diagonal(a)), gaussian(mu, diagonal(b)))).toBeCloseTo(expected, 13);
  });

  // The eigenvalues of S1 S2 are those of X2 S1 X2ᵀ for S2 = X2ᵀ X2: a small matrix where S2 has low rank.
  test.each([
    [30, 60, 45],
    [67, 80, 10],
    [67, 10, 80],
    [70, 20, 31],
    [12, 1, 1],
  ])("agrees with eigenvalues by another route: %d dims, ranks %d and %d", (n, rankA, rankB) => {
    const [a, x] = [semidefinite(n, rankA, 3), randomRows(rankB, n, 4)];
    const b = semidefinite(n, rankB, 4);
    const product = times(
      times(x, a),
      x[0]!.map((_, j) => x.map((row) => row[j]!)),
    );
    const values = jacobiEigenvalues(product).slice(-Math.min(n, rankA, rankB)); // the others are zero
    const root = values.reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
    const expected = trace(a) + trace(b) - 2 * root;
    const mu = zeros(n);
    for (const found of [
      frechetDistance(gaussian(mu, a), gaussian(mu, b)),
      frechetDistance(gaussian(mu, b), gaussian(mu, a)),
    ])
      expect(Math.abs(found - expected)).toBeLessThan(1e-9 * (trace(a) + trace(b)));
  });

  test.each([
    [40, 100],
    [40, 40],
    [40, 12],
    [40, 1],
  ])("is nothing between equals, %d dims of rank %d", (n, rank) => {
    const sigma = semidefinite(n, rank);
    const [mu] = randomRows(1, n, 7) as [number[]];
    expect(Math.abs(frechetDistance(gaussian(mu, sigma), gaussian(mu, sigma)))).toBeLessThan(1e-9 * trace(sigma));
  });

  /** A covariance with these variances along directions of its own. */
  const rotated = (values: readonly number[], seed: number): number[][] => {
    const basis = orthonormal(values.length, seed);
    const sigma = times(transposed(basis), basis.map((row, i) => row.map((x) => x * values[i]!))); // prettier-ignore
    return sigma.map((row, i) => row.map((_, j) => sigma[Math.max(i, j)]![Math.min(i, j)]!));
  };
  const falling = (n: number, condition: number): number[] =>
    Array.from({ length: n }, (_, i) => condition ** (-i / (n - 1)));

  test.each([
    [40, 4e7],
    [150, 4e7],
    [150, 1e12],
  ])("is nothing to the last digits between equals, %d dims of condition %d", (n, condition) => {
    const set = gaussian(zeros(n), rotated(falling(n, condition), 3));
    const variance = falling(n, condition).reduce((a, b) => a + b);
    expect(Math.abs(frechetDistance(set, set))).toBeLessThan(1e-13 * variance);
  });

  // Equal directions: the sum of (1.5 - 1)² of each variance, small ones included.
  test.each([4e7, 1e12])("is exact between sets that differ in scale, condition %d", (condition) => {
    const values = falling(100, condition);
    const [a, b] = [1, 2.25].map((scale) => gaussian(zeros(100), rotated(values.map((x) => scale * x), 5))); // prettier-ignore
    const expected = 0.25 * values.reduce((sum, x) => sum + x, 0);
    expect(Math.abs(frechetDistance(a!, b!) / expected - 1)).toBeLessThan(1e-12);
    expect(Math.abs(frechetDistance(b!, a!) / expected - 1)).toBeLessThan(1e-12);
  });

  // As many samples as dims, or a few more: the smallest variances are hardly there.
  test.each([100, 101, 104])("is nothing between equals of %d samples and 100 dims", (samples) => {
    const rows = randomRows(samples, 100, samples).map((row) => row.map((x, j) => x / (j + 1)));
    const sigma = times(transposed(rows), rows);
    const set = gaussian(zeros(100), sigma);
    expect(Math.abs(frechetDistance(set, set))).toBeLessThan(1e-13 * trace(sigma));
  });

  test("needs no variance at all", () => {
    const sigma = semidefinite(9, 20);
    const none = diagonal(zeros(9));
    const mu = zeros(9);
    expect(frechetDistance(gaussian(mu, sigma), gaussian(mu, none))).toBeCloseTo(trace(sigma), 10);
    expect(frechetDistance(gaussian(mu, none), gaussian([...zeros(8), 2], none))).toBe(4);
  });

  // The product of such covariances is zero: its eigenvalues are rounding, of either sign.
  test.each([1, 2, 3, 4])("is the sum of all variances where no direction is shared (%d)", (seed) => {
    const basis = orthonormal(12, seed).slice(0, 6);
    const spanned = (rows: readonly number[][]): number[][] =>
      times(
        rows[0]!.map((_, j) => rows.map((row) => row[j]!)),
        rows,
      );
    const [a, b] = [spanned(basis.slice(0, 3)), spanned(basis.slice(3))];
    const mu = zeros(12);
    expect(frechetDistance(gaussian(mu, a), gaussian(mu, b))).toBeCloseTo(6, 6);
  });

  test("does not change what it is given", () => {
    const [a, b] = [gaussian(zeros(8), semidefinite(8, 9, 1)), gaussian(zeros(8), semidefinite(8, 3, 2))];
    const before = [a.sigma.slice(), b.sigma.slice()];
    frechetDistance(a, b);
    expect([a.sigma, b.sigma]).toEqual(before);
  });

  test("refuses sizes that differ, numbers that are not finite, and what is no covariance", () => {
    const good = gaussian([0, 0], diagonal([1, 2]));
    const compare = (other: Gaussian) => () => frechetDistance(good, other);
    expect(compare(gaussian([0], [[1]]))).toThrow("b has 1 means and 1 covariances, expected 2 and 4");
    expect(compare(gaussian([0, 0], [[1]]))).toThrow("b has 2 means and 1 covariances, expected 2 and 4");
    expect(compare(gaussian([0, NaN], diagonal([1, 2])))).toThrow(
      "b has a number that is not finite: 1 of 2 elements, the first is NaN at index 1",
    );
    expect(compare(gaussian([0, 0], diagonal([Infinity, 2])))).toThrow("b has a number that is not finite: 1 of 4");
    expect(compare(gaussian([0, 0], diagonal([1, -2])))).toThrow("sigma of b is not positive semidefinite");
  });

  test("takes large numbers for what they are", () => {
    const large = gaussian([1.5e308, 1.5e308], diagonal([1, 2]));
    expect(frechetDistance(large, large)).toBeCloseTo(0, 12);
  });

  test("refuses to give a distance that is not finite", () => {
    const [near, far] = [gaussian([0, 0], diagonal([1, 2])), gaussian([1e200, 0], diagonal([1, 2]))];
    expect(() => frechetDistance(near, far)).toThrow("their distance is Infinity, expected a finite number");
    const wide = gaussian([0, 0], diagonal([1.5e308, 1.5e308]));
    expect(() => frechetDistance(wide, wide)).toThrow(/^Cannot compare statistics: their distance is (NaN|Infinity)/);
  });
});
