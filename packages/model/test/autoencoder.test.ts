import { AutoencoderConfig, autoencoderSpecs, decodeLatents, encodeMoments } from "@madformer/model";
import { draw, expectClose, randomWeights, runOnce, TOLERANCE, valuesOf } from "../src/testing.js";
import { plainDecoder, plainEncoder } from "./plain-autoencoder.js";

test.each([
  ["every part", {}],
  ["no middle attention, no 1x1 convolutions", { midAttention: false, quantConv: false, postQuantConv: false }],
  ["one level", { channels: [8], layers: 2 }],
])("encodeMoments() and decodeLatents() equal the plain computation (%s)", async (_, change) => {
  const config = AutoencoderConfig.parse({
    imageChannels: 3,
    latentChannels: 2,
    channels: [4, 8, 12],
    layers: 1,
    groups: 2,
    scalingFactor: 0.5,
    ...change,
  });
  const specs = autoencoderSpecs(config);
  const inputs = {
    p: valuesOf(specs, randomWeights(specs)),
    images: draw("images", 2, 8, 12, 3),
    latents: draw("latents", 2, 2, 3, 2),
  };
  const actual = await runOnce(inputs, ({ p, images, latents }) => ({
    moments: encodeMoments(p, config, images),
    images: decodeLatents(p, config, latents),
  }));
  const expected = await runOnce(
    inputs,
    ({ p, images, latents }) => ({
      moments: plainEncoder(p, config, images),
      images: plainDecoder(p, config, latents),
    }),
    "cpu",
  );
  expectClose(actual.moments, expected.moments, TOLERANCE.network, "moments");
  expectClose(actual.images, expected.images, TOLERANCE.network, "images");
});
