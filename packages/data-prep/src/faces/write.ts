import { mkdir, readdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { DataError, exists, FormatError } from "@madformer/artifacts";
import { readWebDataset } from "../webdataset/read.js";
import { shardName, type WebDatasetSample } from "../webdataset/sample.js";
import { writeShard } from "../webdataset/write.js";
import { faceRecord, type FaceRecord } from "./record.js";
import { FACE_QUALITY, renderFace } from "./render.js";

export interface WriteFacesOptions {
  /** What the faces are drawn from, with their index: integer in [0, 2^53 - 1]. */
  readonly seed: number;
  /** How many faces: indices 0 to count - 1. */
  readonly count: number;
  /** Width and height in pixels, 8 to 4096. */
  readonly sidePixels: number;
  /** Faces in each shard; the last one may hold fewer. */
  readonly perShard: number;
  /** Folder to write into; made if missing. */
  readonly out: string;
  /** Quality of the WebP files, 1 to 100. Default: {@link FACE_QUALITY}. */
  readonly quality?: number;
  /** Faces rendered at the same time, which changes no bytes. Default: twice the cores. */
  readonly inFlight?: number;
  readonly signal?: AbortSignal;
  /** Called as faces are written, those of finished shards included. */
  readonly onProgress?: (done: number, count: number) => void;
}

/** What {@link writeFaces} left in its folder. */
export interface WrittenFaces {
  /** Names of the shards, in order. */
  readonly shards: readonly string[];
  /** How many of them were there already. */
  readonly reused: number;
}

/**
 * Draws faces into WebDataset tars, as FFHQ comes: `<out>/00000.tar`, ..., each face a `webp` and a `json`, its
 * {@link FaceRecord}. The bytes depend on seed, count, side, quality and perShard alone.
 *
 * Run again after it was cut off, it keeps each shard that holds what it would write (every key and record is compared,
 * and the pixels of the first face), and makes the others. At most `inFlight` faces are in memory.
 *
 * @throws {RangeError} If an option is out of range.
 * @throws {DataError} If `out` holds tars that are none of the shards.
 * @throws `options.signal.reason` if aborted; finished shards stay.
 */
export async function writeFaces(options: WriteFacesOptions): Promise<WrittenFaces> {
  check(options);
  const { count, perShard, out, signal, onProgress } = options;
  await mkdir(out, { recursive: true });
  const shards = Array.from({ length: Math.ceil(count / perShard) }, (_, i) => shardName(i));
  const strange = (await readdir(out)).find(
    (name) => name.endsWith(".tar") && !name.startsWith(".") && !shards.includes(name),
  );
  if (strange !== undefined) {
    const [first, last] = [JSON.stringify(shards[0]), JSON.stringify(shards.at(-1))];
    throw new DataError(
      `Cannot write faces to ${JSON.stringify(out)}: it holds ${JSON.stringify(strange)}, expected ${first} to ${last} alone`,
    );
  }

  let reused = 0;
  for (const [shard, name] of shards.entries()) {
    signal?.throwIfAborted();
    const [path, from] = [join(out, name), shard * perShard];
    const to = Math.min(from + perShard, count);
    if (await holdsFaces(path, from, to, options)) reused++;
    else
      await writeShard(
        path,
        drawnFaces(from, to, options, (done) => onProgress?.(done, count)),
      );
    onProgress?.(to, count);
  }
  return { shards, reused };
}

/** Faces `from` to `to - 1` in order, several at a time. */
async function* drawnFaces(
  from: number,
  to: number,
  options: WriteFacesOptions,
  onDrawn: (done: number) => void,
): AsyncGenerator<WebDatasetSample, void, undefined> {
  const limit = options.inFlight ?? 2 * availableParallelism();
  const drawing: Promise<WebDatasetSample>[] = [];
  try {
    for (let next = from; next < to || drawing.length > 0;) {
      options.signal?.throwIfAborted();
      for (; next < to && drawing.length < limit; next++) {
        const face = drawnFace(next, options);
        face.catch(() => undefined); // it is awaited below, unless another one fails first
        drawing.push(face);
      }
      yield await drawing.shift()!;
      onDrawn(next - drawing.length);
    }
  } finally {
    await Promise.allSettled(drawing);
  }
}

async function drawnFace(index: number, { seed, sidePixels, quality }: WriteFacesOptions): Promise<WebDatasetSample> {
  const record: FaceRecord = faceRecord(seed, index);
  const webp = await renderFace(record.attributes, sidePixels, quality ?? FACE_QUALITY);
  const files = new Map([
    ["webp", webp],
    ["json", Buffer.from(JSON.stringify(record))],
  ]);
  return { key: keyOf(index), files };
}

function keyOf(index: number): string {
  return String(index).padStart(8, "0");
}

/** Whether a shard is there and holds these faces. */
async function holdsFaces(path: string, from: number, to: number, options: WriteFacesOptions): Promise<boolean> {
  if (!(await exists(path))) return false;
  const first = await drawnFace(from, options);
  let index = from;
  try {
    for await (const { key, files } of readWebDataset(path, options.signal ? { signal: options.signal } : {})) {
      const [webp, json] = [files.get("webp"), files.get("json")];
      if (index >= to || key !== keyOf(index) || files.size !== 2 || !webp || !json) return false;
      if (Buffer.from(json).toString() !== JSON.stringify(faceRecord(options.seed, index))) return false;
      if (index === from && Buffer.compare(webp, first.files.get("webp")!) !== 0) return false;
      index++;
    }
  } catch (error) {
    if (error instanceof FormatError) return false; // damaged: it is made again
    throw error;
  }
  return index === to;
}

function check(options: WriteFacesOptions): void {
  const { seed, count, sidePixels, perShard, quality = FACE_QUALITY, inFlight = 1 } = options;
  const ranges = [
    ["seed", seed, 0, Number.MAX_SAFE_INTEGER],
    ["count", count, 1, 99_999_999],
    ["sidePixels", sidePixels, 8, 4096],
    ["perShard", perShard, 1, 99_999_999],
    ["quality", quality, 1, 100],
    ["inFlight", inFlight, 1, 1024],
  ] as const;
  for (const [name, value, low, high] of ranges) {
    if (Number.isSafeInteger(value) && value >= low && value <= high) continue;
    throw new RangeError(`Cannot write faces: ${name} is ${value}, expected an integer in [${low}, ${high}]`);
  }
}
