import { integers, normal, permutation, permutationAt, randomKey, uniform } from "../src/random/index.js";

/** The rate of one function, in elements drawn per second. */
export interface Rate {
  readonly name: string;
  readonly elementsPerSecond: number;
}

const BATCH = 2 ** 20;
const RUNS = 15;

/**
 * Measures the random generator in one thread: each function draws about a million elements (keys and single positions:
 * 16,384) fifteen times after a warm-up; the median run counts.
 *
 * On two otherwise idle cores of an AMD EPYC (Zen 4, virtual), Node 20.20.2, in millions per second: `uniform` 77,
 * `normal` 42, `integers` 31, a whole `permutation` 4.4, `permutationAt` 0.36, `randomKey` 1.8.
 */
export function benchRandom(): Rate[] {
  const key = randomKey(0, "bench");
  const floats = new Float32Array(BATCH);
  const ints = new Int32Array(BATCH);
  const order = new Uint32Array(BATCH);
  return [
    rate("uniform", BATCH, (run) => uniform(key, { into: floats, offset: run * BATCH })),
    rate("normal", BATCH, (run) => normal(key, { into: floats, offset: run * BATCH })),
    rate("integers in [0, 1000)", BATCH, (run) => integers(key, 0, 1000, { into: ints, offset: run * BATCH })),
    rate("permutation of 2^20, whole", BATCH, (run) => permutation(randomKey(run, "bench"), BATCH, { into: order })),
    rate("permutationAt of 10^9", 2 ** 14, (run) => {
      for (let i = 0; i < 2 ** 14; i++) permutationAt(key, 1e9, run * 2 ** 14 + i);
    }),
    rate("randomKey, two indices", 2 ** 14, (run) => {
      for (let i = 0; i < 2 ** 14; i++) randomKey(17, "noise", [run, i]);
    }),
  ];
}

function rate(name: string, elements: number, draw: (run: number) => void): Rate {
  for (let run = 0; run < 3; run++) draw(run);
  const seconds = Array.from({ length: RUNS }, (_, run) => {
    const start = performance.now();
    draw(run);
    return (performance.now() - start) / 1000;
  });
  const median = seconds.sort((a, b) => a - b)[RUNS >> 1]!;
  return { name, elementsPerSecond: elements / median };
}
