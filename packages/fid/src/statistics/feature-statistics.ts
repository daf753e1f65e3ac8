import type { Gaussian } from "../frechet.js";
import { addProduct, CHUNK, packColumns } from "../linalg/products.js";
import { padded, Workspace, type Matrix } from "../linalg/workspace.js";

/** All that statistics remember: what a shard hands on. */
export interface StatisticsState {
  /** Rows seen. */
  readonly count: number;
  /** (dims) */
  readonly mean: Float64Array;
  /** (dims, dims), symmetric: the sum of (x - mean)(x - mean)ᵀ over all rows. */
  readonly scatter: Float64Array;
}

/** Rows that enter the scatter together. One row of a chunk is kept for the difference of means. */
const CHUNK_ROWS = CHUNK - 1;

/**
 * Mean and covariance of features that come in parts, in double precision. Parts are centered on their own means before
 * anything is squared, and joined by
 *
 *     M = M₁ + M₂ + (m₁ - m₂)(m₁ - m₂)ᵀ · n₁ n₂ / (n₁ + n₂)
 *
 * so that shards that were counted apart and merged differ from one count of everything by rounding alone.
 *
 * Source: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
 *
 * @example
 * const statistics = new FeatureStatistics(2048);
 * statistics.add(features); // (N, 2048), as often as wanted
 * const distance = frechetDistance(statistics.gaussian(), reference);
 */
export class FeatureStatistics {
  /** Channels of a feature. */
  readonly dims: number;
  private readonly workspace: Workspace;
  private readonly sums: Matrix;
  private readonly rows: Matrix;
  private readonly packed: Matrix;
  private readonly center: Float64Array;
  private joined = 0;
  private waiting = 0;

  /** @throws {RangeError} If `dims` is not a positive whole number. */
  constructor(dims: number) {
    if (!Number.isSafeInteger(dims) || dims <= 0)
      throw new RangeError(`Cannot count features: dims is ${dims}, expected a positive whole number`);
    const width = padded(dims);
    this.dims = dims;
    this.workspace = new Workspace(width * width + 2 * CHUNK * width);
    this.sums = this.workspace.matrix(dims, dims);
    this.rows = this.workspace.matrix(CHUNK, dims);
    this.packed = this.workspace.matrix(CHUNK, dims);
    this.center = new Float64Array(dims);
  }

  /** Rows seen. */
  get count(): number {
    return this.joined + this.waiting;
  }

  /**
   * Adds features.
   *
   * @param features (N, dims), row-major. Copied.
   * @throws {RangeError} If the elements are no whole number of rows, or one is not finite; nothing is added then.
   */
  add(features: Float32Array | Float64Array): void {
    const { dims } = this;
    const N = features.length / dims;
    if (!Number.isInteger(N))
      throw new RangeError(`Cannot count features: ${features.length} elements are no whole number of rows of ${dims}`);
    const bad = features.findIndex((x: number) => !Number.isFinite(x));
    if (bad >= 0)
      throw new RangeError(
        `Cannot count features: row ${Math.floor(bad / dims)}, column ${bad % dims} is ${features[bad]}`,
      );
    for (let row = 0; row < N; row++) {
      this.rows.data.set(features.subarray(row * dims, (row + 1) * dims), this.waiting * this.rows.columns);
      if (++this.waiting === CHUNK_ROWS) this.join();
    }
  }

  /**
   * Adds what other statistics have seen. They stay as they are.
   *
   * @throws {RangeError} If the dims differ.
   */
  merge(other: FeatureStatistics): void {
    if (other.dims !== this.dims)
      throw new RangeError(`Cannot merge statistics of ${other.dims} dims into statistics of ${this.dims}`);
    this.join();
    if (other.count === 0) return;
    const { count, mean, scatter } = other.state();
    this.addScatter(scatter);
    this.rows.data.fill(0);
    this.move(mean, count, this.rows.data);
    this.addRows(4);
  }

  /** (dims), new. NaN if nothing was added. */
  mean(): Float64Array {
    this.join();
    return this.count === 0 ? new Float64Array(this.dims).fill(NaN) : this.center.slice();
  }

  /**
   * (dims, dims), symmetric, row-major, new: the scatter divided by count - 1.
   *
   * @throws {RangeError} If fewer than two rows were added.
   */
  covariance(): Float64Array {
    const { count } = this;
    if (count < 2) throw new RangeError(`Cannot compute a covariance of ${count} rows, expected 2 or more`);
    const { scatter } = this.state();
    for (let i = 0; i < scatter.length; i++) scatter[i] = scatter[i]! / (count - 1);
    return scatter;
  }

  /** Mean and covariance: what is compared, and what a file of statistics holds. */
  gaussian(): Gaussian {
    return { mu: this.mean(), sigma: this.covariance() };
  }

  /** All that is remembered, new. */
  state(): StatisticsState {
    this.join();
    const { dims, sums } = this;
    const scatter = new Float64Array(dims * dims);
    for (let i = 0; i < dims; i++)
      for (let j = 0; j <= i; j++) {
        const value = sums.data[i * sums.columns + j]!;
        scatter[i * dims + j] = value;
        scatter[j * dims + i] = value;
      }
    return { count: this.count, mean: this.center.slice(), scatter };
  }

  /**
   * Statistics from what `state` gave.
   *
   * @throws {RangeError} If the sizes do not fit each other.
   */
  static from({ count, mean, scatter }: StatisticsState): FeatureStatistics {
    const statistics = new FeatureStatistics(mean.length);
    const { dims } = statistics;
    if (scatter.length !== dims * dims || !Number.isSafeInteger(count) || count < 0)
      throw new RangeError(
        `Cannot restore statistics: ${scatter.length} sums and a count of ${count}, expected ${dims * dims} and a whole number`,
      );
    statistics.addScatter(scatter);
    statistics.center.set(mean);
    statistics.joined = count;
    return statistics;
  }

  /** Takes the waiting rows into mean and scatter. */
  private join(): void {
    const { dims, waiting } = this;
    if (waiting === 0) return;
    const { data, columns } = this.rows;
    const mean = new Float64Array(dims);
    for (let row = 0; row < waiting; row++)
      for (let i = 0; i < dims; i++) mean[i] = mean[i]! + data[row * columns + i]!;
    for (let i = 0; i < dims; i++) mean[i] = mean[i]! / waiting;
    for (let row = 0; row < waiting; row++)
      for (let i = 0; i < dims; i++) data[row * columns + i] = data[row * columns + i]! - mean[i]!;
    this.waiting = 0;
    this.move(mean, waiting, data.subarray(waiting * columns));
    this.addRows(waiting + 1);
  }

  /**
   * Moves the mean as `count` rows of another mean ask for, and counts them.
   *
   * @param row Receives the difference of means, such that its outer product is what the scatter gains.
   */
  private move(mean: Float64Array, count: number, row: Float64Array): void {
    const total = this.joined + count;
    const weight = Math.sqrt((this.joined * count) / total);
    for (let i = 0; i < this.dims; i++) {
      const difference = mean[i]! - this.center[i]!;
      row[i] = weight * difference;
      this.center[i] = this.center[i]! + (difference * count) / total;
    }
    this.joined = total;
  }

  /** Adds the outer products of the first rows to the scatter. */
  private addRows(count: number): void {
    const columns = packColumns(this.rows, 0, count, this.packed);
    addProduct(this.workspace.kernels, this.sums, columns, columns, { lower: true });
  }

  private addScatter(scatter: Float64Array): void {
    const { dims, sums } = this;
    for (let i = 0; i < dims; i++)
      for (let j = 0; j <= i; j++) {
        const at = i * sums.columns + j;
        sums.data[at] = sums.data[at]! + scatter[i * dims + j]!;
      }
  }
}
