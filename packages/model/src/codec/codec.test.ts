import { AutoencoderConfig } from "../autoencoder/config.js";
import { encodeMoments, decodeLatents, posterior } from "../autoencoder/autoencoder.js";
import { ModelConfigError } from "../config.js";
import { fromStateDict, toStateDict } from "../parameters.js";
import { pixelsOfFloats } from "../pixels.js";
import { ShapeError } from "../shape.js";
import { draw, expectClose, randomWeights, runOnce, TOLERANCE, valuesOf } from "../testing.js";
import { decodeToImages, encodeImages } from "./codec.js";
import { codecConfig, codecSpecs, latentSize, pixelsPerLatent, type CodecConfig } from "./config.js";
import { PatchPcaFit } from "./fit-patch-pca.js";
import { floatsOfPixels } from "./images.js";
import { compileCodecDecoder, compileCodecEncoder } from "./programs.js";

const SIDE = 12;
const N = 3;
const images = draw("images", N, SIDE, SIDE, 3).data.map((x) => Math.tanh(0.4 * x + 0.2));

const KL = codecConfig({
  kind: "autoencoder-kl",
  config: { channels: [4, 8], layers: 1, groups: 2, latentChannels: 3, scalingFactor: 0.5 },
  scale: { mean: [0.3, -0.2, 0], std: [0.5, 2, 1] },
}) as CodecConfig & { kind: "autoencoder-kl" };

function fitted(patch: number, channels: number) {
  const fit = new PatchPcaFit(patch, SIDE);
  fit.add(draw("more images", 20, SIDE, SIDE, 3).data.map((x) => 0.4 * x + 0.2));
  return fit.finish(channels);
}

describe("codecConfig()", () => {
  const { codec } = fitted(2, 5);

  test("reads what it wrote", () => {
    for (const config of [KL, codec]) expect(codecConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
  });

  test.each<[string, object, RegExp]>([
    ["another kind", { kind: "vq" }, /kind/],
    ["more channels than values", { channels: 13 }, /channels: a patch of p x p pixels has 3 · p² values/],
    ["a scale for other channels", { channels: 4 }, /scale: mean and std must have one number for each channel/],
    ["deviations of other channels", { scale: { mean: [0, 0, 0, 0, 0], std: [1] } }, /scale: mean and std/],
    ["a deviation of zero", { scale: { mean: [0, 0, 0, 0, 0], std: [1, 1, 0, 1, 1] } }, /scale.std.2/],
    ["a patch that is too large", { patch: 17 }, /patch/],
    ["what it does not know", { patches: 1 }, /patches/],
  ])("names %s", (_, change, message) => {
    const attempt = (): unknown => codecConfig({ ...codec, ...change });
    expect(attempt).toThrow(ModelConfigError);
    expect(attempt).toThrow(message);
  });
});

describe("latentSize()", () => {
  test("divides the side by what a latent pixel stands for", () => {
    expect([pixelsPerLatent(KL), pixelsPerLatent(fitted(3, 5).codec)]).toEqual([2, 3]);
    expect(latentSize(KL, 12)).toEqual({ side: 6, channels: 3 });
    expect(latentSize(fitted(3, 5).codec, 12)).toEqual({ side: 4, channels: 5 });
    for (const side of [13, 0])
      expect(() => latentSize(KL, side)).toThrow(
        new ShapeError(`The codec's images have side ${side}, expected a multiple of 2`),
      );
  });
});

describe("the codec patch-pca", () => {
  test.each([1, 2, 4])("with all channels gives every image back (patches of side %d)", async (patch) => {
    const { codec, weights } = fitted(patch, 3 * patch ** 2);
    await using encoder = await compileCodecEncoder(codec, weights, { batchImages: N, side: SIDE });
    await using decoder = await compileCodecDecoder(codec, weights, { batchImages: N, side: SIDE });
    const { mean, logvar } = await encoder.encode(images);
    expect(logvar).toBeNull();
    expect(mean).toHaveLength(images.length);
    expectClose(await decoder.decode(mean), images, TOLERANCE.layer);
  });

  test("is the orthogonal map of its weights, in units of its scale", async () => {
    const [patch, channels] = [2, 5];
    const fit = fitted(patch, channels);
    const codec = codecConfig({ ...fit.codec, scale: { mean: [0.1, -0.2, 0.3, 0, 1], std: [1, 2, 0.5, 0.1, 3] } });
    const { scale } = codec;
    const { mean: center, basis } = fit.weights;
    await using encoder = await compileCodecEncoder(codec, fit.weights, { batchImages: N, side: SIDE });
    await using decoder = await compileCodecDecoder(codec, fit.weights, { batchImages: N, side: SIDE });
    const { mean } = await encoder.encode(images);
    const decoded = await decoder.decode(mean);
    const h = SIDE / patch;
    const [expected, back] = [new Float32Array(N * h * h * channels), new Float32Array(images.length)];
    for (let n = 0; n < N; n++)
      for (let y = 0; y < h; y++)
        for (let x = 0; x < h; x++) {
          const at = Array.from({ length: 12 }, (_, i) => {
            const [dy, dx, color] = [Math.floor(i / 6), Math.floor(i / 3) % 2, i % 3];
            return ((n * SIDE + y * patch + dy) * SIDE + x * patch + dx) * 3 + color;
          });
          const z = scale.std.map((_, c) =>
            at.reduce((sum, k, i) => sum + (images[k]! - center[i]!) * basis[i * channels + c]!, 0),
          );
          z.forEach((value, c) => {
            expected[((n * h + y) * h + x) * channels + c] = (value - scale.mean[c]!) / scale.std[c]!;
          });
          at.forEach((k, i) => {
            back[k] = z.reduce((sum, value, c) => sum + value * basis[i * channels + c]!, center[i]!);
          });
        }
    expectClose(mean, expected, TOLERANCE.layer, "latents");
    expectClose(decoded, back, TOLERANCE.layer, "images");
  });

  test("has latents of mean 0 and variance 1 on what it was fitted on", async () => {
    const { codec, weights } = fitted(2, 5);
    await using encoder = await compileCodecEncoder(codec, weights, { batchImages: 20, side: SIDE });
    const { mean } = await encoder.encode(draw("more images", 20, SIDE, SIDE, 3).data.map((x) => 0.4 * x + 0.2));
    for (let c = 0; c < 5; c++) {
      const z = mean.filter((_, i) => i % 5 === c);
      const average = z.reduce((sum, x) => sum + x, 0) / z.length;
      expect(average).toBeCloseTo(0, 5);
      expect(z.reduce((sum, x) => sum + x * x, 0) / z.length).toBeCloseTo(1, 5);
    }
  });
});

test("encodeImages() and decodeToImages() name shapes that do not fit", async () => {
  const { codec, weights } = fitted(2, 5);
  const p = valuesOf(codecSpecs(codec), weights);
  const [odd, wide] = [draw("odd", 1, 5, 5, 3), draw("wide", 1, 4, 6, 3)];
  const encode = (images: typeof odd) =>
    runOnce({ p, images }, ({ p, images }) => ({ mean: encodeImages(p, codec, images).mean }));
  await expect(encode(odd)).rejects.toThrow("The codec's images have side 5, expected a multiple of 2");
  await expect(encode(wide)).rejects.toThrow("has shape (1, 4, 6, 3), expected (N, S, 4, 3)");
  const decode = (latents: typeof odd) =>
    runOnce({ p, latents }, ({ p, latents }) => ({ images: decodeToImages(p, codec, latents) }));
  await expect(decode(odd)).rejects.toThrow("has shape (1, 5, 5, 3), expected (N, h, 5, 5)");
});

describe("the codec autoencoder-kl", () => {
  const specs = codecSpecs(KL);
  const weights = randomWeights(specs);

  test("is the autoencoder, in units of its scale", async () => {
    const p = valuesOf(specs, weights);
    const value = { shape: [N, SIDE, SIDE, 3], data: images };
    const noise = draw("noise", N, 6, 6, 3);
    const reference = await runOnce({ p, images: value }, ({ p, images }) => ({
      ...posterior(encodeMoments(p, KL.config, images)),
    }));
    await using encoder = await compileCodecEncoder(KL, weights, { batchImages: N, side: SIDE });
    await using decoder = await compileCodecDecoder(KL, weights, { batchImages: N, side: SIDE });
    const { mean, logvar } = await encoder.encode(images);
    // A draw in normalized units, moved back, is the draw of scaled latents that the reference trains on.
    const drawn = mean.map((m, i) => m + Math.exp(0.5 * logvar![i]!) * noise.data[i]!);
    const scaled = drawn.map((x, i) => x * KL.scale.std[i % 3]! + KL.scale.mean[i % 3]!);
    const expected = reference.mean.map((m, i) => 0.5 * (m + reference.std[i]! * noise.data[i]!));
    expectClose(scaled, expected, TOLERANCE.network, "latents");
    const latents = { shape: [N, 6, 6, 3], data: expected };
    const decoded = await runOnce({ p, latents }, ({ p, latents }) => ({
      images: decodeLatents(p, KL.config, latents),
    }));
    expectClose(await decoder.decode(drawn), decoded.images, TOLERANCE.network, "images");
  });

  test("clamps what the network says of the variance", async () => {
    for (const [bias, expected] of [
      [80, 20],
      [-80, -30],
    ] as const) {
      const extreme = { ...weights, "quant_conv.bias": weights["quant_conv.bias"]!.map((x, i) => (i < 3 ? x : bias)) };
      await using encoder = await compileCodecEncoder(KL, extreme, { batchImages: N, side: SIDE });
      const { logvar } = await encoder.encode(images);
      logvar!.forEach((x, i) => expect(x).toBeCloseTo(expected + 2 * Math.log(0.5 / KL.scale.std[i % 3]!), 4));
    }
  });

  test("refuses a variance that is not a number", async () => {
    const bias = weights["quant_conv.bias"]!.map((x, i) => (i < 3 ? x : NaN));
    await using encoder = await compileCodecEncoder(
      KL,
      { ...weights, "quant_conv.bias": bias },
      { batchImages: N, side: SIDE },
    );
    await expect(encoder.encode(images)).rejects.toThrow("image 0 of the batch: the logvar of its latents");
  });

  test("keeps its weights in files as the autoencoder does", () => {
    const file = toStateDict(specs, weights);
    expect(file["encoder.conv_in.weight"]!.shape).toEqual([4, 3, 3, 3]);
    expect(fromStateDict(specs, file)).toEqual(weights);
  });

  test("needs the weights of its own half alone", async () => {
    const half = (pattern: RegExp) => Object.fromEntries(Object.entries(weights).filter(([key]) => pattern.test(key)));
    await using encoder = await compileCodecEncoder(KL, half(/^(encoder|quant_conv)\./), { batchImages: 1, side: 4 });
    await using decoder = await compileCodecDecoder(KL, half(/^(decoder|post_quant_conv)\./), {
      batchImages: 1,
      side: 4,
    });
    expect((await encoder.encode(images.slice(0, 48))).mean).toHaveLength(12);
    expect(await decoder.decode(new Float32Array(12))).toHaveLength(48);
    await expect(compileCodecEncoder(KL, half(/^decoder\./), { batchImages: 1, side: 4 })).rejects.toThrow(
      /have no "encoder.conv_in.weight", .*; \d+ are missing/,
    );
  });
});

describe("compileCodecEncoder() and compileCodecDecoder()", () => {
  const { codec, weights } = fitted(2, 5);

  test("take fewer images than a batch, and give as many back", async () => {
    await using encoder = await compileCodecEncoder(codec, weights, { batchImages: N, side: SIDE });
    await using decoder = await compileCodecDecoder(codec, weights, { batchImages: N, side: SIDE });
    expect(encoder.latents).toEqual({ side: 6, channels: 5 });
    const [all, one] = [await encoder.encode(images), await encoder.encode(images.slice(0, 432))];
    expect(one.mean).toEqual(all.mean.slice(0, 180));
    const [allImages, oneImage] = [await decoder.decode(all.mean), await decoder.decode(one.mean)];
    expect(oneImage).toEqual(allImages.slice(0, 432));
    expect(await decoder.decodePixels(one.mean)).toEqual(pixelsOfFloats(oneImage));
  });

  test("name the image whose latents or pixels are not finite, and how much of it", async () => {
    await using encoder = await compileCodecEncoder(codec, weights, { batchImages: N, side: SIDE });
    await using decoder = await compileCodecDecoder(codec, weights, { batchImages: N, side: SIDE });
    const nameOf = (image: number): string => `seed ${100 + image}`;
    const seen = images.slice();
    seen[432 + 3] = NaN; // in the second patch of the second image: 5 channels
    await expect(encoder.encode(seen, nameOf)).rejects.toThrow(
      "Cannot encode seed 101: the mean of its latents is not finite: 5 of 180 elements, the first is NaN at index 0",
    );
    expect((await encoder.encode(seen.slice(0, 432), nameOf)).mean).toHaveLength(180);
    const latents = new Float32Array(2 * 180);
    latents[185] = Infinity; // of one patch, 12 values; a pixel is clamped, so Infinity would be white
    for (const decoding of [decoder.decode(latents, nameOf), decoder.decodePixels(latents, nameOf)])
      await expect(decoding).rejects.toThrow(
        /^Cannot decode seed 101: its pixels are not finite: 12 of 432 elements, the first is -?(Infinity|NaN) at index 6$/,
      );
    await expect(decoder.decodePixels(latents)).rejects.toThrow("Cannot decode image 1 of the batch: its pixels");
  });

  test("find weights that are not finite by what they make", async () => {
    const bad = { ...weights, mean: weights.mean.map((x, i) => (i === 2 ? NaN : x)) };
    await using encoder = await compileCodecEncoder(codec, bad, { batchImages: 2, side: SIDE });
    await using decoder = await compileCodecDecoder(codec, bad, { batchImages: 2, side: SIDE });
    await expect(encoder.encode(images.slice(0, 432))).rejects.toThrow("180 of 180 elements, the first is NaN");
    await expect(decoder.decodePixels(new Float32Array(180))).rejects.toThrow("36 of 432 elements, the first is NaN");
  });

  test("name what are no whole images", async () => {
    await using encoder = await compileCodecEncoder(codec, weights, { batchImages: 2, side: SIDE });
    await using decoder = await compileCodecDecoder(codec, weights, { batchImages: 2, side: SIDE });
    for (const wrong of [0, 431, 3 * 432])
      await expect(encoder.encode(new Float32Array(wrong))).rejects.toThrow(
        `The codec's images have ${wrong} values, expected 1 to 2 times 432`,
      );
    await expect(decoder.decode(new Float32Array(179))).rejects.toThrow("latents have 179 values, expected 1 to 2");
    await expect(compileCodecEncoder(codec, weights, { batchImages: 2, side: 11 })).rejects.toThrow("multiple of 2");
  });
});

test("floatsOfPixels() and pixelsOfFloats() are inverse for every pixel", () => {
  const pixels = Uint8Array.from({ length: 256 }, (_, i) => i);
  const values = floatsOfPixels(pixels);
  expect([values[0], values[255]]).toEqual([-1, 1]);
  expect(values[51]).toBeCloseTo(-0.6, 7);
  expect(pixelsOfFloats(values)).toEqual(pixels);
});

test("AutoencoderConfig is checked inside a codec too", () => {
  expect(AutoencoderConfig.safeParse({ groups: 3 }).success).toBe(false);
  expect(() => codecConfig({ ...KL, config: { groups: 3 } })).toThrow(/groups must divide/);
});
