import { orderPicture } from "./order.js";
import { codec, model } from "./testing.js";
import type { ImageSampler } from "./sample.js";

test("orderPicture() says of which seed and blocks pixels are not finite", async () => {
  const latents = new Float32Array(model.blocks * model.blockSide ** 2 * model.latentChannels);
  const decode: ImageSampler["decode"] = (partial, nameOf) =>
    Promise.reject(new Error(`${partial.length}: ${nameOf(0)}`));
  const sampler = { decode } as ImageSampler;
  const images = [{ seed: 17, pixels: new Uint8Array(16 * 16 * 3), latents }];
  await expect(orderPicture(sampler, { model, codec }, images)).rejects.toThrow("256: 1 of 4 blocks of seed 17");
});
