import { initialize } from "./initialize.js";
import { madformerSpecs } from "./madformer.js";
import type { Initializer, ParameterSpecs } from "./parameters.js";
import { tiny } from "./testing.js";

const SIZE = 100_000;
const drawn = (initializer: Initializer): Float32Array => initialize({ x: { shape: [SIZE], initializer } }, 1)["x"]!;
const moments = (values: Float32Array) => {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
  const absolute = values.map(Math.abs).reduce((max, x) => Math.max(max, x), 0);
  return { mean, variance, absolute };
};

describe("initialize()", () => {
  // Of 100,000 draws the mean is off by a standard deviation of 0.003, the variance relatively by as much: five of
  // them.
  const OFF = 0.016;

  test.each([
    ["xavier", { kind: "xavier", fanIn: 20, fanOut: 30 }, Math.sqrt(6 / 50)],
    ["fan-in", { kind: "fan-in", fanIn: 25 }, 1 / 5],
  ] as [string, Initializer, number][])("draws %s uniformly within its bound", (_, initializer, bound) => {
    const { mean, variance, absolute } = moments(drawn(initializer));
    expect(Math.abs(mean)).toBeLessThan(OFF * bound);
    expect(Math.abs(variance / (bound ** 2 / 3) - 1)).toBeLessThan(OFF);
    expect(absolute).toBeLessThanOrEqual(Math.fround(bound));
    expect(absolute).toBeGreaterThan(0.999 * bound);
  });

  test("draws normal numbers, and fills in constants", () => {
    const { mean, variance, absolute } = moments(drawn({ kind: "normal" }));
    expect(Math.abs(mean)).toBeLessThan(OFF);
    expect(Math.abs(variance - 1)).toBeLessThan(OFF);
    expect(absolute).toBeGreaterThan(3.5);
    expect(new Set(drawn({ kind: "constant", value: 3 }))).toEqual(new Set([3]));
  });

  test("gives each parameter values that depend on nothing but seed, key and shape", () => {
    const specs = madformerSpecs(tiny());
    const all = initialize(specs, 7);
    expect(Object.keys(all)).toEqual(Object.keys(specs));
    const [key, other] = ["blocks.1.mlp_list.0.up_proj.weight", "blocks.1.mlp_list.1.up_proj.weight"];
    const alone = (key: string, seed: number): Float32Array =>
      initialize({ [key]: specs[key] } as ParameterSpecs, seed)[key]!;
    expect(alone(key, 7)).toEqual(all[key]);
    expect(alone(key, 8)).not.toEqual(all[key]);
    expect(all[other]).not.toEqual(all[key]);
  });

  test("draws a model as the reference does: what kind each parameter is of", () => {
    const specs = madformerSpecs(tiny());
    const of = (key: string): Initializer => specs[key]!.initializer;
    expect(of("boi_block")).toEqual({ kind: "normal" });
    // The three projections are one matrix.
    expect(of("blocks.0.self_attn.qkv_list.1.weight")).toEqual({ kind: "xavier", fanIn: 24, fanOut: 72 });
    expect(of("blocks.0.mlp_list.0.down_proj.weight")).toEqual({ kind: "xavier", fanIn: 20, fanOut: 24 });
    expect(of("downsampler.time_embedding.linear_1.weight")).toEqual({ kind: "xavier", fanIn: 1, fanOut: 6 });
    // Weight and bias of a convolution are drawn alike: 4 channels, 3 x 3 pixels.
    for (const part of ["weight", "bias"])
      expect(of(`downsampler.down_blocks.1.resnets.0.conv1.${part}`)).toEqual({ kind: "fan-in", fanIn: 36 });
    for (const [key, { initializer }] of Object.entries(specs)) {
      if (/norm.*weight$/.test(key)) expect(initializer).toEqual({ kind: "constant", value: 1 });
      if (/(norm.*|to_.*|_proj|_list\.\d)\.bias$/.test(key))
        expect(initializer).toEqual({ kind: "constant", value: 0 });
    }
  });
});
