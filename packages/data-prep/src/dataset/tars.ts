import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DataError } from "@madformer/artifacts";
import type { StageContext, StageLog } from "@madformer/stage";
import { IMAGE_EXTENSIONS, IMAGE_FILES } from "../shards/image-kinds.js";
import { Oddities } from "../webdataset/oddities.js";
import { readWebDataset } from "../webdataset/read.js";
import { shardName } from "../webdataset/sample.js";
import { finishedTar } from "./finished.js";

/** A tar that somebody else made. */
export interface TarSource {
  /** What messages call it. */
  readonly name: string;
  /** Changes whenever its bytes do. */
  readonly id: string;
  /** What it will take on the disk, where that is known. */
  readonly sizeBytes?: number;
  /** Brings its bytes to a path, checked as far as its source allows. */
  readonly fetch: (path: string, onProgress: (share: number) => void) => Promise<void>;
}

/**
 * Takes tars as they are, as `00000.tar`, ... in the given order. Each is read once, to see that it is whole and holds
 * images. Those that an earlier attempt finished stay.
 *
 * @returns How many images they hold.
 * @throws {FormatError} If one is damaged. {DataError} If there is none, or one holds no image.
 */
export async function takeTars(
  sources: readonly TarSource[],
  { out, files, signal, log }: StageContext,
): Promise<{ readonly images: number }> {
  let images = 0;
  for (const [i, { name, id, fetch }] of sources.entries()) {
    signal.throwIfAborted();
    const tar = shardName(i);
    const say = (share: number): void => log.progress("tars", i + Math.min(share, 1), sources.length, { tar: name });
    let finished = finishedTar(files, tar, id);
    if (!finished) {
      say(0);
      const path = join(out, "tmp", tar);
      await fetch(path, say);
      try {
        finished = { id, images: await countImages(path, name, signal, log), skipped: [] };
      } catch (error) {
        if (!signal.aborted) await rm(path, { force: true }); // fetched again, it may be whole
        throw error;
      }
      await files.add(path, tar, finished);
    }
    images += finished.images;
  }
  log.progress("tars", sources.length, sources.length);
  return { images };
}

/** Counts the images of a tar, and says what else it holds: what is passed over, and keys without an image. */
async function countImages(path: string, name: string, signal: AbortSignal, log: StageLog): Promise<number> {
  let images = 0;
  const [odd, without] = [new Oddities(), new Map<string, number>()];
  try {
    const options = { ...IMAGE_FILES, startsOnly: true, bare: true, onOdd: odd.add, signal };
    for await (const { files, seen = [] } of readWebDataset(path, options)) {
      if (files.size > 0) images++;
      else {
        const kinds = [...seen].sort().join(" and ");
        without.set(kinds, (without.get(kinds) ?? 0) + 1);
      }
    }
  } catch (cause) {
    signal.throwIfAborted();
    const { message } = cause as Error;
    throw new DataError(`Cannot use ${JSON.stringify(name)}: ${message.replace(/^Cannot read ".*?": /, "")}`, {
      cause,
    });
  }
  const kinds = [...without].map(([kinds, count]) => `${count} of ${kinds}`);
  const shown = `${kinds.slice(0, 10).join(", ")}${kinds.length > 10 ? ", ..." : ""}`;
  if (images === 0)
    throw new DataError(
      `Cannot use ${JSON.stringify(name)}: it holds no file of ${IMAGE_EXTENSIONS.join(", ")}` +
        (kinds.length > 0 ? `, but keys with other files: ${shown}` : ""),
    );
  for (const sentence of odd.sentences(name)) log.warn(sentence);
  if (kinds.length > 0) log.warn(`passed over keys of ${JSON.stringify(name)} without an image: ${shown}`);
  return images;
}
