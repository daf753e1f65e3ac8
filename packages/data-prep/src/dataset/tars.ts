import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DataError } from "@madformer/artifacts";
import type { StageContext } from "@madformer/stage";
import { IMAGE_EXTENSIONS } from "../shards/sample.js";
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
        finished = { id, images: await countImages(path, name, signal), skipped: [] };
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

async function countImages(path: string, name: string, signal: AbortSignal): Promise<number> {
  let images = 0;
  try {
    for await (const _ of readWebDataset(path, { extensions: IMAGE_EXTENSIONS, signal })) images++;
  } catch (cause) {
    signal.throwIfAborted();
    const { message } = cause as Error;
    throw new DataError(`Cannot use ${JSON.stringify(name)}: ${message.replace(/^Cannot read ".*?": /, "")}`, {
      cause,
    });
  }
  if (images === 0)
    throw new DataError(`Cannot use ${JSON.stringify(name)}: it holds no file of ${IMAGE_EXTENSIONS.join(", ")}`);
  return images;
}
