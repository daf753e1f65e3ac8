import { CHUNK, addProduct, packRows } from "./products.js";
import { Workspace, padded, type Matrix } from "./workspace.js";

/** Rows that are multiplied with rows at a time. */
export const BLOCK_ROWS = 256;

/**
 * Products a·b of rows with rows, a block at a time, in double precision. All of them add in one order, so that a·b is
 * b·a to the bit. Memory: three blocks of rows in doubles.
 */
export class RowProducts {
  private readonly workspace: Workspace;
  private readonly rows: readonly [Matrix, Matrix];
  private readonly packed: readonly [Matrix, Matrix];
  private readonly products: Matrix;

  /** @param dims Elements of a row. */
  constructor(private readonly dims: number) {
    const blocks = 2 * BLOCK_ROWS * padded(dims) + 2 * CHUNK * BLOCK_ROWS + BLOCK_ROWS ** 2;
    this.workspace = new Workspace(blocks);
    const rows = (): Matrix => this.workspace.matrix(BLOCK_ROWS, dims);
    const packed = (): Matrix => this.workspace.matrix(CHUNK, BLOCK_ROWS);
    this.rows = [rows(), rows()];
    this.packed = [packed(), packed()];
    this.products = this.workspace.matrix(BLOCK_ROWS, BLOCK_ROWS);
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
  }

  /**
   * Products of the rows of two sides, or of one with itself: row i and row j at `i * BLOCK_ROWS + j`. Good until the
   * next call, and yours to write into; rows that were not set hold anything.
   */
  multiply(left: 0 | 1, right: 0 | 1): Float64Array {
    const columns = this.rows[0].columns;
    this.products.data.fill(0);
    for (let first = 0; first < columns; first += CHUNK) {
      const k = Math.min(CHUNK, columns - first);
      const a = packRows(this.rows[left], 0, first, k, this.packed[0]);
      const b = packRows(this.rows[right], 0, first, k, this.packed[1]);
      addProduct(this.workspace.kernels, this.products, a, b);
    }
    return this.products.data;
  }
}
