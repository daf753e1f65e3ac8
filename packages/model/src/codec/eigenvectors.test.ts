import { draw } from "../testing.js";
import { eigenvectors } from "./eigenvectors.js";

/** The covariance of n random vectors of size n: its eigenvalues span several powers of ten. */
function covariance(n: number): Float64Array {
  const x = Float64Array.from(draw("rows", n, n).data);
  const at = (i: number, j: number): number => {
    let sum = 0;
    for (let k = 0; k < n; k++) sum += x[k * n + i]! * x[k * n + j]!;
    return sum / n;
  };
  return Float64Array.from({ length: n * n }, (_, k) => at(Math.floor(k / n), k % n));
}

/** Sums of up to n products of doubles of order 1, through some sweeps. */
const close = (actual: number, expected: number): void => expect(Math.abs(actual - expected)).toBeLessThan(1e-12);

/** A v = λ v, rows orthonormal, values falling. */
function expectEigen(matrix: Float64Array, n: number): void {
  const { values, vectors } = eigenvectors(matrix, n);
  const row = (i: number): Float64Array => vectors.subarray(i * n, (i + 1) * n);
  const product = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, k) => sum + x * b[k]!, 0);
  for (let i = 0; i < n; i++) {
    if (i > 0) expect(values[i]).toBeLessThanOrEqual(values[i - 1]!);
    for (let j = 0; j < n; j++) {
      close(product(row(i), row(j)), i === j ? 1 : 0);
      close(product(matrix.subarray(j * n, (j + 1) * n), row(i)), values[i]! * row(i)[j]!);
    }
  }
}

describe("eigenvectors()", () => {
  test("finds what turns a covariance into a diagonal", () => expectEigen(covariance(17), 17));

  test("finds orthonormal vectors where values are equal, or zero", () => {
    // 2 I - (ones of rank 1) has 2 many times; a product of a vector with itself has 0 many times.
    const v = Float64Array.of(0.5, -0.5, 0.5, 0, 0.5);
    const outer = (i: number, j: number): number => v[i]! * v[j]!;
    const of = (f: (i: number, j: number) => number) =>
      Float64Array.from({ length: 25 }, (_, k) => f(Math.floor(k / 5), k % 5));
    expectEigen(
      of((i, j) => (i === j ? 2 : 0) - outer(i, j)),
      5,
    );
    expectEigen(of(outer), 5);
    expect(eigenvectors(of(outer), 5).values[0]).toBeCloseTo(1, 12);
    expectEigen(new Float64Array(9), 3);
  });

  test("is soon done, whatever the rank", () => {
    const [n, rank] = [24, 5];
    const x = draw("few", rank, n).data;
    const product = (i: number, j: number): number =>
      Array.from({ length: rank }, (_, k) => x[k * n + i]! * x[k * n + j]!).reduce((a, b) => a + b);
    const matrix = Float64Array.from({ length: n * n }, (_, k) => product(Math.floor(k / n), k % n));
    expectEigen(matrix, n);
    // Rows of nothing but rounding are left alone: rotating those too takes 13 rounds instead of 7.
    expect(eigenvectors(matrix, n).sweeps).toBeLessThan(10);
  });

  test("gives a known answer, with a known sign", () => {
    // 3 along (1, 1), 1 along (1, -1): of tied elements the first is positive.
    const { values, vectors } = eigenvectors(Float64Array.of(2, 1, 1, 2), 2);
    const r = Math.SQRT1_2;
    [3, 1].forEach((value, i) => close(values[i]!, value));
    [r, r, r, -r].forEach((x, i) => close(vectors[i]!, x));
    // The first element is less than half the largest: the largest decides, whatever the first one's sign.
    for (const s of [0.3, -0.3]) {
      const c = Math.sqrt(1 - s * s);
      const [first] = [eigenvectors(Float64Array.of(s * s, s * c, s * c, c * c), 2).vectors];
      close(first[0]!, s);
      close(first[1]!, c);
    }
  });

  test("names what cannot be", () => {
    expect(() => eigenvectors(new Float64Array(6), 2)).toThrow("has 6 elements, expected 2 x 2");
    expect(() => eigenvectors(Float64Array.of(1, NaN, NaN, 1), 2)).toThrow("not finite");
  });
});
