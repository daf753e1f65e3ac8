/**
 * `npm run bench -- data-prep [--images N] [--tests N] [--vae CONFIGS] [--out FOLDER]`
 *
 * Compares codecs on drawn faces of 64 pixels: how near to its original a face is that the codec encodes and decodes,
 * and what the codec costs. Faces that were not fitted or trained on are measured; with `--out`, pictures of some are
 * written, originals in the first row and a row for each codec in the order of the table.
 */
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  imageGrid,
  ImageShardWriter,
  openSafetensors,
  openFolder,
  writePng,
  type RgbImage,
} from "@madformer/artifacts";
import {
  codecConfig,
  codecSpecs,
  compileCodecDecoder,
  compileCodecEncoder,
  fromStateDict,
  floatsOfPixels,
  type FileTensor,
} from "@madformer/model";
import { StageFiles, type StageContext } from "@madformer/stage";
import { faceAttributes, LatentsConfig, latentsStage, renderFacePixels, VaeConfig, vaeStage } from "../src/index.js";

const SIDE = 64;
const SIZE = SIDE ** 2 * 3;
const SHOWN = 12;

const { values: options } = parseArgs({
  options: {
    images: { type: "string", default: "2000" },
    tests: { type: "string", default: "400" },
    vae: { type: "string", default: "[]" },
    out: { type: "string" },
  },
});
const [images, tests] = [Number(options.images), Number(options.tests)];
const folder = await mkdtemp(join(tmpdir(), "codecs-"));
console.log(`${images} faces to fit, ${tests} others to measure`);
console.log("| codec | latents | smaller than the image | PSNR | CPU time |");
console.log("| --- | --- | --- | --- | --- |");

const shards = await drawShards(join(folder, "shards"), images);
const originals = await draw(images, tests);
const rows: RgbImage[] = [...pictures(originals)];
for (const [patch, channels] of [
  ...[8, 12, 16].map((channels) => [4, channels] as const),
  ...[16, 24, 32, 48].map((channels) => [8, channels] as const),
]) {
  const config = LatentsConfig.parse({ codec: "patch-pca", patch, channels, fitImages: images });
  await measure(`patch-pca ${JSON.stringify({ patch, channels })}`, async (context) => {
    await latentsStage.run(config, { shards, vae: undefined }, context);
  });
}
for (const fields of JSON.parse(options.vae) as object[])
  await measure(`autoencoder-kl ${JSON.stringify(fields)}`, async (context) => {
    await vaeStage.run(VaeConfig.parse({ source: "train", scaleImages: 64, ...fields }), { shards }, context);
  });
if (options.out !== undefined) {
  await mkdir(options.out, { recursive: true });
  const { pixels, width, height } = imageGrid(rows, SHOWN);
  await writePng(join(options.out, "codecs.png"), pixels, width, height);
}
await rm(folder, { recursive: true });

/** Faces [first, first + count), side by side in one array. */
async function draw(first: number, count: number): Promise<Uint8Array> {
  const all = new Uint8Array(count * SIZE);
  for (let i = 0; i < count; i++) all.set(await renderFacePixels(faceAttributes(7, first + i), SIDE), i * SIZE);
  return all;
}

async function drawShards(folder: string, count: number) {
  await mkdir(folder, { recursive: true });
  await using writer = await ImageShardWriter.create(join(folder, "images-00000.arrow"));
  const pixels = await draw(0, count);
  for (let i = 0; i < count; i++)
    await writer.add({
      ...{ key: String(i), label: null, width: SIDE, height: SIDE, format: "rgb8", source: "0".repeat(64), json: null },
      image: pixels.subarray(i * SIZE, (i + 1) * SIZE),
    });
  await writer.finish();
  return openFolder(folder);
}

/** Makes a codec, takes the faces through it, and prints a line of the table. */
async function measure(name: string, make: (context: StageContext) => Promise<void>): Promise<void> {
  const out = await mkdtemp(join(folder, "codec-"));
  const log = { info: () => undefined, warn: console.warn, progress: () => undefined };
  const before = process.cpuUsage();
  await mkdir(join(out, "tmp"));
  {
    await using files = await StageFiles.open(out);
    await make({ out, files, signal: new AbortController().signal, log });
  }
  const { user, system } = process.cpuUsage(before);

  const codec = codecConfig(JSON.parse(await readFile(join(out, "codec.json"), "utf8")));
  const tensors: Record<string, FileTensor> = {};
  await using file = await openSafetensors(join(out, "codec.safetensors"));
  for (const name of file.names) tensors[name] = { shape: file.tensor(name).shape, data: await file.readFloat32(name) };
  const weights = fromStateDict(codecSpecs(codec), tensors);
  const batchImages = 20;
  await using encoder = await compileCodecEncoder(codec, weights, { batchImages, side: SIDE });
  await using decoder = await compileCodecDecoder(codec, weights, { batchImages, side: SIDE });
  const decoded = new Uint8Array(originals.length);
  for (let at = 0; at < originals.length; at += batchImages * SIZE) {
    const { mean } = await encoder.encode(floatsOfPixels(originals.subarray(at, at + batchImages * SIZE)));
    decoded.set(await decoder.decodePixels(mean), at);
  }
  rows.push(...pictures(decoded));
  const squares = decoded.reduce((sum, x, i) => sum + (x - (originals[i] as number)) ** 2, 0);
  const psnr = 10 * Math.log10(255 ** 2 / (squares / decoded.length));
  const { side, channels } = encoder.latents;
  const cpuSeconds = (user + system) / 1e6;
  console.log(
    `| ${name} | ${side} x ${side} x ${channels} | ${(SIZE / (side ** 2 * channels)).toFixed(1)} times ` +
      `| ${psnr.toFixed(1)} dB | ${cpuSeconds.toFixed(0)} s |`,
  );
}

function pictures(pixels: Uint8Array): RgbImage[] {
  return Array.from({ length: SHOWN }, (_, i) => ({
    width: SIDE,
    height: SIDE,
    pixels: pixels.subarray(i * SIZE, (i + 1) * SIZE),
  }));
}
