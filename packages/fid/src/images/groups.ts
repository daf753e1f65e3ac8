import { DataError, pixelsOfImage, readImageShards, readRgb, type Artifact } from "@madformer/artifacts";
import { z } from "zod";
import { GroupName } from "./group-name.js";

/** An image as networks take it. */
export interface GroupImage {
  /** What to call it in errors. */
  readonly name: string;
  readonly width: number;
  readonly height: number;
  /** (height, width, 3) uint8, RGB. */
  readonly pixels: Uint8Array;
}

/** Images that are compared as one set. */
export interface ImageGroup {
  /** Also the name of its folder: letters, digits, "-", "_", ".". */
  readonly name: string;
  /** Training step of the checkpoint that made the images. */
  readonly step?: number;
  /** Which of the checkpoint's weights made them. */
  readonly weights?: string;
  /** How many there are, where that is known before they are read. */
  readonly count?: number;
  /** Reads them in order, one or a few in memory at a time. */
  images(signal: AbortSignal): AsyncGenerator<GroupImage, void, undefined>;
}

/** What a sample artifact says of its images. */
const SampleGroups = z
  .array(
    z.object({
      name: GroupName,
      step: z.int().nonnegative().optional(),
      folder: z.string().min(1),
      weights: z.string().optional(),
    }),
  )
  .min(1)
  .max(1000);

const IMAGE_FILE = /\.(png|jpe?g|webp|tiff?)$/i;

/** The name of the only group of images that nobody grouped. */
const ONLY_GROUP = "images";

/**
 * The groups of an artifact with images:
 *
 * - image shards (`images-*.arrow`): one group, in the order of the shards;
 * - samples, whose fact `groups` names folders: one group each, files in the order of their names;
 * - any folder: the image files that lie directly in it, as pytorch-fid takes them, in the order of their names.
 *
 * @throws {DataError} If it is none of them, its facts are not what a sampler writes, or a group has no images.
 */
export function imageGroups(artifact: Artifact): ImageGroup[] {
  const { facts } = artifact.manifest;
  const shards = artifact.files.filter((file) => /^images-\d+\.arrow$/.test(file));
  if (shards.length > 0) {
    const count = typeof facts["images"] === "number" ? { count: facts["images"] } : {};
    return [{ name: ONLY_GROUP, ...count, images: (signal) => shardImages(artifact, shards, signal) }];
  }
  if (facts["groups"] !== undefined) return sampleGroups(artifact, facts["groups"]);
  const files = artifact.files.filter((file) => !file.includes("/") && IMAGE_FILE.test(file));
  if (files.length === 0)
    throw new DataError(
      `Cannot find images: ${artifact.files.length} files, among them no images-*.arrow and no PNG, JPEG, WebP or TIFF file at the top; expected image shards, samples or a folder of images`,
    );
  return [fileGroup(artifact, ONLY_GROUP, files)];
}

function sampleGroups(artifact: Artifact, fact: unknown): ImageGroup[] {
  const parsed = SampleGroups.safeParse(fact);
  if (!parsed.success)
    throw new DataError(
      `Cannot find images: the fact "groups" is not what a sampler writes: ${z.prettifyError(parsed.error).replaceAll("\n", " ")}`,
    );
  const names = new Set(parsed.data.map(({ name }) => name));
  if (names.size < parsed.data.length) throw new DataError("Cannot find images: two groups have one name");
  return parsed.data.map(({ name, folder, step, weights }) => {
    const prefix = `${folder.replace(/\/$/, "")}/`;
    const files = artifact.files.filter(
      (file) => file.startsWith(prefix) && !file.slice(prefix.length).includes("/") && IMAGE_FILE.test(file),
    );
    if (files.length === 0)
      throw new DataError(`Cannot find images: group "${name}" has none in ${JSON.stringify(folder)}`);
    const about = { ...(step === undefined ? {} : { step }), ...(weights === undefined ? {} : { weights }) };
    return { ...fileGroup(artifact, name, files), ...about };
  });
}

function fileGroup(artifact: Artifact, name: string, files: readonly string[]): ImageGroup {
  return { name, count: files.length, images: (signal) => fileImages(artifact, files, signal) };
}

async function* shardImages(artifact: Artifact, shards: readonly string[], signal: AbortSignal) {
  for (const shard of shards)
    for await (const image of readImageShards([await artifact.path(shard)], { signal })) {
      const { key, width, height } = image;
      yield { name: JSON.stringify(key), width, height, pixels: await pixelsOfImage(image) };
    }
}

/** Files are read ahead of their use, as many at a time. */
const READ_AHEAD = 8;

async function* fileImages(artifact: Artifact, files: readonly string[], signal: AbortSignal) {
  const read = async (file: string): Promise<GroupImage> => {
    const name = JSON.stringify(file);
    return { name, ...(await readRgb(await artifact.path(file), name)) };
  };
  for (let first = 0; first < files.length; first += READ_AHEAD) {
    signal.throwIfAborted();
    yield* await Promise.all(files.slice(first, first + READ_AHEAD).map(read));
  }
}
