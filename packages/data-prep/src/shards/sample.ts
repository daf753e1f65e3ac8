import { sha256, type ImageFormat, type ShardImage } from "@madformer/artifacts";
import sharp from "sharp";
import type { WebDatasetSample } from "../webdataset/sample.js";
import { besideImage, IMAGE_EXTENSIONS, imagesOf } from "./image-kinds.js";
import { ImageProblem, squareImage, type SquareOptions } from "./square.js";

/** How shards hold images: as pixels, or compressed without loss. */
export const SHARD_FORMATS = ["rgb8", "png", "webp-lossless"] as const;
export type ShardFormat = (typeof SHARD_FORMATS)[number];

/** Classes are counted from 0; a network has one vector for each, so a number like 2³¹ is no class. */
const MAX_LABEL = 999_999;
/** Larger ones are left out. */
export const MAX_JSON_BYTES = 1 << 20;

/** A sample that became no image. */
export interface Skipped {
  readonly key: string;
  readonly reason: string;
}

/** An image for a shard, and why it lost its JSON, if it did. */
export interface Made {
  readonly image: ShardImage;
  readonly lostJson?: string;
}

/**
 * An image for a shard out of a WebDataset sample: its image file decoded to a square, its `cls`, its `json`. JSON that
 * cannot be used is left out; it is not the image.
 *
 * @param choice Extensions of the image file, the first that is there; none: the first of `imagesOf`.
 * @returns The image, or why there is none.
 */
export async function shardImage(
  sample: WebDatasetSample,
  format: ShardFormat,
  options: SquareOptions,
  choice: readonly string[] = [],
): Promise<Made | Skipped> {
  const { key, files } = sample;
  try {
    const [extension] = choice.length > 0 ? choice.filter((name) => files.has(name)) : imagesOf(files);
    const file = extension === undefined ? undefined : files.get(extension);
    if (extension === undefined || file === undefined) {
      const expected = choice.length > 0 ? choice : IMAGE_EXTENSIONS;
      throw new ImageProblem(`it has no image, which is a file of ${expected.join(", ")}`);
    }
    const label = labelOf(besideImage(files, extension, "cls"));
    const { json, lostJson } = jsonOf(besideImage(files, extension, "json"));
    const pixels = await squareImage(file, options);
    const image = { key, label, json, source: sha256(file), ...(await encode(pixels, options.side, format)) };
    return { image, ...(lostJson === undefined ? {} : { lostJson }) };
  } catch (error) {
    if (error instanceof ImageProblem) return { key, reason: error.message };
    throw error;
  }
}

type Encoded = Pick<ShardImage, "width" | "height" | "format" | "image">;

async function encode(pixels: Uint8Array, side: number, format: ShardFormat): Promise<Encoded> {
  const encoded = (name: ImageFormat, image: Uint8Array): Encoded => ({
    width: side,
    height: side,
    format: name,
    image: new Uint8Array(image),
  });
  if (format === "rgb8") return encoded("rgb8", pixels);
  const image = sharp(pixels, { raw: { width: side, height: side, channels: 3 } });
  if (format === "png")
    return encoded("png", await image.png({ compressionLevel: 9, adaptiveFiltering: true }).toBuffer());
  return encoded("webp", await image.webp({ lossless: true, effort: 4 }).toBuffer());
}

function labelOf(cls: Uint8Array | undefined): number | null {
  if (!cls) return null;
  const text = Buffer.from(cls.subarray(0, 40)).toString("latin1").trim();
  const label = /^\d{1,7}$/.test(text) ? Number(text) : NaN;
  if (!(label <= MAX_LABEL))
    throw new ImageProblem(`its class is ${JSON.stringify(text)}, expected a number from 0 to ${MAX_LABEL}`);
  return label;
}

function jsonOf(json: Uint8Array | undefined): { readonly json: string | null; readonly lostJson?: string } {
  if (!json) return { json: null };
  const lost = (lostJson: string) => ({ json: null, lostJson });
  if (json.length === 0) return lost("it is empty");
  if (json.length > MAX_JSON_BYTES) return lost(`it takes ${json.length} bytes, more than ${MAX_JSON_BYTES}`);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(json);
  } catch {
    return lost("it is no UTF-8");
  }
  try {
    JSON.parse(text);
    return { json: text };
  } catch {
    return lost(/\b(NaN|Infinity)\b/.test(text) ? "it does not parse, and holds NaN or Infinity" : "it does not parse");
  }
}
