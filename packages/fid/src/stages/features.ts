import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { DataError, PIXEL_RULES } from "@madformer/artifacts";
import { computing } from "@madformer/engine";
import { defineStage, type StageContext } from "@madformer/stage";
import { z } from "zod";
import { extractFeatures } from "../features/extract.js";
import { writeClassifier } from "../features/classifier.js";
import { featureRows, writeFeatures } from "../features/feature-file.js";
import {
  inceptionFiles,
  openFacesNetwork,
  openInceptionNetwork,
  type FeatureNetwork,
  type Features,
} from "../features/network.js";
import { NETWORKS, RESIZE_NAMES } from "../features/network-names.js";
import { aboutOf } from "../images/group-about.js";
import { imageGroups, type ImageGroup } from "../images/groups.js";
import { FeatureStatistics } from "../statistics/feature-statistics.js";
import { writeStatistics } from "../statistics/file.js";

/** Which network makes features of images, and of how many. */
export const FeaturesConfig = z
  .strictObject({
    network: z
      .enum(NETWORKS)
      .default("faces-net")
      .describe("faces-net, of the input net; or inception, whose distance is called FID"),
    weights: z.string().optional().describe("Path or URL of Inception's weights (.pth or .safetensors)"),
    sha256: z
      .string()
      .regex(/^[0-9a-fA-F]{64}$/, "expected 64 hex digits")
      .optional()
      .describe("What the SHA-256 of that file must be"),
    inceptionDims: z
      .literal([64, 192, 768, 2048])
      .default(2048)
      .describe("Channels of Inception's features; at fewer than 2048 a distance is not FID"),
    resize: z
      .enum(RESIZE_NAMES)
      .default("pytorch-fid")
      .describe(
        "How images come to Inception's 299 x 299: bilinear as pytorch-fid, bilinear as TensorFlow 1 (torch-fidelity, ADM's suite), or clean-fid's bicubic",
      ),
    spatial: z
      .boolean()
      .default(true)
      .describe("Of Inception with 768 channels and more: also keep 2023 numbers by place, for sFID; 8 kB an image"),
    pixels: z
      .enum(PIXEL_RULES)
      .default("pil")
      .describe(
        "Of image files: pil, those of Image.open(file).convert('RGB'), as pytorch-fid; or srgb, as shards: upright, profile converted, on white",
      ),
    batchImages: z
      .int()
      .positive()
      .max(4096)
      .default(10)
      .describe("Images that go through the network together: speed and memory alone"),
    limit: z.int().nonnegative().default(0).describe("Images of each group that are used, the first ones; 0 = all"),
  })
  .readonly();
export type FeaturesConfig = z.infer<typeof FeaturesConfig>;

/**
 * Stage `features`: images in, what a network sees in them out.
 *
 * Reads image shards, samples (a group for each checkpoint), or a folder of images; net.json, net.safetensors Writes
 * <group>/features.npy (images, dims) float32, in the order of the images, and <group>/spatial.npy (images, 2023) where
 *         Inception makes them; <group>/statistics.npz, mu and sigma as pytorch-fid has them, mu_s and sigma_s of the
 *         latter as ADM's suite; classifier.npz, what features say of classes, if the network knows any
 *
 * Images are read, and features written, as they come: memory does not grow with their number. A run that was killed
 * goes on with the groups that are not finished, or were damaged since.
 *
 * @throws {DataError} If there are no images or fewer than two in a group, they are not of the size that the network
 *   sees, or it is missing.
 */
export const stage = defineStage({
  name: "features",
  summary: "Compute a network's features of images, and their statistics",
  config: FeaturesConfig,
  computing,
  inputs: {
    images: { summary: "image shards, samples or a folder of images", stages: ["sample", "shards"] },
    net: { summary: "the faces-net, where that is the network", optional: true, stages: ["faces-net"] },
  },
  free: ["batchImages"],
  idle({ network }): Record<string, string> {
    const why = `with the network "${network}"`;
    return network === "inception"
      ? { net: why }
      : { weights: why, sha256: why, inceptionDims: why, resize: why, spatial: why };
  },
  outside: ({ network, weights }) => (network === "inception" ? inceptionFiles(weights) : []),
  async run(config, { images, net }, context) {
    const { batchImages, pixels } = config;
    const warn = (message: string): void => context.log.warn(message);
    const groups = imageGroups(images, { pixels, warn }); // before anything is fetched
    const network = await openNetwork();
    const made = [];
    for (const group of groups) {
      const count = await featuresOf(network, group, config, context);
      const about: Record<string, string | number> = aboutOf(group);
      made.push({ name: group.name, ...about, images: count });
    }
    const { classifier } = network;
    if (classifier && !context.files.has(CLASSIFIER)) {
      await writeClassifier(join(context.out, CLASSIFIER), classifier);
      await context.files.keep(CLASSIFIER);
    }
    const { groups: _, ...facts } = images.manifest.facts;
    return {
      network: network.name,
      networkDigest: network.digest,
      ...(network.isPublished ? { published: true } : {}),
      dims: network.dims,
      ...(network.spatialDims === undefined ? {} : { spatialDims: network.spatialDims }),
      ...(classifier ? { classes: classifier.attributes.map((attribute) => ({ ...attribute })) } : {}),
      resize: network.resize,
      ...(network.resizeName === undefined || network.resizeName === "pytorch-fid"
        ? {}
        : { resizeName: network.resizeName }),
      ...(pixels === "pil" ? {} : { pixels }),
      groups: made,
      source: { stage: images.manifest.stage, digest: images.digest, facts },
    };

    function openNetwork(): Promise<FeatureNetwork> {
      switch (config.network) {
        case "faces-net":
          if (net) return openFacesNetwork(net, batchImages);
          throw new DataError('Cannot compute features: the input "net" is missing, expected what faces-net made');
        case "inception": {
          const { weights, sha256, inceptionDims: dims, resize, spatial } = config;
          const { signal, log } = context;
          const progress = (done: number, total = done): void => log.progress("bytes", done, total);
          return openInceptionNetwork({
            weights,
            sha256,
            dims,
            resize,
            spatial,
            batchImages,
            folder: join(context.out, "tmp"),
            signal,
            progress,
            onWait: (message) => log.info(message),
          });
        }
      }
    }
  },
});

/** What features say of classes. */
const CLASSIFIER = "classifier.npz";

/** Features and statistics of a group, unless they are there; how many images they are of. */
async function featuresOf(
  network: FeatureNetwork,
  group: ImageGroup,
  { batchImages, limit }: FeaturesConfig,
  { out, files, signal, log }: StageContext,
): Promise<number> {
  const { dims, spatialDims } = network;
  const summary = `${group.name}/statistics.npz`;
  const outputs = [
    { name: `${group.name}/features.npy`, dims },
    ...(spatialDims === undefined ? [] : [{ name: `${group.name}/spatial.npy`, dims: spatialDims }]),
  ].map((output) => ({ ...output, path: join(out, output.name) }));
  const [first] = outputs;
  if ([summary, ...outputs.map(({ name }) => name)].every((name) => files.has(name)))
    return featureRows(await files.path(first!.name), dims);
  await mkdir(join(out, group.name), { recursive: true });

  const total = Math.min(group.count ?? Infinity, limit || Infinity);
  const progress = (done: number): void => {
    log.progress(`images of ${group.name}`, done, Number.isFinite(total) ? total : done);
  };
  const statistics = outputs.map((output) => new FeatureStatistics(output.dims));
  const onMixed = (sizes: string): void =>
    log.info(`images of group "${group.name}" differ in size (${sizes}): each is resized by itself`);
  const parts = extractFeatures(network, group, { batchImages, limit, signal, progress, onMixed });
  const rows = await writeFeatures(outputs, counted(parts, statistics));
  if (rows < 2)
    throw new DataError(
      `Cannot compute statistics of group "${group.name}": it holds ${rows} image, expected 2 or more`,
    );
  const [features, spatial] = statistics.map((one) => one.gaussian());
  await writeStatistics(join(out, summary), { ...features!, ...(spatial ? { spatial } : {}) });
  for (const file of [...outputs.map(({ name }) => name), summary]) await files.keep(file);
  return rows;
}

async function* counted(parts: AsyncIterable<Features>, statistics: readonly FeatureStatistics[]) {
  for await (const { features, spatial } of parts) {
    const some = spatial ? [features, spatial] : [features];
    some.forEach((part, i) => statistics[i]!.add(part));
    yield some;
  }
}
