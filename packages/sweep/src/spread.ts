/** Values of one setting at several seeds. */
export interface Spread {
  readonly mean: number;
  /** Sample standard deviation; undefined for one value. */
  readonly deviation: number | undefined;
  readonly values: readonly number[];
}

/** Mean and standard deviation (n - 1); undefined without values. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : undefined;
  return { mean, deviation, values };
}

/**
 * The points that no other one is better than in both ways.
 *
 * @param cost Less is better.
 * @param score Less is better; negate it where more is.
 * @returns By rising cost.
 */
export function paretoFront<T>(points: readonly T[], cost: (point: T) => number, score: (point: T) => number): T[] {
  const sorted = [...points].sort((a, b) => cost(a) - cost(b) || score(a) - score(b));
  const front: T[] = [];
  let least = Infinity;
  for (const point of sorted) {
    if (score(point) >= least) continue;
    least = score(point);
    front.push(point);
  }
  return front;
}
