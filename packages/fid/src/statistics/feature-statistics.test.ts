import fc from "fast-check";
import { normals } from "../linalg/testing.js";
import { FeatureStatistics } from "./feature-statistics.js";

const [DIMS, ROWS] = [6, 700]; // more rows than two chunks

/** Features far from zero: squares summed as they are would lose ten of sixteen digits. */
function features(rows = ROWS, dims = DIMS, offset = 1e5): Float64Array {
  const draw = normals(rows);
  return Float64Array.from({ length: rows * dims }, (_, i) => offset + (1 + (i % dims)) * draw() + draw());
}

/** Mean and covariance in two passes of plain loops. */
function expected(x: Float64Array, dims: number) {
  const n = x.length / dims;
  const mean = Float64Array.from({ length: dims }, (_, i) => {
    let sum = 0;
    for (let row = 0; row < n; row++) sum += x[row * dims + i]! - x[i]!;
    return x[i]! + sum / n;
  });
  const covariance = Float64Array.from({ length: dims * dims }, (_, at) => {
    const [i, j] = [Math.floor(at / dims), at % dims];
    let sum = 0;
    for (let row = 0; row < n; row++) sum += (x[row * dims + i]! - mean[i]!) * (x[row * dims + j]! - mean[j]!);
    return sum / (n - 1);
  });
  return { mean, covariance };
}

function expectClose(actual: Float64Array, wanted: Float64Array, tolerance: number): void {
  expect(actual).toHaveLength(wanted.length);
  const differences = [...actual].map((value, i) => Math.abs(value - wanted[i]!));
  expect(Math.max(...differences)).toBeLessThanOrEqual(tolerance); // a NaN is not
}

/** What the reference of these numbers is good to: 1e5 is known to 1e-11, a covariance of 40 to the product of both. */
const [MEAN_TOLERANCE, TOLERANCE] = [1e-10, 1e-9];

describe("FeatureStatistics", () => {
  const x = features();
  const { mean, covariance } = expected(x, DIMS);

  test.each([1, 100, 254, 255, 256, ROWS])("counts features that come %d rows at a time", (step) => {
    const statistics = new FeatureStatistics(DIMS);
    for (let row = 0; row < ROWS; row += step) statistics.add(x.subarray(row * DIMS, (row + step) * DIMS));
    expect(statistics.count).toBe(ROWS);
    expectClose(statistics.mean(), mean, MEAN_TOLERANCE);
    expectClose(statistics.covariance(), covariance, TOLERANCE);
  });

  test("goes on after it was asked", () => {
    const statistics = new FeatureStatistics(DIMS);
    for (const [start, end] of [
      [0, 3],
      [3, 300],
      [300, ROWS],
    ] as const) {
      statistics.add(x.subarray(start * DIMS, end * DIMS));
      expect(statistics.count).toBe(end);
      expectClose(statistics.covariance(), expected(x.subarray(0, end * DIMS), DIMS).covariance, TOLERANCE);
    }
  });

  test("merges shards of any sizes, however they are nested, to what one count gives", () => {
    const cuts = fc.array(fc.integer({ min: 0, max: ROWS }), { maxLength: 5 });
    fc.assert(
      fc.property(cuts, fc.boolean(), (cuts, saved) => {
        const bounds = [0, ...cuts.sort((a, b) => a - b), ROWS];
        const shards = bounds.slice(1).map((end, i) => {
          const shard = new FeatureStatistics(DIMS);
          shard.add(x.subarray(bounds[i]! * DIMS, end * DIMS));
          return saved ? FeatureStatistics.from(structuredClone(shard.state())) : shard;
        });
        const whole = shards.reduceRight((right, left) => (left.merge(right), left));
        expect(whole.count).toBe(ROWS);
        expectClose(whole.mean(), mean, MEAN_TOLERANCE);
        expectClose(whole.covariance(), covariance, TOLERANCE);
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  test("merges nothing with nothing, and goes on", () => {
    const statistics = new FeatureStatistics(DIMS);
    statistics.merge(new FeatureStatistics(DIMS));
    expect(statistics.count).toBe(0);
    statistics.add(x);
    expectClose(statistics.covariance(), covariance, TOLERANCE);
  });

  test("does not change what it merges", () => {
    const [a, b] = [new FeatureStatistics(DIMS), new FeatureStatistics(DIMS)];
    a.add(x.subarray(0, 60));
    b.add(x.subarray(60, 600));
    const before = b.covariance();
    a.merge(b);
    expect(b.covariance()).toEqual(before);
    expect([a.count, b.count]).toEqual([100, 90]);
  });

  test("is exactly symmetric, and exactly zero where nothing varies", () => {
    const statistics = new FeatureStatistics(3);
    statistics.add(Float32Array.of(1.5, 7, 0, 1.5, 8, 0, 1.5, 8.25, 0));
    const sigma = statistics.covariance();
    for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) expect(sigma[3 * i + j]).toBe(sigma[3 * j + i]);
    expect([sigma[0], sigma[1], sigma[8]]).toEqual([0, 0, 0]);
    expect(statistics.gaussian()).toEqual({ mu: statistics.mean(), sigma });
  });

  test("says what it cannot count", () => {
    const statistics = new FeatureStatistics(3);
    expect([...statistics.mean()]).toEqual([NaN, NaN, NaN]);
    statistics.add(Float64Array.of(1, 2, 3));
    expect(() => statistics.covariance()).toThrow("Cannot compute a covariance of 1 rows, expected 2 or more");
    expect(() => statistics.add(new Float32Array(4))).toThrow("4 elements are no whole number of rows of 3");
    expect(() => statistics.add(Float64Array.of(1, 2, 3, 4, NaN, 6))).toThrow("row 1, column 1 is NaN");
    expect(statistics.count).toBe(1);
    expect(() => statistics.merge(new FeatureStatistics(4))).toThrow("statistics of 4 dims into statistics of 3");
    expect(() => new FeatureStatistics(0)).toThrow("dims is 0, expected a positive whole number");
    const state = { count: 1, mean: new Float64Array(2), scatter: new Float64Array(3) };
    expect(() => FeatureStatistics.from(state)).toThrow("3 sums and a count of 1, expected 4 and a whole number");
    expect(() => FeatureStatistics.from({ ...state, scatter: new Float64Array(4), count: -1 })).toThrow(RangeError);
  });
});
