import {
  autoencoderFromDiffusers,
  autoencoderSpecs,
  decodeLatents,
  encodeMoments,
  fromStateDict,
  pixelsOfFloats,
  posterior,
  withPresentKeys,
  type FileTensor,
} from "@madformer/model";
import * as tf from "@tensorflow/tfjs-core";
import { expectClose, goldenJson, goldenTensors, META, toleranceOf, type GoldenTensor } from "./golden.js";
import { nhwc, runOnce } from "./model.js";

/** An NCHW tensor of the set, as NHWC. */
const image = (tensor: GoldenTensor): GoldenTensor => {
  const [N = 0, C = 0, H = 0, W = 0] = tensor.shape;
  return { shape: [N, H, W, C], data: nhwc(tensor) };
};

describe.each(Object.keys(META as object).filter((name) => /^vae\d+$/.test(name)))("autoencoder %s", (name) => {
  const { config } = autoencoderFromDiffusers(goldenJson(`${name}/config.json`));
  const file = goldenTensors(`${name}/diffusion_pytorch_model.safetensors`) as Record<string, FileTensor>;
  const specs = autoencoderSpecs(config);
  const weights = fromStateDict(specs, withPresentKeys(file));
  const io = goldenTensors(`${name}/io.safetensors`);
  const noise = META[name].float64_max_abs_diff as Record<"moments" | "decoded", number>;

  test.each(["onnx", "cpu"] as const)("encodes images to moments (%s)", async (engine) => {
    const inputs = { images: image(io["image"] as GoldenTensor) };
    const { moments } = await runOnce(
      weights,
      specs,
      inputs,
      (p, { images }) => ({ moments: encodeMoments(p, config, images as tf.Tensor4D) }),
      engine,
    );
    expectClose(moments as Float32Array, nhwc(io["moments"] as GoldenTensor), toleranceOf(noise.moments), "moments");
  });

  test("draws latents from moments", async () => {
    const inputs = {
      moments: image(io["moments"] as GoldenTensor),
      noise: image(io["posterior_noise"] as GoldenTensor),
    };
    const outputs = await runOnce({}, {}, inputs, (_, { moments, noise }) => {
      const { mean, std } = posterior(moments as tf.Tensor4D);
      return { mean, std, latents: tf.mul(tf.add(mean, tf.mul(std, noise as tf.Tensor4D)), config.scalingFactor) };
    });
    expectClose(outputs["mean"] as Float32Array, nhwc(io["mean"] as GoldenTensor), 0, "mean"); // half of the moments
    for (const [ours, theirs] of [
      ["std", "std"],
      ["latents", "latent_scaled"],
    ] as const)
      expectClose(outputs[ours] as Float32Array, nhwc(io[theirs] as GoldenTensor), toleranceOf(noise.moments), theirs);
  });

  test.each(["onnx", "cpu"] as const)("decodes latents to images (%s)", async (engine) => {
    const { images } = await runOnce(
      weights,
      specs,
      { latents: image(io["z"] as GoldenTensor) },
      (p, { latents }) => ({ images: decodeLatents(p, config, latents as tf.Tensor4D) }),
      engine,
    );
    expectClose(images as Float32Array, nhwc(io["decoded"] as GoldenTensor), toleranceOf(noise.decoded), "decoded");
    // A value within the tolerance of a step between two pixels may fall on its other side.
    const pixels = pixelsOfFloats(images as Float32Array);
    const expected = (io["decoded_uint8_nhwc"] as GoldenTensor).data;
    expectClose(pixels, expected, 1, "pixels");
    const differ = pixels.filter((value, i) => value !== expected[i]).length;
    expect(differ / pixels.length).toBeLessThan(0.001);
  });
});

test("pixelsOfFloats() writes the reference's pixels", () => {
  const { "save.input_chw": input, "save.png_uint8_hwc": png } = goldenTensors("image.safetensors");
  const batch = { shape: [1, ...(input as GoldenTensor).shape], data: (input as GoldenTensor).data };
  expect(pixelsOfFloats(nhwc(batch))).toEqual((png as GoldenTensor).data);
});
