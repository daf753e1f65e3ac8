import { normals } from "../linalg/testing.js";
import { precisionRecall } from "./precision-recall.js";

const points = (...rows: readonly (readonly number[])[]): Float32Array => Float32Array.from(rows.flat());

/** Rows of normal numbers, moved and scaled. */
function cloud(count: number, dims: number, seed: number, scale = 1, shift = 0): Float32Array {
  const draw = normals(seed);
  return Float32Array.from({ length: count * dims }, () => shift + scale * draw());
}

/** The definition in plain loops: all distances, sorted. */
function bruteForce(reference: Float32Array, samples: Float32Array, dims: number, k: number) {
  const rows = (set: Float32Array): number[][] =>
    Array.from({ length: set.length / dims }, (_, i) => [...set.subarray(i * dims, (i + 1) * dims)]);
  const distance = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0);
  const covering = (set: number[][], others: number[][]): number => {
    const radii = set.map((f) => set.map((g) => distance(f, g)).sort((a, b) => a - b)[k]!); // the first is itself
    return others.filter((g) => set.some((f, i) => distance(f, g) <= radii[i]!)).length / others.length;
  };
  const [r, s] = [rows(reference), rows(samples)];
  return { precision: covering(r, s), recall: covering(s, r) };
}

describe("precisionRecall()", () => {
  test("of a set with itself is 1 and 1", async () => {
    const set = cloud(300, 7, 1);
    expect(await precisionRecall(set, set, 7)).toEqual({ precision: 1, recall: 1 });
  });

  test("of sets far apart is 0 and 0", async () => {
    expect(await precisionRecall(cloud(40, 3, 1), cloud(50, 3, 2, 1, 100), 3)).toEqual({ precision: 0, recall: 0 });
  });

  test("counts on a line what the definition says, borders included", async () => {
    // Radii to the second neighbour: reference 0, 1, 2, 3, 10 -> 2, 1, 1, 2, 8; samples 2.5, 3, 5, 6 -> 2.5, 2, 2, 3.
    const reference = points([0], [1], [2], [3], [10]);
    const samples = points([2.5], [3], [5], [6]);
    // Every sample is within 8 of 10. Of the references 0 is 2.5 from 2.5, on its border; 10 is 4 from 6 and too far.
    expect(await precisionRecall(reference, samples, 1, { neighbours: 2 })).toEqual({ precision: 1, recall: 0.8 });
    // To the first neighbour: 1, 1, 1, 1, 7 and 0.5, 0.5, 1, 1: 2.5 and 3 lie among the first four, 5 and 6 near 10; of
    // the references 2 and 3 are within 0.5 of 2.5, the others alone.
    expect(await precisionRecall(reference, samples, 1, { neighbours: 1 })).toEqual({ precision: 1, recall: 0.4 });
    expect(await precisionRecall(samples, reference, 1, { neighbours: 1 })).toEqual({ precision: 0.4, recall: 1 });
  });

  test("sees samples that all show one image: precise, and without recall", async () => {
    const reference = cloud(60, 2, 3);
    const same = Float32Array.from({ length: 40 * 2 }, (_, i) => reference[i % 2]!);
    expect(await precisionRecall(reference, same, 2)).toEqual({ precision: 1, recall: 1 / 60 });
  });

  test.each([
    [30, 45, 5, 3],
    [257, 300, 4, 3], // one more than a block
    [513, 256, 300, 1], // dims beyond one chunk
    [100, 6, 2, 5],
  ])("equals plain loops: %d and %d features of %d, neighbour %d", async (N, M, dims, neighbours) => {
    // Scaled as the distances in so many dimensions ask for, so that neither share is 0 or 1.
    const reference = cloud(N, dims, 4);
    const samples = cloud(M, dims, 5, 1 - 0.1 / Math.sqrt(dims), 0.3 / Math.sqrt(dims));
    const expected = bruteForce(reference, samples, dims, neighbours);
    expect(Math.min(expected.precision, expected.recall)).toBeGreaterThan(0);
    expect(expected.precision + expected.recall).toBeLessThan(2);
    expect(await precisionRecall(reference, samples, dims, { neighbours })).toEqual(expected);
  });

  test("far from the origin it still tells what is near", async () => {
    const [reference, samples] = [cloud(80, 3, 6, 1, 4096), cloud(80, 3, 7, 0.8, 4096)];
    expect(await precisionRecall(reference, samples, 3)).toEqual(bruteForce(reference, samples, 3, 3));
  });

  test("refuses too few features, and what is no whole number of them", async () => {
    await expect(precisionRecall(cloud(3, 2, 1), cloud(9, 2, 1), 2)).rejects.toThrow(
      "the reference hold 3 features of 2, expected a whole number above 3",
    );
    await expect(precisionRecall(cloud(9, 2, 1), new Float32Array(9), 2)).rejects.toThrow("samples hold 4.5 features");
  });

  test("stops when it is told to", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(precisionRecall(cloud(9, 2, 1), cloud(9, 2, 2), 2, { signal })).rejects.toThrow("enough");
  });
});
