import { BLOCK_ROWS, RowProducts } from "../linalg/row-products.js";
import type { Metric } from "../score/metrics.js";
import { NumpyRandom } from "./numpy-random.js";
import { someFeatures } from "./some-features.js";

export interface KidOptions {
  /** Subsets of either side that are compared. */
  readonly subsets: number;
  /** Features of a subset. */
  readonly size: number;
  /** Seed that chooses them, as torch-fidelity does. */
  readonly seed: number;
  readonly signal?: AbortSignal;
}

export interface Kid {
  /** Mean over subsets; a little below 0 where the sides are alike: the estimator is unbiased. */
  readonly mean: number;
  /** Standard deviation over subsets. */
  readonly std: number;
}

/**
 * Kernel Inception Distance: the squared maximum mean discrepancy with k(x, y) = (x·y / dims + 1)³, the mean over
 * subsets of
 *
 *     mean of k(x, x'), x ≠ x'  +  mean of k(y, y'), y ≠ y'  -  2 · mean of k(x, y)
 *
 * Source: Bińkowski et al. 2018, arXiv:1801.01401, section 4; subsets and defaults are torch-fidelity's, in doubles.
 *
 * @param reference (n, dims), row-major; n at least `size`. Borrowed.
 * @param samples (m, dims), row-major; m at least `size`. Borrowed.
 * @throws {RangeError} If a side is smaller than a subset, or a subset than two.
 */
export async function kid(
  reference: Float32Array,
  samples: Float32Array,
  dims: number,
  { subsets, size, seed, signal }: KidOptions,
): Promise<Kid> {
  const [n, m] = [reference.length / dims, samples.length / dims];
  if (size < 2 || size > Math.min(n, m))
    throw new RangeError(`Cannot take subsets of ${size} from ${n} and ${m} features, expected 2 to the fewer of them`);
  const random = new NumpyRandom(seed);
  const products = new RowProducts(dims);
  const values: number[] = [];
  for (let i = 0; i < subsets; i++) {
    await new Promise(setImmediate); // whoever wants to stop is heard between subsets
    signal?.throwIfAborted();
    const x = rowsOf(samples, random.choice(m, size), dims);
    const y = rowsOf(reference, random.choice(n, size), dims);
    const within = (kernelSum(products, x, x, dims) + kernelSum(products, y, y, dims)) / (size * (size - 1));
    values.push(within - (2 * kernelSum(products, x, y, dims)) / size ** 2);
  }
  const mean = values.reduce((sum, value) => sum + value, 0) / subsets;
  return { mean, std: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / subsets) };
}

function rowsOf(values: Float32Array, rows: Uint32Array, dims: number): Float32Array {
  const chosen = new Float32Array(rows.length * dims);
  rows.forEach((row, i) => chosen.set(values.subarray(row * dims, (row + 1) * dims), i * dims));
  return chosen;
}

/** The sum of k over all pairs of rows; of a set with itself, over pairs of different rows. */
function kernelSum(products: RowProducts, x: Float32Array, y: Float32Array, dims: number): number {
  const n = x.length / dims;
  let sum = 0;
  for (let top = 0; top < n; top += BLOCK_ROWS) {
    const rows = Math.min(BLOCK_ROWS, n - top);
    products.set(0, x.subarray(top * dims, (top + rows) * dims));
    // Within a set, k(x, x') is k(x', x): blocks below the diagonal count twice instead of being computed.
    for (let left = x === y ? top : 0; left < n; left += BLOCK_ROWS) {
      const columns = Math.min(BLOCK_ROWS, n - left);
      products.set(1, y.subarray(left * dims, (left + columns) * dims));
      const block = products.multiply(0, 1);
      const isDiagonal = x === y && left === top;
      let blockSum = 0;
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < columns; j++) {
          if (isDiagonal && i === j) continue;
          const k = block[i * BLOCK_ROWS + j]! / dims + 1;
          blockSum += k * k * k; // `**` takes several times as long
        }
      sum += x === y && !isDiagonal ? 2 * blockSum : blockSum;
    }
  }
  return sum;
}

/** torch-fidelity's subsets and their seed. */
const SUBSETS = { subsets: 100, size: 1000, seed: 2020 } as const;
/** Features of a side that subsets are taken from; 50,000 of 2048 channels would be 400 MB. */
const MOST = 10_000;

/**
 * Kernel distance and its spread over subsets of 1,000 features, as torch-fidelity chooses them; where a side has fewer
 * than that, subsets are half of the smaller side.
 */
export const kernelDistance: Metric = {
  measures: {
    kid: {
      ...{ label: "Kernel distance (KID)", best: "lower" },
      meaning:
        "Squared maximum mean discrepancy with a cubic kernel, mean over 100 subsets of 1,000 or of half the smaller side: unbiased, so it does not fall with the number of samples, and may be below 0. As torch-fidelity (Bińkowski et al. 2018).",
    },
  },
  async of({ features: reference }, { features: samples }, { seed, signal }) {
    if (!reference || !samples) return undefined;
    const fewest = Math.min(reference.rows, samples.rows);
    const size = fewest >= SUBSETS.size ? SUBSETS.size : Math.floor(fewest / 2);
    if (size < 2) return undefined;
    const [of, by] = [
      await someFeatures(reference, MOST, seed, "kid/reference"),
      await someFeatures(samples, MOST, seed, "kid/samples"),
    ];
    const { mean, std } = await kid(of, by, reference.dims, { ...SUBSETS, size, signal });
    return { kid: mean, kidStd: std, kidSubset: size };
  },
};
