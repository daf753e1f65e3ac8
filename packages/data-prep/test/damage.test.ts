/** Whatever happens to files of the stages, the same command again makes the same manifest. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256, writeSafetensors } from "@madformer/artifacts";
import { datasetStage, faceAttributes, latentsStage, renderFace, shardsStage, vaeStage } from "@madformer/data-prep";
import { AutoencoderConfig, autoencoderSpecs, initialize, toStateDict } from "@madformer/model";
import { parseConfig, tryDamage, type Inputs, type InputSpecs, type Stage } from "@madformer/stage";
import { shardImage, shardsOf } from "../src/codec/testing.js";
import { datasetOf, inFolder } from "../src/testing.js";

const SIDE = 8;
const image = (i: number): Promise<Uint8Array> => renderFace(faceAttributes(1, i), 16);

const imageShards = (folder: string) =>
  shardsOf(
    join(folder, "shards"),
    [3, 2].map((n, shard) => Array.from({ length: n }, (_, i) => shardImage(3 * shard + i, SIDE))),
  );

/** An autoencoder as diffusers saves it. */
async function autoencoderIn(folder: string) {
  const config = { block_out_channels: [4, 8], layers_per_block: 1, norm_num_groups: 2, latent_channels: 3 };
  const specs = autoencoderSpecs(
    AutoencoderConfig.parse({ channels: [4, 8], layers: 1, groups: 2, latentChannels: 3 }),
  );
  await mkdir(folder);
  await writeFile(join(folder, "config.json"), JSON.stringify({ _class_name: "AutoencoderKL", ...config }));
  const weights = "diffusion_pytorch_model.safetensors";
  await writeSafetensors(join(folder, weights), toStateDict(specs, initialize(specs, 3)));
  return { from: folder, weights };
}

const CODEC = ["codec.json", "codec.safetensors"];

describe.each<[string, (folder: string) => Promise<Trial>, files: string[], left: string[]]>([
  [
    "dataset, drawn",
    async () => trial(datasetStage, { source: { kind: "faces", count: 5, side: 16, imagesPerShard: 2 } }, {}, 4),
    ["00000.tar", "00001.tar", "00002.tar"],
    ["00000.tar"],
  ],
  [
    "dataset, from a folder",
    async (folder) => {
      const files = ["a/1.png", "a/2.png", "b/empty.png", "b/4.png"];
      for (const name of ["a", "b"]) await mkdir(join(folder, "in", name), { recursive: true });
      for (const file of files) await writeFile(join(folder, "in", file), file.includes("empty") ? "" : file);
      return trial(datasetStage, { source: { kind: "folder", path: join(folder, "in"), imagesPerShard: 2 } }, {}, 4);
    },
    ["00000.tar", "00001.tar", "classes.json", "skipped.jsonl"],
    ["00000.tar"],
  ],
  [
    "dataset, from tars",
    async (folder) => {
      await datasetOf(join(folder, "in"), [{ a: { png: "a" } }, { b: { png: "b" } }]);
      return trial(datasetStage, { source: { kind: "webdataset", tars: join(folder, "in", "*.tar") } }, {}, 2);
    },
    ["00000.tar", "00001.tar"],
    ["00000.tar", "tmp/00001.tar"],
  ],
  [
    "shards",
    async (folder) => {
      const [a, b, c] = await Promise.all([0, 1, 2].map(image));
      const broken = { png: "broken" };
      const samples = { a: { webp: a!, cls: "1" }, b: { webp: b!, cls: "4" }, broken, lost: broken, c: { webp: c! } };
      const dataset = await datasetOf(join(folder, "in"), [samples]);
      // After four images, two of them broken.
      return trial(shardsStage, { side: SIDE, imagesPerShard: 2 }, { dataset }, 8);
    },
    ["images-00000.arrow", "images-00002.arrow", "skipped.jsonl"],
    ["images-00000.arrow"],
  ],
  [
    "vae, trained",
    async (folder) => {
      const sizes = { channels: [4], groups: 2, latentChannels: 2, steps: 4, batchImages: 2, pairs: 2 };
      return trial(vaeStage, { source: "train", ...sizes }, { shards: await imageShards(folder) }, 2);
    },
    [...CODEC, "losses.jsonl", "reconstructions.png"],
    ["losses.jsonl", "tmp/checkpoint.safetensors"],
  ],
  [
    "vae, imported",
    async (folder) => {
      const { from, weights } = await autoencoderIn(join(folder, "in"));
      const config = { source: "import", from, sha256: sha256(await readFile(join(from, weights))), pairs: 2 };
      // Five were measured.
      return trial(vaeStage, { ...config, batchImages: 1 }, { shards: await imageShards(folder) }, 6);
    },
    [...CODEC, "reconstructions.png"],
    CODEC,
  ],
  [
    "latents",
    async (folder) => {
      const shards = await imageShards(folder);
      const config = { codec: "patch-pca", patch: 2, channels: 4, batchImages: 1 };
      return trial(latentsStage, config, { shards, vae: undefined }, 10); // five were fitted to, three are a shard
    },
    [...CODEC, "latents-00000.arrow", "latents-00001.arrow"],
    [...CODEC, "latents-00000.arrow"],
  ],
])("stage %s", (_, make, files, left) => {
  test("makes the same again, whichever of its files is damaged or lost, and when it was interrupted", () =>
    inFolder(async (folder) => {
      expect(await (await make(folder))(folder)).toEqual({ files, left, problems: [] });
    }));
});

type Trial = (folder: string) => ReturnType<typeof tryDamage>;

function trial<C, I extends InputSpecs>(
  stage: Stage<C, I>,
  config: object,
  inputs: Inputs<I>,
  stopAfter: number,
): Trial {
  return (folder) => tryDamage({ stage, config: parseConfig(stage, config), inputs, stopAfter }, folder);
}
