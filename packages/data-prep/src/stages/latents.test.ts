import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LatentShards, openFolder, type Artifact } from "@madformer/artifacts";
import {
  AutoencoderConfig,
  autoencoderSpecs,
  codecConfig,
  compileCodecDecoder,
  compileCodecEncoder,
  floatsOfPixels,
  initialize,
} from "@madformer/model";
import { readCodec, writeCodec } from "../codec/files.js";
import { picture, shardImage, shardsOf } from "../codec/testing.js";
import { contextIn, digestsOf, inFolder } from "../testing.js";
import { LatentsConfig, stage } from "./latents.js";

const SIDE = 16;
const SIZES = [5, 1, 7];
const IMAGES = 13;

const config = (fields: Partial<LatentsConfig> = {}): LatentsConfig => LatentsConfig.parse(fields);
const PCA = config({ codec: "patch-pca", patch: 4, channels: 6, batchImages: 3 });

/** Shards of 5, 1 and 7 images. */
async function shardsIn(folder: string): Promise<Artifact> {
  let index = 0;
  return shardsOf(
    folder,
    SIZES.map((n) => Array.from({ length: n }, () => shardImage(index++, SIDE))),
  );
}

async function vaeIn(folder: string): Promise<Artifact> {
  const config = AutoencoderConfig.parse({ channels: [4, 8], layers: 1, groups: 2, latentChannels: 3 });
  const codec = codecConfig({ kind: "autoencoder-kl", config, scale: { mean: [0, 0.1, 0], std: [1, 2, 0.5] } });
  const artifact = await shardsOf(folder, []);
  await writeCodec(folder, { codec, weights: initialize(autoencoderSpecs(config), 5) });
  return { ...artifact, path: (file) => Promise.resolve(join(folder, file)) };
}

async function latentsIn(folder: string) {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".arrow")).sort();
  await using latents = await LatentShards.open(names.map((name) => join(folder, name)));
  const { height, width, channels, length } = latents;
  const rows = [];
  for (let i = 0; i < length; i++) rows.push(await latents.read(i));
  return { names, height, width, channels, rows };
}

describe("stage latents", () => {
  test("names the image whose latents are not finite, and a weight that is not", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const vae = await vaeIn(join(folder, "vae"));
      const { codec, weights } = await readCodec((file) => vae.path(file));
      const encode = async (value: number, out: string) => {
        const changed = weights["encoder.conv_in.weight"]!.map(() => value);
        await writeCodec(join(folder, "vae"), { codec, weights: { ...weights, "encoder.conv_in.weight": changed } });
        const settings = config({ batchImages: 3, flip: true });
        return stage.run(settings, { shards, vae }, await contextIn(join(folder, out)));
      };
      await expect(encode(3e38, "large")).rejects.toThrow(
        /^Cannot encode image "image-0": the mean of its latents is not finite: \d+ of 192 elements, the first is NaN at/,
      );
      const path = await vae.path("codec.safetensors");
      await expect(encode(NaN, "nan")).rejects.toThrow(
        `Cannot read ${JSON.stringify(path)}: tensor "encoder.conv_in.weight" is not finite: 108 of 108 elements`,
      );
      expect((await readdir(join(folder, "nan"))).sort()).toEqual(["logs", "tmp"]);
    }));

  test("keeps each image's key, label and latent, shard by shard, with the codec patch-pca", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const context = await contextIn(join(folder, "out"));
      const facts = await stage.run(PCA, { shards, vae: undefined }, context);
      expect(facts).toEqual({
        images: IMAGES,
        side: 4,
        channels: 6,
        codec: "patch-pca",
        imageSide: SIDE,
        classes: 2,
        flip: false,
      });
      const { names, rows, ...shape } = await latentsIn(context.out);
      expect(names).toEqual(["latents-00000.arrow", "latents-00001.arrow", "latents-00002.arrow"]);
      expect(shape).toEqual({ height: 4, width: 4, channels: 6 });
      expect(rows.map(({ key, label }) => [key, label])).toEqual(
        Array.from({ length: IMAGES }, (_, i) => [`image-${i}`, i % 3 === 2 ? null : i % 3]),
      );
      expect(context.progress.get("latents")?.[0]).toBe(IMAGES);
      const { codec, weights } = await readCodec((file) => join(context.out, file));
      expect(codec).toMatchObject({ kind: "patch-pca", patch: 4, channels: 6, side: SIDE });
      await using encoder = await compileCodecEncoder(codec, weights, { batchImages: 1, side: SIDE });
      for (const [i, { mean, logvar }] of rows.entries()) {
        expect(mean).toEqual((await encoder.encode(floatsOfPixels(picture(i, SIDE)))).mean);
        expect(logvar).toBeNull();
      }
      // All images were fitted to: by channel, the mean square of all latents is 1.
      for (let c = 0; c < 6; c++) {
        const all = rows.flatMap(({ mean }) => [...mean].filter((_, i) => i % 6 === c));
        expect(all.reduce((sum, x) => sum + x * x, 0) / all.length).toBeCloseTo(1, 4);
      }
    }));

  test("gives images back that look alike", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const { out } = await contextIn(join(folder, "out"));
      await stage.run({ ...PCA, channels: 12 }, { shards, vae: undefined }, await contextIn(out));
      const { codec, weights } = await readCodec((file) => join(out, file));
      await using decoder = await compileCodecDecoder(codec, weights, { batchImages: 1, side: SIDE });
      const { rows } = await latentsIn(out);
      const decoded = await decoder.decodePixels(rows[8]!.mean);
      const off = picture(8, SIDE).map((x, i) => Math.abs(x - decoded[i]!));
      expect(off.reduce((sum, x) => sum + x, 0) / off.length).toBeLessThan(8);
    }));

  test("takes the autoencoder of stage vae, moments and all", () =>
    inFolder(async (folder) => {
      const [shards, vae] = [await shardsIn(join(folder, "shards")), await vaeIn(join(folder, "vae"))];
      const context = await contextIn(join(folder, "out"));
      const facts = await stage.run(config({ batchImages: 4 }), { shards, vae }, context);
      expect(facts).toMatchObject({ images: IMAGES, side: 8, channels: 3, codec: "autoencoder-kl", imageSide: SIDE });
      const digests = await digestsOf(context.out);
      const theirs = await digestsOf(join(folder, "vae"));
      for (const file of ["codec.json", "codec.safetensors"]) expect(digests[file]).toBe(theirs[file]);
      const { codec, weights } = await readCodec((file) => vae.path(file));
      await using encoder = await compileCodecEncoder(codec, weights, { batchImages: 4, side: SIDE });
      const { rows } = await latentsIn(context.out);
      const expected = await encoder.encode(floatsOfPixels(picture(12, SIDE)));
      expect([rows[12]!.mean, rows[12]!.logvar]).toEqual([expected.mean, expected.logvar]);
      expect(expected.logvar).not.toBeNull();
    }));

  test("opens each shard once, and none that is encoded already", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const vae = await vaeIn(join(folder, "vae"));
      const opened: string[] = [];
      const path = (file: string) => {
        opened.push(file);
        return shards.path(file);
      };
      const facts = { images: IMAGES, side: SIDE, classes: null };
      const watched: Artifact = { ...shards, path, manifest: { ...shards.manifest, facts } };
      const context = await contextIn(join(folder, "out"));
      const inputs = { shards: watched, vae };
      const { classes } = await stage.run(config({ batchImages: 3 }), inputs, context);
      expect(opened).toEqual(["images-00000.arrow", "images-00001.arrow", "images-00002.arrow"]);
      expect(classes).toBeGreaterThan(1);
      expect((await stage.run(config({ batchImages: 3 }), inputs, context))["classes"]).toBe(classes);
      expect(opened).toHaveLength(3);
    }));

  test("leaves variances their ratios if told so", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const { out } = await contextIn(join(folder, "out"));
      await stage.run({ ...PCA, whiten: 0 }, { shards, vae: undefined }, await contextIn(out));
      const { codec } = await readCodec((file) => join(out, file));
      codec.scale.std.forEach((std) => expect(std).toBeCloseTo(codec.scale.std[0]!, 10));
      // Latents of half the deviation, from the same components.
      const near = await contextIn(join(folder, "near"));
      await stage.run({ ...PCA, whiten: 0, spread: 0.5 }, { shards, vae: undefined }, near);
      const { codec: spread } = await readCodec((file) => join(near.out, file));
      spread.scale.std.forEach((std) => expect(std).toBeCloseTo(2 * codec.scale.std[0]!, 10));
    }));

  test("makes rows of mirror images if asked", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const context = await contextIn(join(folder, "out"));
      const facts = await stage.run({ ...PCA, flip: true }, { shards, vae: undefined }, context);
      expect(facts).toMatchObject({ images: 2 * IMAGES, flip: true });
      const { rows } = await latentsIn(context.out);
      expect(rows.slice(2, 4).map(({ key, label }) => [key, label])).toEqual([
        ["image-1", 1],
        ["image-1:flipped", 1],
      ]);
      const { codec, weights } = await readCodec((file) => join(context.out, file));
      await using encoder = await compileCodecEncoder(codec, weights, { batchImages: 1, side: SIDE });
      const pixels = picture(1, SIDE);
      const mirror = pixels.map((_, i) => {
        const [y, x, c] = [Math.floor(i / 3 / SIDE), Math.floor(i / 3) % SIDE, i % 3];
        return pixels[(y * SIDE + SIDE - 1 - x) * 3 + c]!;
      });
      expect(rows[3]!.mean).toEqual((await encoder.encode(floatsOfPixels(mirror))).mean);
      expect(rows[2]!.mean).toEqual((await encoder.encode(floatsOfPixels(pixels))).mean);
    }));

  test("goes on where it was stopped, with the same bytes, and makes no shard twice", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const whole = await contextIn(join(folder, "whole"));
      const facts = await stage.run(PCA, { shards, vae: undefined }, whole);
      const stop = new AbortController();
      const part = await contextIn(join(folder, "part"), stop.signal, () => {
        if ((part.progress.get("latents")?.[0] ?? 0) >= 8) stop.abort(new Error("stopped"));
      });
      await expect(stage.run(PCA, { shards, vae: undefined }, part)).rejects.toThrow("stopped");
      expect(Object.keys(await digestsOf(part.out)).filter((name) => !name.startsWith("."))).toEqual([
        "codec.json",
        "codec.safetensors",
        "latents-00000.arrow",
        "latents-00001.arrow",
      ]);
      const times = async () =>
        Promise.all(
          ["latents-00000.arrow", "codec.json"].map(async (file) => (await stat(join(part.out, file))).mtimeMs),
        );
      const before = await times();
      expect(await stage.run(PCA, { shards, vae: undefined }, await contextIn(part.out))).toEqual(facts);
      expect(await digestsOf(part.out)).toEqual(await digestsOf(whole.out));
      expect(await times()).toEqual(before);
      // What was lost is made again, the same: a shard, or half of the codec.
      for (const lost of ["latents-00001.arrow", "codec.json", "codec.safetensors"]) {
        await rm(join(part.out, lost));
        await stage.run(PCA, { shards, vae: undefined }, await contextIn(part.out));
        expect(await digestsOf(part.out)).toEqual(await digestsOf(whole.out));
      }
    }));

  test("fits to evenly spaced images where it may not fit to all", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const out = join(folder, "out");
      await stage.run({ ...PCA, fitImages: 4 }, { shards, vae: undefined }, await contextIn(out));
      const few = await shardsOf(join(folder, "few"), [[0, 3, 6, 9].map((i) => shardImage(i, SIDE))]);
      const expected = join(folder, "expected");
      await stage.run(PCA, { shards: few, vae: undefined }, await contextIn(expected));
      expect((await digestsOf(out))["codec.json"]).toBe((await digestsOf(expected))["codec.json"]);
    }));

  test("names what it cannot encode", () =>
    inFolder(async (folder) => {
      const shards = await shardsIn(join(folder, "shards"));
      const run = async (shards: Artifact, fields: Partial<LatentsConfig>, vae?: Artifact, out = "out") =>
        stage.run({ ...PCA, ...fields }, { shards, vae }, await contextIn(join(folder, out)));
      await expect(run(shards, { codec: "autoencoder-kl" })).rejects.toThrow('there is no input "vae", expected one');
      await expect(run(shards, { patch: 5 })).rejects.toThrow("Cannot cut images of side 16 into patches of side 5");
      await expect(run(await shardsOf(join(folder, "none"), []), {})).rejects.toThrow("no file such as images-00000");
      await expect(run(await shardsOf(join(folder, "empty"), [[]]), {})).rejects.toThrow("the shards hold no image");
      const odd = [[shardImage(0, SIDE)], [shardImage(1, 12)]];
      await expect(run(await shardsOf(join(folder, "odd"), odd), {})).rejects.toThrow(
        'Cannot use image "image-1": it is 12 x 12 pixels, expected 16 x 16',
      );
      await stage.run(PCA, { shards, vae: undefined }, await contextIn(join(folder, "pca")));
      const pca = await openFolder(join(folder, "pca"));
      await expect(run(shards, { codec: "autoencoder-kl" }, pca)).rejects.toThrow(
        'Cannot use a codec of the kind "patch-pca", expected "autoencoder-kl"',
      );
      await mkdir(join(folder, "diffusers"));
      await writeFile(join(folder, "diffusers", "config.json"), "{}");
      const diffusers = await openFolder(join(folder, "diffusers"));
      await expect(run(shards, { codec: "autoencoder-kl" }, diffusers)).rejects.toThrow(
        "Cannot use a folder with config.json as a codec, expected codec.safetensors and codec.json: of what diffusers wrote, the stage vae",
      );
      const vae = await vaeIn(join(folder, "vae"));
      await writeFile(join(folder, "vae", "codec.json"), '{"kind":"patch-pca"}');
      await expect(run(shards, { codec: "autoencoder-kl" }, vae)).rejects.toThrow(/codec\.json": The codec is not one/);
    }));

  test("refuses fields that it does not know", () => {
    expect(LatentsConfig.parse({})).toEqual({
      codec: "autoencoder-kl",
      patch: 4,
      channels: 12,
      whiten: 1,
      spread: 1,
      fitImages: 2048,
      batchImages: 32,
      flip: false,
    });
    for (const wrong of [{ codec: "vq" }, { patch: 0 }, { patches: 4 }])
      expect(LatentsConfig.safeParse(wrong).success).toBe(false);
  });
});
