import { compile, type TensorData } from "@madformer/engine";
import {
  addNoise,
  learningRateFactor,
  LossConfig,
  lossGradients,
  madformerSpecs,
  OptimizerConfig,
  stepScalars,
  toStateDict,
  trainSignature,
  trainStep,
} from "@madformer/model";
import * as tf from "@tensorflow/tfjs-core";
import { expectClose, goldenJson, goldenTensors, META, toleranceOf, type GoldenTensor } from "./golden.js";
import { configOf, runOnce, VARIANTS, weightsOf } from "./model.js";

const forwardTensors = goldenTensors("forward.safetensors");
const batch = {
  latents: forwardTensors["clean_x"] as GoldenTensor,
  noise: forwardTensors["noise"] as GoldenTensor,
  t: forwardTensors["t"] as GoldenTensor,
};

test("addNoise() noises the batch as the reference does", async () => {
  const { y } = (await runOnce({}, {}, { ...batch }, (_, { latents, noise, t }) => ({
    y: addNoise(latents, noise, t),
  }))) as { y: Float32Array };
  // Two products and a sum of float32.
  expectClose(y, (forwardTensors["noised_x"] as GoldenTensor).data, 1e-6, "noised_x");
});

describe.each(VARIANTS)("lossGradients() of %s", (variant) => {
  const config = configOf(variant);
  const meta = META.forward[variant];
  const loss = LossConfig.parse({ lambdaHidden: meta.lambda_hidden_loss });

  test("has the losses, the norm and the zero gradients of the reference", async () => {
    let zeros: string[] = [];
    const outputs = await runOnce(weightsOf(config), madformerSpecs(config), { ...batch }, (params, inputs) => {
      const { losses, gradients } = lossGradients(params, config, inputs, loss);
      zeros = Object.keys(gradients).filter((key) => gradients[key] === null);
      const present = Object.entries(gradients).filter((entry): entry is [string, tf.Tensor] => entry[1] !== null);
      return { ...losses, ...Object.fromEntries(present.map(([key, gradient]) => [`gradient ${key}`, gradient])) };
    });
    // A mean of float32 squares is off by a few units in the last place; the double twin of the loss says how far.
    const noise = Math.abs(meta.loss - meta.float64.loss);
    for (const [name, expected] of [
      ["loss", meta.loss],
      ["image", meta.image_loss],
      ["hidden", meta.hidden_loss],
    ] as const)
      expectClose(outputs[name] as Float32Array, [expected], toleranceOf(noise), name);

    const gradients = Object.entries(outputs).flatMap(([name, data]) =>
      name.startsWith("gradient ") ? [[name.slice("gradient ".length), data] as const] : [],
    );
    const squares = gradients.reduce((sum, [, data]) => sum + data.reduce((s, g) => s + g * g, 0), 0);
    expect(Math.sqrt(squares)).toBeCloseTo(meta.grad_norm, 5); // relative 1e-5: the norm is about one
    const exact = gradients.filter(([, data]) => data.every((g) => g === 0)).map(([key]) => key);
    expect([...zeros, ...exact].sort()).toEqual([...(meta.parameters_with_zero_gradient as string[])].sort());
  });
});

test("lossGradients() has the gradient of every parameter", async () => {
  const config = configOf("default");
  const specs = madformerSpecs(config);
  const meta = META.forward.default;
  const loss = LossConfig.parse({ lambdaHidden: meta.lambda_hidden_loss });
  const outputs = await runOnce(weightsOf(config), specs, { ...batch }, (params, inputs) => {
    const { gradients } = lossGradients(params, config, inputs, loss);
    return Object.fromEntries(
      Object.entries(gradients).map(([key, g]) => [key, g ?? tf.zeros(specs[key]!.shape as [number])]),
    );
  });
  const ours = toStateDict(specs, outputs);
  const expected = goldenTensors("grads.safetensors");
  expect(Object.keys(ours).sort()).toEqual(Object.keys(expected).sort());
  for (const [key, { shape, data }] of Object.entries(expected)) {
    expect(ours[key]?.shape).toEqual(shape);
    expectClose(ours[key]!.data, data, toleranceOf(meta.float64.grad_max_abs_diff[key]), `gradient of ${key}`);
  }
});

test("trainStep() takes the reference's steps: losses, norms, weights and averages", async () => {
  const config = configOf("default");
  const specs = madformerSpecs(config);
  const meta = META.train;
  const data = goldenTensors("train_data.safetensors");
  const [K = 0, N = 0] = (data["t"] as GoldenTensor).shape;
  const optimizer = OptimizerConfig.parse({
    beta1: meta.beta1,
    beta2: meta.beta2,
    eps: meta.eps,
    weightDecay: meta.weight_decay,
    maxGradNorm: meta.max_grad_norm,
  });
  const loss = LossConfig.parse({ lambdaHidden: meta.lambda_hidden_loss });
  const initial = weightsOf(config);
  await using program = await compile(trainStep(config, loss, optimizer), trainSignature(config, N), {
    name: "train",
    initialState: { params: initial, ema: initial },
  });
  expect(K).toBe(meta.steps);
  for (let k = 0; k < K; k++) {
    const at = (name: string) => {
      const { data: all } = data[name] as GoldenTensor;
      return all.slice((k * all.length) / K, ((k + 1) * all.length) / K) as TensorData;
    };
    const scalars = stepScalars(optimizer, k + 1, meta.lr, meta.ema_decay);
    const inputs = { latents: at("latents"), noise: at("noise"), t: at("t"), scalars };
    const outputs = await program.run(inputs);
    const [log, exact] = [meta.log[k], meta.float64_log[k]];
    for (const [ours, theirs] of [
      ["loss", "loss"],
      ["image", "image_loss"],
      ["hidden", "hidden_loss"],
      ["gradNorm", "grad_norm"],
    ] as const)
      expectClose(
        outputs[ours],
        [log[theirs]],
        toleranceOf(Math.abs(log[theirs] - exact[theirs])),
        `${theirs} of step ${k}`,
      );
  }

  const state = (await program.state.readAll()) as Record<"params" | "ema", Record<string, Float32Array>>;
  const final = toStateDict(specs, state.params);
  for (const [key, { data: expected }] of Object.entries(goldenTensors("train_final.safetensors")))
    expectClose(
      final[key]!.data,
      expected,
      toleranceOf(meta.float64_final_max_abs_diff[key]),
      `${key} after ${K} steps`,
    );
  const averages = toStateDict(specs, state.ema);
  const start = toStateDict(specs, initial);
  for (const [key, { data: expected }] of Object.entries(goldenTensors("train_ema.safetensors"))) {
    expectClose(averages[key]!.data, expected, toleranceOf(meta.float64_ema_max_abs_diff[key]), `average of ${key}`);
    // The average moves by a millionth: that it moves as it should shows in the difference alone. The difference of two
    // float32 around v is off by some units in the last place of v.
    const move = (data: ArrayLike<number>) => Array.from(data, (value, i) => value - start[key]!.data[i]!);
    const largest = Array.from(expected).reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    expectClose(
      move(averages[key]!.data),
      move(expected),
      1e-7 + 4 * 2 ** -24 * largest,
      `movement of the average of ${key}`,
    );
  }
});

test.each(["wsd", "cosine"] as const)(
  "learningRateFactor() is that of %s at every step, and beyond the end",
  (kind) => {
    const schedules = goldenJson("schedules.json");
    const { total_steps, warmup } = schedules;
    const { factor } = schedules[kind] as { factor: number[] };
    const ours = factor.map((_, step) => learningRateFactor({ kind, warmup }, step, total_steps, "zero"));
    expectClose(ours, factor, 1e-12, kind); // double precision
  },
);
