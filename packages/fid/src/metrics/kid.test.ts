import { kid } from "./kid.js";

const DIMS = 6;
/** What torch-fidelity finds for the sets below. */
const [MEAN, STD] = [0.8058206534583061, 0.06263051683916936];

/** Features that another program can make, too. */
function features(rows: number, bend: number, scale: number): Float32Array {
  return Float32Array.from({ length: rows * DIMS }, (_, at) => {
    const [i, j] = [Math.floor(at / DIMS), at % DIMS];
    return (((i * 37 + j * 101 + ((i * j) % 89) * 13 + bend * i * i) % 97) / 64) * scale;
  });
}

const [reference, samples] = [features(700, 0, 1), features(620, 1, 1.25)];

test("kid() is torch-fidelity's", async () => {
  // torch-fidelity 0.4.0, kid_features_to_metric(samples, reference, kid_subsets=5, kid_subset_size=300,
  // rng_seed=2020), features as doubles.
  const found = await kid(reference, samples, DIMS, { subsets: 5, size: 300, seed: 2020 });
  expect(found.mean / MEAN).toBeCloseTo(1, 10);
  expect(found.std / STD).toBeCloseTo(1, 10);
});

test("kid() of one subset is the formula", async () => {
  const [x, y] = [samples.subarray(0, 5 * DIMS), reference.subarray(0, 5 * DIMS)];
  const mean = (a: Float32Array, b: Float32Array): number => {
    const pairs = Array.from({ length: 25 }, (_, at) => [Math.floor(at / 5), at % 5] as const);
    const different = pairs.filter(([i, j]) => a !== b || i !== j);
    const k = ([i, j]: readonly [number, number]): number => {
      let dot = 0;
      for (let c = 0; c < DIMS; c++) dot += a[i * DIMS + c]! * b[j * DIMS + c]!;
      return (dot / DIMS + 1) ** 3;
    };
    return different.reduce((sum, pair) => sum + k(pair), 0) / different.length;
  };
  const found = await kid(y, x, DIMS, { subsets: 1, size: 5, seed: 3 });
  expect(found.mean).toBeCloseTo(mean(x, x) + mean(y, y) - 2 * mean(x, y), 10);
  expect(found.std).toBe(0);
});

test("kid() is about 0 between parts of one set, and refuses subsets that are too large", async () => {
  const { mean, std } = await kid(reference, reference.slice(), DIMS, { subsets: 20, size: 200, seed: 0 });
  expect(Math.abs(mean)).toBeLessThan(3 * std);
  for (const size of [1, 621])
    await expect(kid(reference, samples, DIMS, { subsets: 1, size, seed: 0 })).rejects.toThrow(
      `Cannot take subsets of ${size} from 700 and 620 features`,
    );
});
