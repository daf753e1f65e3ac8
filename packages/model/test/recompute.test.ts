import { compile, spec, summarize } from "@madformer/engine";
import { LossConfig, lossGradients, madformerSpecs, type MadformerConfig, type Recompute } from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import { batchOf, runOnce, tiny, valuesOf, weightsOf } from "../src/testing.js";

const ALL = LossConfig.parse({ lambdaHidden: 0.5, lambdaClean: 0.25 });
type Batch = Parameters<typeof lossGradients>[2];
type Weights = Parameters<typeof lossGradients>[0];

/** Losses and gradients, as a function of parameters and a batch. */
const stepOf = (config: MadformerConfig, recompute: Recompute) => (p: Weights, batch: Batch) => {
  const { losses, gradients } = lossGradients(p, config, batch, ALL, recompute);
  const present = Object.entries(gradients).filter((entry): entry is [string, tf.Tensor] => entry[1] !== null);
  return { ...losses, ...Object.fromEntries(present) } as Record<string, tf.Tensor>;
};

function gradientsOf(config: MadformerConfig, recompute: Recompute) {
  const { cleanX, noisedX, t } = batchOf(config, 2);
  const p = valuesOf(madformerSpecs(config), weightsOf(config));
  const step = stepOf(config, recompute);
  return runOnce({ p, latents: cleanX, noise: noisedX, t }, ({ p, ...batch }) => step(p, batch));
}

/** How many softmaxes a program for losses and gradients has. */
async function softmaxesOf(config: MadformerConfig, recompute: Recompute): Promise<number> {
  const { cleanX, t } = batchOf(config, 2);
  const p = Object.fromEntries(Object.entries(madformerSpecs(config)).map(([key, { shape }]) => [key, spec(shape)]));
  const latents = spec(cleanX.shape as readonly [number, number, number, number]);
  const inputs = { latents, noise: latents, t: spec(t.shape as readonly [number, number], "int32") };
  const step = stepOf(config, recompute);
  await using program = await compile((_state, { p, ...batch }) => ({ outputs: step(p, batch) }), {
    inputs: { p, ...inputs },
  });
  return program.graph ? (summarize(program.graph).byKind["softmax"] ?? 0) : NaN;
}

describe("recomputing", () => {
  // Layers of both kinds, with clean tokens that end early, and alone; attention in the U-Net.
  test.each([
    ["two towers", tiny({ arLayers: 1, diffusionLayers: 2 })],
    ["no clean tower, blocks alone", tiny({ clearClean: true, denoisingMlp: true })],
  ] as const)("changes no bit of losses and gradients: %s", async (_, config) => {
    const kept = await gradientsOf(config, "none");
    for (const recompute of ["layers", "all"] as const) expect(await gradientsOf(config, recompute)).toEqual(kept);
  });

  test("computes attention twice: that of the layers, then that of the U-Nets too", async () => {
    const config = tiny({ arLayers: 1, diffusionLayers: 1 });
    const [none, layers] = [await softmaxesOf(config, "none"), await softmaxesOf(config, "layers")];
    expect(layers).toBeGreaterThan(none);
    expect(layers).toBeLessThan(2 * none);
    expect(await softmaxesOf(config, "all")).toBe(2 * none);
  });
});
