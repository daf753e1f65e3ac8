import {
  autoencoderFromDiffusers,
  autoencoderSpecs,
  compileDecoder,
  compileEncoder,
  downsamplingFactor,
  fromStateDict,
  pixelsOf,
  posterior,
  sampleLatents,
  withPresentKeys,
  type FileTensor,
} from "@madformer/model";
import type * as tf from "@tensorflow/tfjs-core";
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
  const weights = fromStateDict(autoencoderSpecs(config), withPresentKeys(file));
  const io = goldenTensors(`${name}/io.safetensors`);
  const noise = META[name].float64_max_abs_diff as Record<"moments" | "decoded", number>;
  const [N = 0, height = 0, width = 0] = image(io["image"] as GoldenTensor).shape;
  const size = { batchImages: N, height, width };

  test.each(["onnx", "cpu"] as const)("encodes images to moments (%s)", async (engine) => {
    await using encoder = await compileEncoder(config, weights, size, { engine });
    const { moments } = await encoder.run({ images: nhwc(io["image"] as GoldenTensor) });
    expectClose(moments, nhwc(io["moments"] as GoldenTensor), toleranceOf(noise.moments), "moments");
  });

  test("draws latents from moments", async () => {
    const inputs = {
      moments: image(io["moments"] as GoldenTensor),
      noise: image(io["posterior_noise"] as GoldenTensor),
    };
    const outputs = await runOnce({}, {}, inputs, (_, { moments, noise }) => ({
      ...posterior(moments as tf.Tensor4D),
      latents: sampleLatents(moments as tf.Tensor4D, noise as tf.Tensor4D, config),
    }));
    expectClose(outputs["mean"] as Float32Array, nhwc(io["mean"] as GoldenTensor), 0, "mean"); // half of the moments
    for (const [ours, theirs] of [
      ["std", "std"],
      ["latents", "latent_scaled"],
    ] as const)
      expectClose(outputs[ours] as Float32Array, nhwc(io[theirs] as GoldenTensor), toleranceOf(noise.moments), theirs);
  });

  test.each(["onnx", "cpu"] as const)("decodes latents to images (%s)", async (engine) => {
    const z = image(io["z"] as GoldenTensor);
    const factor = downsamplingFactor(config);
    const sides = { height: (z.shape[1] ?? 0) * factor, width: (z.shape[2] ?? 0) * factor };
    await using decoder = await compileDecoder(config, weights, { batchImages: z.shape[0] ?? 0, ...sides }, { engine });
    const { images } = await decoder.run({ latents: z.data as Float32Array });
    expectClose(images, nhwc(io["decoded"] as GoldenTensor), toleranceOf(noise.decoded), "decoded");
    // A value within the tolerance of a step between two pixels may fall on its other side.
    const pixels = pixelsOf(images as Float32Array);
    const expected = (io["decoded_uint8_nhwc"] as GoldenTensor).data;
    expectClose(pixels, expected, 1, "pixels");
    const differ = pixels.filter((value, i) => value !== expected[i]).length;
    expect(differ / pixels.length).toBeLessThan(0.001);
  });
});

test("pixelsOf() writes the reference's pixels", () => {
  const { "save.input_chw": input, "save.png_uint8_hwc": png } = goldenTensors("image.safetensors");
  const batch = { shape: [1, ...(input as GoldenTensor).shape], data: (input as GoldenTensor).data };
  expect(pixelsOf(nhwc(batch))).toEqual((png as GoldenTensor).data);
});
