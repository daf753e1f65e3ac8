import { permutation, randomKey } from "@madformer/engine";
import type { FeatureRows } from "../features/feature-file.js";

/**
 * Features in their order: all of them, or some that are chosen at random.
 *
 * @param most How many at most.
 * @param purpose Of the choice: for another one, others are chosen.
 * @returns (n, dims), row-major. New.
 */
export function someFeatures(file: FeatureRows, most: number, seed: number, purpose: string): Promise<Float32Array> {
  const size = Math.min(most, file.rows);
  return file.select(permutation(randomKey(seed, purpose), file.rows, { size }).sort());
}
