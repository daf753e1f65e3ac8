import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { StageContext } from "@madformer/stage";
import { shardName, type WebDatasetSample } from "../webdataset/sample.js";
import { writeShard } from "../webdataset/write.js";
import type { FaceClasses } from "./classes.js";
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
  /** Quality of the WebP files, 1 to 100. Default: {@link FACE_QUALITY}. */
  readonly quality?: number;
  /** What makes a face's class; without it faces have none. */
  readonly classes?: FaceClasses | undefined;
  /** Faces rendered at the same time, which changes no bytes. Default: twice the cores. */
  readonly inFlight?: number;
  /** Called as faces are written, those of finished shards included. */
  readonly onProgress?: (done: number, count: number) => void;
}

/**
 * Draws faces into WebDataset tars, as FFHQ comes: `<out>/00000.tar`, ..., each face a `webp` and a `json`, its {@link
 * FaceRecord}, and its class as `cls` if there are classes. The bytes depend on seed, count, side, quality, classes and
 * perShard alone. Shards that an earlier attempt at the
 * same faces finished stay. At most `inFlight` faces are in memory.
 *
 * @returns Names of the shards, in order.
 * @throws {RangeError} If an option is out of range.
 * @throws `signal.reason` if aborted; finished shards stay.
 */
export async function writeFaces(
  options: WriteFacesOptions,
  { out, files, signal }: Pick<StageContext, "out" | "files" | "signal">,
): Promise<string[]> {
  check(options);
  const { count, perShard, onProgress } = options;
  const shards = Array.from({ length: Math.ceil(count / perShard) }, (_, i) => shardName(i));
  for (const [shard, name] of shards.entries()) {
    signal.throwIfAborted();
    const from = shard * perShard;
    const to = Math.min(from + perShard, count);
    if (!files.has(name)) {
      const temporary = join(out, "tmp", name);
      await writeShard(
        temporary,
        drawnFaces(from, to, options, signal, (done) => onProgress?.(done, count)),
      );
      await files.add(temporary, name);
    }
    onProgress?.(to, count);
  }
  return shards;
}

/** Faces `from` to `to - 1` in order, several at a time. */
async function* drawnFaces(
  from: number,
  to: number,
  options: WriteFacesOptions,
  signal: AbortSignal,
  onDrawn: (done: number) => void,
): AsyncGenerator<WebDatasetSample, void, undefined> {
  const limit = options.inFlight ?? 2 * availableParallelism();
  const drawing: Promise<WebDatasetSample>[] = [];
  try {
    for (let next = from; next < to || drawing.length > 0;) {
      signal.throwIfAborted();
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

async function drawnFace(
  index: number,
  { seed, sidePixels, quality, classes }: WriteFacesOptions,
): Promise<WebDatasetSample> {
  const record: FaceRecord = faceRecord(seed, index);
  const webp = await renderFace(record.attributes, sidePixels, quality ?? FACE_QUALITY);
  const files = new Map([
    ["webp", webp],
    ...(classes ? [["cls", Buffer.from(String(classes.labelOf(record.attributes)))] as const] : []),
    ["json", Buffer.from(JSON.stringify(record))],
  ]);
  return { key: String(index).padStart(8, "0"), files };
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
