import { draw } from "../testing.js";
import { PatchPcaFit } from "./fit-patch-pca.js";

const [PATCH, SIDE, N] = [2, 6, 40];
const VALUES = 3 * PATCH ** 2;

/** Images whose values are not of one variance, and hang together. */
function images(): Float32Array {
  const { data } = draw("images", N, SIDE, SIDE, 3);
  return data.map((x, i) => 0.2 + 0.1 * x * (1 + (i % 5)) + 0.3 * (data[i - (i % 3)] ?? 0));
}

/** All patches, by a plain loop over pixels. */
function patchesOf(images: Float32Array): number[][] {
  const patches: number[][] = [];
  for (let n = 0; n < images.length / (SIDE * SIDE * 3); n++)
    for (let py = 0; py < SIDE / PATCH; py++)
      for (let px = 0; px < SIDE / PATCH; px++)
        patches.push(
          Array.from({ length: VALUES }, (_, i) => {
            const [dy, dx, c] = [Math.floor(i / (3 * PATCH)), Math.floor(i / 3) % PATCH, i % 3];
            return images[((n * SIDE + py * PATCH + dy) * SIDE + px * PATCH + dx) * 3 + c]!;
          }),
        );
  return patches;
}

const fitted = (): PatchPcaFit => {
  const fit = new PatchPcaFit(PATCH, SIDE);
  fit.add(images());
  return fit;
};

describe("PatchPcaFit", () => {
  test("finds uncorrelated coefficients with the variances of its scale, about the mean patch", () => {
    const channels = 7;
    const { codec, weights, keptVariance } = fitted().finish(channels);
    const patches = patchesOf(images());
    expect([codec.kind, codec.patch, codec.channels, codec.side]).toEqual(["patch-pca", PATCH, channels, SIDE]);
    const mean = Array.from({ length: VALUES }, (_, i) => patches.reduce((sum, p) => sum + p[i]!, 0) / patches.length);
    mean.forEach((value, i) => expect(weights.mean[i]).toBeCloseTo(value, 6));
    const coefficients = patches.map((patch) =>
      Array.from({ length: channels }, (_, c) =>
        patch.reduce((sum, x, i) => sum + (x - mean[i]!) * weights.basis[i * channels + c]!, 0),
      ),
    );
    const variance = (c: number, d: number): number =>
      coefficients.reduce((sum, z) => sum + z[c]! * z[d]!, 0) / patches.length;
    for (let c = 0; c < channels; c++)
      // The basis is float32.
      for (let d = 0; d < channels; d++) expect(variance(c, d)).toBeCloseTo(c === d ? codec.scale.std[c]! ** 2 : 0, 6);
    expect(codec.scale.mean).toEqual(Array(channels).fill(0));
    const total = mean.reduce((sum, m, i) => sum + patches.reduce((s, p) => s + (p[i]! - m) ** 2, 0), 0);
    const kept = coefficients.flat().reduce((sum, z) => sum + z * z, 0);
    expect(keptVariance).toBeCloseTo(kept / total, 6);
    expect(keptVariance).toBeLessThan(0.99);
  });

  test("takes no image that is not finite, and names it", () => {
    const fit = fitted();
    const more = images().slice(0, 3 * SIDE ** 2 * 3);
    more[2 * SIDE ** 2 * 3 + 5] = Infinity;
    expect(() => fit.add(more)).toThrow(
      `Cannot fit patches: image ${N + 2} is not finite: 1 of 108 elements, the first is Infinity at index 5`,
    );
    expect(fit.finish(3)).toEqual(fitted().finish(3));
  });

  test("keeps the directions of the largest variance, the larger first", () => {
    const all = fitted().finish(VALUES);
    const some = fitted().finish(4);
    expect(some.codec.scale.std).toEqual(all.codec.scale.std.slice(0, 4));
    const { std } = all.codec.scale;
    std.forEach((value, i) => expect(value).toBeLessThanOrEqual(std[i - 1] ?? Infinity));
    expect(all.keptVariance).toBe(1);
  });

  test("makes variances equal as far as it is told, with a mean of 1", () => {
    const variances = fitted()
      .finish(6)
      .codec.scale.std.map((std) => std ** 2);
    for (const whiten of [0, 0.5, 1]) {
      const { std } = fitted().finish(6, whiten).codec.scale;
      const after = variances.map((value, c) => value / std[c]! ** 2); // of normalized latents
      expect(after.reduce((sum, value) => sum + value, 0) / 6).toBeCloseTo(1, 10);
      const ratio = (values: readonly number[]): number => values[0]! / values[5]!;
      expect(ratio(after)).toBeCloseTo(ratio(variances) ** (1 - whiten), 8);
    }
    for (const wrong of [-0.1, 1.1, NaN])
      expect(() => fitted().finish(6, wrong)).toThrow(`by ${wrong}, expected 0 to 1`);
  });

  test("is the same whether images come at once or one by one", () => {
    const one = new PatchPcaFit(PATCH, SIDE);
    const [data, size] = [images(), SIDE * SIDE * 3];
    for (let n = 0; n < N; n++) one.add(data.subarray(n * size, (n + 1) * size));
    expect(one.patches).toBe((N * SIDE * SIDE) / PATCH ** 2);
    expect(one.finish(5)).toEqual(fitted().finish(5));
  });

  test("goes on after it was asked", () => {
    const fit = new PatchPcaFit(PATCH, SIDE);
    const [data, half] = [images(), (N / 2) * SIDE * SIDE * 3];
    fit.add(data.subarray(0, half));
    expect(fit.finish(3)).not.toEqual(fitted().finish(3));
    fit.add(data.subarray(half));
    expect(fit.finish(3)).toEqual(fitted().finish(3));
  });

  test("names what cannot be fitted", () => {
    expect(() => new PatchPcaFit(17, 17)).toThrow("side 17, expected an integer in [1, 16]");
    expect(() => new PatchPcaFit(4, 6)).toThrow("Cannot cut images of side 6 into patches of side 4");
    expect(() => fitted().finish(13)).toThrow("Cannot keep 13 channels of patches with 12 values");
    expect(() => new PatchPcaFit(2, 6).finish(1)).toThrow("there are no images");
    expect(() => fitted().add(new Float32Array(109))).toThrow(
      "Cannot fit 109 values, expected a multiple of 6 x 6 x 3",
    );
    const greys = draw("grey", 36).data;
    const flat = new PatchPcaFit(2, 6);
    flat.add(Float32Array.from({ length: 108 }, (_, i) => greys[Math.floor(i / 3)]!));
    expect(() => flat.finish(5)).toThrow("Cannot keep 5 channels: the patches differ in 4 directions only");
    expect(flat.finish(4).keptVariance).toBeCloseTo(1, 6);
  });
});
