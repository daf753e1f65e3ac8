import { integers, randomKey } from "@madformer/engine";
import {
  batchSpecs,
  geometryOf,
  LossConfig,
  madformerSpecs,
  TERM_NAMES,
  TRAIN_TIMESTEPS,
  trainingLoss,
} from "@madformer/model";
import { OptimizerConfig, stepScalars, Trainer } from "@madformer/optim";
import { draw, expectClose, MODES, tiny, TOLERANCE, weightsOf } from "../src/testing.js";

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
  const images = PARTS * N;
  const all = {
    latents: draw("latents", images * size).data,
    noise: draw("noise", images * size).data,
    t: integers(randomKey(1, "t"), 0, TRAIN_TIMESTEPS, { size: images * T }),
  };
  const scalars = stepScalars(optimizer, 1, 0.01, 0.9);

  const trainer = (batchImages: number, accumulate: number) =>
    Trainer.create(
      {
        name: "MADFormer",
        parameters: madformerSpecs(config),
        batch: batchSpecs(config, batchImages),
        loss: (p, batch) => trainingLoss(p, config, batch, loss),
        optimizer,
        accumulate,
      },
      { params: weights, ema: weights },
    );
  await using whole = await trainer(images, 1);
  await using parts = await trainer(N, PARTS);
  const expected = (await whole.run(all, scalars))!;
  let found: typeof expected | undefined;
  for (let part = 0; part < PARTS; part++) {
    const of = <A extends Float32Array | Int32Array>(data: A, each: number): A =>
      data.slice(part * N * each, (part + 1) * N * each) as A;
    const batch = { latents: of(all.latents, size), noise: of(all.noise, size), t: of(all.t, T) };
    expect(found).toBeUndefined();
    found = await parts.run(batch, part === PARTS - 1 ? scalars : undefined);
  }

  expect(expected.gradNorm).toBeGreaterThan(0.5); // it is clipped
  for (const name of ["loss", ...TERM_NAMES, "gradNorm"] as const)
    expectClose([found![name]], [expected[name]], TOLERANCE.network, name);
  for (const part of ["params", "m", "v", "ema"] as const) {
    const [ours, theirs] = [await parts.part(part), await whole.part(part)];
    for (const key of Object.keys(madformerSpecs(config)))
      expectClose(ours[key]!, theirs[key]!, TOLERANCE.network, `${part}/${key}`);
  }
});
