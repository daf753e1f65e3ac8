import { BLOCK_ROWS, RowProducts } from "../linalg/row-products.js";

/**
 * Squared distances between rows, a block at a time, in double precision:
 *
 *     |a - b|² = a·a + b·b - 2 a·b
 *
 * All three products add in one order, so that equal rows are exactly 0 apart, and a pair is as far apart in either
 * order.
 */
export class Distances {
  private readonly products: RowProducts;
  private readonly norms = [new Float64Array(BLOCK_ROWS), new Float64Array(BLOCK_ROWS)] as const;

  /** @param dims Elements of a row. */
  constructor(private readonly dims: number) {
    this.products = new RowProducts(dims);
  }

  /**
   * Sets the rows on one side.
   *
   * @param side 0: rows of the result; 1: its columns.
   * @param values (n, dims), n up to `BLOCK_ROWS`. Copied.
   */
  set(side: 0 | 1, values: Float32Array): void {
    this.products.set(side, values);
    const squares = this.products.multiply(side, side);
    const n = values.length / this.dims;
    for (let row = 0; row < n; row++) this.norms[side][row] = squares[row * BLOCK_ROWS + row]!;
  }

  /**
   * Squared distances: row i of side 0 and row j of side 1 at `i * BLOCK_ROWS + j`. Good until the next call; rows that
   * were not set hold anything.
   */
  compute(): Float64Array {
    const data = this.products.multiply(0, 1);
    const [left, right] = this.norms;
    for (let i = 0, at = 0; i < BLOCK_ROWS; i++) {
      const norm = left[i]!;
      for (let j = 0; j < BLOCK_ROWS; j++, at++) data[at] = norm + right[j]! - 2 * data[at]!;
    }
    return data;
  }
}
