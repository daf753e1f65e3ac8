import {
  fromBlocks,
  initialize,
  madformerSpecs,
  noiseOfSeed,
  Sampler,
  solverPlan,
  type SolverName,
} from "@madformer/model";
import { sampleGrid } from "./sample-grid.js";
import { CHANNELS, SIDE, TINY_MODEL, tinyConfig } from "./testing.js";

const SIZE = SIDE * SIDE * CHANNELS;
const { model } = tinyConfig({ model: TINY_MODEL });

test.each<SolverName>(["dpm-solver++", "ddim"])(
  "sampleGrid() samples seeds from 0 on with %s, puts blocks into rows, and lays the images out",
  async (solver) => {
    const weights = initialize(madformerSpecs(model), 1);
    const { signal } = new AbortController();
    const decoded: Float32Array[] = [];
    const grid = await sampleGrid(
      model,
      weights,
      async (latents, images) => {
        decoded.push(latents);
        return Array.from({ length: images }, () => ({ width: 3, height: 2, pixels: new Uint8Array(18) }));
      },
      { step: 40, images: 5, solver, steps: 2, signal },
    );
    expect(grid).toMatchObject({ width: 2 + 3 * (3 + 2), height: 2 + 2 * (2 + 2) }); // 3 columns, 2 rows, gaps of 2

    await using sampler = await Sampler.create(model, weights, { batchImages: 1 });
    for (const image of [0, 4]) {
      const noise = noiseOfSeed(model, image);
      const expected = new Float32Array(SIZE);
      fromBlocks(model, await sampler.sample(solverPlan(solver, 2), noise), expected);
      // Alone, and with other programs: the same to rounding, which the solver's first step multiplies by 150.
      const found = decoded[0]!.slice(image * SIZE, (image + 1) * SIZE);
      const scale = Math.max(...expected.map(Math.abs));
      found.forEach((x, i) => expect(Math.abs(x - expected[i]!)).toBeLessThan(1e-4 * scale));
    }
  },
);

test("sampleGrid() says of which seed and training step latents or pixels are not finite", async () => {
  const weights = initialize(madformerSpecs(model), 1);
  const { signal } = new AbortController();
  const settings = { step: 40, images: 2, solver: "ddim", steps: 2, signal } as const;
  const decoding = sampleGrid(
    model,
    weights,
    (_, images, nameOf) => Promise.reject(new Error(nameOf(images))),
    settings,
  );
  await expect(decoding).rejects.toThrow("seed 2 of the samples at training step 40");
  const [key = ""] = Object.keys(weights);
  const large = { ...weights, [key]: weights[key]!.map(() => 3e38) };
  await expect(sampleGrid(model, large, () => Promise.resolve([]), settings)).rejects.toThrow(
    "Cannot sample seed 0 of the samples at training step 40: its latents are not finite after step 1 of 2",
  );
});
