import { normal, randomKey } from "@madformer/engine";
import { OptimizerConfig, stepScalars, Trainer } from "@madformer/optim";
import * as tf from "@tensorflow/tfjs-core";
import { initialize } from "../initialize.js";
import { ShapeError } from "../shape.js";
import { draw, expectClose, randomWeights, runOnce, TOLERANCE, valuesOf } from "../testing.js";
import { autoencoderSpecs, decodeLatents, encodeMoments } from "./autoencoder.js";
import { autoencoderBatchSpecs } from "./batch-specs.js";
import { AutoencoderConfig } from "./config.js";
import { AUTOENCODER_TERMS, autoencoderLoss, AutoencoderLossConfig } from "./loss.js";

const CONFIG = AutoencoderConfig.parse({
  channels: [4, 8],
  layers: 1,
  groups: 2,
  latentChannels: 3,
  scalingFactor: 0.5,
});
const [N, SIDE] = [2, 12];
const SPECS = autoencoderSpecs(CONFIG);
const WEIGHTS = randomWeights(SPECS);
const IMAGES = draw("images", N, SIDE, SIDE, 3);
const NOISE = draw("noise", N, 6, 6, 3);
/** All terms, of different weights. */
const LOSS = AutoencoderLossConfig.parse({ l1: 0.7, l2: 1.3, gradient: 0.4, klWeight: 0.2 });

const lossesOf = (loss: AutoencoderLossConfig, weights = WEIGHTS) =>
  runOnce({ p: valuesOf(SPECS, weights), images: IMAGES, noise: NOISE }, ({ p, images, noise }) => ({
    ...autoencoderLoss(p, CONFIG, { images, noise }, loss),
  }));

/** The terms by plain loops, from the network's moments. */
async function plainTerms(weights = WEIGHTS) {
  const p = valuesOf(SPECS, weights);
  const { moments } = await runOnce({ p, images: IMAGES }, ({ p, images }) => ({
    moments: encodeMoments(p, CONFIG, images),
  }));
  let kl = 0;
  const latents = NOISE.data.map((noise, i) => {
    const [pixel, c] = [Math.floor(i / 3), i % 3];
    const [mean, logvar] = [moments[pixel * 6 + c]!, Math.min(20, Math.max(-30, moments[pixel * 6 + 3 + c]!))];
    kl += (mean ** 2 + Math.exp(logvar) - 1 - logvar) / 2 / NOISE.data.length;
    return 0.5 * (mean + Math.exp(logvar / 2) * noise);
  });
  const shape = NOISE.shape;
  const { images } = await runOnce({ p, latents: { shape, data: latents } }, ({ p, latents }) => ({
    images: decodeLatents(p, CONFIG, latents),
  }));
  const difference = images.map((x, i) => x - IMAGES.data[i]!);
  const half = new Float32Array(difference.length / 4);
  const at = (data: Float32Array, side: number, n: number, y: number, x: number, c: number): number =>
    data[((n * side + y) * side + x) * 3 + c]!;
  const each = (side: number, f: (n: number, y: number, x: number, c: number) => void): void => {
    for (let n = 0; n < N; n++)
      for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) for (let c = 0; c < 3; c++) f(n, y, x, c);
  };
  each(SIDE / 2, (n, y, x, c) => {
    for (const dy of [0, 1])
      for (const dx of [0, 1])
        half[((n * SIDE * 0.5 + y) * SIDE * 0.5 + x) * 3 + c]! +=
          at(difference, SIDE, n, 2 * y + dy, 2 * x + dx, c) / 4;
  });
  const edges = (data: Float32Array, side: number): number => {
    let sum = 0;
    each(side, (n, y, x, c) => {
      if (y > 0) sum += Math.abs(at(data, side, n, y, x, c) - at(data, side, n, y - 1, x, c));
      if (x > 0) sum += Math.abs(at(data, side, n, y, x, c) - at(data, side, n, y, x - 1, c));
    });
    return sum / (2 * N * side * (side - 1) * 3);
  };
  const mean = (f: (x: number) => number): number => difference.reduce((sum, x) => sum + f(x), 0) / difference.length;
  return {
    l1: mean(Math.abs),
    l2: mean((x) => x * x),
    gradient: edges(difference, SIDE) + edges(half, SIDE / 2),
    kl,
  };
}

describe("autoencoderLoss()", () => {
  test("is the weighted sum of its terms, each by a plain loop", async () => {
    const [actual, expected] = [await lossesOf(LOSS), await plainTerms()];
    for (const name of ["l1", "l2", "gradient", "kl"] as const)
      expectClose(actual[name], [expected[name]], TOLERANCE.network, name);
    const { l1, l2, gradient, kl } = expected;
    expectClose(actual.loss, [0.7 * l1 + 1.3 * l2 + 0.4 * gradient + 0.2 * kl], TOLERANCE.network);
  });

  test("clamps the variance in the divergence too", async () => {
    const bias = WEIGHTS["quant_conv.bias"]!.map((x, i) => (i === 3 ? 25 : i === 4 ? -40 : x));
    const weights = { ...WEIGHTS, "quant_conv.bias": bias };
    const [actual, expected] = [await lossesOf(LOSS, weights), await plainTerms(weights)];
    expect(expected.kl).toBeGreaterThan(Math.exp(20) / 7);
    expect(actual.kl[0]! / expected.kl).toBeCloseTo(1, 5);
  });

  test("does not compute terms of weight 0", async () => {
    const none = { l1: 0, l2: 0, gradient: 0, klWeight: 0 };
    const all = await lossesOf(LOSS);
    for (const [name, term] of [
      ["l1", "l1"],
      ["l2", "l2"],
      ["gradient", "gradient"],
      ["klWeight", "kl"],
    ] as const) {
      const one = await lossesOf({ ...none, [name]: 2 });
      expectClose(one.loss, [2 * all[term][0]!], TOLERANCE.network, name);
      for (const other of ["l1", "l2", "gradient", "kl"] as const)
        expectClose(one[other], other === term ? all[other] : [0], TOLERANCE.network, other);
    }
    expectClose((await lossesOf(none)).loss, [0], 0);
  });

  test("takes its reconstruction from a draw, not from the mean", async () => {
    const still = await runOnce(
      { p: valuesOf(SPECS, WEIGHTS), images: IMAGES, noise: { ...NOISE, data: new Float32Array(NOISE.data.length) } },
      ({ p, images, noise }) => ({ ...autoencoderLoss(p, CONFIG, { images, noise }, LOSS) }),
    );
    expect(Math.abs(still.l2[0]! - (await lossesOf(LOSS)).l2[0]!)).toBeGreaterThan(0.01);
  });
});

describe("training an autoencoder", () => {
  const optimizer = OptimizerConfig.parse({ weightDecay: 0.3, maxGradNorm: 0.05, eps: 1e-3 });
  const [RATE, DECAY] = [0.01, 0.75];
  const trainer = (
    config: AutoencoderConfig,
    loss: AutoencoderLossConfig,
    optimizer: OptimizerConfig,
    params = WEIGHTS,
  ) =>
    Trainer.create(
      {
        name: "autoencoder",
        parameters: autoencoderSpecs(config),
        batch: autoencoderBatchSpecs(config, { batchImages: N, side: SIDE }),
        loss: (p, batch) => autoencoderLoss(p, config, batch, loss),
        optimizer,
      },
      { params, ema: params },
    );

  test("is AdamW over the clipped gradients of the loss", async () => {
    await using training = await trainer(CONFIG, LOSS, optimizer);
    const scalars = stepScalars(optimizer, 1, RATE, DECAY);
    const measures = (await training.run({ images: IMAGES.data, noise: NOISE.data }, scalars))!;
    const losses = await lossesOf(LOSS);
    for (const name of ["loss", ...AUTOENCODER_TERMS] as const)
      expectClose([measures[name]], losses[name], TOLERANCE.network, name);
    // Gradients by tfjs itself, operation by operation.
    const gradients = await runOnce(
      { p: valuesOf(SPECS, WEIGHTS), images: IMAGES, noise: NOISE },
      ({ p, images, noise }) => {
        const all = p as Record<string, tf.Tensor>;
        const f = (): tf.Scalar => autoencoderLoss(all, CONFIG, { images, noise }, LOSS).loss;
        const { grads } = tf.engine().gradients(f, Object.values(all), null as unknown as tf.Scalar, true);
        return Object.fromEntries(Object.keys(all).map((key, i) => [key, grads[i] as tf.Tensor]));
      },
      "cpu",
    );
    const norm = Math.hypot(...Object.values(gradients).flatMap((g) => [...g]));
    expectClose([measures.gradNorm], [norm], TOLERANCE.network, "gradNorm");
    const clip = 0.05 / (norm + 1e-6);
    expect(clip).toBeLessThan(0.5);
    const state = {
      params: await training.part("params"),
      m: await training.part("m"),
      ema: await training.part("ema"),
    };
    for (const [key, before] of Object.entries(WEIGHTS)) {
      const g = gradients[key]!.map((x) => clip * x);
      expectClose(
        state.m[key]!,
        g.map((x) => 0.1 * x),
        TOLERANCE.network,
        `m of ${key}`,
      );
      const after = before.map((p, i) => p * (1 - RATE * 0.3) - (RATE * g[i]!) / (Math.abs(g[i]!) + 1e-3));
      expectClose(state.params[key]!, after, TOLERANCE.network, key);
      const average = after.map((p, i) => DECAY * before[i]! + (1 - DECAY) * p);
      expectClose(state.ema[key]!, average, TOLERANCE.network, `average of ${key}`);
    }
  });

  test("learns to give images back", async () => {
    const config = AutoencoderConfig.parse({ ...CONFIG, channels: [8, 16], midAttention: false, scalingFactor: 1 });
    const [loss, optimizer] = [AutoencoderLossConfig.parse({}), OptimizerConfig.parse({})];
    await using training = await trainer(config, loss, optimizer, initialize(autoencoderSpecs(config), 1));
    // Smooth pictures: there is something to learn.
    const images = IMAGES.data.map((_, i) => Math.sin(i / 50) * Math.cos(Math.floor(i / 36) / 2) * 0.8);
    const losses: number[] = [];
    for (let step = 1; step <= 150; step++) {
      const noise = normal(randomKey(1, "noise", [step]), { size: NOISE.data.length });
      const measures = await training.run({ images, noise }, stepScalars(optimizer, step, 5e-3, 0.9));
      losses.push(measures!.l2);
    }
    const variance = images.reduce((sum, x) => sum + x * x, 0) / images.length;
    expect(losses[0]).toBeGreaterThan(0.5 * variance);
    expect(losses.at(-1)).toBeLessThan(0.1 * variance);
  });

  test("names a side that does not fit", () => {
    for (const [side, factor] of [
      [13, 2],
      [2, 2],
    ] as const)
      expect(() => autoencoderBatchSpecs(CONFIG, { batchImages: 1, side })).toThrow(
        new ShapeError(`The autoencoder's images have side ${side}, expected a multiple of ${factor} from 4 on`),
      );
  });
});

test("AutoencoderLossConfig refuses what is no weight", () => {
  expect(AutoencoderLossConfig.parse({})).toEqual({ l1: 1, l2: 1, gradient: 1, klWeight: 1e-4 });
  for (const wrong of [{ l1: -1 }, { lpips: 1 }]) expect(AutoencoderLossConfig.safeParse(wrong).success).toBe(false);
});
