import { forward, madformerSpecs, ShapeError, type MadformerConfig, type OutputName } from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import {
  batchOf,
  compiledFor,
  differenceOf,
  draw,
  expectClose,
  MODES,
  runOnce,
  tiny,
  TOLERANCE,
  valuesOf,
  weightsOf,
} from "../src/testing.js";
import { plainForward } from "./plain.js";

const OUTPUTS = ["noisePred", "condition", "cleanTower"] as const satisfies readonly OutputName[];
type Batch = ReturnType<typeof batchOf>;
type Results = Record<string, Float32Array>;

/** The forward pass, compiled for batches like this one. */
async function compiled(
  config: MadformerConfig,
  like: Batch,
  wanted: readonly OutputName[],
  weights = weightsOf(config),
) {
  const p = valuesOf(madformerSpecs(config), weights);
  const program = await compiledFor({ p, ...like }, ({ p, ...batch }) => ({ ...forward(p, config, batch, wanted) }));
  return {
    run: (batch: Batch): Promise<Results> => program.run({ p, ...batch }),
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

async function run(config: MadformerConfig, batch: Batch, wanted: readonly OutputName[], weights = weightsOf(config)) {
  await using program = await compiled(config, batch, wanted, weights);
  return await program.run(batch);
}

/** The elements of block j of an image: (N, T, size) -> (size) */
const blockOf = (data: Float32Array, [N, T]: readonly [number, number], image: number, j: number): Float32Array =>
  data.slice(((image * T + j) * data.length) / (N * T), ((image * T + j + 1) * data.length) / (N * T));

/** Blocks of the first image in which two results differ at all. */
const changed = (a: Float32Array, b: Float32Array, [N, T]: readonly [number, number]): number[] =>
  Array.from({ length: T }, (_, j) => j).filter(
    (j) => differenceOf(blockOf(a, [N, T], 0, j), blockOf(b, [N, T], 0, j)).by > 0,
  );

describe.each(Object.entries(MODES))("forward(), %s,", (_, mode) => {
  const plain = (config: MadformerConfig, batch: Batch) => {
    const { t } = batch;
    const cleanT = config.quirks.cleanTimestep === "zero" ? { ...t, data: new Int32Array(t.data.length) } : t;
    const p = valuesOf(madformerSpecs(config), weightsOf(config));
    return runOnce(
      { p, ...batch, cleanT },
      ({ p, ...batch }) => plainForward(p, config, batch) as Record<string, tf.Tensor>,
      "cpu",
    );
  };

  test("equals the plain computation; outputs are the same together and alone, where less is computed", async () => {
    const config = tiny(mode);
    const batch = batchOf(config, 2);
    const expected = await plain(config, batch);
    const together = await run(config, batch, OUTPUTS);
    expect(Object.keys(together).sort()).toEqual(Object.keys(expected).sort());
    expect(Object.keys(expected)).toHaveLength(config.clearClean ? 2 : 3);
    for (const name of Object.keys(expected) as OutputName[]) {
      expectClose(together[name]!, expected[name]!, TOLERANCE.network, name);
      const alone = await run(config, batch, [name]);
      expect(Object.keys(alone)).toEqual([name]);
      expectClose(alone[name]!, expected[name]!, TOLERANCE.network, `${name} alone`);
    }
  });

  test("equals the plain computation with the reference's quirks", async () => {
    const config = tiny({ ...mode, quirks: "reference" });
    const batch = batchOf(config, 1);
    const expected = await plain(config, batch);
    const actual = await run(config, batch, OUTPUTS);
    for (const name of Object.keys(expected)) expectClose(actual[name]!, expected[name]!, TOLERANCE.network, name);
  });
});

describe("forward()", () => {
  test.each([
    [
      "three levels, attention at the first, heads that do not divide the channels",
      {
        blockSide: 8,
        unet: {
          channels: [5, 10, 15],
          layers: [1, 2, 1],
          attention: [true, false, true],
          groups: 5,
          heads: 4,
          timeChannels: 6,
        },
      },
    ],
    [
      "one level",
      { blockSide: 2, unet: { channels: [6], layers: [2], attention: [true], groups: 3, heads: 1, timeChannels: 6 } },
    ],
  ] as const)("equals the plain computation with other U-Nets: %s", async (_, overrides) => {
    const config = tiny({ ...overrides, blocks: 1, arLayers: 1, diffusionLayers: 1 });
    const batch = batchOf(config, 1);
    const p = valuesOf(madformerSpecs(config), weightsOf(config));
    const cleanT = { ...batch.t, data: new Int32Array(1) };
    const expected = await runOnce(
      { p, ...batch, cleanT },
      ({ p, ...batch }) => plainForward(p, config, batch) as Record<string, tf.Tensor>,
      "cpu",
    );
    const actual = await run(config, batch, OUTPUTS);
    for (const name of OUTPUTS) expectClose(actual[name]!, expected[name]!, TOLERANCE.network, name);
  });

  test.each(["default", "clear clean", "clear condition", "denoising MLP", "single tower"] as const)(
    "lets a block see none after it (%s)",
    async (mode) => {
      const config = tiny(MODES[mode]);
      const size = [2, config.blocks] as const;
      const batch = batchOf(config, 2);
      const wanted = OUTPUTS.filter((name) => name !== "cleanTower" || !config.clearClean);
      await using program = await compiled(config, batch, wanted);
      const before = await program.run(batch);
      for (let j = 0; j < config.blocks; j++) {
        const other = (name: "cleanX" | "noisedX"): Batch => {
          const data = Float32Array.from(batch[name].data);
          const elements = data.length / 2 / config.blocks;
          data.set(draw("other", elements).data, j * elements); // of the first image
          return { ...batch, [name]: { ...batch[name], data } };
        };
        const after = Array.from({ length: config.blocks - j - 1 }, (_, i) => j + 1 + i);
        // Another clean block: what comes after it is denoised otherwise, and its own condition and clean tower change.
        const clean = await program.run(other("cleanX"));
        expect(changed(clean["noisePred"]!, before["noisePred"]!, size)).toEqual(after);
        if (!config.clearClean)
          expect(changed(clean["cleanTower"]!, before["cleanTower"]!, size)).toEqual([j, ...after]);
        // Another noised block: it alone is denoised otherwise, but where the blocks before are seen through the noised
        // tower.
        const noised = await program.run(other("noisedX"));
        expect(changed(noised["noisePred"]!, before["noisePred"]!, size)).toEqual(
          config.clearClean && !config.denoisingMlp ? [j, ...after] : [j],
        );
        expect(noised["condition"]).toEqual(before["condition"]);
        if (!config.clearClean) expect(noised["cleanTower"]).toEqual(before["cleanTower"]);
        // Nothing goes from one image to another.
        for (const name of wanted)
          for (let i = 0; i < config.blocks; i++)
            expect(blockOf(clean[name]!, size, 1, i)).toEqual(blockOf(before[name]!, size, 1, i));
      }
    },
  );

  test("of a batch of two is that of two batches of one", async () => {
    const config = tiny();
    const batch = batchOf(config, 2);
    const both = await run(config, batch, OUTPUTS);
    const one = (image: number): Batch => {
      const part = <T extends Float32Array | Int32Array>({ shape, data }: { shape: readonly number[]; data: T }) => ({
        shape: [1, ...shape.slice(1)],
        data: data.slice((image * data.length) / 2, ((image + 1) * data.length) / 2),
      });
      return { cleanX: part(batch.cleanX), noisedX: part(batch.noisedX), t: part(batch.t) };
    };
    await using program = await compiled(config, one(0), OUTPUTS);
    for (const image of [0, 1]) {
      const alone = await program.run(one(image));
      for (const name of OUTPUTS) {
        const { length } = alone[name]!;
        expectClose(alone[name]!, both[name]!.slice(image * length, (image + 1) * length), TOLERANCE.layer, name);
      }
    }
  });

  test("of a single tower is that of two towers with equal weights", async () => {
    const one = tiny({ singleTower: true });
    const two = tiny();
    const weights = weightsOf(one);
    const keys = Object.keys(madformerSpecs(two));
    const doubled = Object.fromEntries(
      keys.map((key) => [key, weights[key.replace(/(_list)\.1/, "$1.0")] as Float32Array]),
    );
    expect(keys.length).toBeGreaterThan(Object.keys(weights).length);
    const batch = batchOf(one, 1);
    const [a, b] = [await run(one, batch, OUTPUTS, weights), await run(two, batch, OUTPUTS, doubled)];
    for (const name of OUTPUTS) expect(differenceOf(a[name]!, b[name]!).by).toBeLessThan(TOLERANCE.layer);
  });

  test("names the tensor whose shape does not fit the config", async () => {
    const config = tiny();
    const good = batchOf(config, 2);
    const attempt = (change: Partial<Batch>) => run(config, { ...good, ...change }, ["noisePred"]);
    const error = await attempt({ cleanX: draw("x", 2, 4, 15, 3) }).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ShapeError);
    expect((error as Error).message).toBe("forward: cleanX has shape (2, 4, 15, 3), expected (N, 4, 16, 3)");
    await expect(attempt({ noisedX: draw("x", 1, 4, 16, 3) })).rejects.toThrow(
      "forward: noisedX has shape (1, 4, 16, 3), expected (2, 4, 16, 3)",
    );
    await expect(attempt({ t: { shape: [8], data: new Int32Array(8) } })).rejects.toThrow(
      "forward: t has shape (8), expected (2, 4)",
    );
  });

  test("names a parameter that is missing", async () => {
    const config = tiny();
    const p = valuesOf(madformerSpecs(config), weightsOf(config));
    delete p["blocks.1.mlp_list.1.up_proj.weight"];
    const batch = batchOf(config, 1);
    await expect(
      runOnce({ p, ...batch }, ({ p, ...batch }) => ({ ...forward(p, config, batch, ["noisePred"]) }) as never),
    ).rejects.toThrow('The parameters have no "blocks.1.mlp_list.1.up_proj.weight"');
  });

  // Layers 0 and 1 are autoregressive, 2 and 3 diffusion layers. Tokens are counted in blocks.
  test.each([
    ["default", ["noisePred"], { clean: [3, 3, 3], noised: [4, 4, 4, 4] }],
    ["default", ["condition"], { clean: [3, 3], noised: [4, 4] }],
    ["default", ["noisePred", "cleanTower"], { clean: [4, 4, 4, 4], noised: [4, 4, 4, 4] }],
    ["clear clean", ["noisePred"], { clean: [], noised: [4, 4, 4, 4] }],
    ["clear condition", ["noisePred"], { clean: [3, 3, 3], noised: [undefined, undefined, 4, 4] }],
    ["denoising MLP", ["noisePred"], { clean: [3], noised: [4, 4, 4, 4] }],
    ["clear condition, denoising MLP", ["noisePred"], { clean: [], noised: [undefined, undefined, 4, 4] }],
    ["one block", ["noisePred"], { clean: [], noised: [1, 1, 1, 1] }],
  ] as const)("takes no token further than somebody needs it (%s, %j)", async (mode, wanted, expected) => {
    const config = tiny(MODES[mode]);
    const batch = batchOf(config, 1);
    const p = valuesOf(madformerSpecs(config), weightsOf(config));
    const blocks: Record<string, (number | undefined)[]> = { clean: [], noised: [] };
    await runOnce({ p, ...batch }, ({ p, ...batch }) => {
      const outputs = forward(p, config, batch, wanted, (name, { shape }) => {
        const [, layer, tower] = /^blocks\.(\d+)\.out\.(\w+)$/.exec(name) ?? [];
        if (tower !== undefined) blocks[tower]![Number(layer)] = shape[1]! / 4;
      });
      return outputs;
    });
    expect({ clean: Array.from(blocks["clean"]!), noised: Array.from(blocks["noised"]!) }).toEqual(expected);
  });

  test("shows what it computes on the way, by the reference's names", async () => {
    const config = tiny({ arLayers: 1, diffusionLayers: 1 });
    const batch = batchOf(config, 1);
    const p = valuesOf(madformerSpecs(config), weightsOf(config));
    const shapes: Record<string, readonly number[]> = {};
    await runOnce({ p, ...batch }, ({ p, ...batch }) => {
      const outputs = forward(p, config, batch, OUTPUTS, (name, { shape }) => (shapes[name] = shape));
      return outputs;
    });
    expect(shapes["blocks.1.in.noised"]).toEqual([1, 16, 24]);
    expect(shapes["downsampler.clean.res.0"]).toEqual([4, 4, 4, 4]);
    expect(shapes["upsampler.cleanTower.in"]).toEqual([4, 2, 2, 24]);
    expect(Object.keys(shapes)).toEqual(
      expect.arrayContaining(["blocks.0.self_attn.out.clean", "blocks.1.out.noised"]),
    );
  });
});
