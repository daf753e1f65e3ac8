/** Position of the first NaN or infinity, or -1: one sum where there is none. */
export function firstNonFinite(data: Float32Array): number {
  // In double precision a sum of float32 is finite if all are. Four sums, as each addition waits for the one before.
  let [a, b, c, d] = [0, 0, 0, 0];
  const end = data.length - (data.length % 4);
  for (let i = 0; i < end; i += 4) {
    a += data[i] as number;
    b += data[i + 1] as number;
    c += data[i + 2] as number;
    d += data[i + 3] as number;
  }
  for (let i = end; i < data.length; i++) a += data[i] as number;
  return Number.isFinite(a + b + c + d) ? -1 : data.findIndex((value) => !Number.isFinite(value));
}
