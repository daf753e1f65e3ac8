import type { Kernels } from "./kernels.js";
import type { Matrix } from "./workspace.js";

/**
 * Rows that are packed and multiplied at a time: a panel of four columns, 8 KiB, then stays in the first-level cache.
 */
export const CHUNK = 256;

/** Rows and columns of the result that are computed together: their panels, 128 KiB, stay in the second-level cache. */
export const PRODUCT_BLOCK = 64;
const PANELS = PRODUCT_BLOCK / 4;

/**
 * A matrix (k, columns) laid out for products: panel after panel of four columns, each with its k rows one after
 * another.
 */
export interface Packed {
  readonly at: number;
  readonly k: number;
  readonly panels: number;
}

/** Packs rows [first, first + k) of all columns of a matrix, or of its first `columns`. */
export function packColumns(from: Matrix, first: number, k: number, to: Matrix, columns = from.columns): Packed {
  const { data, columns: stride } = from;
  const panels = columns / 4;
  for (let panel = 0; panel < panels; panel++) {
    let at = panel * 4 * k;
    let source = first * stride + 4 * panel;
    for (let row = 0; row < k; row++, at += 4, source += stride) {
      to.data[at] = data[source]!;
      to.data[at + 1] = data[source + 1]!;
      to.data[at + 2] = data[source + 2]!;
      to.data[at + 3] = data[source + 3]!;
    }
  }
  return { at: to.at, k, panels };
}

/**
 * Packs the transpose of rows from `firstRow` on, columns [first, first + k): rows of `from` are columns of the result.
 */
export function packRows(from: Matrix, firstRow: number, first: number, k: number, to: Matrix): Packed {
  const { data, columns: stride } = from;
  const panels = (from.rows - firstRow) / 4;
  for (let panel = 0; panel < panels; panel++) {
    let at = panel * 4 * k;
    const source = (firstRow + 4 * panel) * stride + first;
    for (let column = source; column < source + k; column++, at += 4) {
      to.data[at] = data[column]!;
      to.data[at + 1] = data[column + stride]!;
      to.data[at + 2] = data[column + 2 * stride]!;
      to.data[at + 3] = data[column + 3 * stride]!;
    }
  }
  return { at: to.at, k, panels };
}

/** How a product is added to a matrix. */
export interface ProductOptions {
  /** Default: 1. */
  readonly alpha?: number;
  /** First row and column of the result that the product is added to; a multiple of four. Default: 0. */
  readonly corner?: number;
  /** Compute the lower triangle alone, and as much above the diagonal as blocks bring along. Default: false. */
  readonly lower?: boolean;
  /** How many rows of the packed matrices are known to be zero at the start, for the block at this row and column. */
  readonly zeros?: (row: number, column: number) => number;
}

/** C += alpha · AᵀB. */
export function addProduct(kernels: Kernels, c: Matrix, a: Packed, b: Packed, options: ProductOptions = {}): void {
  const { alpha = 1, corner = 0, lower = false, zeros } = options;
  const { k } = a;
  const panelBytes = k * 32;
  const rowBytes = c.columns * 8;
  const start = c.at + corner * (rowBytes + 8);
  for (let column = 0; column < b.panels; column += PANELS)
    for (let row = lower ? column : 0; row < a.panels; row += PANELS) {
      const skipped = zeros ? Math.min(k, Math.max(0, zeros(4 * row, 4 * column))) : 0;
      if (skipped === k) continue;
      kernels.tiles(
        a.at + row * panelBytes + skipped * 32,
        b.at + column * panelBytes + skipped * 32,
        start + 4 * row * rowBytes + 4 * column * 8,
        k - skipped,
        rowBytes,
        alpha,
        Math.min(PANELS, a.panels - row),
        Math.min(PANELS, b.panels - column),
        panelBytes,
        panelBytes,
      );
    }
}
