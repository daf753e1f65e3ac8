import { madformerConfig, preset, type MadformerConfig } from "@madformer/model";
import { evaluationsOf } from "./evaluations.js";

const model = (arLayers: number, diffusionLayers: number, more: Partial<MadformerConfig> = {}): MadformerConfig =>
  madformerConfig({ ...preset("smoke"), arLayers, diffusionLayers, ...more });

describe("evaluationsOf()", () => {
  test("counts autoregressive layers once per block, diffusion layers at each step", () => {
    expect(evaluationsOf(model(6, 2), 5)).toEqual({ nfe: 4 * 5, layerRuns: 4 * (6 + 2 * 5) });
  });

  test("gives all splits of the same layers the same cost at one step, and the one without them the most beyond", () => {
    const costs = (steps: number) => [0, 2, 4, 6].map((n) => evaluationsOf(model(n, 8 - n), steps).layerRuns);
    expect(costs(1)).toEqual([32, 32, 32, 32]);
    expect(costs(3)).toEqual([96, 80, 64, 48]);
  });

  test("does not count autoregressive layers whose output nothing takes", () => {
    expect(evaluationsOf(model(6, 2, { clearCond: true }), 5).layerRuns).toBe(4 * 2 * 5);
  });
});
