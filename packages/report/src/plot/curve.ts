/** A point of a curve. */
export type Point = readonly [x: number, y: number];

/**
 * Exponential means of a curve, without the pull of a starting value:
 *
 *     s_i = Σ_k w^k y_(i-k) / Σ_k w^k,  w = exp(-1 / window)
 *
 * @param window Time constant in points; 0 leaves the values as they are.
 * @returns As many values; NaN where `values` is, which enters no mean.
 */
export function smooth(values: readonly number[], window: number): number[] {
  const w = window > 0 ? Math.exp(-1 / window) : 0;
  let [sum, weight] = [0, 0];
  return values.map((value) => {
    if (!Number.isFinite(value)) return NaN;
    [sum, weight] = [w * sum + value, w * weight + 1];
    return sum / weight;
  });
}

/**
 * At most `2 * buckets` points that look the same when drawn: of each bucket of neighbours the lowest and the highest, in
 * their order. A spike of one step stays visible.
 */
export function thin(points: readonly Point[], buckets: number): Point[] {
  if (points.length <= 2 * buckets) return [...points];
  const kept: Point[] = [];
  for (let b = 0; b < buckets; b++) {
    const start = Math.floor((b * points.length) / buckets);
    const end = Math.floor(((b + 1) * points.length) / buckets);
    let [low, high] = [start, start];
    for (let i = start + 1; i < end; i++) {
      if ((points[i] as Point)[1] < (points[low] as Point)[1]) low = i;
      if ((points[i] as Point)[1] > (points[high] as Point)[1]) high = i;
    }
    const chosen = low === high ? [low] : [Math.min(low, high), Math.max(low, high)];
    kept.push(...chosen.map((i) => points[i] as Point));
  }
  return kept;
}

/** The finite points of two columns; where `positive`, those that a logarithmic axis has a place for. */
export function pointsOf(xs: readonly number[], ys: readonly number[], positive = false): Point[] {
  return xs.flatMap((x, i) => {
    const y = ys[i] ?? NaN;
    return Number.isFinite(y) && (!positive || y > 0) ? [[x, y] as const] : [];
  });
}
