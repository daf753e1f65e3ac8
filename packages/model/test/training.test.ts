import { compile, type Values } from "@madformer/engine";
import {
  addNoise,
  noiseSchedule,
  forward,
  LossConfig,
  lossGradients,
  madformerSpecs,
  OptimizerConfig,
  stepScalars,
  trainingLoss,
  trainSignature,
  trainStep,
  type MadformerConfig,
} from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import {
  batchOf,
  compiledFor,
  draw,
  expectClose,
  MODES,
  runOnce,
  tiny,
  TOLERANCE,
  valuesOf,
  weightsOf,
  type Value,
} from "../src/testing.js";

const config = tiny({ arLayers: 1, diffusionLayers: 1 });
const ALL = LossConfig.parse({ lambdaHidden: 0.5, lambdaClean: 0.25 });
type Tensors = Record<string, tf.Tensor>;

function trainingBatch(config: MadformerConfig, N: number): Record<"latents" | "noise" | "t", Value> {
  const { cleanX, noisedX, t } = batchOf(config, N);
  return { latents: cleanX, noise: noisedX, t };
}

/** Losses and gradients; a missing gradient is not among them. */
function gradientsOf(config: MadformerConfig, batch: ReturnType<typeof trainingBatch>, loss: LossConfig) {
  const p = valuesOf(madformerSpecs(config), weightsOf(config));
  return runOnce({ p, ...batch }, ({ p, ...batch }): Tensors => {
    const { losses, gradients } = lossGradients(p, config, batch, loss);
    const present = Object.entries(gradients).filter((entry): entry is [string, tf.Tensor] => entry[1] !== null);
    return { ...losses, ...Object.fromEntries(present) };
  });
}

describe("trainingLoss()", () => {
  test("is the weighted sum of three means of squares", async () => {
    const batch = trainingBatch(config, 2);
    const p = valuesOf(madformerSpecs(config), weightsOf(config));
    const outputs = await runOnce({ p, ...batch }, ({ p, ...batch }): Tensors => {
      const { latents, noise, t } = batch as { latents: tf.Tensor4D; noise: tf.Tensor4D; t: tf.Tensor2D };
      const inputs = { cleanX: latents, noisedX: addNoise(latents, noise, t), t };
      return {
        ...trainingLoss(p, config, batch, ALL),
        ...forward(p, config, inputs, ["noisePred", "condition", "cleanTower"]),
      };
    });
    const meanSquare = (name: string, expected: Value): number =>
      outputs[name]!.reduce((sum, x, i) => sum + (x - expected.data[i]!) ** 2, 0) / expected.data.length;
    const terms = [
      meanSquare("noisePred", batch.noise),
      meanSquare("condition", batch.latents),
      meanSquare("cleanTower", batch.latents),
    ] as const;
    ["image", "hidden", "clean"].forEach((name, i) => expectClose(outputs[name]!, [terms[i]!], TOLERANCE.layer, name));
    expectClose(outputs["loss"]!, [terms[0] + 0.5 * terms[1] + 0.25 * terms[2]], TOLERANCE.layer, "loss");
  });

  test.each(["x", "v"] as const)(
    "takes the target that is predicted, and weighs timesteps (%s)",
    async (prediction) => {
      const other = tiny({ arLayers: 1, diffusionLayers: 1, prediction });
      const batch = trainingBatch(other, 2);
      const p = valuesOf(madformerSpecs(other), weightsOf(other));
      const of = (weighting: object) => LossConfig.parse({ weighting, lambdaHidden: 0 });
      const outputs = await runOnce({ p, ...batch }, ({ p, ...batch }): Tensors => {
        const { latents, noise, t } = batch as { latents: tf.Tensor4D; noise: tf.Tensor4D; t: tf.Tensor2D };
        return {
          ...forward(p, other, { cleanX: latents, noisedX: addNoise(latents, noise, t), t }, ["noisePred"]),
          plain: trainingLoss(p, other, batch, of({ by: "none" })).image,
          weighted: trainingLoss(p, other, batch, of({ by: "snr+1", most: 4 })).image,
        };
      });
      const size = other.blockSide ** 2 * other.latentChannels; // of a block
      const sums = { plain: 0, weighted: 0 };
      batch.latents.data.forEach((x0, i) => {
        const abar = noiseSchedule().alphasCumprod[batch.t.data[Math.floor(i / size)]!]!;
        const v = Math.sqrt(abar) * batch.noise.data[i]! - Math.sqrt(1 - abar) * x0;
        const error = (outputs["noisePred"]![i]! - (prediction === "x" ? x0 : v)) ** 2;
        sums.plain += error;
        sums.weighted += error * Math.min(1 / (1 - abar), 4) * (prediction === "x" ? 1 : 1 - abar);
      });
      for (const name of ["plain", "weighted"] as const)
        expectClose(outputs[name]!, [sums[name] / batch.latents.data.length], TOLERANCE.layer, name);
    },
  );

  test.each([
    ["whose weights are 0", {}, { lambdaHidden: 0 }, ["hidden", "clean"]],
    ["without a condition", { clearCond: true }, ALL, ["hidden"]],
    ["without a clean tower", { clearClean: true }, ALL, ["clean"]],
  ])("gives 0 for terms %s", async (_, mode, loss, zeros) => {
    const other = tiny({ ...mode, arLayers: 1, diffusionLayers: 1 });
    const batch = trainingBatch(other, 1);
    const p = valuesOf(madformerSpecs(other), weightsOf(other));
    const losses = await runOnce({ p, ...batch }, ({ p, ...batch }) => ({
      ...trainingLoss(p, other, batch, LossConfig.parse(loss)),
    }));
    for (const name of ["hidden", "clean"] as const) expect(losses[name][0] === 0).toBe(zeros.includes(name));
  });
});

describe("lossGradients()", () => {
  test("are central differences, for all losses and every part of the network", async () => {
    const batch = trainingBatch(config, 1);
    const weights = weightsOf(config);
    const specs = madformerSpecs(config);
    const gradients = await gradientsOf(config, batch, ALL);
    await using loss = await compiledFor({ p: valuesOf(specs, weights), ...batch }, ({ p, ...batch }) => ({
      loss: trainingLoss(p, config, batch, ALL).loss,
    }));
    const at = async (direction: Record<string, Float32Array>, step: number): Promise<number> => {
      const moved = Object.fromEntries(
        Object.entries(weights).map(([key, w]) => [key, w.map((x, i) => x + step * (direction[key]?.[i] ?? 0))]),
      );
      return (await loss.run({ p: valuesOf(specs, moved), ...batch })).loss[0]!;
    };
    for (const part of [
      /^boi_block/,
      /^downsampler/,
      /^upsampler/,
      /^blocks\.0.*_list\.0/,
      /^blocks\.0.*_list\.1/,
      /^blocks\.1.*_list\.0/,
      /^blocks\.1.*_list\.1/,
    ]) {
      const keys = Object.keys(specs).filter((key) => part.test(key));
      const length = Math.hypot(...keys.flatMap((key) => Array.from(gradients[key] ?? [])));
      expect(length).toBeGreaterThan(1e-3);
      // Along the gradient, where the change is largest, and a random way besides, which sees what is missing from it.
      const size = Math.sqrt(keys.reduce((sum, key) => sum + weights[key]!.length, 0));
      const direction = Object.fromEntries(
        keys.map((key) => [
          key,
          draw(`direction ${key}`, weights[key]!.length).data.map(
            (x, i) => (gradients[key]?.[i] ?? 0) / length + x / size,
          ),
        ]),
      );
      const slope = keys.reduce(
        (sum, key) => sum + direction[key]!.reduce((s, d, i) => s + d * (gradients[key]?.[i] ?? 0), 0),
        0,
      );
      // Of fourth order; a loss of order 1 is off by 1e-7, its difference quotient by 1e-7 / h.
      const h = 0.01;
      const near = (await at(direction, h)) - (await at(direction, -h));
      const far = (await at(direction, 2 * h)) - (await at(direction, -2 * h));
      const difference = (8 * near - far) / (12 * h);
      expect(Math.abs(difference - slope)).toBeLessThan(1e-4 + 2e-3 * Math.abs(slope));
    }
  });

  test("of the clean-tower loss reach the clean tower's last layer, which no other loss does", async () => {
    const batch = trainingBatch(config, 1);
    const last = Object.keys(madformerSpecs(config)).filter(
      (key) => key.startsWith("blocks.1.") && /(q_norm|proj|mlp|post_attention_layernorm)_list\.0\./.test(key),
    );
    expect(last).toHaveLength(7);
    const with_ = await gradientsOf(config, batch, ALL);
    for (const key of last) expect(Math.hypot(...with_[key]!)).toBeGreaterThan(1e-4);
    const without = await gradientsOf(config, batch, LossConfig.parse({ lambdaHidden: 0.5 }));
    for (const key of last) expect(without[key]?.every((g) => g === 0) ?? true).toBe(true);
    // Of the projection to queries, keys and values the first third alone, the queries', is unused.
    const qkv = without["blocks.1.self_attn.qkv_list.0.weight"]!;
    expect(qkv.subarray(0, qkv.length / 3).every((g) => g === 0)).toBe(true);
    expect(qkv.subarray(qkv.length / 3).some((g) => g !== 0)).toBe(true);
  });

  test.each(["default", "clear clean", "single tower"] as const)(
    "of a batch of two are the mean of two batches of one (%s)",
    async (mode) => {
      const other = tiny({ ...MODES[mode], arLayers: 1, diffusionLayers: 1 });
      const both = trainingBatch(other, 2);
      const half = (image: number) =>
        Object.fromEntries(
          Object.entries(both).map(([name, { shape, data }]) => [
            name,
            {
              shape: [1, ...shape.slice(1)],
              data: data.slice((image * data.length) / 2, ((image + 1) * data.length) / 2),
            },
          ]),
        ) as unknown as typeof both;
      const [a, b, together] = [
        await gradientsOf(other, half(0), ALL),
        await gradientsOf(other, half(1), ALL),
        await gradientsOf(other, both, ALL),
      ];
      expect(Object.keys(together)).toEqual(Object.keys(a));
      for (const [key, gradient] of Object.entries(together))
        expectClose(
          gradient,
          gradient.map((_, i) => (a[key]![i]! + b[key]![i]!) / 2),
          TOLERANCE.network,
          key,
        );
    },
  );
});

describe("trainStep()", () => {
  const optimizer = OptimizerConfig.parse({ weightDecay: 0.3, maxGradNorm: 0.05 });
  const [RATE, DECAY] = [0.01, 0.75];
  const train = async (optimizer: OptimizerConfig) => {
    const params = weightsOf(config);
    const program = await compile(trainStep(config, LossConfig.parse({}), optimizer), trainSignature(config, 1), {
      name: "train",
      initialState: { params, ema: params },
    });
    return { params, program };
  };
  type State = Record<"params" | "m" | "v" | "ema", Record<string, Float32Array>>;

  test.each([
    ["clipped", optimizer],
    ["not clipped", { ...optimizer, maxGradNorm: 0 }],
  ] as const)("is a loop of AdamW over the gradients, %s", async (kind, optimizer) => {
    const batch = trainingBatch(config, 1);
    const gradients = await gradientsOf(config, batch, LossConfig.parse({}));
    const { params, program } = await train(optimizer);
    await using _ = program;
    const scalars = stepScalars(optimizer, 1, RATE, DECAY);
    const data = { latents: batch.latents.data, noise: batch.noise.data, t: batch.t.data };
    const outputs = (await program.run({ ...data, scalars })) as Values<Record<string, tf.Tensor>>;
    const all = Object.keys(params).flatMap((key) => Array.from(gradients[key] ?? []));
    const norm = Math.hypot(...all);
    expectClose(outputs["gradNorm"]!, [norm], TOLERANCE.layer, "gradNorm");
    for (const name of ["loss", "image", "hidden", "clean"])
      expectClose(outputs[name]!, gradients[name]!, TOLERANCE.layer, name);
    expect(norm).toBeGreaterThan(0.1);
    const clip = kind === "clipped" ? 0.05 / (norm + 1e-6) : 1;
    const state = (await program.state.readAll()) as State;
    let decayed = 0;
    for (const [key, before] of Object.entries(params)) {
      const g = gradients[key] ?? new Float32Array(before.length);
      if (g.every((x) => x === 0)) decayed++;
      expectClose(
        state.m[key]!,
        g.map((x) => 0.1 * clip * x),
        TOLERANCE.layer,
        `m of ${key}`,
      );
      expectClose(
        state.v[key]!,
        g.map((x) => 0.05 * (clip * x) ** 2),
        TOLERANCE.layer,
        `v of ${key}`,
      );
      // The first step is g / (|g| + eps): where g is near eps, its own rounding shows. It is checked from the moments.
      const after = before.map((p, i) => {
        const [m, v] = [state.m[key]![i]!, state.v[key]![i]!];
        return p * (1 - RATE * 0.3) - (RATE * (m / 0.1)) / (Math.sqrt(v / 0.05) + 1e-8);
      });
      expectClose(state.params[key]!, after, TOLERANCE.elementwise, key);
      expectClose(
        state.ema[key]!,
        after.map((p, i) => DECAY * before[i]! + (1 - DECAY) * p),
        TOLERANCE.elementwise,
        `average of ${key}`,
      );
    }
    expect(decayed).toBeGreaterThanOrEqual(7); // of the clean tower's last layer: they decay all the same
  });
});
