import type { TensorData } from "@madformer/engine";
import {
  addNoise,
  batchSpecs,
  LossConfig,
  lossGradients,
  madformerSpecs,
  toStateDict,
  trainedSpecs,
  trainingLoss,
  type WithText,
} from "@madformer/model";
import { learningRateFactor, OptimizerConfig, stepScalars, Trainer, type ScheduleConfig } from "@madformer/optim";
import * as tf from "@tensorflow/tfjs-core";
import { expectClose, toleranceOf, type GoldenTensor } from "../golden.js";
import { runOnce } from "../model.js";
import { configOf, META, tensorsOf, VARIANTS, weightsOf } from "./set.js";

const golden = tensorsOf("forward.safetensors");
const batch = {
  latents: golden["clean_x"] as GoldenTensor,
  noise: golden["noise"] as GoldenTensor,
  t: golden["t"] as GoldenTensor,
  text: golden["input_ids"] as GoldenTensor,
};
type Weights = Record<string, Float32Array>;

const lossOf = (lambdas: Record<"text" | "image" | "hidden", number>): LossConfig =>
  LossConfig.parse({ lambdaText: lambdas.text, lambdaImage: lambdas.image, lambdaHidden: lambdas.hidden });

/** The parameters that a loss trains. */
function trainedOf(config: WithText, loss: LossConfig): Weights {
  const weights = weightsOf(config);
  return Object.fromEntries(Object.keys(trainedSpecs(config, loss)).map((key) => [key, weights[key]!]));
}

const TERMS = [
  ["loss", "loss"],
  ["image", "image_loss"],
  ["hidden", "hidden_loss"],
  ["text", "text_loss"],
] as const;

test("addNoise() noises the batch of the set with text as the reference does", async () => {
  const { latents, noise, t } = batch;
  const { y } = (await runOnce({}, {}, { latents, noise, t }, (_, { latents, noise, t }) => ({
    y: addNoise(latents, noise, t),
  }))) as { y: Float32Array };
  expectClose(y, (golden["noised_x"] as GoldenTensor).data, 1e-6, "noised_x"); // two products and a sum of float32
});

describe.each(VARIANTS.flatMap((variant) => ["plain", "text_loss"].map((kind) => [variant, kind] as const)))(
  "lossGradients() of %s, %s",
  (variant, kind) => {
    const config = configOf(variant);
    const meta = META.forward[variant][kind];
    const loss = lossOf(meta.lambdas);

    test("has the losses of the reference, and gradients of its norms and zeros", async () => {
      const specs = trainedSpecs(config, loss);
      let zeros: string[] = [];
      const outputs = await runOnce(trainedOf(config, loss), specs, { ...batch }, (params, inputs) => {
        const { losses, gradients } = lossGradients(params, config, inputs, loss);
        zeros = Object.keys(gradients).filter((key) => gradients[key] === null);
        const present = Object.entries(gradients).filter((entry): entry is [string, tf.Tensor] => entry[1] !== null);
        return { ...losses, ...Object.fromEntries(present.map(([key, g]) => [`gradient ${key}`, g])) };
      });
      // A mean of float32 squares is off by a few units in the last place; the double twin of the loss says how far.
      const noise = Math.abs(meta.loss - meta.float64.loss);
      for (const [ours, theirs] of TERMS) expectClose(outputs[ours] ?? [0], [meta[theirs]], toleranceOf(noise), theirs);

      const missing = Object.keys(madformerSpecs(config)).filter((key) => !(key in specs));
      expect(missing).toEqual(meta.parameters_without_gradient);
      const norms = Object.fromEntries(
        Object.keys(specs).map((key) => [key, Math.hypot(...(outputs[`gradient ${key}`] ?? []))]),
      );
      expect(Math.hypot(...Object.values(norms)) / meta.grad_norm).toBeCloseTo(1, 5);
      const noisy = new Set(meta.analytically_zero_gradient as string[]);
      const silent = Object.keys(specs).filter((key) => norms[key] === 0 && !noisy.has(key));
      expect(silent.sort()).toEqual([...(meta.parameters_with_zero_gradient as string[])].sort());
      expect(zeros.every((key) => norms[key] === 0)).toBe(true);
      // No noise was recorded of every gradient: norms are compared relatively, to that of all together where small.
      for (const [key, norm] of Object.entries(meta.gradient_l2 as Record<string, number>))
        if (key in norms) expectClose([norms[key]!], [norm], 1e-4 * norm + 1e-6 * meta.grad_norm, `norm of ${key}`);
    });
  },
);

test.each([
  ["plain", "grads.safetensors"],
  ["text_loss", "grads_text.safetensors"],
] as const)("lossGradients() has the gradient of every parameter, %s", async (kind, file) => {
  const config = configOf("default");
  const meta = META.forward.default[kind];
  const loss = lossOf(meta.lambdas);
  const specs = trainedSpecs(config, loss);
  const outputs = await runOnce(trainedOf(config, loss), specs, { ...batch }, (params, inputs) => {
    const { gradients } = lossGradients(params, config, inputs, loss);
    return Object.fromEntries(
      Object.entries(gradients).map(([key, g]) => [key, g ?? tf.zeros(specs[key]!.shape as [number])]),
    );
  });
  const ours = toStateDict(specs, outputs);
  const expected = tensorsOf(file);
  expect(Object.keys(ours).sort()).toEqual(Object.keys(expected).sort());
  for (const [key, { shape, data }] of Object.entries(expected)) {
    expect(ours[key]?.shape).toEqual(shape);
    expectClose(ours[key]!.data, data, toleranceOf(meta.float64.grad_max_abs_diff[key]), `gradient of ${key}`);
  }
});

interface Micro {
  readonly loss: number;
  readonly text_loss: number;
  readonly image_loss: number;
  readonly hidden_loss: number;
}

/** Makes the reference's updates, one micro-batch or several each, and compares every line of its log. */
async function trained(name: "train" | "train_text"): Promise<Record<"params" | "ema", Weights>> {
  const config = configOf("default");
  const meta = META.train[name];
  const data = tensorsOf("train_data.safetensors");
  const [K = 0, N = 0] = (data["t"] as GoldenTensor).shape;
  const optimizer = OptimizerConfig.parse({
    beta1: meta.beta1,
    beta2: meta.beta2,
    eps: meta.eps,
    weightDecay: meta.weight_decay,
    maxGradNorm: meta.max_grad_norm,
  });
  const loss = lossOf(meta.lambdas);
  const params = trainedOf(config, loss);
  const at = (part: string, k: number) => {
    const { data: all } = data[part] as GoldenTensor;
    return all.slice((k * all.length) / K, ((k + 1) * all.length) / K) as TensorData;
  };
  const inputsAt = (k: number) => ({
    latents: at("latents", k),
    noise: at("noise", k),
    t: at("t", k),
    text: at("input_ids", k),
  });
  const factorOf = (step: number): number => {
    if (meta.lr_scheduler === "constant") return 1;
    const [end, , total] = META.train.stages as [number, number, number];
    const schedule = { kind: meta.lr_scheduler, warmup: end / total } as ScheduleConfig;
    return learningRateFactor(schedule, step, total, "zero");
  };
  const A = meta.accumulation as number;
  await using trainer = await Trainer.create(
    {
      name,
      parameters: trainedSpecs(config, loss),
      batch: batchSpecs(config, N),
      loss: (params, batch) => trainingLoss(params, config, batch, loss),
      optimizer,
      accumulate: A,
    },
    { params, ema: params },
  );
  for (let k = 0; k < meta.steps; k++) {
    const rate = meta.lr * factorOf(k);
    expectClose([rate], [meta.log[k].lr], 1e-12, `learning rate of ${k}`);
    const scalars = stepScalars(optimizer, k + 1, rate, meta.ema_decay);
    let measured: Readonly<Record<string, number>> | undefined;
    for (let micro = 0; micro < A; micro++)
      measured = await trainer.run(inputsAt(k * A + micro), micro === A - 1 ? scalars : undefined);
    // Losses are means over the micro-batches of a step.
    const mean = (log: { readonly micro: readonly Micro[] }, name: keyof Micro): number =>
      log.micro.reduce((sum, micro) => sum + micro[name], 0) / A;
    for (const [ours, theirs] of TERMS) {
      const [log, exact] = [mean(meta.log[k], theirs), mean(meta.float64_log[k], theirs)];
      expectClose([measured?.[ours] ?? 0], [log], toleranceOf(Math.abs(log - exact)), `${theirs} of ${k}`);
    }
    const [norm, exact] = [meta.log[k].grad_norm, meta.float64_log[k].grad_norm] as [number, number];
    expectClose([measured?.["gradNorm"] ?? NaN], [norm], toleranceOf(Math.abs(norm - exact)), `grad_norm of ${k}`);
  }
  return (await trainer.state.readAll()) as never;
}

test.each(["train", "train_text"] as const)("a run %s ends at the reference's weights and averages", async (name) => {
  const config = configOf("default");
  const meta = META.train[name];
  const loss = lossOf(meta.lambdas);
  const state = await trained(name);
  const still = weightsOf(config); // what is not trained
  const final = toStateDict(madformerSpecs(config), { ...still, ...state.params });
  const start = toStateDict(madformerSpecs(config), still);
  for (const [key, { data }] of Object.entries(tensorsOf(`${name}_final.safetensors`)))
    if (key in final)
      expectClose(final[key]!.data, data, toleranceOf(meta.float64_final_max_abs_diff[key] ?? 0), `${key} at the end`);
  const unchanged = Object.keys(still).filter((key) => !(key in trainedSpecs(config, loss)));
  expect(unchanged).toEqual(meta.unchanged_parameters);
  if (name !== "train") return;
  const averages = toStateDict(madformerSpecs(config), { ...still, ...state.ema });
  for (const [key, { data }] of Object.entries(tensorsOf("train_ema.safetensors"))) {
    expectClose(averages[key]!.data, data, toleranceOf(meta.float64_ema_max_abs_diff[key] ?? 0), `average of ${key}`);
    // The average moves by a millionth: that it moves as it should shows in the difference alone. The difference of two
    // float32 around v is off by some units in the last place of v.
    const move = (values: ArrayLike<number>) => Array.from(values, (value, i) => value - start[key]!.data[i]!);
    const largest = Array.from(data as Float32Array).reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    expectClose(
      move(averages[key]!.data),
      move(data),
      1e-7 + 4 * 2 ** -24 * largest,
      `movement of the average of ${key}`,
    );
  }
});
