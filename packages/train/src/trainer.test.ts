import { hostCopies, integers, normal, randomKey } from "@madformer/engine";
import { geometryOf, TERM_NAMES } from "@madformer/model";
import { stepScalars } from "@madformer/optim";
import type { TrainConfig } from "./config.js";
import { tinyConfig } from "./testing.js";
import { firstWeights, trainerOf } from "./trainer.js";

function batchOf({ model, batchImages: N }: TrainConfig) {
  const { T, P } = geometryOf(model);
  const [size, key] = [N * T * P * model.latentChannels, (name: string) => randomKey(1, name)];
  return {
    latents: normal(key("latents"), { size }),
    noise: normal(key("noise"), { size }),
    t: integers(key("t"), 0, 1000, { size: N * T }),
  };
}

test("a step of several runs copies losses to the host, and neither gradients nor parameters", async () => {
  const config = tinyConfig({ accumulate: 2 });
  const { optimizer } = config;
  const batch = batchOf(config);
  await using trainer = await trainerOf(config, firstWeights(config));
  const first = await trainer.part("params");
  const norms = [];
  const before = hostCopies();
  for (let step = 1; step <= 2; step++) {
    expect(await trainer.run(batch, undefined)).toBeUndefined();
    norms.push((await trainer.run(batch, stepScalars(optimizer, step, 1e-3, 0.9)))?.gradNorm);
  }
  const { count, bytes } = hostCopies();
  const losses = 1 + TERM_NAMES.length; // of each run; of each step the norm
  expect(count - before.count).toBe(2 * (2 * losses + 1));
  expect(bytes - before.bytes).toBe(4 * (count - before.count));
  expect(norms[1]).not.toBe(norms[0]); // the second step's gradients are those of new parameters
  expect(await trainer.part("params")).not.toEqual(first);
});

test.each(["layers", "all"] as const)(
  "a run that recomputes %s has the same weights, to the bit",
  async (recompute) => {
    const kept = tinyConfig({});
    const { optimizer } = kept;
    const batch = batchOf(kept);
    const weights = [];
    for (const config of [kept, { ...kept, recompute }]) {
      await using trainer = await trainerOf(config, firstWeights(config));
      for (let step = 1; step <= 3; step++) await trainer.run(batch, stepScalars(optimizer, step, 1e-3, 0.9));
      weights.push(await trainer.part("params"));
    }
    expect(weights[1]).toEqual(weights[0]);
  },
);
