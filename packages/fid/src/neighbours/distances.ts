import { CHUNK, addProduct, packRows } from "../linalg/products.js";
import { Workspace, padded, type Matrix } from "../linalg/workspace.js";

/** Rows that are compared with rows at a time. */
export const BLOCK_ROWS = 256;

/**
 * Squared distances between rows, a block at a time, in double precision:
 *
 *     |a - b|² = a·a + b·b - 2 a·b
 *
 * All three products add in one order, so that equal rows are exactly 0 apart, and a pair is as far apart in either
 * order. Memory: three blocks of rows in doubles.
 */
export class Distances {
  private readonly workspace: Workspace;
  private readonly rows: readonly [Matrix, Matrix];
  private readonly packed: readonly [Matrix, Matrix];
  private readonly products: Matrix;
  private readonly norms: readonly [Float64Array, Float64Array];

  /** @param dims Elements of a row. */
  constructor(private readonly dims: number) {
    const blocks = 2 * BLOCK_ROWS * padded(dims) + 2 * CHUNK * BLOCK_ROWS + BLOCK_ROWS ** 2;
    this.workspace = new Workspace(blocks);
    const rows = (): Matrix => this.workspace.matrix(BLOCK_ROWS, dims);
    const packed = (): Matrix => this.workspace.matrix(CHUNK, BLOCK_ROWS);
    this.rows = [rows(), rows()];
    this.packed = [packed(), packed()];
    this.products = this.workspace.matrix(BLOCK_ROWS, BLOCK_ROWS);
    this.norms = [new Float64Array(BLOCK_ROWS), new Float64Array(BLOCK_ROWS)];
  }

  /**
   * Sets the rows on one side.
   *
   * @param side 0: rows of the result; 1: its columns.
   * @param values (n, dims), n up to `BLOCK_ROWS`. Copied.
   */
  set(side: 0 | 1, values: Float32Array): void {
    const { data, columns } = this.rows[side];
    const n = values.length / this.dims;
    for (let row = 0; row < n; row++) data.set(values.subarray(row * this.dims, (row + 1) * this.dims), row * columns);
    this.multiply(side, side);
    for (let row = 0; row < n; row++) this.norms[side][row] = this.products.data[row * BLOCK_ROWS + row]!;
  }

  /**
   * Squared distances: row i of side 0 and row j of side 1 at `i * BLOCK_ROWS + j`. Good until the next call; rows that
   * were not set hold anything.
   */
  compute(): Float64Array {
    this.multiply(0, 1);
    const { data } = this.products;
    const [left, right] = this.norms;
    for (let i = 0, at = 0; i < BLOCK_ROWS; i++) {
      const norm = left[i]!;
      for (let j = 0; j < BLOCK_ROWS; j++, at++) data[at] = norm + right[j]! - 2 * data[at]!;
    }
    return data;
  }

  private multiply(left: 0 | 1, right: 0 | 1): void {
    const columns = this.rows[0].columns;
    this.products.data.fill(0);
    for (let first = 0; first < columns; first += CHUNK) {
      const k = Math.min(CHUNK, columns - first);
      const a = packRows(this.rows[left], 0, first, k, this.packed[0]);
      const b = packRows(this.rows[right], 0, first, k, this.packed[1]);
      addProduct(this.workspace.kernels, this.products, a, b);
    }
  }
}
