import { toFloat64, type TensorValue } from "@madformer/artifacts";

/** Figures of a tensor's elements, in float64. */
export interface Stats {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  /** Standard deviation of all elements (divided by their number). */
  readonly std: number;
  /** NaN and infinities. The figures above are of the others. */
  readonly nonFinite: number;
}

/** @returns undefined if no element is finite. */
export function statsOf(value: TensorValue): Stats | undefined {
  const data = toFloat64(value);
  let [min, max, sum, count] = [Infinity, -Infinity, 0, 0];
  for (const x of data) {
    if (!Number.isFinite(x)) continue;
    if (x < min) min = x;
    if (x > max) max = x;
    sum += x;
    count++;
  }
  if (count === 0) return undefined;
  const mean = sum / count;
  let squares = 0;
  for (const x of data) if (Number.isFinite(x)) squares += (x - mean) ** 2;
  return { min, max, mean, std: Math.sqrt(squares / count), nonFinite: data.length - count };
}
