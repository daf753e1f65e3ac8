import { extname } from "node:path";
import {
  DataError,
  pixelsOfImage,
  readImageShards,
  readRgb,
  type Artifact,
  type PixelRule,
} from "@madformer/artifacts";
import { z } from "zod";
import { aboutOf, GroupAbout } from "./group-about.js";
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
export interface ImageGroup extends Readonly<GroupAbout> {
  /** Also the name of its folder: letters, digits, "-", "_", ".". */
  readonly name: string;
  /** How many there are, where that is known before they are read. */
  readonly count?: number;
  /** Reads them in order, one or a few in memory at a time. */
  images(signal: AbortSignal): AsyncGenerator<GroupImage, void, undefined>;
}

/** What a sample artifact says of its images. */
const SampleGroups = z
  .array(GroupAbout.extend({ name: GroupName, folder: z.string().min(1) }))
  .min(1)
  .max(1000);

export interface ImageOptions {
  /** Which pixels image files have. Default: `pil`. */
  readonly pixels?: PixelRule;
  /** Told of what is left out, and of images that lose what they show. */
  readonly warn?: (message: string) => void;
}

/** pytorch-fid's `IMAGE_EXTENSIONS`, in capitals as well. */
const IMAGE_FILE = /\.(bmp|jpe?g|pgm|png|ppm|tiff?|webp)$/i;

/** The name of the only group of images that nobody grouped. */
const ONLY_GROUP = "images";

/**
 * The groups of an artifact with images:
 *
 * - image shards (`images-*.arrow`): one group, in the order of the shards;
 * - samples, whose fact `groups` names folders: one group each, files in the order of their names;
 * - any folder: the image files that lie directly in it, as pytorch-fid takes them, in the order of their names.
 *
 * @throws {DataError} If it is none of them, its facts are not what a sampler writes, a group has no images, or pixels
 *   are asked for that shards do not have.
 */
export function imageGroups(artifact: Artifact, options: ImageOptions = {}): ImageGroup[] {
  const { facts } = artifact.manifest;
  const shards = artifact.files.filter((file) => /^images-\d+\.arrow$/.test(file));
  if (shards.length > 0) {
    const { pixels = "pil" } = options;
    if (pixels !== "pil")
      throw new DataError(
        `Cannot read image shards with the pixels "${pixels}": the stage shards made them so already; expected a folder of image files`,
      );
    const count = typeof facts["images"] === "number" ? { count: facts["images"] } : {};
    return [{ name: ONLY_GROUP, ...count, images: (signal) => shardImages(artifact, shards, signal) }];
  }
  if (facts["groups"] !== undefined) return sampleGroups(artifact, facts["groups"], options);
  const files = artifact.files.filter((file) => !file.includes("/") && IMAGE_FILE.test(file));
  const below = artifact.files.filter((file) => file.includes("/")).length;
  if (files.length === 0)
    throw new DataError(
      `Cannot find images: ${artifact.files.length} files${below > 0 ? ` (${below} in folders below)` : ""}, among them no images-*.arrow and no PNG, JPEG, WebP, TIFF, BMP, PGM or PPM file at the top; expected image shards, samples or a folder of images`,
    );
  if (files.length < artifact.files.length) options.warn?.(leftOut(artifact.files, files.length));
  return [fileGroup(artifact, ONLY_GROUP, files, options)];
}

/** What is in a folder of images besides those that are taken. */
function leftOut(files: readonly string[], taken: number): string {
  const kinds = new Map<string, number>();
  for (const file of files.filter((file) => !file.includes("/") && !IMAGE_FILE.test(file))) {
    const kind = extname(file).toLowerCase() || "without an extension";
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  const below = files.filter((file) => file.includes("/")).length;
  const counts = [...kinds].sort(([, a], [, b]) => b - a).map(([kind, count]) => `${count} ${kind}`);
  const shown = counts
    .slice(0, 5)
    .concat(counts.length > 5 ? ["others"] : [], below > 0 ? [`${below} in folders below`] : []);
  return `left out ${files.length - taken} files (${shown.join(", ")}): taken are, as pytorch-fid does, the ${taken} bmp, jpg, jpeg, pgm, png, ppm, tif, tiff and webp at the top`;
}

function sampleGroups(artifact: Artifact, fact: unknown, options: ImageOptions): ImageGroup[] {
  const parsed = SampleGroups.safeParse(fact);
  if (!parsed.success)
    throw new DataError(
      `Cannot find images: the fact "groups" is not what a sampler writes: ${z.prettifyError(parsed.error).replaceAll("\n", " ")}`,
    );
  const names = new Set(parsed.data.map(({ name }) => name));
  if (names.size < parsed.data.length) throw new DataError("Cannot find images: two groups have one name");
  return parsed.data.map(({ name, folder, ...about }) => {
    const prefix = `${folder.replace(/\/$/, "")}/`;
    const files = artifact.files.filter(
      (file) => file.startsWith(prefix) && !file.slice(prefix.length).includes("/") && IMAGE_FILE.test(file),
    );
    if (files.length === 0)
      throw new DataError(`Cannot find images: group "${name}" has none in ${JSON.stringify(folder)}`);
    return { ...fileGroup(artifact, name, files, options), ...aboutOf(about) };
  });
}

function fileGroup(artifact: Artifact, name: string, files: readonly string[], options: ImageOptions): ImageGroup {
  return { name, count: files.length, images: (signal) => fileImages(artifact, { name, files }, options, signal) };
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

async function* fileImages(
  artifact: Artifact,
  group: { readonly name: string; readonly files: readonly string[] },
  { pixels, warn }: ImageOptions,
  signal: AbortSignal,
) {
  const cut: string[] = [];
  const read = async (file: string): Promise<GroupImage> => {
    const name = JSON.stringify(file);
    const { width, height, pixels: data, cut: isCut } = await readRgb(await artifact.path(file), name, pixels);
    if (isCut) cut.push(name);
    return { name, width, height, pixels: data };
  };
  try {
    for (let first = 0; first < group.files.length; first += READ_AHEAD) {
      signal.throwIfAborted();
      yield* await Promise.all(group.files.slice(first, first + READ_AHEAD).map(read));
    }
  } finally {
    if (cut.length > 0)
      warn?.(
        `${cut.length} images of "${group.name}", such as ${cut.sort()[0]}, are greys of 16 bits: PIL, and so pytorch-fid, cuts them to 255, nearly all white; the pixels "srgb" scale them`,
      );
  }
}
