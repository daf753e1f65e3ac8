import { setImmediate } from "node:timers/promises";
import { BLOCK_ROWS } from "../linalg/row-products.js";
import { Distances } from "./distances.js";

export interface PrecisionRecallOptions {
  /** Which nearest neighbour gives an image its radius: 3 in the paper. */
  readonly neighbours?: number;
  readonly signal?: AbortSignal;
}

/** How two sets of images cover each other. */
export interface PrecisionRecall {
  /** Share of the samples that lie among the reference images: how good they are. */
  readonly precision: number;
  /** Share of the reference images that lie among the samples: how varied these are. */
  readonly recall: number;
}

/**
 * Precision and recall of samples by nearest neighbours. With NNₖ(f, F) the k-th nearest of all others in F,
 *
 *     covered(f, F) = 1 if |f - f'| <= |f' - NNₖ(f', F)| for any f' in F, else 0
 *     precision = mean of covered(sample, reference)      recall = mean of covered(reference image, samples)
 *
 * Exact: all pairs are compared, in double precision, a block at a time. Memory besides the arguments: three blocks of
 * 256 features. Both sets should hold equally many: more images lie closer together, and cover less each.
 *
 * Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2; k = 3, section 3.
 *
 * @param reference (N, dims) float32, row-major. Borrowed until the promise settles.
 * @param samples (M, dims) float32, row-major. Borrowed until the promise settles.
 * @throws {RangeError} If a set is no whole number of features, or does not have more than k of them.
 */
export async function precisionRecall(
  reference: Float32Array,
  samples: Float32Array,
  dims: number,
  { neighbours = 3, signal }: PrecisionRecallOptions = {},
): Promise<PrecisionRecall> {
  for (const [name, { length }] of Object.entries({ reference, samples }))
    if (!Number.isInteger(length / dims) || length / dims <= neighbours)
      throw new RangeError(
        `Cannot compute precision and recall: the ${name} hold ${length / dims} features of ${dims}, expected a whole number above ${neighbours}`,
      );
  const distances = new Distances(dims);
  const around = await radii(distances, reference, dims, neighbours, signal);
  const aroundSamples = await radii(distances, samples, dims, neighbours, signal);

  const [covered, coveredSamples] = [reference, samples].map((set) => new Uint8Array(set.length / dims)) as [
    Uint8Array,
    Uint8Array,
  ];
  for (const [firstRow, rows] of blocks(reference, dims)) {
    distances.set(0, rows);
    for (const [firstColumn, columns] of blocks(samples, dims)) {
      await breath(signal);
      distances.set(1, columns);
      const squares = distances.compute();
      forPairs(rows.length / dims, columns.length / dims, (i, j, at) => {
        const [row, column] = [firstRow + i, firstColumn + j];
        if (squares[at]! <= around[row]!) coveredSamples[column] = 1;
        if (squares[at]! <= aroundSamples[column]!) covered[row] = 1;
      });
    }
  }
  const share = (hits: Uint8Array): number => hits.reduce((sum, hit) => sum + hit, 0) / hits.length;
  return { precision: share(coveredSamples), recall: share(covered) };
}

/** The squared distance of each feature to its k-th nearest among the others. */
async function radii(
  distances: Distances,
  features: Float32Array,
  dims: number,
  k: number,
  signal: AbortSignal | undefined,
): Promise<Float64Array> {
  const count = features.length / dims;
  const nearest = new Float64Array(count * k).fill(Infinity); // (count, k), ascending
  const meet = (row: number, square: number): void => {
    let at = row * k + k - 1;
    if (square >= nearest[at]!) return;
    for (; at > row * k && nearest[at - 1]! > square; at--) nearest[at] = nearest[at - 1]!;
    nearest[at] = square;
  };
  for (const [firstRow, rows] of blocks(features, dims)) {
    distances.set(0, rows);
    for (const [firstColumn, columns] of blocks(features, dims, firstRow)) {
      await breath(signal);
      distances.set(1, columns);
      const squares = distances.compute();
      forPairs(rows.length / dims, columns.length / dims, (i, j, at) => {
        const [row, column] = [firstRow + i, firstColumn + j];
        if (column <= row) return; // each pair once, and none with itself
        meet(row, squares[at]!);
        meet(column, squares[at]!);
      });
    }
  }
  return Float64Array.from({ length: count }, (_, row) => nearest[row * k + k - 1]!);
}

/** Blocks of rows, with the number of their first. */
function* blocks(features: Float32Array, dims: number, from = 0): Generator<readonly [number, Float32Array]> {
  const count = features.length / dims;
  for (let first = from; first < count; first += BLOCK_ROWS)
    yield [first, features.subarray(first * dims, Math.min(first + BLOCK_ROWS, count) * dims)];
}

function forPairs(rows: number, columns: number, visit: (i: number, j: number, at: number) => void): void {
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) visit(i, j, i * BLOCK_ROWS + j);
}

/** Lets signals and timers in between two blocks. */
async function breath(signal: AbortSignal | undefined): Promise<void> {
  await setImmediate();
  signal?.throwIfAborted();
}
