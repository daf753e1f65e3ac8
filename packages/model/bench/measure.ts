/** The middle one of some numbers. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[half] ?? NaN) : ((sorted[half - 1] ?? NaN) + (sorted[half] ?? NaN)) / 2;
}

/** Median seconds of `rounds` runs, after two that are not counted. */
export async function medianSeconds(body: () => Promise<unknown>, rounds: number): Promise<number> {
  for (let i = 0; i < 2; i++) await body();
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    await body();
    times.push((performance.now() - start) / 1000);
  }
  return median(times);
}
