import { sha256, type ImageFormat, type ShardImage } from "@madformer/artifacts";
import sharp from "sharp";
import type { WebDatasetSample } from "../webdataset/sample.js";
import { ImageProblem, squareImage, type SquareOptions } from "./square.js";

/** How shards hold images: as pixels, or compressed without loss. */
export const SHARD_FORMATS = ["rgb8", "png", "webp-lossless"] as const;
export type ShardFormat = (typeof SHARD_FORMATS)[number];

/** Extensions of image files, the preferred first. */
export const IMAGE_EXTENSIONS = ["webp", "png", "jpg", "jpeg", "avif", "tif", "tiff", "gif"] as const;

/** Classes are counted from 0; a network has one vector for each, so a number like 2³¹ is no class. */
const MAX_LABEL = 999_999;
const MAX_JSON_BYTES = 1 << 20;

/** A sample that became no image. */
export interface Skipped {
  readonly key: string;
  readonly reason: string;
}

/**
 * An image for a shard out of a WebDataset sample: its image file decoded to a square, its `cls`, its `json`.
 *
 * @returns The image, or why there is none.
 */
export async function shardImage(
  sample: WebDatasetSample,
  format: ShardFormat,
  options: SquareOptions,
): Promise<ShardImage | Skipped> {
  try {
    const file = IMAGE_EXTENSIONS.map((extension) => sample.files.get(extension)).find((bytes) => bytes !== undefined);
    if (!file) throw new ImageProblem(`it has no image, which is a file of ${IMAGE_EXTENSIONS.join(", ")}`);
    const [label, json] = [labelOf(sample.files.get("cls")), jsonOf(sample.files.get("json"))];
    const pixels = await squareImage(file, options);
    return { key: sample.key, label, json, source: sha256(file), ...(await encode(pixels, options.side, format)) };
  } catch (error) {
    if (error instanceof ImageProblem) return { key: sample.key, reason: error.message };
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

function jsonOf(json: Uint8Array | undefined): string | null {
  if (!json) return null;
  if (json.length > MAX_JSON_BYTES)
    throw new ImageProblem(`its JSON takes ${json.length} bytes, more than ${MAX_JSON_BYTES}`);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(json);
    JSON.parse(text);
    return text;
  } catch (cause) {
    throw new ImageProblem(`its JSON does not parse`, { cause });
  }
}
