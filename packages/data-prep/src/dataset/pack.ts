import { join } from "node:path";
import { Readable } from "node:stream";
import { DataError, sha256 } from "@madformer/artifacts";
import type { StageContext } from "@madformer/stage";
import { IMAGE_EXTENSIONS } from "../shards/image-kinds.js";
import { mapOrdered } from "../shards/ordered.js";
import { shardName, type WebDatasetSample } from "../webdataset/sample.js";
import { writeShard } from "../webdataset/write.js";
import { finishedTar, type FinishedTar } from "./finished.js";

/** An image file that waits to be packed. */
export interface ImageFile {
  /** Relative, with forward slashes. Its first part may be its class. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Changes whenever its bytes do. */
  readonly id: string;
  readonly read: () => Promise<Uint8Array>;
}

/** Whether the first folder of a path is an image's class; `auto`: if no image lies outside of a folder. */
export const CLASSES = ["auto", "folders", "none"] as const;

export interface PackOptions {
  readonly imagesPerShard: number;
  readonly classes: (typeof CLASSES)[number];
  /** What messages call the files' source. */
  readonly name: string;
  /** Names of all folders that may be classes, those without images included, where that is known. */
  readonly folders?: readonly string[];
}

/** A sample of a tar is read whole, and readers set a limit. */
export const MAX_IMAGE_BYTES = 60 * 2 ** 20;
/** A bucket answers in milliseconds, whatever the size. */
const READS_AT_ONCE = 8;

/** A file's extension, if that is an image's. */
export function imageExtension(path: string): string | undefined {
  const extension = /\.([^./]+)$/.exec(path)?.[1]?.toLowerCase();
  return IMAGE_EXTENSIONS.find((known) => known === extension);
}

/** Which extensions files have, and how many: `2 of txt, 1 of json`. */
export function kindsOf(files: readonly { readonly path: string }[]): string {
  const counts = new Map<string, number>();
  for (const { path } of files) {
    const kind = /\.([^./]{1,20})$/.exec(path)?.[1]?.toLowerCase() ?? "no extension";
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const kinds = [...counts].sort((a, b) => b[1] - a[1]).map(([kind, count]) => `${count} of ${kind}`);
  return `${kinds.slice(0, 10).join(", ")}${kinds.length > 10 ? ", ..." : ""}`;
}

/**
 * Packs image files into WebDataset tars, their bytes unchanged: `00000.tar`, ..., each image with a `json` that holds
 * its path and, if folders are classes, a `cls`; then `classes.json`, the classes' names. Key and class are places in
 * the order of paths, so they do not depend on the disk. Tars that an earlier attempt finished stay.
 *
 * A file that is empty or larger than 60 MiB is skipped, and listed in `skipped.jsonl`.
 *
 * @throws {DataError} If there is no image, or a class folder has none, which would renumber those after it.
 */
export async function packImages(
  imageFiles: readonly ImageFile[],
  packing: PackOptions,
  { out, files, signal, log }: StageContext,
): Promise<{ readonly images: number; readonly classes: number; readonly skipped: number }> {
  const { imagesPerShard, name } = packing;
  const all = [...imageFiles].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  if (all.length === 0) throw new DataError(`Cannot use ${name}: it holds no file of ${IMAGE_EXTENSIONS.join(", ")}`);
  const { names, files: sorted } = classNames(all, packing, log);
  if (new Set(sorted.map(({ path }) => imageExtension(path))).size > 1)
    log.info(`images of ${name}: ${kindsOf(sorted)}`);
  const labels = new Map(names.map((className, label) => [className, label]));
  const tars: FinishedTar[] = [];
  for (let start = 0; start < sorted.length; start += imagesPerShard) {
    signal.throwIfAborted();
    const tar = shardName(tars.length);
    const part = sorted.slice(start, start + imagesPerShard);
    const id = sha256(JSON.stringify(part.map((file) => [file.path, file.id])));
    let finished = finishedTar(files, tar, id);
    if (!finished) {
      const skipped: { path: string; reason: string }[] = [];
      const samples = samplesOf(part, start, labels, skipped, signal, (done) =>
        log.progress("images", start + done, sorted.length),
      );
      const temporary = join(out, "tmp", tar);
      const images = await writeShard(temporary, samples);
      for (const { path, reason } of skipped) log.warn(`skipped ${JSON.stringify(path)}: ${reason}`);
      finished = { id, images, skipped };
      await files.add(temporary, tar, finished);
    }
    tars.push(finished);
    log.progress("images", start + part.length, sorted.length);
  }
  const images = tars.reduce((sum, tar) => sum + tar.images, 0);
  const skipped = tars.flatMap((tar) => tar.skipped);
  if (images === 0) {
    const { path, reason } = skipped[0]!;
    throw new DataError(
      `Cannot use ${name}: none of its ${skipped.length} images; of the first, ${JSON.stringify(path)}: ${reason}`,
    );
  }
  if (names.length > 0) await files.write("classes.json", `${JSON.stringify(names, null, 2)}\n`);
  if (skipped.length > 0)
    await files.write("skipped.jsonl", skipped.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return { images, classes: names.length, skipped: skipped.length };
}

async function* samplesOf(
  files: readonly ImageFile[],
  first: number,
  labels: ReadonlyMap<string, number>,
  skipped: { path: string; reason: string }[],
  signal: AbortSignal,
  onImage: (done: number) => void,
): AsyncGenerator<WebDatasetSample, void, undefined> {
  const read = async (file: ImageFile) => ({ file, content: problemOf(file) ?? (await file.read()) });
  let done = 0;
  for await (const { file, content } of mapOrdered(Readable.from(files), READS_AT_ONCE, read)) {
    signal.throwIfAborted();
    const { path } = file;
    if (typeof content === "string") skipped.push({ path, reason: content });
    else {
      const label = labels.get(classOf(path));
      const parts: [string, Uint8Array][] = [[imageExtension(path)!, content]];
      if (label !== undefined) parts.push(["cls", Buffer.from(String(label))]);
      parts.push(["json", Buffer.from(JSON.stringify({ path }))]);
      yield { key: String(first + done).padStart(8, "0"), files: new Map(parts) };
    }
    onImage(++done);
  }
}

function problemOf({ sizeBytes }: ImageFile): string | undefined {
  if (sizeBytes === 0) return "it is empty";
  if (sizeBytes > MAX_IMAGE_BYTES) return `it has ${sizeBytes} bytes, more than ${MAX_IMAGE_BYTES}`;
  return undefined;
}

const classOf = (path: string): string => path.split("/", 1)[0]!;

/** Folders that often stand beside each other, each with all classes in it. */
const SPLITS = /^(train(ing)?|val(id(ation)?)?|dev|eval(uation)?|test(ing)?|holdout)(_?(set|data|images?))?$/i;

/** @returns The classes in the order of their numbers, none if folders are no classes; and the files to take. */
function classNames(
  files: readonly ImageFile[],
  { classes, name, folders = [] }: PackOptions,
  log: StageContext["log"],
): { readonly names: readonly string[]; readonly files: readonly ImageFile[] } {
  if (classes === "none") return { names: [], files };
  const [outside, inside] = [files.filter(isOutside), files.filter((file) => !isOutside(file))];
  const names = [...new Set(inside.map(({ path }) => classOf(path)))].sort();
  const such = outside.length > 0 ? `${outside.length} images, such as ${JSON.stringify(outside[0]!.path)},` : "";
  if (classes === "auto" && outside.length > 0) {
    if (names.length > 0)
      log.warn(
        `${such} lie outside of the ${names.length} folders, so folders are no classes and no image has a label; ` +
          'classes "folders" takes what is in folders, with labels, and "none" says that there are none',
      );
    return { names: [], files };
  }
  if (names.length === 0)
    throw new DataError(`Cannot use ${name}: none of its images lies in a folder, and its folders are to be classes`);
  if (outside.length > 0) log.warn(`passed over ${such} that lie in no folder, for folders are classes`);
  const empty = folders.filter((folder) => !names.includes(folder));
  if (empty.length > 0)
    throw new DataError(
      `Cannot use ${name}: its folder ${JSON.stringify(empty[0])} holds no image, and folders are classes, numbered in their order; ` +
        'remove it, or say that folders are no classes (classes "none")',
    );
  const splits = names.filter((className) => SPLITS.test(className));
  if (splits.length === names.length || (splits.length > 1 && splits.some((split) => /^train/i.test(split))))
    log.warn(
      `took the folders ${splits.map((split) => JSON.stringify(split)).join(", ")} for classes; if they are parts of a data ` +
        "set, name one of them as the source",
    );
  return { names, files: inside };
}

const isOutside = ({ path }: ImageFile): boolean => !path.includes("/");
