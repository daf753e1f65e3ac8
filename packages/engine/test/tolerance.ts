/** How far a result may be from the expected one: |actual - expected| <= absolute + relative · |expected|. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/**
 * By kind of operation. A float32 has 24 bits: half a unit in its last place is 6e-8, relatively. The oracle, tfjs'
 * `cpu` backend, computes each operation in doubles and rounds its result. Values in these tests are of order 1 unless
 * said.
 */
export const TOLERANCE = {
  /** Elements are moved, compared or counted; nothing rounds. */
  exact: { absolute: 0, relative: 0 },
  /**
   * A few operations that IEEE 754 rounds correctly, one after another. Absolutely: what is below the least normal
   * number.
   */
  elementwise: { absolute: 1e-37, relative: 1e-6 },
  /**
   * exp, log and their kin are polynomials in ONNX Runtime, good to some units in the last place, also near their
   * zeros.
   */
  transcendental: { absolute: 1e-37, relative: 2e-6 },
  /**
   * What lies near one is subtracted from one: its last place stays as it was. Also tfjs' own erf, which is 1.5e-7 off.
   */
  saturating: { absolute: 1e-6, relative: 4e-6 },
  /**
   * Sums of some hundred elements, added in another order: each addition rounds the sum so far, and terms may cancel.
   */
  reduction: { absolute: 4e-6, relative: 4e-6 },
  /** Sums of some hundred products: the same, and fused multiply-adds round once where others round twice. */
  product: { absolute: 1e-5, relative: 1e-5 },
  /** Some layers one after another: what a normalization or a softmax divides by carries the errors of its sums. */
  network: { absolute: 5e-5, relative: 1e-4 },
} as const satisfies Record<string, Tolerance>;

/**
 * Whether a number is as expected. NaN is expected where the oracle has it, an infinity where the oracle has that one.
 */
export function close(actual: number, expected: number, tolerance: Tolerance): boolean {
  return excess(actual, expected, tolerance) <= 0;
}

/** How far beyond the tolerance a number is; not positive if it is close. */
function excess(actual: number, expected: number, { absolute, relative }: Tolerance): number {
  if (Object.is(actual, expected) || actual === expected) return 0;
  if (!Number.isFinite(actual) || !Number.isFinite(expected)) return Infinity;
  return Math.abs(actual - expected) - (absolute + relative * Math.abs(expected));
}

/**
 * Describes the worst element of a result that is not close to the expected one.
 *
 * @param shape Of both; the element's index is shown by its axes.
 * @returns Nothing if all elements are close.
 */
export function mismatch(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance,
  shape: readonly number[] = [expected.length],
): string | undefined {
  if (actual.length !== expected.length) return `${actual.length} elements, expected ${expected.length}`;
  let [worst, over, count] = [-1, 0, 0];
  for (let i = 0; i < expected.length; i++) {
    const by = excess(actual[i]!, expected[i]!, tolerance);
    if (by > 0) count++;
    if (by > over) [worst, over] = [i, by];
  }
  if (worst < 0) return undefined;
  const index = shape.map((size, axis) => Math.floor(worst / shape.slice(axis + 1).reduce((a, b) => a * b, 1)) % size);
  return (
    `${count} of ${expected.length} elements differ; the worst is [${index.join(", ")}]: ${actual[worst]}, ` +
    `expected ${expected[worst]}, over |a - e| <= ${tolerance.absolute} + ${tolerance.relative}·|e| by ${over}`
  );
}

/**
 * Fails the test if an element is not close to the expected one.
 *
 * @param what Names the result in the message.
 */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance,
  what = "result",
): void {
  const found = mismatch(actual, expected, tolerance);
  if (found !== undefined) throw new Error(`${what}: ${found}`);
}
