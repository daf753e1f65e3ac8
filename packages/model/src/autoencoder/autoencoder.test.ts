import type { EngineName } from "@madformer/engine";
import { ModelConfigError } from "../config.js";
import { fileShape, fromStateDict, parameterCount, toStateDict, type FileTensor } from "../parameters.js";
import {
  differenceOf,
  draw,
  expectClose,
  randomWeights,
  runOnce,
  TOLERANCE,
  valuesOf,
  type Value,
} from "../testing.js";
import { autoencoderSpecs, decodeLatents, encodeMoments, posterior, withPresentKeys } from "./autoencoder.js";
import { autoencoderFromDiffusers, AutoencoderConfig, downsamplingFactor } from "./config.js";

/** Stable Diffusion's, `stabilityai/sd-vae-ft-mse`: the defaults. */
const SD_VAE = AutoencoderConfig.parse({});

const TINY = AutoencoderConfig.parse({
  channels: [4, 8, 12],
  layers: 1,
  groups: 2,
  latentChannels: 3,
  scalingFactor: 0.5,
});

describe("autoencoderSpecs()", () => {
  const specs = autoencoderSpecs(SD_VAE);
  const under = (prefix: string): number =>
    parameterCount(Object.fromEntries(Object.entries(specs).filter(([key]) => key.startsWith(prefix))));

  test("of the published autoencoder has its 248 tensors with 83,653,863 parameters", () => {
    expect([Object.keys(specs).length, parameterCount(specs)]).toEqual([248, 83_653_863]);
    expect(under("encoder.")).toBe(34_163_592);
    expect(under("decoder.")).toBe(49_490_179);
    expect([under("quant_conv."), under("post_quant_conv.")]).toEqual([72, 20]);
  });

  test("changes channels where the published one does", () => {
    const shortcuts = Object.keys(specs).filter((key) => key.endsWith("conv_shortcut.weight"));
    expect(shortcuts).toEqual([
      "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
      "encoder.down_blocks.2.resnets.0.conv_shortcut.weight",
      "decoder.up_blocks.2.resnets.0.conv_shortcut.weight",
      "decoder.up_blocks.3.resnets.0.conv_shortcut.weight",
    ]);
    expect(fileShape(specs["encoder.conv_out.weight"]!)).toEqual([8, 512, 3, 3]);
    expect(fileShape(specs["decoder.up_blocks.3.resnets.2.conv2.weight"]!)).toEqual([128, 128, 3, 3]);
  });

  test("leaves out what a config leaves out", () => {
    const { length } = Object.keys(autoencoderSpecs(TINY));
    const without = autoencoderSpecs(
      AutoencoderConfig.parse({ ...TINY, midAttention: false, quantConv: false, postQuantConv: false }),
    );
    expect(Object.keys(without)).toHaveLength(length - 20 - 2 - 2);
    expect(Object.keys(without).filter((key) => /attentions|quant/.test(key))).toEqual([]);
  });
});

describe("withPresentKeys()", () => {
  const specs = autoencoderSpecs(TINY);
  const weights = randomWeights(specs);
  const present = toStateDict(specs, weights);

  test("leaves present keys, and translates the old ones of the attention", () => {
    expect(withPresentKeys(present)).toEqual(present);
    const old: Record<string, string> = {
      "to_q.": "query.",
      "to_k.": "key.",
      "to_v.": "value.",
      "to_out.0.": "proj_attn.",
    };
    const published = Object.fromEntries(
      Object.entries(present).map(([key, tensor]): [string, FileTensor] => {
        const name = /\.(to_q|to_k|to_v|to_out\.0)\./.exec(key)?.[0].slice(1);
        const { shape, data } = tensor;
        // Some files have these as convolutions.
        return name === undefined
          ? [key, tensor]
          : [key.replace(name, old[name]!), { shape: shape.length === 2 ? [...shape, 1, 1] : shape, data }];
      }),
    );
    expect(Object.keys(published)).not.toEqual(Object.keys(present));
    expect(published).toHaveProperty(["decoder.mid_block.attentions.0.proj_attn.bias"]);
    expect(fromStateDict(specs, withPresentKeys(published))).toEqual(weights);
  });
});

describe("posterior()", () => {
  test("halves the moments and clamps the variance", async () => {
    const moments = { shape: [1, 1, 2, 4], data: Float32Array.of(1, 2, 0, 50, 3, 4, -50, 2) };
    const { mean, std } = await runOnce({ moments }, ({ moments }) => ({ ...posterior(moments) }));
    expectClose(mean, [1, 2, 3, 4], 0);
    const deviations = [1, Math.exp(10), Math.exp(-15), Math.exp(1)];
    deviations.forEach((expected, i) => expect(std[i]! / expected).toBeCloseTo(1, 5));
  });
});

test("encodeMoments() and decodeLatents() look at each image alone, of any size that can be halved", async () => {
  const specs = autoencoderSpecs(TINY);
  const p = valuesOf(specs, randomWeights(specs));
  const images = draw("images", 2, 8, 12, 3);
  const latents = draw("latents", 2, 2, 3, 3);
  const run = (images: Value, latents: Value, engine: EngineName) =>
    runOnce(
      { p, images, latents },
      ({ p, images, latents }) => ({
        moments: encodeMoments(p, TINY, images),
        images: decodeLatents(p, TINY, latents),
      }),
      engine,
    );
  const together = await run(images, latents, "cpu");
  const half = (data: Float32Array, n: number): Float32Array =>
    data.slice((n * data.length) / 2, ((n + 1) * data.length) / 2);
  for (const n of [0, 1]) {
    const one = (value: { readonly shape: readonly number[]; readonly data: Float32Array }): Value => ({
      shape: [1, ...value.shape.slice(1)],
      data: half(value.data, n),
    });
    const alone = await run(one(images), one(latents), "onnx");
    expectClose(alone.moments, half(together.moments, n), TOLERANCE.network, "moments");
    expectClose(alone.images, half(together.images, n), TOLERANCE.network, "images");
  }
  expect(downsamplingFactor(TINY)).toBe(4);
  expect(differenceOf(half(together.moments, 0), half(together.moments, 1)).by).toBeGreaterThan(0.01);
});

const LATENTS = { latents_mean: [1, -2, 3, 4], latents_std: [1, 2, 4, 8] };

describe("autoencoderFromDiffusers()", () => {
  test.each([
    ["nothing", {}, [0, 0, 0, 0], [1, 1, 1, 1]],
    ["a shift of 0", { shift_factor: 0 }, [0, 0, 0, 0], [1, 1, 1, 1]],
    ["a shift", { shift_factor: 0.5 }, [0.25, 0.25, 0.25, 0.25], [1, 1, 1, 1]],
    ["means and deviations", LATENTS, [0.5, -1, 1.5, 2], [1, 2, 4, 8]],
  ])("takes the units of latents from %s", (_, fields, mean, std) => {
    const json = { block_out_channels: [4, 8], norm_num_groups: 2, scaling_factor: 0.5, ...fields };
    expect(autoencoderFromDiffusers(json).scale).toEqual({ mean, std });
  });

  test("takes every field that matters and ignores the others", () => {
    const json = {
      _class_name: "AutoencoderKL",
      _diffusers_version: "0.4.2",
      act_fn: "silu",
      block_out_channels: [4, 8, 12],
      down_block_types: ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
      latent_channels: 3,
      layers_per_block: 1,
      norm_num_groups: 2,
      scaling_factor: 0.5,
      use_quant_conv: false,
    };
    expect(autoencoderFromDiffusers(json).config).toEqual({ ...TINY, quantConv: false });
    expect(autoencoderFromDiffusers({ block_out_channels: [128, 256, 512, 512], layers_per_block: 2 }).config).toEqual(
      SD_VAE,
    );
  });

  test.each([
    ["another network", { _class_name: "VQModel" }, /_class_name/],
    ["another activation", { act_fn: "relu" }, /act_fn/],
    ["another kind of level", { down_block_types: ["AttnDownEncoderBlock2D"] }, /down_block_types/],
    ["a shift of the latents beside their mean", { shift_factor: 0.1, ...LATENTS }, /shift_factor/],
    ["a mean without a deviation", { latents_mean: [0, 0, 0, 0] }, /must come together/],
    ["means of another number of channels", { latents_mean: [0], latents_std: [1] }, /one number for each channel/],
    [
      "images with one channel",
      { in_channels: 1, out_channels: 1 },
      /images of 1 channels and makes 1, expected 3 and 3/,
    ],
    ["levels of which some are not said", { down_block_types: ["DownEncoderBlock2D"] }, /must be equally long/],
    ["another number of channels that go out", { out_channels: 1 }, /makes 1, expected 3/],
    ["groups that do not divide the channels", { norm_num_groups: 3 }, /groups: groups must divide/],
    ["no channels", { block_out_channels: undefined }, /block_out_channels/],
  ])("names %s", (_, change, message) => {
    const attempt = (): unknown =>
      autoencoderFromDiffusers({ block_out_channels: [4, 8], norm_num_groups: 2, ...change });
    expect(attempt).toThrow(ModelConfigError);
    expect(attempt).toThrow(message);
  });
});
