import { defineStage, type Facts, type Outside, type StageContext } from "@madformer/stage";
import { z } from "zod";
import { imagesBelow } from "../dataset/folder.js";
import { globPattern, isGlob, splitGlob } from "../dataset/glob.js";
import { hubFiles } from "../dataset/hub.js";
import { findTars, localTarSource } from "../dataset/local-tars.js";
import { CLASSES, MAX_IMAGE_BYTES, packImages, type ImageFile } from "../dataset/pack.js";
import { requireRoomFor } from "../dataset/room.js";
import { openS3 } from "../dataset/s3.js";
import { takeTars, type TarSource } from "../dataset/tars.js";
import { CLASS_NAMES } from "../dataset/class-names.js";
import { faceClasses } from "../faces/classes.js";
import { FACE_QUALITY } from "../faces/render.js";
import { writeFaces } from "../faces/write.js";

const ImagesPerShard = z.int().positive().default(1000).describe("Images in one tar, images");
const Classes = z
  .enum(CLASSES)
  .default("auto")
  .describe("Whether an image's first folder is its class; auto: if no image lies outside of a folder");
const Limit = z.int().nonnegative().default(0).describe("Take only the first this many tars; 0 takes all, tars");

/** Where images come from. */
export const DatasetSource = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("faces").describe("Drawn faces, nothing from outside"),
    seed: z.int().nonnegative().default(0).describe("What the faces are drawn from, with their number"),
    count: z.int().positive().default(4096).describe("How many, images"),
    side: z.int().min(8).max(4096).default(64).describe("Width and height, pixels"),
    quality: z.int().min(1).max(100).default(FACE_QUALITY).describe("Quality of the WebP files, 1 to 100"),
    classes: z
      .string()
      .refine((text) => text === "" || isClasses(text), { error: "expected attributes such as hairColor,glasses" })
      .default("")
      .describe(
        "Attributes whose combinations are the faces' classes, such as hairColor,glasses; empty: faces have none",
      ),
    imagesPerShard: ImagesPerShard,
  }),
  z.strictObject({
    kind: z.literal("folder").describe("A folder of images, or of folders of images, one for each class"),
    path: z.string().min(1).describe("The folder"),
    classes: Classes,
    followLinks: z
      .boolean()
      .default(false)
      .describe("Whether links to folders, and to what lies elsewhere, are followed, as PyTorch does"),
    imagesPerShard: ImagesPerShard,
  }),
  z.strictObject({
    kind: z.literal("webdataset").describe("WebDataset tars on this machine"),
    tars: z
      .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
      .describe("Paths, or patterns such as data/{00000..00069}.tar or data/**/*.tar"),
    limit: Limit,
  }),
  z.strictObject({
    kind: z.literal("huggingface").describe("WebDataset tars of a data set on Hugging Face (HF_ENDPOINT, HF_TOKEN)"),
    repo: z
      .string()
      .regex(/^[\w-][\w.-]*\/[\w-][\w.-]*$/, "expected owner/name")
      .default("gaunernst/ffhq-1024-wds")
      .describe("The data set, owner/name"),
    revision: z.string().min(1).default("main").describe("Branch, tag or commit; only a commit never changes"),
    pattern: z.string().min(1).default("**/*.tar").describe("Which of its files"),
    limit: Limit,
  }),
  z.strictObject({
    kind: z
      .literal("s3")
      .describe("WebDataset tars or images below a prefix in S3 (AWS_REGION, AWS_ENDPOINT_URL, ...)"),
    uri: z.string().min(1).describe("s3://bucket/prefix"),
    unsigned: z
      .boolean()
      .default(false)
      .describe("Whether to read without credentials, as anybody may a public bucket"),
    classes: Classes,
    imagesPerShard: ImagesPerShard,
    limit: Limit,
  }),
]);
export type DatasetSource = z.infer<typeof DatasetSource>;

export const DatasetConfig = z.strictObject({
  source: DatasetSource.prefault({ kind: "faces" }).describe("Where the images come from"),
});
export type DatasetConfig = z.infer<typeof DatasetConfig>;

/**
 * Stage `dataset`: a source of images in, WebDataset tars out.
 *
 * Reads what its config names: a folder, tars, a repository, a bucket; or nothing, and draws faces Writes
 * <out>/00000.tar, ... (per key an image file, its bytes unchanged; cls and json, where there are); <out>/classes.json,
 *         the classes' names, if folders or attributes of drawn faces are classes; <out>/skipped.jsonl, if images of a
 *         folder or bucket were skipped
 *
 * Tars that are finished stay when it is started again; those on the way from a server go on where they were. A folder
 * and tars of this machine are looked at each time (names, sizes, times of change); a repository and a bucket are not
 * asked again once they were taken.
 *
 * @throws {DataError} If the source cannot be read, is not what it says, or holds no images.
 */
export const stage = defineStage({
  name: "dataset",
  summary: "Draw, collect or download images as WebDataset tars",
  config: DatasetConfig,
  inputs: {},
  outside({ source }) {
    if (source.kind === "folder") return [{ path: source.path, by: "time" }];
    return source.kind === "webdataset" ? patternsOf(source.tars).map(tarsAt) : [];
  },
  async run({ source }, _inputs, context): Promise<Facts> {
    switch (source.kind) {
      case "faces":
        return drawFaces(source, context);
      case "folder": {
        const { path, followLinks, ...options } = source;
        const { images, folders } = await imagesBelow(path, followLinks, context.log);
        const packing = { ...options, folders, name: JSON.stringify(path) };
        return { source: "folder", ...(await packImages(images, packing, context)) };
      }
      case "webdataset": {
        const tars = (await findTars(patternsOf(source.tars), context.log)).map(localTarSource);
        return { source: "webdataset", ...(await takeTars(first(tars, source.limit), context)) };
      }
      case "huggingface": {
        const name = `${source.repo} at ${source.revision}`;
        const tars = first(
          await hubFiles({ ...source, onWait: (message) => context.log.info(message) }, context.signal),
          source.limit,
        );
        await requireRoomFor(name, sizesOf(tars), context.out);
        return { source: name, ...(await takeTars(tars, context)) };
      }
      case "s3": {
        const { uri, unsigned, classes, imagesPerShard } = source;
        const { out, signal, log } = context;
        await using found = await openS3(uri, { signal, log, unsigned });
        if (found.kind === "tars") {
          const tars = first(found.tars, source.limit);
          await requireRoomFor(uri, sizesOf(tars), out);
          return { source: uri, ...(await takeTars(tars, context)) };
        }
        await requireRoomFor(uri, sizesOf(found.images.filter(isTaken)), out);
        const options = { classes, imagesPerShard, name: JSON.stringify(uri) };
        return { source: uri, ...(await packImages(found.images, options, context)) };
      }
      default:
        return source satisfies never;
    }
  },
});

/** Whether a text names attributes that make classes. */
function isClasses(text: string): boolean {
  try {
    return faceClasses(text).names.length > 0;
  } catch {
    return false;
  }
}

async function drawFaces(
  { seed, count, side, quality, classes: attributes, imagesPerShard }: Extract<DatasetSource, { kind: "faces" }>,
  context: StageContext,
): Promise<Facts> {
  const onProgress = (done: number): void => context.log.progress("faces", done, count);
  const classes = attributes === "" ? undefined : faceClasses(attributes);
  await writeFaces({ seed, count, sidePixels: side, quality, classes, perShard: imagesPerShard, onProgress }, context);
  if (classes) await context.files.write(CLASS_NAMES, `${JSON.stringify(classes.names)}\n`);
  return { images: count, source: "drawn faces", seed, side, ...(classes ? { classes: classes.names.length } : {}) };
}

const patternsOf = (tars: string | readonly string[]): readonly string[] => (typeof tars === "string" ? [tars] : tars);

function tarsAt(path: string): Outside {
  if (!isGlob(path)) return { path, by: "time" };
  const { folder, pattern } = splitGlob(path);
  return { path: folder, by: "time", pattern: globPattern(pattern).source };
}

const isTaken = ({ sizeBytes }: ImageFile): boolean => sizeBytes <= MAX_IMAGE_BYTES;

const sizesOf = (files: readonly { readonly sizeBytes?: number }[]): (number | undefined)[] =>
  files.map(({ sizeBytes }) => sizeBytes);

const first = (tars: readonly TarSource[], limit: number): readonly TarSource[] =>
  limit > 0 ? tars.slice(0, limit) : tars;
