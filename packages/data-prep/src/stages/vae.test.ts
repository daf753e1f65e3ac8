import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  readRgb,
  sha256,
  torchTensor,
  writeSafetensors,
  writeTorch,
  type Artifact,
  type TensorInput,
} from "@madformer/artifacts";
import {
  AutoencoderConfig,
  autoencoderSpecs,
  codecSpecs,
  compileCodecDecoder,
  compileCodecEncoder,
  floatsOfPixels,
  initialize,
  pixelsOfFloats,
  toStateDict,
  type CodecWeights,
} from "@madformer/model";
import { lookOutside, outsideDigest } from "@madformer/stage";
import type { z } from "zod";
import { readCodec } from "../codec/files.js";
import { picture, shardImage, shardsOf } from "../codec/testing.js";
import { contextIn, digestsOf, inFolder } from "../testing.js";
import { stage, VaeConfig } from "./vae.js";

const SIDE = 16;
const IMAGES = 10;

const config = (fields: Partial<z.input<typeof VaeConfig>> = {}): VaeConfig =>
  VaeConfig.parse({
    ...{ source: "train", channels: [4, 8], latentChannels: 3, groups: 2, steps: 12, batchImages: 3, pairs: 5 },
    ...{ checkpointSteps: 5, seed: 7 },
    ...fields,
  });

/** Shards of 3 and 7 images. */
function shardsIn(folder: string): Promise<Artifact> {
  const images = Array.from({ length: IMAGES }, (_, i) => shardImage(i, SIDE));
  return shardsOf(folder, [images.slice(0, 3), images.slice(3)]);
}

const codecIn = (folder: string) => readCodec((file) => join(folder, file));
const linesOf = async (folder: string): Promise<Record<string, number>[]> =>
  (await readFile(join(folder, "losses.jsonl"), "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, number>);

/** Distance of weights, by all their elements. */
function distance(a: CodecWeights, b: CodecWeights): number {
  return Math.hypot(...Object.entries(a).flatMap(([key, values]) => [...values.map((x, i) => x - b[key]![i]!)]));
}

describe("stage vae, training", () => {
  test("makes an autoencoder whose latents have mean 0 and variance 1, and tells how it went", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const context = await contextIn(join(folder, "out"));
      const facts = await stage.run(config({ steps: 60, learningRate: 1e-2 }), { shards }, context);
      expect(facts).toEqual({
        ...{ kind: "autoencoder-kl", source: "train", imageSide: SIDE, side: 8, channels: 3, steps: 60 },
        parameters: expect.any(Number) as number,
        psnr: expect.any(Number) as number,
      });
      expect(Object.keys(await digestsOf(context.out))).toEqual([
        ...["codec.json", "codec.safetensors", "losses.jsonl", "reconstructions.png"],
      ]);
      expect(context.progress.get("steps")).toEqual([60, 60]);

      const lines = await linesOf(context.out);
      expect(lines.map(({ step }) => step)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
      expect(Object.keys(lines[0]!)).toEqual(["step", "loss", "l1", "l2", "gradient", "kl", "gradNorm", "lr"]);
      expect(lines.at(-1)!["loss"]).toBeLessThan(0.7 * lines[0]!["loss"]!);
      expect(lines[0]!["lr"]).toBeCloseTo(1e-2, 6); // a warm-up of one step
      expect(lines.at(-1)!["lr"]).toBeLessThan(2e-4);

      // Draws of all latents, by channel.
      const { codec, weights } = await codecIn(context.out);
      const parts = { channels: [4, 8], latentChannels: 3, groups: 2, layers: 1, midAttention: false };
      expect(codec).toMatchObject({ config: { ...parts, scalingFactor: 1 } });
      await using encoder = await compileCodecEncoder(codec, weights, { batchImages: IMAGES, side: SIDE });
      const images = Array.from({ length: IMAGES }, (_, i) => floatsOfPixels(picture(i, SIDE)));
      const batch = Float32Array.from(images.flatMap((image) => [...image]));
      const { mean, logvar } = await encoder.encode(batch);
      for (let c = 0; c < 3; c++) {
        const of = (values: Float32Array): number[] => [...values].filter((_, i) => i % 3 === c);
        const average = (values: number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;
        expect(average(of(mean))).toBeCloseTo(0, 4);
        const second = average(of(mean).map((x) => x * x)) + average(of(logvar!).map(Math.exp));
        expect(second).toBeCloseTo(1, 4);
      }

      // Five pairs, four in a row, with gaps of two pixels.
      const { width, height, pixels } = await readRgb(join(context.out, "reconstructions.png"));
      expect([width, height]).toEqual([8 * (SIDE + 2) + 2, 2 * (SIDE + 2) + 2]);
      const cell = (i: number): Uint8Array =>
        Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, k) => {
          const [y, x, c] = [Math.floor(k / 3 / SIDE), Math.floor(k / 3) % SIDE, k % 3];
          const [top, left] = [2 + Math.floor(i / 8) * (SIDE + 2), 2 + (i % 8) * (SIDE + 2)];
          return pixels[((top + y) * width + left + x) * 3 + c]!;
        });
      await using decoder = await compileCodecDecoder(codec, weights, { batchImages: IMAGES, side: SIDE });
      const decoded = pixelsOfFloats(await decoder.decode(mean));
      let squares = 0;
      for (let k = 0; k < 5; k++) {
        const original = picture(2 * k, SIDE); // evenly spaced
        const reconstruction = decoded.subarray(2 * k * SIDE * SIDE * 3, (2 * k + 1) * SIDE * SIDE * 3);
        expect(cell(2 * k)).toEqual(original);
        cell(2 * k + 1).forEach((x, i) => expect(Math.abs(x - reconstruction[i]!)).toBeLessThanOrEqual(1)); // rounding
        original.forEach((x, i) => (squares += (x - cell(2 * k + 1)[i]!) ** 2 / (5 * SIDE * SIDE * 3)));
      }
      expect(facts["psnr"]).toBeCloseTo(10 * Math.log10(255 ** 2 / squares), 2);
    }));

  test("goes on where it was stopped, and makes the same bytes", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const whole = await contextIn(join(folder, "whole"));
      const facts = await stage.run(config(), { shards }, whole);
      const part = join(folder, "part");
      // Within an epoch, at a checkpoint, and after all steps.
      for (const [kind, at] of [
        ["steps", 3],
        ["steps", 10],
        ["measured", 3],
        ["reconstructions", 5],
      ] as const) {
        const stop = new AbortController();
        const context = await contextIn(part, stop.signal, () => {
          if ((context.progress.get(kind)?.[0] ?? 0) >= at) stop.abort(new Error("stopped"));
        });
        const run = stage.run(config(), { shards }, context);
        if (kind === "reconstructions") {
          expect(await run).toEqual(facts);
          expect(context.progress.has("steps")).toBe(false); // trained to the end before
        } else await expect(run).rejects.toThrow("stopped");
        if (kind === "steps") expect((await linesOf(part)).length).toBe(at);
      }
      expect(await digestsOf(part)).toEqual(await digestsOf(whole.out));
    }));

  test("trains no codec again that is whole, and makes again what is missing", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const out = join(folder, "out");
      const facts = await stage.run(config(), { shards }, await contextIn(out));
      const digests = await digestsOf(out);
      const changed = (await stat(join(out, "codec.safetensors"))).mtimeMs;
      await rm(join(out, "reconstructions.png"));
      expect(await stage.run(config(), { shards }, await contextIn(out))).toEqual(facts);
      expect(await digestsOf(out)).toEqual(digests);
      expect((await stat(join(out, "codec.safetensors"))).mtimeMs).toBe(changed);
      for (const lost of ["losses.jsonl", "codec.json", "codec.safetensors"]) {
        await rm(join(out, lost));
        await rm(join(out, "tmp"), { recursive: true });
        expect(await stage.run(config(), { shards }, await contextIn(out))).toEqual(facts);
        expect(await digestsOf(out)).toEqual(digests);
      }
    }));

  test("depends on its seed, and not on where shards end", () =>
    inFolder(async (folder) => {
      const weights = async (shards: Artifact, name: string, fields = {}) => {
        await stage.run(config({ steps: 4, ...fields }), { shards }, await contextIn(join(folder, name)));
        return (await digestsOf(join(folder, name)))["codec.safetensors"];
      };
      const shards = await shardsIn(join(folder, "shards"));
      const first = await weights(shards, "first");
      const images = Array.from({ length: IMAGES }, (_, i) => shardImage(i, SIDE));
      expect(await weights(await shardsOf(join(folder, "one"), [images]), "one shard")).toBe(first);
      expect(await weights(shards, "seed", { seed: 8 })).not.toBe(first);
      expect(await weights(shards, "fewer", { images: 5 })).not.toBe(first);
      // Steps too small to change anything leave the first values, which are the seed's too; except for rounding of
      // averages.
      await weights(shards, "still", { learningRate: 1e-30 });
      const { codec, weights: still } = await codecIn(join(folder, "still"));
      const initial = initialize(codecSpecs(codec), 7);
      expect(distance(still, initial)).toBeLessThan(1e-5);
      // A moving average is kept, and one of few steps has left the first values behind.
      await weights(shards, "last", { emaDecay: 0 });
      const [{ weights: average }, { weights: last }] = [
        await codecIn(join(folder, "first")),
        await codecIn(join(folder, "last")),
      ];
      expect(distance(average, last)).toBeGreaterThan(1e-4);
      expect(distance(average, last)).toBeLessThan(0.5 * distance(average, initial));
    }));

  test("stops at the step where a loss is no number, and names the last good state", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      // Large steps end in infinities at once; with a checkpoint after each step, one of them is good.
      const wild = config({ learningRate: 1e30, warmup: 0, checkpointSteps: 1 });
      await expect(stage.run(wild, { shards }, await contextIn(join(folder, "out")))).rejects.toThrow(
        /^Cannot go on training the autoencoder: \w+ is \S+ at step (\d+), expected a number; the last good state is that of step 1$/,
      );
      const rare = config({ learningRate: 1e30, warmup: 0 });
      await expect(stage.run(rare, { shards }, await contextIn(join(folder, "other")))).rejects.toThrow(
        "no state was saved yet",
      );
      expect((await linesOf(join(folder, "out"))).length).toBe(1);
    }));

  test("names images and sizes that do not fit", () =>
    inFolder(async (folder) => {
      const run = async (shards: Artifact, fields = {}, out = "out") =>
        stage.run(config(fields), { shards }, await contextIn(join(folder, out)));
      const odd = await shardsOf(join(folder, "odd"), [[shardImage(0, SIDE), shardImage(1, 12)]]);
      await expect(run(odd)).rejects.toThrow('Cannot use image "image-1": it is 12 x 12 pixels, expected 16 x 16');
      await expect(run(await shardsOf(join(folder, "empty"), [[]]))).rejects.toThrow("they hold no image");
      const shards = await shardsIn(join(folder, "shards"));
      await expect(run(shards, { channels: [4, 4, 4, 4, 4, 4] })).rejects.toThrow(
        "The autoencoder's images have side 16, expected a multiple of 32",
      );
      // A checkpoint of another training is no state to go on from.
      await run(shards, { steps: 5, channels: [4] }, "first");
      await rm(join(folder, "first", "codec.json"));
      await expect(run(shards, {}, "first")).rejects.toThrow(/^Cannot go on from ".*": it is of another training/);
    }));

  test("refuses fields that do not fit", () => {
    expect(config()).toMatchObject({ layers: 1, midAttention: false, learningRate: 2e-3, klWeight: 1e-4 });
    for (const wrong of [{ groups: 3 }, { steps: 0 }, { lpips: 1 }, { source: "download" }, { sha256: "0".repeat(64) }])
      expect(VaeConfig.safeParse({ ...config(), ...wrong }).success).toBe(false);
  });
});

describe("stage vae, import", () => {
  const AUTOENCODER = AutoencoderConfig.parse({
    ...{ channels: [4, 8], layers: 1, groups: 2, latentChannels: 3, scalingFactor: 0.3, postQuantConv: false },
  });
  const DIFFUSERS = {
    _class_name: "AutoencoderKL",
    ...{ block_out_channels: [4, 8], layers_per_block: 1, norm_num_groups: 2, latent_channels: 3 },
    ...{ scaling_factor: 0.3, use_post_quant_conv: false },
  };
  const WEIGHTS = initialize(autoencoderSpecs(AUTOENCODER), 3);

  /** A folder as diffusers writes it, with the attention's old names. */
  async function diffusersIn(folder: string, change: object = {}, changed: Record<string, TensorInput> = {}) {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "config.json"), JSON.stringify({ ...DIFFUSERS, ...change }));
    const tensors = Object.entries(toStateDict(autoencoderSpecs(AUTOENCODER), WEIGHTS)).map(
      ([key, tensor]) => [key.replace(/\.to_q\./, ".query."), tensor] as const,
    );
    const path = join(folder, "diffusion_pytorch_model.safetensors");
    await writeSafetensors(path, { ...Object.fromEntries(tensors), ...changed }, { format: "pt" });
    return { from: folder, sha256: sha256(await readFile(path)) };
  }

  const importOf = (fields: object): VaeConfig =>
    VaeConfig.parse({ source: "import", batchImages: 4, pairs: 2, ...fields });

  test("takes weights as they are, and measures latents or keeps the published units", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const source = await diffusersIn(join(folder, "vae"));
      const [measured, published] = [join(folder, "measured"), join(folder, "published")];
      const facts = await stage.run(importOf(source), { shards }, await contextIn(measured));
      expect(facts).toMatchObject({ kind: "autoencoder-kl", source: "import", side: 8, channels: 3, steps: 0 });
      await stage.run(importOf({ ...source, scale: "published" }), { shards }, await contextIn(published));
      expect(Object.keys(await digestsOf(measured))).toEqual([
        ...["codec.json", "codec.safetensors", "reconstructions.png"],
      ]);
      const [a, b] = [await codecIn(measured), await codecIn(published)];
      for (const { codec, weights } of [a, b]) {
        expect(weights).toEqual(WEIGHTS);
        expect(codec).toMatchObject({ kind: "autoencoder-kl", config: AUTOENCODER });
      }
      expect(b.codec.scale).toEqual({ mean: [0, 0, 0], std: [1, 1, 1] });
      await using encoder = await compileCodecEncoder(b.codec, WEIGHTS, { batchImages: 1, side: SIDE });
      const all = [];
      for (let i = 0; i < IMAGES; i++) all.push(await encoder.encode(floatsOfPixels(picture(i, SIDE))));
      for (let c = 0; c < 3; c++) {
        const values = all.flatMap(({ mean }) => [...mean].filter((_, i) => i % 3 === c));
        const variances = all.flatMap(({ logvar }) => [...logvar!].filter((_, i) => i % 3 === c).map(Math.exp));
        const average = (x: number[]): number => x.reduce((sum, value) => sum + value, 0) / x.length;
        const mean = average(values);
        expect(a.codec.scale.mean[c]).toBeCloseTo(mean, 6);
        const variance = average(values.map((x) => (x - mean) ** 2)) + average(variances);
        expect(a.codec.scale.std[c]).toBeCloseTo(Math.sqrt(variance), 6);
      }
    }));

  test("takes files from a server, and asks for none that it has", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const { sha256 } = await diffusersIn(join(folder, "vae"));
      const asked: string[] = [];
      const server = createServer((request, response) => {
        asked.push(request.url ?? "");
        const file = join(folder, "vae", basename(request.url ?? ""));
        readFile(file).then(
          (bytes) => response.end(bytes),
          () => response.writeHead(404).end(),
        );
      });
      await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
      try {
        const from = `http://127.0.0.1:${(server.address() as AddressInfo).port}/models/vae/`;
        const out = join(folder, "out");
        const run = async (fields = {}) =>
          stage.run(importOf({ from, sha256, ...fields }), { shards }, await contextIn(out));
        await run();
        expect((await codecIn(out)).weights).toEqual(WEIGHTS);
        const files = ["/models/vae/config.json", "/models/vae/diffusion_pytorch_model.safetensors"];
        expect(asked).toEqual(files);
        await rm(join(out, "codec.json"));
        await run();
        expect(asked).toEqual([...files, files[0]]);
        await rm(join(out, "codec.json"));
        await expect(run({ sha256: "0".repeat(64) })).rejects.toThrow(`expected ${"0".repeat(64)}`);
        await expect(run({ weights: "other.safetensors", sha256: "1".repeat(64) })).rejects.toThrow(/404/);
      } finally {
        server.closeAllConnections();
        await new Promise((closed) => server.close(closed));
      }
    }));

  test("takes PyTorch's files, units with a shift, and no SHA-256 of a file that is here", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const { from } = await diffusersIn(join(folder, "vae"), { shift_factor: 0.5 });
      const weights = "diffusion_pytorch_model.bin";
      const tensors = Object.entries(toStateDict(autoencoderSpecs(AUTOENCODER), WEIGHTS));
      const inDict = tensors.map(([key, { shape, data }]) => [key, torchTensor({ shape, data })] as const);
      for (const value of [new Map(inDict), { state_dict: new Map(inDict), step: 7 }]) {
        await writeTorch(join(from, weights), value);
        const out = join(folder, "out");
        await stage.run(importOf({ from, weights, scale: "published" }), { shards }, await contextIn(out));
        const { codec, weights: read } = await codecIn(out);
        expect(read).toEqual(WEIGHTS);
        expect(codec.scale).toEqual({ mean: [0.15, 0.15, 0.15], std: [1, 1, 1] });
        await rm(out, { recursive: true });
      }
      expect(() => importOf({ from: "https://example.com/vae" })).toThrow("needed for a URL");
    }));

  test("refuses weights that are not finite, and names file and tensor", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const half = { dtype: "float16" as const, shape: [3], data: Uint16Array.of(0, 0x7c00, 0xfc00) };
      for (const [bias, problem] of [
        [{ shape: [3], data: Float32Array.of(NaN, 0, 0) }, "1 of 3 elements, the first is NaN at index 0"],
        [half, "2 of 3 elements, the first is Infinity at index 1"],
        [{ shape: [3], data: Float64Array.of(0, 0, 1e39) }, "1 of 3 elements, the first is Infinity at index 2"],
      ] as const) {
        const source = await diffusersIn(join(folder, "vae"), {}, { "decoder.conv_out.bias": bias });
        const importing = stage.run(importOf(source), { shards }, await contextIn(join(folder, "out")));
        await expect(importing).rejects.toThrow(/^Cannot read ".*\/vae\/diffusion_pytorch_model.safetensors": tensor /);
        await expect(importing).rejects.toThrow('"decoder.conv_out.bias" is not finite');
        await expect(importing).rejects.toThrow(problem);
        expect((await readdir(join(folder, "out"))).sort()).toEqual(["logs", "tmp"]);
      }
    }));

  test("names the image whose latents or pixels are not finite, and a channel that says nothing", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const run = async (changed: Record<string, TensorInput>, fields: object) => {
        const source = await diffusersIn(join(folder, "vae"), { scaling_factor: 0.5 }, changed);
        return stage.run(importOf({ ...source, ...fields }), { shards }, await contextIn(join(folder, `out${++outs}`)));
      };
      let outs = 0;
      const filled = (name: string, value: number): Record<string, TensorInput> => {
        const { shape, data } = toStateDict(autoencoderSpecs(AUTOENCODER), WEIGHTS)[name]!;
        return { [name]: { shape, data: new Float32Array(data.length).fill(value) } };
      };
      await expect(run(filled("encoder.conv_in.weight", 3e38), { scale: "measured" })).rejects.toThrow(
        /^Cannot encode image "image-0": the mean of its latents is not finite: \d+ of 192 elements, the first is NaN/,
      );
      await expect(run(filled("encoder.conv_in.weight", 3e38), { scale: "published" })).rejects.toThrow(
        'Cannot encode image "image-0": the mean of its latents',
      );
      await expect(run(filled("decoder.conv_out.weight", 3e38), { scale: "published", pairs: 1 })).rejects.toThrow(
        /^Cannot decode image "image-0": its pixels are not finite: \d+ of 768 elements/,
      );
      const constant = {
        ...filled("quant_conv.weight", 0),
        "quant_conv.bias": { shape: [6], data: Float32Array.of(512, 512, 512, -80, -80, -80) },
      };
      await expect(run(constant, { scale: "measured", scaleImages: 4 })).rejects.toThrow(
        "Cannot measure the latents: over 4 images channel 0 has the mean 256 and the standard deviation 0, expected a positive",
      );
    }));

  test("is another stage when a local file that it takes changes, and looks at none elsewhere", () =>
    inFolder(async (folder) => {
      const from = join(folder, "a vae");
      const source = await diffusersIn(from);
      const outsideOf = (fields: object) => lookOutside(stage.outside!(importOf({ ...source, ...fields })));
      const states = await outsideOf({});
      expect(states.map(({ path, sha256 }) => [basename(path), sha256])).toEqual([
        ["config.json", sha256(JSON.stringify(DIFFUSERS))],
        ["diffusion_pytorch_model.safetensors", source.sha256],
      ]);
      expect(await outsideOf({ from: `${pathToFileURL(from).href}/` })).toEqual(states);
      await writeFile(join(from, "config.json"), "{}");
      expect(outsideDigest(await outsideOf({}))).not.toBe(outsideDigest(states));
      for (const from of ["https://example.org/vae", "file://elsewhere/vae"])
        expect(await outsideOf({ from })).toEqual([]);
      expect(stage.outside!(config())).toEqual([]);
    }));

  test("names what it cannot import", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const source = await diffusersIn(join(folder, "vae"));
      const run = async (fields: object) =>
        stage.run(importOf({ ...source, ...fields }), { shards }, await contextIn(join(folder, "out")));
      await expect(run({ sha256: "0".repeat(64) })).rejects.toThrow(
        new RegExp(`its SHA-256 is ${source.sha256}, expected 0{64}$`),
      );
      await expect(run({ from: join(folder, "nowhere") })).rejects.toThrow(/Cannot import ".*nowhere": .*no such/i);
      await expect(run({ from: "hf:some/vae" })).rejects.toThrow(
        /no such file.*; on Hugging Face it is "https:\/\/huggingface\.co\/some\/vae\/resolve\/main"$/,
      );
      await expect(run({ from: join(folder, "vae", "config.json") })).rejects.toThrow(
        /config\.json": it is a file, expected the folder of it and of config\.json$/,
      );
      await writeFile(join(folder, "vae", "model.fp16.safetensors"), "");
      await expect(run({ weights: "model.bin" })).rejects.toThrow(
        /^Cannot import ".*vae": it has no "model\.bin", but diffusion_pytorch_model\.safetensors, model\.fp16\.safetensors$/,
      );
      await expect(run({ from: folder })).rejects.toThrow(/: it has no "config\.json", but vae\/config\.json$/);
      await expect(run(await diffusersIn(join(folder, "vq"), { _class_name: "VQModel" }))).rejects.toThrow(
        /Cannot import ".*config\.json": The autoencoder's config .* _class_name/,
      );
      await expect(run(await diffusersIn(join(folder, "wide"), { block_out_channels: [4, 16] }))).rejects.toThrow(
        /Cannot use ".*safetensors": The weights do not fit the network/,
      );
      const large = await diffusersIn(join(folder, "large"));
      await writeFile(join(folder, "large", "config.json"), " ".repeat(2 ** 20 + 1));
      await expect(run(large)).rejects.toThrow("it holds 1048577 bytes, expected 1048576 at most");
    }));
});
