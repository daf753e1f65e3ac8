/** A point of a curve. */
export type Point = readonly [x: number, y: number];

/**
 * Means of a curve around each of its points, weighted exponentially to both sides, so that the means lie where the
 * curve does (weights to one side alone would lag behind it):
 *
 *     s_i = Σ_k w^|k| y_(i+k) / Σ_k w^|k|,  w = exp(-1 / window)
 *
 * @param window Points over which weights fall to 1/e; 0 leaves the values as they are.
 * @returns As many values; NaN where `values` is not finite, which enters no mean.
 */
export function smooth(values: readonly number[], window: number): number[] {
  const w = window > 0 ? Math.exp(-1 / window) : 0;
  const before = weighted(values, w);
  const after = weighted(values.toReversed(), w).reverse();
  return values.map((value, i) => {
    if (!Number.isFinite(value)) return NaN;
    const [[a, n], [b, m]] = [before[i] as Sum, after[i] as Sum];
    return (a + b - value) / (n + m - 1); // the point itself is in both
  });
}

type Sum = readonly [sum: number, weight: number];

/** At each point, the weighted sum of the values up to it, and of their weights. */
function weighted(values: readonly number[], w: number): Sum[] {
  let [sum, weight] = [0, 0];
  return values.map((value): Sum => {
    const finite = Number.isFinite(value);
    [sum, weight] = [w * sum + (finite ? value : 0), w * weight + (finite ? 1 : 0)];
    return [sum, weight];
  });
}

/**
 * At most `2 * buckets + 2` points that look the same when drawn: the ends, and of each bucket of neighbours the lowest
 * and the highest, in their order. A spike of one step stays visible.
 */
export function thin(points: readonly Point[], buckets: number): Point[] {
  if (points.length <= 2 * buckets) return [...points];
  const kept = new Set([0, points.length - 1]);
  for (let b = 0; b < buckets; b++) {
    const start = Math.floor((b * points.length) / buckets);
    const end = Math.floor(((b + 1) * points.length) / buckets);
    let [low, high] = [start, start];
    for (let i = start + 1; i < end; i++) {
      if ((points[i] as Point)[1] < (points[low] as Point)[1]) low = i;
      if ((points[i] as Point)[1] > (points[high] as Point)[1]) high = i;
    }
    kept.add(low).add(high);
  }
  return [...kept].sort((a, b) => a - b).map((i) => points[i] as Point);
}

/** The points of two columns where both are there. */
export function pointsOf(xs: readonly number[], ys: readonly number[]): Point[] {
  return xs.flatMap((x, i) => {
    const y = ys[i] ?? NaN;
    return Number.isFinite(y) ? [[x, y] as const] : [];
  });
}
