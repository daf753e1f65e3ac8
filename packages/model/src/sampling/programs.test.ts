import { compile, spec, type Program } from "@madformer/engine";
import { madformerSpecs } from "../madformer.js";
import { MODES, tiny, weightsOf } from "../testing.js";
import { cachedLayers, contextProgram, denoiseProgram, usesContext } from "./programs.js";

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
  async function outputsOf(
    config: ReturnType<typeof tiny>,
    { inputs, run }: { inputs: object; run: (p: never, inputs: never) => object },
  ): Promise<string[]> {
    const state = Object.fromEntries(
      Object.entries(madformerSpecs(config)).map(([key, { shape }]) => [key, spec(shape)]),
    );
    const traced = (p: never, inputs: never) => ({ outputs: run(p, inputs) });
    const program = (await compile(
      traced as never,
      { state, inputs: inputs as never },
      {
        constants: weightsOf(config),
      },
    )) as Program;
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
