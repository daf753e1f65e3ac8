import {
  classTokens,
  ddim,
  forward,
  LossConfig,
  lossGradients,
  madformerSpecs,
  Sampler,
  trainedSpecs,
  trainingLoss,
  type OutputName,
  type SolverPlan,
  type WithText,
} from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import {
  batchOf,
  compiledFor,
  differenceOf,
  draw,
  expectClose,
  runOnce,
  textsOf,
  tinyWithText,
  TOLERANCE,
  valuesOf,
  weightsOf as randomOf,
} from "../src/testing.js";
import { plainForward } from "./plain.js";

const OUTPUTS = ["noisePred", "condition", "cleanTower", "text"] as const satisfies readonly OutputName[];
const MODES = {
  default: {},
  "clear clean": { clearClean: true },
  "clear condition": { clearCond: true },
  "denoising MLP": { denoisingMlp: true },
  "clear clean, denoising MLP": { clearClean: true, denoisingMlp: true },
  "clear condition, denoising MLP": { clearCond: true, denoisingMlp: true },
  "single tower": { singleTower: true },
  "no autoregressive layers": { arLayers: 0 },
  "one block": { blocks: 1 },
} as const;

/** Weights with the row of zeros that they have while training. */
function weightsOf(config: WithText): Record<string, Float32Array> {
  const weights = randomOf(config);
  const { zeroRow } = config.text;
  weights["embed_tokens.weight"]!.fill(0, zeroRow! * config.width, (zeroRow! + 1) * config.width);
  return weights;
}
type Batch = ReturnType<typeof batchOf>;

async function run(config: WithText, batch: Batch, wanted: readonly OutputName[]) {
  const p = valuesOf(madformerSpecs(config), weightsOf(config));
  return (await runOnce({ p, ...batch }, ({ p, ...batch }) => ({
    ...forward(p, config, batch, wanted),
  }))) as Record<string, Float32Array>;
}

describe.each(Object.entries(MODES))("a model with text, %s,", (_, mode) => {
  test.each(["imagenet", "sound"] as const)("equals the plain computation, quirks %s", async (quirks) => {
    const config = tinyWithText({ ...mode, quirks });
    const batch = batchOf(config, 2);
    const { t } = batch;
    const cleanT = config.quirks.cleanTimestep === "zero" ? { ...t, data: new Int32Array(t.data.length) } : t;
    const p = valuesOf(madformerSpecs(config), weightsOf(config));
    const expected = await runOnce(
      { p, ...batch, cleanT },
      ({ p, ...batch }) => plainForward(p, config, batch) as Record<string, tf.Tensor>,
      "cpu",
    );
    const together = await run(config, batch, OUTPUTS);
    expect(Object.keys(together).sort()).toEqual(Object.keys(expected).sort());
    for (const name of Object.keys(expected) as OutputName[]) {
      expectClose(together[name]!, expected[name]!, TOLERANCE.network, name);
      if (quirks === "imagenet") continue;
      const alone = await run(config, batch, [name]);
      expect(Object.keys(alone)).toEqual([name]);
      expectClose(alone[name]!, expected[name]!, TOLERANCE.network, `${name} alone`);
    }
  });

  test("samples with its cache what the training pass gives without one", async () => {
    const config = tinyWithText({ ...mode, quirks: "imagenet" });
    const [plan, noise] = [ddim(3), noiseOf(config, 1)];
    const text = classTokens(config.text, [3]);
    const expected = await uncached(config, plan, noise, text);
    await using sampler = await Sampler.create(config, weightsOf(config), { batchImages: 1, programs: "shared" });
    expectClose(await sampler.sample(plan, noise, { text }), expected, 10 * TOLERANCE.network, "latents");
  });
});

const noiseOf = (config: WithText, N: number): Float32Array =>
  draw("noise", N, config.blocks, config.blockSide ** 2, config.latentChannels).data;

/** Samples without a cache: for every step of every block, the training pass over the whole image. */
async function uncached(config: WithText, plan: SolverPlan, noise: Float32Array, text: Int32Array) {
  const { blocks: T } = config;
  const size = noise.length / T;
  const shape = [1, T, config.blockSide ** 2, config.latentChannels];
  const [clean, noised] = [new Float32Array(noise.length), Float32Array.from(noise)];
  const t = new Int32Array(T).fill(plan.steps.at(-1)!.timestep);
  const inputs = {
    p: valuesOf(madformerSpecs(config), weightsOf(config)),
    cleanX: { shape, data: clean },
    noisedX: { shape, data: noised },
    t: { shape: [1, T], data: t },
    text: { shape: [1, text.length], data: text },
  };
  await using program = await compiledFor(inputs, ({ p, ...batch }) => ({
    noise: forward(p, config, batch, ["noisePred"]).noisePred as tf.Tensor,
  }));
  for (let block = 0; block < T; block++) {
    const own = [block * size, (block + 1) * size] as const;
    let x = Array.from(noise.subarray(...own));
    for (const { timestep, sigma, alpha, keep, data, noise: share } of plan.steps) {
      noised.set(x, own[0]);
      t[block] = timestep;
      const predicted = (await program.run(inputs)).noise.subarray(...own);
      const x0 = x.map((value, i) => Math.min(1, Math.max(-1, (value - sigma * predicted[i]!) / alpha)));
      x = x.map((value, i) => keep * value + data * x0[i]! + share * predicted[i]!);
    }
    clean.set(x, own[0]);
  }
  return clean;
}

describe("a text", () => {
  const config = tinyWithText({ arLayers: 1, diffusionLayers: 1 });

  test("sees no image, and all of an image sees it", async () => {
    const batch = batchOf(config, 1);
    const before = await run(config, batch, OUTPUTS);
    const elsewhere = await run(config, { ...batch, cleanX: batchOf(config, 1, "other").cleanX }, OUTPUTS);
    expect(elsewhere["text"]).toEqual(before["text"]);
    const other = await run(config, { ...batch, text: textsOf(config, [4]) }, OUTPUTS);
    for (const name of OUTPUTS) expect(differenceOf(other[name]!, before[name]!).by).toBeGreaterThan(1e-3);
    const size = before["noisePred"]!.length / config.blocks;
    for (let block = 0; block < config.blocks; block++) {
      const part = (x: Float32Array) => x.subarray(block * size, (block + 1) * size);
      expect(differenceOf(part(other["noisePred"]!), part(before["noisePred"]!)).by).toBeGreaterThan(1e-3);
    }
    // What stands before a token sees nothing of it.
    const width = config.width;
    expect(other["text"]!.slice(0, 2 * width)).toEqual(before["text"]!.slice(0, 2 * width));
  });

  test("that is missing or of another length is refused", async () => {
    const { text: _, ...without } = batchOf(config, 1);
    await expect(run(config, without, ["noisePred"])).rejects.toThrow(
      /^forward: text is missing, expected one for each/,
    );
    const wrong = { ...without, text: { shape: [1, 2], data: new Int32Array(2) } };
    await expect(run(config, wrong, ["noisePred"])).rejects.toThrow("forward: text has shape (1, 2), expected (1, 3)");
  });

  test("has gradients that are central differences, through the text loss and the image's", async () => {
    const loss = LossConfig.parse({ lambdaText: 0.7, lambdaImage: 1.3, lambdaHidden: 0.2 });
    const { cleanX: latents, noisedX: noise, t, text } = batchOf(config, 2);
    const batch = { latents, noise, t, text: text! };
    const weights = weightsOf(config);
    const specs = madformerSpecs(config);
    const gradients = await runOnce({ p: valuesOf(specs, weights), ...batch }, ({ p, ...batch }) => {
      const found = lossGradients(p, config, batch, loss).gradients;
      const present = Object.entries(found).filter((entry): entry is [string, tf.Tensor] => entry[1] !== null);
      return Object.fromEntries(present);
    });
    await using value = await compiledFor({ p: valuesOf(specs, weights), ...batch }, ({ p, ...batch }) => ({
      loss: trainingLoss(p, config, batch, loss).loss,
    }));
    for (const part of [
      /^embed_tokens/,
      /^lm_head/,
      /^blocks\.0.*_list\.0/,
      /^blocks\.1.*_list\.0/,
      /^blocks\.0.*_list\.2/,
    ]) {
      const keys = Object.keys(specs).filter((key) => part.test(key));
      const length = Math.hypot(...keys.flatMap((key) => Array.from(gradients[key] ?? [])));
      expect(length).toBeGreaterThan(1e-3);
      const at = async (step: number): Promise<number> => {
        const moved = { ...weights };
        for (const key of keys)
          moved[key] = weights[key]!.map((x, i) => x + (step * (gradients[key]?.[i] ?? 0)) / length);
        return (await value.run({ p: valuesOf(specs, moved), ...batch })).loss[0]!;
      };
      const slope = ((await at(0.01)) - (await at(-0.01))) / 0.02;
      expect(Math.abs(slope - length)).toBeLessThan(0.02 * length + 1e-3);
    }
    // The row of zeros has no gradient.
    const table = gradients["embed_tokens.weight"]!;
    expect(table.subarray(8 * config.width).every((g) => g === 0)).toBe(true);
  });

  test("leaves its head alone without a text loss", () => {
    const all = Object.keys(madformerSpecs(config));
    expect(all.filter((key) => !(key in trainedSpecs(config)))).toEqual(["lm_head.weight"]);
    expect(Object.keys(trainedSpecs(config, { lambdaText: 1 }))).toEqual(all);
  });
});

describe("Sampler of a model with text", () => {
  const config = tinyWithText({ arLayers: 1, diffusionLayers: 1 });
  const plan = ddim(2);

  test("gives an image the same in the company of other classes", async () => {
    const noise = noiseOf(config, 3);
    const size = noise.length / 3;
    await using three = await Sampler.create(config, weightsOf(config), { batchImages: 3, programs: "shared" });
    await using one = await Sampler.create(config, weightsOf(config), { batchImages: 1, programs: "shared" });
    const classes = [4, 0, 4];
    const together = await three.sample(plan, noise, { text: classTokens(config.text, classes) });
    for (const [i, label] of classes.entries()) {
      const part = [i * size, (i + 1) * size] as const;
      const text = classTokens(config.text, [label]);
      expectClose(
        await one.sample(plan, noise.subarray(...part), { text }),
        together.subarray(...part),
        TOLERANCE.network,
      );
    }
  });

  test("runs each class once for as long as batches have it", async () => {
    await using sampler = await Sampler.create(config, weightsOf(config), { batchImages: 2, programs: "shared" });
    const runs = async (...labels: number[]) => {
      await sampler.sample(plan, noiseOf(config, 2), { text: classTokens(config.text, labels) });
      const programs = await sampler.compiled();
      return [programs.get("text")?.runCount, programs.get("first")?.runCount];
    };
    expect(await runs(1, 1)).toEqual([1, 1]);
    expect(await runs(1, 2)).toEqual([2, 2]);
    expect(await runs(2, 2)).toEqual([2, 2]);
    expect(await runs(3, 2)).toEqual([3, 3]);
    expect(await runs(1, 1)).toEqual([4, 4]); // it was let go
  });

  test.each([
    [undefined, "Cannot sample: the images have no texts, expected (1, 3)"],
    [new Int32Array(2), "Cannot sample: the texts have 2 tokens, expected (1, 3)"],
    [Int32Array.of(0, 1, 9), "Cannot sample: token 9 is none of the vocabulary, expected 0 to 8"],
    [Int32Array.of(0, 1, -1), "Cannot sample: token -1 is none of the vocabulary, expected 0 to 8"],
  ])("refuses the texts %j", async (text, message) => {
    await using sampler = await Sampler.create(config, weightsOf(config), { batchImages: 1 });
    await expect(sampler.sample(plan, noiseOf(config, 1), { ...(text ? { text } : {}) })).rejects.toThrow(
      new RangeError(message),
    );
  });

  test.each([
    ["as-trained", ["context", "denoise", "first", "text", "time 3"]],
    ["first-block", ["context", "denoise", "denoise-with-text", "denoise-without-text", "first", "text", "time 3"]],
  ] as const)("with denoisingMlp has the programs that it needs (%s)", async (sampled, names) => {
    const mlp = tinyWithText({
      arLayers: 1,
      diffusionLayers: 1,
      denoisingMlp: true,
      text: { ...config.text, sampled },
    });
    await using sampler = await Sampler.create(mlp, weightsOf(mlp), { batchImages: 1, programs: "shared" });
    const plan = ddim(2, { clip: false });
    await sampler.sample(plan, noiseOf(mlp, 1), { text: classTokens(mlp.text, [2]) });
    expect([...(await sampler.compiled()).keys()].sort()).toEqual(names);
  });
});
