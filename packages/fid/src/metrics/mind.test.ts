import { normal, randomKey } from "@madformer/engine";
import { mind } from "./mind.js";

const draw = (rows: number, dims: number, name: string): Float32Array =>
  normal(randomKey(1, name), { size: rows * dims });
const options = { directions: 300, seed: 0 };

test("mind() of one dimension is the mean square between ranks", async () => {
  const [x, y] = [Float32Array.of(3, -1, 2), Float32Array.of(0, 5, 1)];
  // -1 2 3 beside 0 1 5; a direction is 1 or -1, and both give the same.
  expect(await mind(x, y, 1, options)).toBeCloseTo((1 + 1 + 4) / 3, 6);
});

test("mind() of a set and itself, in another order, is 0", async () => {
  const x = draw(300, 5, "x");
  const turned = Float32Array.from({ length: x.length }, (_, i) => x[(i + 5 * 100) % x.length]!);
  expect(await mind(x, turned, 5, options)).toBeLessThan(1e-12);
});

test("mind() of a set and its shift is the square of the shift over the dimensions", async () => {
  const dims = 8;
  const x = draw(500, dims, "x");
  const y = x.map((value, i) => value + (i % dims === 0 ? 2 : 0));
  // E (θ·s)² = |s|² / dims over all directions. 300 of them: its standard error is about 7 % here.
  const found = await mind(x, y, dims, options);
  expect(found / (4 / dims)).toBeGreaterThan(0.7);
  expect(found / (4 / dims)).toBeLessThan(1.3);
  expect(await mind(x, y, dims, options)).toBe(found);
  expect(await mind(x, y, dims, { ...options, seed: 1 })).not.toBe(found);
});

test("mind() refuses sets of different sizes", async () => {
  await expect(mind(draw(3, 2, "x"), draw(4, 2, "y"), 2, options)).rejects.toThrow(
    "Cannot compare 3 features with 4, expected as many, one or more",
  );
});
