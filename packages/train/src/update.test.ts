import { hostCopies, integers, normal, randomKey } from "@madformer/engine";
import { geometryOf, stepScalars } from "@madformer/model";
import { tinyConfig } from "./testing.js";
import { Update } from "./update.js";

test("an Update of several runs copies losses to the host, and neither gradients nor parameters", async () => {
  const config = tinyConfig({ accumulate: 2 });
  const { model, batchImages: N, optimizer } = config;
  const { T, P } = geometryOf(model);
  const [size, key] = [N * T * P * model.latentChannels, (name: string) => randomKey(1, name)];
  const batch = {
    latents: normal(key("latents"), { size }),
    noise: normal(key("noise"), { size }),
    t: integers(key("t"), 0, 1000, { size: N * T }),
  };
  await using update = await Update.create(config, undefined);
  const first = await update.part("params");
  const norms = [];
  const before = hostCopies();
  for (let step = 1; step <= 2; step++) {
    expect(await update.run(batch, undefined)).toBeUndefined();
    norms.push((await update.run(batch, stepScalars(optimizer, step, 1e-3, 0.9)))?.gradNorm);
  }
  const { count, bytes } = hostCopies();
  expect(count - before.count).toBe(2 * (2 * 4 + 1)); // of each run four losses, of each step the norm
  expect(bytes - before.bytes).toBe(4 * (count - before.count));
  expect(norms[1]).not.toBe(norms[0]); // the second step's gradients are those of new parameters
  expect(await update.part("params")).not.toEqual(first);
});
