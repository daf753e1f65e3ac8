import { compile, integers, randomKey } from "@madformer/engine";
import { geometryOf } from "../config.js";
import { TRAIN_TIMESTEPS } from "../diffusion/noise-schedule.js";
import { madformerSpecs } from "../madformer.js";
import { draw, expectClose, MODES, tiny, TOLERANCE, weightsOf } from "../testing.js";
import { gradientSignature, gradientStep, updateSignature, updateStep } from "./accumulate.js";
import { LossConfig } from "./loss.js";
import { OptimizerConfig, stepScalars } from "./optimizer.js";
import { trainSignature, trainStep } from "./train-step.js";

type Weights = Record<string, Float32Array>;

// Gradients are clipped, by a norm that only the whole sum has; clear clean has parameters without gradients, which
// decay.
test.each(["default", "clear clean"] as const)("three parts make the step of the whole batch (%s)", async (mode) => {
  const config = tiny(MODES[mode]);
  const [PARTS, N] = [3, 2];
  const { T, P } = geometryOf(config);
  const size = T * P * config.latentChannels; // of an image
  const loss = LossConfig.parse({});
  const optimizer = OptimizerConfig.parse({ maxGradNorm: 0.5, eps: 1e-3 });
  const weights = weightsOf(config);
  const initialState = { params: weights, ema: weights };
  const images = PARTS * N;
  const all = {
    latents: draw("latents", images * size).data,
    noise: draw("noise", images * size).data,
    t: integers(randomKey(1, "t"), 0, TRAIN_TIMESTEPS, { size: images * T }),
  };
  const scalars = stepScalars(optimizer, 1, 0.01, 0.9);

  await using whole = await compile(trainStep(config, loss, optimizer), trainSignature(config, images), {
    initialState,
  });
  const expected = (await whole.run({ ...all, scalars })) as Weights;

  const step = gradientStep(config, loss, 1 / PARTS);
  await using gradients = await compile(step, gradientSignature(config, N), { initialState: { params: weights } });
  await using update = await compile(updateStep(optimizer), updateSignature(config), { initialState });
  const means: Record<string, number> = {};
  for (let part = 0; part < PARTS; part++) {
    const of = <A extends Float32Array | Int32Array>(data: A, each: number): A =>
      data.slice(part * N * each, (part + 1) * N * each) as A;
    const batch = { latents: of(all.latents, size), noise: of(all.noise, size), t: of(all.t, T) };
    const losses = (await gradients.run(batch)) as Weights;
    for (const [name, [value]] of Object.entries(losses)) means[name] = (means[name] ?? 0) + (value as number) / PARTS;
  }
  const { sum } = (await gradients.state.readAll()) as { sum: Weights };
  const { gradNorm } = (await update.run({ gradients: sum, scalars })) as Weights;

  expect(expected["gradNorm"]?.[0]).toBeGreaterThan(0.5); // it is clipped
  expectClose(gradNorm as Float32Array, expected["gradNorm"] as Float32Array, TOLERANCE.network, "gradNorm");
  for (const name of ["loss", "image", "hidden", "clean"])
    expectClose([means[name] as number], expected[name] as Float32Array, TOLERANCE.network, name);
  const [ours, theirs] = [await update.state.readAll(), await whole.state.readAll()] as Record<string, Weights>[];
  for (const part of ["params", "m", "v", "ema"])
    for (const key of Object.keys(madformerSpecs(config)))
      expectClose(
        ours?.[part]?.[key] as Float32Array,
        theirs?.[part]?.[key] as Float32Array,
        TOLERANCE.network,
        `${part}/${key}`,
      );
});
