import { DataError, pixelsOfImage, readImageShards } from "@madformer/artifacts";
import { permutation, randomKey } from "@madformer/engine";
import { LabelCollector, outputsOf, totalOutputs, type LabelTable } from "./labels.js";

/** Images with their attributes, in memory. */
export interface FacesData extends LabelTable {
  /** Width and height of all images. */
  readonly sidePixels: number;
  /** (images, side, side, 3) uint8. */
  readonly pixels: Uint8Array;
  readonly images: number;
}

/** Sides that the network can see. */
const SIDES = { min: 32, max: 128, multiple: 16 } as const;

/**
 * Reads images and their attributes.
 *
 * @param paths Image shards, whose `json` is the attributes.
 * @param limitImages No more than this are read, which bounds the memory.
 * @throws {DataError} If there are none, they have no attributes, or they are not square and of one size that the
 *   network can see.
 */
export async function loadFaces(
  paths: readonly string[],
  limitImages: number,
  signal: AbortSignal,
): Promise<FacesData> {
  const collector = new LabelCollector();
  const parts: Uint8Array[] = [];
  let side = 0;
  for await (const image of readImageShards(paths, { signal })) {
    const name = `image ${JSON.stringify(image.key)}`;
    if (image.json === null)
      throw new DataError(`Cannot learn attributes: ${name} has none, expected JSON in the column "json"`);
    side ||= image.width;
    if (image.width !== side || image.height !== side)
      throw new DataError(
        `Cannot learn attributes: ${name} is ${image.width} x ${image.height} pixels, expected ${side} x ${side} as the first`,
      );
    if (side < SIDES.min || side > SIDES.max || side % SIDES.multiple !== 0)
      throw new DataError(
        `Cannot learn attributes: ${name} is ${side} x ${side} pixels, expected sides from ${SIDES.min} to ${SIDES.max} that ${SIDES.multiple} divides`,
      );
    collector.add(image.json, name);
    parts.push(await pixelsOfImage(image));
    if (parts.length === limitImages) break;
  }
  if (parts.length < 2) throw new DataError(`Cannot learn attributes: ${parts.length} images, expected 2 or more`);
  const table = collector.table();
  if (table.labels.length === 0)
    throw new DataError(
      `Cannot learn attributes: none of ${Object.keys(table.leftOut).length} varies among ${parts.length} images, expected at least one string, number or truth value that does`,
    );
  const imageBytes = side * side * 3;
  const pixels = new Uint8Array(parts.length * imageBytes);
  parts.forEach((part, i) => pixels.set(part, i * imageBytes));
  return { ...table, sidePixels: side, pixels, images: parts.length };
}

/** Numbers of images that are learned from, and of those that are kept to see how well. */
export interface Split {
  readonly train: Uint32Array;
  readonly heldOut: Uint32Array;
}

/** A random split; at least one image on either side. */
export function splitOf(images: number, heldOutShare: number, seed: number): Split {
  const order = permutation(randomKey(seed, "faces-net/held-out"), images);
  const heldOut = Math.min(Math.max(1, Math.round(images * heldOutShare)), images - 1);
  return { heldOut: order.slice(0, heldOut).sort(), train: order.slice(heldOut) };
}

/**
 * The images of a step: all of the training set in a random order, then again in another, cut into batches. A function
 * of seed and step alone.
 *
 * @param step From 0.
 */
export function batchOf(train: Uint32Array, batchImages: number, seed: number, step: number): Uint32Array {
  const batch = new Uint32Array(batchImages);
  for (let filled = 0; filled < batchImages;) {
    const position = step * batchImages + filled;
    const [epoch, offset] = [Math.floor(position / train.length), position % train.length];
    const size = Math.min(batchImages - filled, train.length - offset);
    const places = permutation(randomKey(seed, "faces-net/order", [epoch]), train.length, { offset, size });
    for (const place of places) batch[filled++] = train[place]!;
  }
  return batch;
}

/** Bytes as the network sees them: in [-1, 1]. */
export function toInput(bytes: Uint8Array, into: Float32Array): void {
  for (let i = 0; i < bytes.length; i++) into[i] = bytes[i]! / 127.5 - 1;
}

/** A batch as arrays, for a program. */
export interface BatchArrays {
  readonly images: Float32Array;
  readonly targets: Float32Array;
  readonly known: Float32Array;
}

/** Images by number, with what the network should say: see `FacesNetBatch`. */
export function arraysOf(data: FacesData, batch: Uint32Array): BatchArrays {
  const imageBytes = data.sidePixels ** 2 * 3;
  const outputs = totalOutputs(data.labels);
  const images = new Float32Array(batch.length * imageBytes);
  const targets = new Float32Array(batch.length * outputs);
  const known = new Float32Array(batch.length * outputs);
  batch.forEach((image, row) => {
    const bytes = data.pixels.subarray(image * imageBytes, (image + 1) * imageBytes);
    toInput(bytes, images.subarray(row * imageBytes));
    let at = row * outputs;
    data.labels.forEach((label, i) => {
      const size = outputsOf(label);
      const target = data.targets[image * data.labels.length + i]!;
      if (!Number.isNaN(target)) {
        known.fill(1, at, at + size);
        if (label.kind === "classes") targets[at + target] = 1;
        else targets[at] = target;
      }
      at += size;
    });
  });
  return { images, targets, known };
}
