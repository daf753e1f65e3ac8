/*
 * Statistics of the streams. Keys are fixed, so a test passes always or never; a bound is what a sound generator would
 * miss with a probability of about 10^-5, in units of the statistic's own deviation or as a limit on its distribution.
 */
import { integers, normal, permutation, permutationAt, randomKey, uniform, type RandomKey } from "./index.js";

const N = 1_000_000;
const DEVIATIONS = 4.5; // of a normal statistic, two-sided: 7·10^-6

function mean(values: ArrayLike<number>, f: (x: number) => number = (x) => x): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += f(values[i]!);
  return sum / values.length;
}

/** Kolmogorov-Smirnov: the greatest distance of the empirical distribution from `cdf`, times sqrt(n). */
function kolmogorov(values: Float32Array, cdf: (x: number) => number): number {
  const sorted = values.slice().sort();
  const n = sorted.length;
  let distance = 0;
  for (let i = 0; i < n; i++) {
    const p = cdf(sorted[i]!);
    distance = Math.max(distance, p - i / n, (i + 1) / n - p);
  }
  return distance * Math.sqrt(n);
}
const KOLMOGOROV_LIMIT = 2.47; // 2 exp(-2·2.47²) = 10^-5

/** Pearson's chi-square against equal expectations, as a standard normal deviate (Wilson & Hilferty 1931). */
function chiSquare(counts: ArrayLike<number>, degreesOfFreedom = counts.length - 1): number {
  const expected = mean(counts);
  let chi2 = 0;
  for (let i = 0; i < counts.length; i++) chi2 += (counts[i]! - expected) ** 2 / expected;
  const variance = 2 / (9 * degreesOfFreedom);
  return (Math.cbrt(chi2 / degreesOfFreedom) - (1 - variance)) / Math.sqrt(variance);
}

/** The standard normal distribution, within 1.5e-7 (Abramowitz & Stegun 7.1.26). */
function normalCdf(x: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * series * Math.exp((-x * x) / 2);
  return x < 0 ? tail : 1 - tail;
}

function correlation(a: ArrayLike<number>, b: ArrayLike<number>, size: number): number {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += a[i]! * b[i]!;
  return sum / size;
}

/** Whether a permutation takes an odd number of swaps: a cycle of length k takes k - 1. */
function isOdd(order: Uint32Array): boolean {
  const seen = new Uint8Array(order.length);
  let swaps = 0;
  for (let start = 0; start < order.length; start++) {
    for (let at = order[start]!; seen[start] === 0 && at !== start; at = order[at]!) {
      seen[at] = 1;
      swaps++;
    }
  }
  return swaps % 2 === 1;
}

/** Element 0 of many streams: randomness across keys, not along one. */
function acrossKeys(draw: (key: RandomKey) => number, size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => draw(randomKey(0, "across", [i])));
}

describe("uniform()", () => {
  const values = uniform(randomKey(1, "uniform"), { size: N });

  test("lies in [0, 1), on multiples of 2^-24, the lowest bit in use", () => {
    expect(values.every((u) => u >= 0 && u < 1 && Number.isInteger(u * 2 ** 24))).toBe(true);
    const odd = mean(values, (u) => (u * 2 ** 24) % 2);
    expect(Math.abs(odd - 0.5)).toBeLessThan(DEVIATIONS * Math.sqrt(0.25 / N));
  });

  test("is within Kolmogorov-Smirnov of uniform, along a stream and across streams", () => {
    expect(kolmogorov(values, (u) => u)).toBeLessThan(KOLMOGOROV_LIMIT);
    expect(
      kolmogorov(
        acrossKeys((key) => uniform(key, { size: 1 })[0]!, 100_000),
        (u) => u,
      ),
    ).toBeLessThan(KOLMOGOROV_LIMIT);
  });

  test("fills the cells of a cube evenly with three elements in a row", () => {
    const counts = new Uint32Array(16 ** 3); // 81 in each
    for (let i = 0; i + 2 < N; i += 3) {
      const [x, y, z] = [values[i]!, values[i + 1]!, values[i + 2]!];
      counts[(Math.floor(16 * x) * 16 + Math.floor(16 * y)) * 16 + Math.floor(16 * z)]! += 1;
    }
    expect(Math.abs(chiSquare(counts))).toBeLessThan(DEVIATIONS);
  });
});

describe("normal()", () => {
  const values = normal(randomKey(1, "normal"), { size: N });

  test("has the moments of a standard normal", () => {
    // Moment k of n draws has the deviation sqrt((E x^2k - (E x^k)²) / n); E x^2k = (2k - 1)!!.
    const moments = [
      [1, 0, 1],
      [2, 1, 3 - 1],
      [3, 0, 15],
      [4, 3, 105 - 9],
      [6, 15, 10_395 - 225],
    ] as const;
    for (const [power, expected, variance] of moments) {
      const error = mean(values, (x) => x ** power) - expected;
      expect(Math.abs(error)).toBeLessThan(DEVIATIONS * Math.sqrt(variance / N));
    }
  });

  test("is within Kolmogorov-Smirnov of normal, along a stream and across streams", () => {
    expect(kolmogorov(values, normalCdf)).toBeLessThan(KOLMOGOROV_LIMIT);
    expect(
      kolmogorov(
        acrossKeys((key) => normal(key, { size: 1 })[0]!, 100_000),
        normalCdf,
      ),
    ).toBeLessThan(KOLMOGOROV_LIMIT);
  });

  test("puts pairs on circles whose squared radius is exponential, at angles that are uniform", () => {
    const squares = Float32Array.from({ length: N / 2 }, (_, i) => values[2 * i]! ** 2 + values[2 * i + 1]! ** 2);
    expect(kolmogorov(squares, (r2) => 1 - Math.exp(-r2 / 2))).toBeLessThan(KOLMOGOROV_LIMIT);
    const angles = Float32Array.from({ length: N / 2 }, (_, i) => Math.atan2(values[2 * i + 1]!, values[2 * i]!));
    expect(kolmogorov(angles, (angle) => 0.5 + angle / (2 * Math.PI))).toBeLessThan(KOLMOGOROV_LIMIT);
  });

  test("has as many draws beyond 4 as it should", () => {
    const beyond = values.filter((x) => Math.abs(x) > 4).length; // Poisson, 63.3
    expect(Math.abs(beyond - 63.3)).toBeLessThan(DEVIATIONS * Math.sqrt(63.3));
  });

  test("is not correlated with its neighbours, nor with other steps, images, purposes or seeds", () => {
    const bound = DEVIATIONS / Math.sqrt(N - 8);
    for (let lag = 1; lag <= 8; lag++) {
      expect(Math.abs(correlation(values, values.subarray(lag), N - lag))).toBeLessThan(bound);
      expect(
        Math.abs(
          correlation(
            values.map((x) => x * x - 1),
            values.subarray(lag).map((x) => x * x - 1),
            N - lag,
          ),
        ),
      ).toBeLessThan(2 * bound);
    }
    const size = 100_000;
    const others = [
      [1, "normal", [0]],
      [1, "normal", [1]],
      [1, "normal", [0, 0]],
      [1, "normam", []],
      [2, "normal", []],
    ] as const;
    for (const [seed, purpose, indices] of others) {
      const other = normal(randomKey(seed, purpose, indices), { size });
      expect(Math.abs(correlation(values, other, size))).toBeLessThan(DEVIATIONS / Math.sqrt(size));
    }
  });

  test("is not correlated with uniform() of the same key", () => {
    const others = uniform(randomKey(1, "normal"), { size: N }).map((u) => (u - 0.5) * Math.sqrt(12));
    expect(Math.abs(correlation(values, others, N))).toBeLessThan(DEVIATIONS / Math.sqrt(N));
    const cosines = others.map((_, i) => others[i - (i % 2) + 1]!); // the word that would have been the angle
    expect(Math.abs(correlation(values.map(Math.abs), cosines, N))).toBeLessThan(DEVIATIONS / Math.sqrt(N));
  });
});

describe("integers()", () => {
  test.each([2, 3, 10, 1000, 1024])("draws each of %i values equally often", (span) => {
    const counts = new Uint32Array(span);
    for (const value of integers(randomKey(1, "integers"), -7, span - 7, { size: N })) counts[value + 7]! += 1;
    expect(Math.abs(chiSquare(counts))).toBeLessThan(DEVIATIONS);
  });

  test("has no modulo bias: the halves of a range of 3·2^30 are equally likely", () => {
    const values = integers(randomKey(1, "integers"), -(2 ** 31), 2 ** 30, { size: N });
    // `word % (3·2^30)` would give the lowest third twice its share.
    const lowest = mean(values, (x) => (x < -(2 ** 30) ? 1 : 0));
    expect(Math.abs(lowest - 1 / 3)).toBeLessThan(DEVIATIONS * Math.sqrt(2 / 9 / N));
  });
});

describe("permutation()", () => {
  test("gives each of the 120 orders of five elements equally often", () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 60_000; i++) {
      const order = permutation(randomKey(1, "orders", [i]), 5).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(120);
    expect(Math.abs(chiSquare([...counts.values()]))).toBeLessThan(DEVIATIONS);
  });

  // 256 is shuffled, 257 (18 x 15) and 289 (18 x 17) go through the network with much and with little cycle walking.
  test.each([7, 256, 257, 289])(
    "puts every element of n = %i everywhere, and after every other, equally often",
    (n) => {
      const orders = Math.ceil(1_500_000 / n);
      const places = new Uint32Array(n * n);
      const followers = new Uint32Array(n * n);
      for (let i = 0; i < orders; i++) {
        const order = permutation(randomKey(2, "places", [i]), n);
        for (let at = 0; at < n; at++) {
          places[at * n + order[at]!]! += 1;
          followers[order[at]! * n + order[(at + 1) % n]!]! += 1; // the last is followed by the first
        }
      }
      // Rows and columns of `places` have fixed sums. The deviate is of that many free cells.
      expect(Math.abs(chiSquare(places, (n - 1) ** 2))).toBeLessThan(DEVIATIONS);
      const offDiagonal = followers.filter((_, cell) => cell % (n + 1) !== 0);
      expect(followers.filter((_, cell) => cell % (n + 1) === 0).every((count) => count === 0)).toBe(true);
      expect(Math.abs(chiSquare(offDiagonal, n * (n - 1) - 2 * n + 1))).toBeLessThan(DEVIATIONS);
    },
  );

  test("is even half the time, and has one fixed point on average, in the network too", () => {
    const orders = 4000;
    let [odd, fixed] = [0, 0];
    for (let i = 0; i < orders; i++) {
      const order = permutation(randomKey(3, "parity", [i]), 289);
      if (isOdd(order)) odd++;
      fixed += order.filter((value, at) => value === at).length;
    }
    expect(Math.abs(odd - orders / 2)).toBeLessThan(DEVIATIONS * Math.sqrt(orders / 4));
    expect(Math.abs(fixed - orders)).toBeLessThan(DEVIATIONS * Math.sqrt(orders));
  });

  test("spreads neighbouring positions of a huge order evenly", () => {
    const key = randomKey(1, "huge");
    const n = 4_000_000_000;
    const values = Float32Array.from({ length: 20_000 }, (_, i) => permutationAt(key, n, i) / n);
    expect(kolmogorov(values, (u) => u)).toBeLessThan(KOLMOGOROV_LIMIT);
    const centred = values.map((u) => (u - 0.5) * Math.sqrt(12));
    expect(Math.abs(correlation(centred, centred.subarray(1), 19_999))).toBeLessThan(DEVIATIONS / Math.sqrt(19_999));
  });
});
