import * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "../config.js";

/** Row and column of each token in the token grid of the image, block after block: (T·M) each. */
export function tokenPositions(config: MadformerConfig): { readonly rows: Int32Array; readonly columns: Int32Array } {
  const { T, grid, M, tokenSide } = geometryOf(config);
  const place = (of: (block: number, token: number) => number): Int32Array =>
    Int32Array.from({ length: T * M }, (_, i) => of(Math.floor(i / M), i % M));
  return {
    rows: place((block, token) => Math.floor(block / grid) * tokenSide + Math.floor(token / tokenSide)),
    columns: place((block, token) => (block % grid) * tokenSide + (token % tokenSide)),
  };
}

/** Base of the frequencies of an axis with this many positions: 8 · length / π, rounded up to the next hundred. */
export function ropeBase(length: number): number {
  return (Math.floor(Math.trunc((8 * length) / Math.PI) / 100) + 1) * 100;
}

/**
 * Angles of one axis: positions times frequencies, the frequencies written twice, in float32 throughout.
 *
 *     angle[p, i] = p · base^(-e_i),  e_i = i / (n - 1)  or  i / n,  n = width / 2
 *
 * Source: spec section 8.
 *
 * @param length Positions on the axis.
 * @param width Dimensions of a head that the axis has: D / 2.
 * @returns (length, width) float32, radians.
 */
export function ropeAngles(length: number, width: number, exponents: "inclusive" | "exclusive"): Float32Array {
  const n = width / 2;
  const base = ropeBase(length);
  const frequencies = Float32Array.from({ length: n }, (_, i) => {
    const exponent = exponents === "inclusive" ? i / Math.max(n - 1, 1) : i / n;
    return Math.fround(1 / Math.fround(base ** Math.fround(exponent)));
  });
  const angles = new Float32Array(length * width);
  for (let position = 0; position < length; position++)
    for (let j = 0; j < width; j++) angles[position * width + j] = position * (frequencies[j % n] ?? 0);
  return angles;
}

/** What rotates queries and keys: `x ∘ cos + (x R) ∘ sin`. */
export interface RopeTables {
  /**
   * (L, D) float32, cosines of each token's angles: the row's in the first half of a head, the column's in the second.
   */
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
  /** (D, D), entries 0, 1 and -1: takes each dimension to its partner's place. */
  readonly partners: tf.Tensor2D;
}

/**
 * Cosines and sines for all tokens of an image, block after block, as plain numbers.
 *
 * @returns (T·M, D) float32 each.
 */
export function ropeValues(config: MadformerConfig): { readonly cos: Float32Array; readonly sin: Float32Array } {
  const { T, M, D, grid, tokenSide } = geometryOf(config);
  const half = D / 2;
  const angles = ropeAngles(grid * tokenSide, half, config.quirks.ropeExponents);
  const { rows, columns } = tokenPositions(config);
  const [cos, sin] = [new Float32Array(T * M * D), new Float32Array(T * M * D)];
  for (let token = 0; token < T * M; token++)
    for (let j = 0; j < D; j++) {
      const position = (j < half ? rows[token] : columns[token]) ?? 0;
      const angle = angles[position * half + (j % half)] ?? 0;
      cos[token * D + j] = Math.cos(angle);
      sin[token * D + j] = Math.sin(angle);
    }
  return { cos, sin };
}

/**
 * Tables of two-dimensional rotary embeddings for all tokens of an image, block after block. Positions are global.
 *
 * Source: Su et al. 2021, arXiv:2104.09864, for one axis; spec section 8. Departs from it under the quirk
 * `ropePairs: "across-axes"`: the halves of the whole head are each other's partners, so a dimension turned by its
 * row's angle is paired with one turned by its column's.
 */
export function ropeTables(config: MadformerConfig): RopeTables {
  const { T, M, D } = geometryOf(config);
  const { cos, sin } = ropeValues(config);
  const table = (values: Float32Array): tf.Tensor2D => tf.tensor2d(values, [T * M, D]);
  return { cos: table(cos), sin: table(sin), partners: ropePartners(config) };
}

/** The matrix R of `x R`: the second half of each group, negated, comes first; the first half comes second. */
export function ropePartners(config: MadformerConfig): tf.Tensor2D {
  const { D } = geometryOf(config);
  return partnersWithin(D, config.quirks.ropePairs === "across-axes" ? D : D / 2);
}

/** The same, of groups of so many dimensions side by side. */
export function partnersWithin(D: number, group: number): tf.Tensor2D {
  const matrix = new Float32Array(D * D);
  for (let j = 0; j < D; j++) {
    const [start, at] = [j - (j % group), j % group];
    const first = at < group / 2;
    const from = start + (first ? at + group / 2 : at - group / 2);
    matrix[from * D + j] = first ? -1 : 1;
  }
  return tf.tensor2d(matrix, [D, D]);
}

/**
 * Rotates queries or keys by their tokens' positions.
 *
 * @param x (B, L, D) float32, heads of all images.
 * @param tables Of the L tokens.
 * @returns Like x.
 */
export function rotate(x: tf.Tensor3D, { cos, sin, partners }: RopeTables): tf.Tensor3D {
  const [B, L, D] = x.shape;
  const turned = tf.reshape(tf.matMul(tf.reshape<tf.Rank.R2>(x, [B * L, D]), partners), [B, L, D]); // exact: 0, 1, -1
  return tf.add(tf.mul(x, cos), tf.mul(turned, sin));
}

/** The tables of some blocks: [start, end). */
export function ropeOfBlocks(tables: RopeTables, M: number, start: number, end: number): RopeTables {
  const part = (x: tf.Tensor2D): tf.Tensor2D => tf.slice(x, [start * M, 0], [(end - start) * M, -1]);
  return { cos: part(tables.cos), sin: part(tables.sin), partners: tables.partners };
}
