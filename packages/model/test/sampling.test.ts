import { hostCopies } from "@madformer/engine";
import {
  ddim,
  dpmSolver,
  forward,
  madformerSpecs,
  Sampler,
  type MadformerConfig,
  type SamplerOptions,
  type SolverPlan,
  type StepReport,
} from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import {
  compiledFor,
  differenceOf,
  draw,
  expectClose,
  MODES,
  tiny,
  TOLERANCE,
  valuesOf,
  weightsOf,
} from "../src/testing.js";
import { plainForward } from "./plain.js";

/** Few enough to be quick, and one more than the history that the solver keeps. */
const STEPS = 3;

async function sample(
  config: MadformerConfig,
  plan: SolverPlan,
  noise: Float32Array,
  options: Partial<SamplerOptions> = {},
  weights = weightsOf(config),
): Promise<Float32Array> {
  await using sampler = await Sampler.create(config, weights, { batchImages: 1, ...options });
  return await sampler.sample(plan, noise);
}

const noiseOf = (config: MadformerConfig, N: number): Float32Array =>
  draw("noise", N, config.blocks, config.blockSide ** 2, config.latentChannels).data;

/**
 * Samples without a cache: for every step of every block, the training pass over the whole image. Finished blocks are
 * its clean blocks; under `clearClean`, where blocks are seen through the noised tower, they are its noised blocks as
 * they were at their last step. The solver's formula is written out in doubles.
 */
async function uncached(config: MadformerConfig, plan: SolverPlan, noise: Float32Array, by: "forward" | "plain") {
  const { blocks: T } = config;
  const size = noise.length / T;
  const shape = [1, T, config.blockSide ** 2, config.latentChannels];
  const p = valuesOf(madformerSpecs(config), weightsOf(config));
  const [clean, noised] = [new Float32Array(noise.length), Float32Array.from(noise)];
  const last = plan.steps.at(-1)!.timestep;
  const t = new Int32Array(T).fill(last);
  const cleanT = new Int32Array(T).fill(config.quirks.cleanTimestep === "zero" ? 0 : last);
  const inputs = {
    p,
    cleanX: { shape, data: clean },
    noisedX: { shape, data: noised },
    t: { shape: [1, T], data: t },
    cleanT: { shape: [1, T], data: cleanT },
  };
  await using program = await compiledFor(inputs, (all) => {
    const { p, cleanT, ...batch } = all as Parameters<typeof plainForward>[2] & { p: Record<string, tf.Tensor> };
    const outputs =
      by === "forward" ? forward(p, config, batch, ["noisePred"]) : plainForward(p, config, { ...batch, cleanT });
    return { noise: outputs.noisePred as tf.Tensor };
  });
  for (let block = 0; block < T; block++) {
    const own = [block * size, (block + 1) * size] as const;
    let x = Array.from(noise.subarray(...own));
    let previous = x.map(() => 0);
    for (const { timestep, sigma, alpha, keep, data, previousData, noise: share } of plan.steps) {
      noised.set(x, own[0]);
      t[block] = timestep;
      const output = (await program.run(inputs)).noise.subarray(...own);
      const exact = x.map((value, i) => dataOf(config, value, output[i]!, { alpha, sigma }));
      const predicted = x.map((value, i) => (value - alpha * exact[i]!) / sigma);
      const x0 = plan.clip ? exact.map((value) => Math.min(1, Math.max(-1, value))) : exact;
      x = x.map((value, i) => keep * value + data * x0[i]! + previousData * previous[i]! + share * predicted[i]!);
      previous = x0;
    }
    clean.set(x, own[0]);
  }
  return clean;
}

/** The data that an output means. */
function dataOf({ prediction }: MadformerConfig, x: number, output: number, at: { alpha: number; sigma: number }) {
  if (prediction === "x") return output;
  return prediction === "v" ? at.alpha * x - at.sigma * output : (x - at.sigma * output) / at.alpha;
}

/** Programs of one block number each make for most of the time: they are tried where they differ. */
const PER_BLOCK = ["default", "clear clean", "clear condition", "denoising MLP", "no autoregressive layers"];

describe.each(Object.entries(MODES))("Sampler, %s,", (name, mode) => {
  test("gives with its cache what the training pass gives without one", async () => {
    const config = tiny(mode);
    const [plan, noise] = [ddim(STEPS), noiseOf(config, 1)];
    const expected = await uncached(config, plan, noise, "forward");
    const programs = PER_BLOCK.includes(name) ? (["shared", "per-block"] as const) : (["shared"] as const);
    for (const kind of programs)
      expectClose(await sample(config, plan, noise, { programs: kind }), expected, TOLERANCE.network, kind);
  });
});

describe("Sampler", () => {
  test.each(["default", "clear clean"] as const)(
    "does so with the reference's quirks and a solver that looks back (%s)",
    async (mode) => {
      const config = tiny({ ...MODES[mode], quirks: "reference" });
      const [plan, noise] = [dpmSolver(STEPS), noiseOf(config, 1)];
      const expected = await uncached(config, plan, noise, "plain");
      // The first prediction of the data is a difference that is divided by 0.006: so are its rounding errors.
      expectClose(await sample(config, plan, noise), expected, 10 * TOLERANCE.network, mode);
    },
  );

  test.each(["x", "v"] as const)("does so for a network that predicts %s, with every solver", async (prediction) => {
    const config = tiny({ arLayers: 1, diffusionLayers: 1, prediction });
    const noise = noiseOf(config, 1);
    for (const plan of [ddim(STEPS), ddim(STEPS, { clip: false }), dpmSolver(STEPS)])
      expectClose(
        await sample(config, plan, noise),
        await uncached(config, plan, noise, "forward"),
        TOLERANCE.network,
        plan.name,
      );
  });

  const config = tiny({ arLayers: 1, diffusionLayers: 1 });
  const weights = weightsOf(config);
  const plan = ddim(2);
  const { blocks: T } = config;
  const size = config.blockSide ** 2 * config.latentChannels;

  test.each(["shared", "per-block"] as const)(
    "never lets a block see the noise of a later one, and has nothing left over from the run before (%s)",
    async (programs) => {
      await using sampler = await Sampler.create(config, weights, { batchImages: 1, programs });
      const noise = noiseOf(config, 1);
      const first = await sampler.sample(plan, noise);
      for (let block = 0; block < T; block++) {
        const other = Float32Array.from(noise);
        other.set(draw("other", size).data, block * size);
        const result = await sampler.sample(plan, other);
        for (let j = 0; j < T; j++) {
          const at = [j * size, (j + 1) * size] as const;
          const { by } = differenceOf(result.subarray(...at), first.subarray(...at));
          if (j < block) expect(by).toBe(0);
          else expect(by).toBeGreaterThan(1e-3);
        }
      }
      expect(await sampler.sample(plan, noise)).toEqual(first);
    },
  );

  test.each(["default", "clear clean"] as const)("gives an image the same in every batch (%s)", async (mode) => {
    const config = tiny({ ...MODES[mode], arLayers: 1, diffusionLayers: 1 });
    const noise = noiseOf(config, 2);
    const both = await sample(config, plan, noise, { batchImages: 2, programs: "shared" });
    const half = noise.length / 2;
    await using one = await Sampler.create(config, weightsOf(config), { batchImages: 1, programs: "shared" });
    for (const at of [0, half])
      expectClose(
        await one.sample(plan, noise.subarray(at, at + half)),
        both.subarray(at, at + half),
        TOLERANCE.network,
        `image ${at / half}`,
      );
  });

  test("gives the same on the cpu engine", async () => {
    const noise = noiseOf(config, 1);
    const [onnx, cpu] = [await sample(config, plan, noise), await sample(config, plan, noise, { engine: "cpu" })];
    expectClose(cpu, onnx, TOLERANCE.network);
  });

  test("takes plans of one step, of other lengths and of other solvers with the same programs", async () => {
    await using sampler = await Sampler.create(config, weights, { batchImages: 1, programs: "shared" });
    const noise = noiseOf(config, 1);
    for (const plan of [ddim(1), ddim(2, { clip: false }), dpmSolver(1)])
      expectClose(
        await sampler.sample(plan, noise),
        await uncached(config, plan, noise, "forward"),
        10 * TOLERANCE.network, // divided by 0.006 at timestep 999
        plan.name,
      );
  });

  test("tells of every step, and the last one of a block is the block", async () => {
    await using sampler = await Sampler.create(config, weights, { batchImages: 1, programs: "shared" });
    const reports: StepReport[] = [];
    const latents = await sampler.sample(plan, noiseOf(config, 1), { onStep: (report) => reports.push(report) });
    expect(reports.map(({ block, step }) => [block, step])).toEqual(
      Array.from({ length: 2 * T }, (_, i) => [Math.floor(i / 2), i % 2]),
    );
    for (const { block, step, next, noise } of reports) {
      expect(noise).toHaveLength(size);
      if (step === 1) expect(next).toEqual(latents.slice(block * size, (block + 1) * size));
    }
  });

  test("stops before the next step when its signal is aborted, and can be used again", async () => {
    await using sampler = await Sampler.create(config, weights, { batchImages: 1, programs: "shared" });
    const noise = noiseOf(config, 1);
    const controller = new AbortController();
    const seen: number[] = [];
    const onStep = ({ block, step }: StepReport): void => {
      seen.push(2 * block + step);
      if (seen.length === 3) controller.abort(new Error("enough"));
    };
    await expect(sampler.sample(plan, noise, { onStep, signal: controller.signal })).rejects.toThrow("enough");
    expect(seen).toEqual([0, 1, 2]);
    await expect(sampler.sample(plan, noise, { signal: AbortSignal.abort(new Error("at once")) })).rejects.toThrow(
      "at once",
    );
    expect(await sampler.sample(plan, noise)).toEqual(await sampler.sample(plan, noise));
  });

  test("stops at the step after which latents are not finite, and names image, step and block", async () => {
    await using sampler = await Sampler.create(config, weights, { batchImages: 2, programs: "shared" });
    const noise = noiseOf(config, 2);
    noise[(T + 2) * size + 1] = NaN; // third block of the second image
    let steps = 0;
    const options = { onStep: () => void steps++, nameOf: (image: number) => `seed ${image + 7}` };
    await expect(sampler.sample(plan, noise, options)).rejects.toThrow(
      new RegExp(
        `^Cannot sample seed 8: its latents are not finite after step 1 of 2 of block 3 of ${T}: \\d+ of ${size} elements, the first is NaN at index \\d+$`,
      ),
    );
    expect(steps).toBe(5);
    expect(await sampler.sample(plan, noiseOf(config, 2))).toHaveLength(2 * T * size);
  });

  test("finds weights that are not finite by what they make", async () => {
    const bad = Object.fromEntries(Object.entries(weights).map(([key, data]) => [key, data.slice()]));
    Object.values(bad).at(-1)![0] = Infinity;
    await using sampler = await Sampler.create(config, bad, { batchImages: 1, programs: "shared" });
    await expect(sampler.sample(plan, noiseOf(config, 1))).rejects.toThrow(
      "Cannot sample image 0 of the batch: its latents are not finite after step 1 of 2 of block 1 of 4",
    );
  });

  test("shows the programs that it has compiled", async () => {
    await using sampler = await Sampler.create(config, weights, { batchImages: 1, programs: "shared" });
    expect([...(await sampler.compiled()).keys()]).toEqual([]);
    await sampler.sample(dpmSolver(2), noiseOf(config, 1));
    await sampler.sample(ddim(2), noiseOf(config, 1));
    const compiled = await sampler.compiled();
    expect([...compiled.keys()].sort()).toEqual(["context", "denoise", "denoise clip", "first", "time 3"]);
    expect(compiled.get("time 3")?.runCount).toBe(2);
    expect(compiled.get("denoise")?.runCount).toBe(2 * T);
  });

  test("copies to the host what it is asked for, and no keys and values", async () => {
    for (const programs of ["per-block", "shared"] as const) {
      await using sampler = await Sampler.create(config, weights, { batchImages: 1, programs });
      const before = hostCopies().count;
      await sampler.sample(plan, noiseOf(config, 1));
      // What timesteps add, on two ways; the first condition; of each step the noise and the block.
      expect(hostCopies().count - before).toBe(2 + 1 + 2 * plan.steps.length * T);
    }
  });

  test("says which size of noise it expected", async () => {
    await using sampler = await Sampler.create(config, weights, { batchImages: 2 });
    await expect(sampler.sample(plan, new Float32Array(12))).rejects.toThrow(
      new RangeError("Cannot sample: the noise has 12 elements, expected (2, 4, 16, 3)"),
    );
  });

  test("cannot be used once it is disposed", async () => {
    const sampler = await Sampler.create(config, weights, { batchImages: 1, programs: "shared" });
    await sampler.sample(plan, noiseOf(config, 1));
    await sampler[Symbol.asyncDispose]();
    await sampler[Symbol.asyncDispose]();
    await expect(sampler.sample(plan, noiseOf(config, 1))).rejects.toThrow("disposed");
  });
});
