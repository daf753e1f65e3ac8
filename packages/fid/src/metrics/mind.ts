import { normal, randomKey } from "@madformer/engine";
import { BLOCK_ROWS, RowProducts } from "../linalg/row-products.js";
import type { Metric } from "../score/metrics.js";
import { someFeatures } from "./some-features.js";

export interface MindOptions {
  /** Directions that features are projected on. */
  readonly directions: number;
  /** Seed of the directions. */
  readonly seed: number;
  readonly signal?: AbortSignal;
}

/**
 * Monge Inception Distance: the squared sliced Wasserstein distance of two equally large sets,
 *
 *     mean over directions θ, |θ| = 1, and over ranks i, of (i-th smallest θ·x  -  i-th smallest θ·y)²
 *
 * It needs no covariances, and so fewer samples than a Fréchet distance.
 *
 * Source: Berthet et al. 2026, arXiv:2605.06797.
 *
 * @param reference (n, dims), row-major. Borrowed.
 * @param samples (n, dims), row-major. Borrowed.
 * @throws {RangeError} If the sides are not equally large, or empty.
 */
export async function mind(
  reference: Float32Array,
  samples: Float32Array,
  dims: number,
  { directions, seed, signal }: MindOptions,
): Promise<number> {
  const n = samples.length / dims;
  if (n === 0 || reference.length !== samples.length)
    throw new RangeError(`Cannot compare ${reference.length / dims} features with ${n}, expected as many, one or more`);
  const all = unitVectors(directions, dims, seed);
  const products = new RowProducts(dims);
  let sum = 0;
  for (let first = 0; first < directions; first += BLOCK_ROWS) {
    await new Promise(setImmediate);
    signal?.throwIfAborted();
    const some = all.subarray(first * dims, Math.min(first + BLOCK_ROWS, directions) * dims);
    const [a, b] = [reference, samples].map((rows) => sortedProjections(products, some, rows, dims)) as [
      Float64Array[],
      Float64Array[],
    ];
    a.forEach((of, direction) => {
      const other = b[direction]!;
      for (let i = 0; i < n; i++) sum += (of[i]! - other[i]!) ** 2;
    });
  }
  return sum / (directions * n);
}

/** (directions, dims), row-major: normal vectors, made as long as 1. */
function unitVectors(directions: number, dims: number, seed: number): Float32Array {
  const vectors = normal(randomKey(seed, "directions"), { size: directions * dims });
  for (let at = 0; at < vectors.length; at += dims) {
    const vector = vectors.subarray(at, at + dims);
    const length = Math.hypot(...vector);
    vector.forEach((value, i) => (vector[i] = value / length));
  }
  return vectors;
}

/** Projections on each direction, ascending. */
function sortedProjections(
  products: RowProducts,
  directions: Float32Array,
  rows: Float32Array,
  dims: number,
): Float64Array[] {
  const n = rows.length / dims;
  const result = Array.from({ length: directions.length / dims }, () => new Float64Array(n));
  products.set(0, directions);
  for (let first = 0; first < n; first += BLOCK_ROWS) {
    const count = Math.min(BLOCK_ROWS, n - first);
    products.set(1, rows.subarray(first * dims, (first + count) * dims));
    const block = products.multiply(0, 1);
    result.forEach((values, i) => values.set(block.subarray(i * BLOCK_ROWS, i * BLOCK_ROWS + count), first));
  }
  for (const values of result) values.sort();
  return result;
}

const DIRECTIONS = 1024;
/** Features of either side at most: the paper finds 5,000 to be enough. */
const MOST = 5000;

/** Monge distance of as many features of either side, chosen at random where there are more. */
export const mongeDistance: Metric = {
  measures: {
    mind: {
      ...{ label: "Sliced Wasserstein distance (MIND)", best: "lower" },
      meaning:
        "Mean squared difference of sorted projections on 1,024 random directions: no covariance, so few samples do (Berthet et al. 2026).",
    },
  },
  async of({ features: reference }, { features: samples }, { seed, signal }) {
    if (!reference || !samples) return undefined;
    const images = Math.min(MOST, reference.rows, samples.rows);
    const of = await someFeatures(reference, images, seed, "mind/reference");
    const by = await someFeatures(samples, images, seed, "mind/samples");
    return { mind: await mind(of, by, reference.dims, { directions: DIRECTIONS, seed, signal }), mindImages: images };
  },
};
