import { compile, spec } from "@madformer/engine";
import {
  addNoise,
  COEFFICIENTS,
  coefficientsOf,
  ddim,
  ddimTimesteps,
  dpmSigmas,
  dpmSolver,
  dpmTimesteps,
  noiseSchedule,
  Sampler,
  solverUpdate,
  type SolverPlan,
} from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
import { expectClose, goldenJson, goldenTensors, META, toleranceOf, type GoldenTensor } from "./golden.js";
import { configOf, nhwc, runOnce, weightsOf } from "./model.js";

const SOLVERS: Record<string, (steps: number) => SolverPlan> = {
  dpm: dpmSolver,
  ddim: (steps) => ddim(steps),
  ddim_noclip: (steps) => ddim(steps, { clip: false }),
};

const schedules = goldenJson("schedules.json");
const tensors = goldenTensors("schedules.safetensors");

test("noiseSchedule() is the reference's to the last bit", () => {
  const { betas, alphasCumprod } = noiseSchedule();
  expect(betas).toEqual(tensors["ddpm.betas"]?.data);
  expect(alphasCumprod).toEqual(tensors["ddpm.alphas_cumprod"]?.data);
});

test("timesteps and sigmas are the reference's", () => {
  for (const { steps, dpm_timesteps, ddim_timesteps, dpm_sigmas_tensor } of schedules.inference) {
    expect([...dpmTimesteps(steps)]).toEqual(dpm_timesteps);
    expect([...ddimTimesteps(steps)]).toEqual(ddim_timesteps);
    const expected = tensors[dpm_sigmas_tensor as string]?.data as Float32Array;
    // One unit in the last place: the root is taken in another precision.
    dpmSigmas(steps).forEach((sigma, i) =>
      expect(Math.abs(sigma - expected[i]!)).toBeLessThanOrEqual(2 ** -22 * expected[i]!),
    );
  }
});

test("addNoise() equals the reference's scheduler", async () => {
  const inputs = {
    x0: tensors["add_noise.x0"] as GoldenTensor,
    noise: tensors["add_noise.noise"] as GoldenTensor,
    t: { shape: [tensors["add_noise.t"]!.shape[0] ?? 0, 1], data: tensors["add_noise.t"]!.data },
  };
  const { y } = (await runOnce({}, {}, inputs, (_, { x0, noise, t }) => ({
    y: addNoise(x0 as tf.Tensor4D, noise as tf.Tensor4D, t as tf.Tensor2D),
  }))) as { y: Float32Array };
  expectClose(y, tensors["add_noise.out"]!.data, 1e-6, "add_noise.out");
});

const sequences = (schedules.step_sequences.schedulers as string[]).flatMap((scheduler) =>
  (schedules.step_sequences.steps as number[]).map((steps) => [scheduler, steps] as const),
);
test.each(sequences)("%s takes %d steps as the reference's scheduler", async (scheduler, steps) => {
  const plan = SOLVERS[scheduler]!(steps);
  const part = (name: string) => tensors[`step.${scheduler}.${steps}.${name}`]!.data as Float32Array;
  const [outputs, expected] = [part("model_output"), part("prev_sample")];
  let x = part("x_init");
  let previous = new Float32Array(x.length);
  const latents = spec([x.length]);
  const update = (_: unknown, inputs: Record<string, tf.Tensor1D>) => {
    const [x, output, previous, coefficients] = ["x", "output", "previous", "coefficients"].map((name) => inputs[name]);
    return {
      outputs: { ...solverUpdate(x!, output!, previous!, coefficients!, { clip: plan.clip, prediction: "epsilon" }) },
    };
  };
  await using program = await compile(
    update,
    { inputs: { x: latents, output: latents, previous: latents, coefficients: spec([COEFFICIENTS.length]) } },
    { name: scheduler },
  );
  for (const [i, step] of plan.steps.entries()) {
    const at = (data: Float32Array) => data.slice(i * x.length, (i + 1) * x.length);
    const inputs = { x, output: at(outputs), previous, coefficients: coefficientsOf(step) };
    const result = (await program.run(inputs)) as Record<"next" | "data", Float32Array<ArrayBuffer>>;
    // Predictions of the data are up to hundreds while the noise is large (alpha is 0.006), and float32 keeps 7 digits.
    const scale = Math.max(1, ...result.data.map(Math.abs));
    expectClose(result.next, at(expected), 1e-6 * scale, `step ${i}`);
    [x, previous] = [result.next, result.data];
  }
});

const runs = Object.entries(META.sample.runs as Record<string, Record<string, unknown>>);
test.each(runs.map(([name]) => name))("Sampler makes the samples of %s", async (name) => {
  const run = META.sample.runs[name];
  const config = configOf(run.variant);
  const golden = goldenTensors("sample.safetensors");
  const noise = golden["initial_noise"] as GoldenTensor;
  const [N = 0, T = 0, P = 0, C = 0] = noise.shape;
  const plan = SOLVERS[run.scheduler]!(META.sample.num_inference_steps);
  expect(plan.steps.map(({ timestep }) => timestep)).toEqual(run.timesteps);
  const tolerance = toleranceOf(run.float64_max_abs_diff);
  const S = plan.steps.length;
  for (const programs of ["per-block", "shared"] as const) {
    await using sampler = await Sampler.create(config, weightsOf(config), { batchImages: N, programs });
    const latents = await sampler.sample(plan, noise.data as Float32Array, {
      onStep({ block, step, noise: predicted, next }) {
        for (const [ours, theirs] of [
          [predicted, "noise_pred"],
          [next, "prev_sample"],
        ] as const) {
          const all = golden[`${name}.${theirs}`];
          if (!all) continue; // recorded for the default variant alone
          const at = (block * S + step) * N * P * C;
          expectClose(ours, all.data.slice(at, at + N * P * C), tolerance, `${theirs} of block ${block}, step ${step}`);
        }
      },
    });
    expectClose(latents, golden[`${name}.latents`]!.data, tolerance, `latents, ${programs}`);
    // The image of latents: blocks row by row in a square grid, pixels row-major inside a block.
    const [grid, side] = [Math.sqrt(T), Math.sqrt(P)];
    const image = nhwc(golden[`${name}.latent_image`] as GoldenTensor);
    const placed = new Float32Array(image.length);
    for (let i = 0; i < latents.length; i++) {
      const [c, pixel, block, n] = [i % C, Math.floor(i / C) % P, Math.floor(i / C / P) % T, Math.floor(i / C / P / T)];
      const row = Math.floor(block / grid) * side + Math.floor(pixel / side);
      const column = (block % grid) * side + (pixel % side);
      placed[((n * grid * side + row) * grid * side + column) * C + c] = latents[i]!;
    }
    expectClose(placed, image, tolerance, "latent image");
  }
});
