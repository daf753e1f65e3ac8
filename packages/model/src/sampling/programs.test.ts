import { compile, spec, type Tensors, type TensorSpec, type Tree } from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import { geometryOf } from "../config.js";
import { madformerSpecs } from "../madformer.js";
import { MODES, tiny, weightsOf } from "../testing.js";
import type { Parameters } from "../parameters.js";
import { appendProgram, cachedLayers, contextProgram, denoiseProgram, usesContext } from "./programs.js";

// Layers 0 and 1 are autoregressive, 2 and 3 diffusion layers.
test.each([
  ["default", [0, 1, 2, 3], true],
  ["single tower", [0, 1, 2, 3], true],
  ["clear clean", [0, 1, 2, 3], true],
  ["clear condition", [0, 1, 2, 3], true], // the clean tower goes on through all layers
  ["denoising MLP", [0, 1], true],
  ["clear clean, denoising MLP", [0, 1], true],
  ["clear condition, denoising MLP", [], false],
  ["clear clean, clear condition", [2, 3], false],
] as const)("finished blocks leave keys and values where somebody looks at them (%s)", (mode, layers, context) => {
  const config = tiny(MODES[mode]);
  expect(cachedLayers(config)).toEqual(layers);
  expect(usesContext(config)).toBe(context);
});

describe("programs of a block", () => {
  async function outputsOf<Inputs extends Tree<TensorSpec>>(
    config: ReturnType<typeof tiny>,
    { inputs, run }: { inputs: Inputs; run: (p: Parameters, inputs: Tensors<Inputs>) => Tree<tf.Tensor> },
  ): Promise<string[]> {
    const state = Object.fromEntries(
      Object.entries(madformerSpecs(config)).map(([key, { shape }]) => [key, spec(shape)]),
    );
    const program = await compile(
      (p: Parameters, inputs: Tensors<Inputs>) => ({ outputs: run(p, inputs) }),
      { state, inputs },
      { constants: weightsOf(config) },
    );
    const names = program.outputs.map(({ name }) => name);
    await program.dispose();
    return names.sort();
  }
  const both = (...layers: number[]): string[] =>
    ["keys", "values"].flatMap((part) => layers.map((layer) => `${part}/${layer}`));

  test.each([
    ["default", ["condition", ...both(0, 1, 2, 3)], []],
    ["denoising MLP", ["condition", ...both(0, 1)], []],
    ["clear condition", both(0, 1, 2, 3), []],
    ["clear clean", ["condition", ...both(0, 1)], both(2, 3)],
    ["clear clean, denoising MLP", ["condition", ...both(0, 1)], []],
  ] as const)("leave nothing behind that nobody looks at (%s)", async (mode, context, denoise) => {
    const config = tiny(MODES[mode]);
    const shape = { config, batchImages: 1, cacheBlocks: 1, masked: false };
    expect(await outputsOf(config, contextProgram(shape))).toEqual([...context].sort());
    expect(await outputsOf(config, denoiseProgram(shape, true))).toEqual(["data", "next", "noise", ...denoise].sort());
  });
});

test("appendProgram() puts a block's tokens behind those of each head, or in their place", async () => {
  const config = tiny({ heads: 2 });
  const { M, D } = geometryOf(config);
  const heads = 2 * 2; // of two images
  /** Numbers that say head, token and dimension. */
  const tensor = (first: number, tokens: number): Float32Array =>
    Float32Array.from({ length: heads * tokens * D }, (_, i) => {
      const [d, token, head] = [i % D, Math.floor(i / D) % tokens, Math.floor(i / D / tokens)];
      return 1000 * head + 10 * (first + token) + d / 100;
    });
  const part = (data: Float32Array) => ({ keys: { 1: data }, values: { 1: data.map((x) => -x) } });
  for (const masked of [false, true]) {
    const shape = { config, batchImages: 2, cacheBlocks: 3, masked };
    const { inputs, run } = appendProgram(shape, [1], 2);
    await using program = await compile(
      (_: unknown, tensors: Tensors<typeof inputs>) => ({ outputs: run({}, tensors) }),
      { inputs },
    );
    const [whole, own] = [tensor(0, 3 * M), tensor(2 * M, M)];
    const before = masked ? whole.map((x, i) => (Math.floor(i / D) % (3 * M) < 2 * M ? x : 0)) : tensor(0, 2 * M);
    const place = masked ? { place: new Uint8Array(3 * M).fill(1, 2 * M) } : {};
    const { keys, values } = await program.run({ before: part(before), own: part(own), ...place });
    expect(keys[1]).toEqual(whole);
    expect(values[1]).toEqual(whole.map((x) => -x));
  }
});
