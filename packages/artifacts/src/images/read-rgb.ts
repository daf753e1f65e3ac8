import { readFile } from "node:fs/promises";
import type { Sharp, SharpOptions } from "sharp";
import { DataError } from "../data-error.js";
import { reasonOf } from "../file/byte-source.js";
import { fileProblem, kindProblem } from "./kinds.js";
import { pilPixels } from "./pil-pixels.js";
import { plainImage } from "./plain.js";
import type { RgbImage } from "./rgb-image.js";
import { hasUnknownSample } from "./tiff-tags.js";

/** Of an image that is read whole: 16,384 x 16,384. */
const MAX_PIXELS = 2 ** 28;

/**
 * Which pixels a file has. `pil`: those of PIL's `Image.open(file).convert("RGB")`, which looks at no colour profile,
 * drops transparency, turns TIFFs alone upright and cuts greys of 16 bits to 255. `srgb`: those of the stage `shards`,
 * upright, in sRGB, on white.
 */
export const PIXEL_RULES = ["pil", "srgb"] as const;
export type PixelRule = (typeof PIXEL_RULES)[number];

/**
 * Reads an image file: JPEG, PNG, WebP, GIF, TIFF, AVIF, BMP, PBM, PGM or PPM, by its content and not its name. Of an
 * animation, the first frame.
 *
 * @param file A path, or the file's bytes (borrowed).
 * @param name For messages.
 * @throws {DataError} If it is no such image, has more than 2²⁸ pixels, or samples that are not 8 or 16 bits without a
 *   sign.
 * {Error} If the file cannot be read.
 */
export async function readRgb(
  file: string | Uint8Array,
  name = typeof file === "string" ? JSON.stringify(file) : "an image",
  rule: PixelRule = "pil",
): Promise<RgbImage> {
  const bytes = typeof file === "string" ? await readWhole(file) : file;
  const problem = (reason: string, cause?: unknown): DataError =>
    new DataError(`Cannot read ${name}: ${reason}`, { cause });
  const unread = fileProblem(bytes);
  if (unread !== undefined) throw problem(unread);
  try {
    const plain = plainImage(bytes);
    if (plain) return plain.decode(MAX_PIXELS, rule === "pil" ? "cut" : "scale");
  } catch (cause) {
    throw problem((cause as Error).message, cause);
  }
  const { default: sharp } = await import("sharp");
  // What libvips says is only the cause: its threads write to one text, so it may be about another image.
  const metadata = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch((cause: unknown) => {
      throw problem("it is damaged, or an image of no known format", cause);
    });
  const { width, height, format } = metadata;
  const unusable = kindProblem(metadata);
  if (unusable !== undefined) throw problem(unusable);
  if (width * height > MAX_PIXELS) throw problem(`it is ${width} x ${height} pixels, more than ${MAX_PIXELS} together`);
  // A file that ends early or holds impossible values is broken; one that merely draws a warning is common.
  const open = (options: SharpOptions): Sharp =>
    sharp(bytes, { failOn: "error", limitInputPixels: MAX_PIXELS, ...options });
  try {
    return rule === "pil" ? await pilPixels(bytes, metadata, open) : await srgbPixels(bytes, open);
  } catch (cause) {
    if (cause instanceof RangeError) throw problem(cause.message, cause);
    throw problem(`its ${format} data is damaged or ends early`, cause);
  }
}

async function srgbPixels(file: Uint8Array, open: (options: SharpOptions) => Sharp): Promise<RgbImage> {
  const upright = open({}).autoOrient();
  const image = hasUnknownSample(file) ? upright.removeAlpha() : upright.flatten({ background: "white" });
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, pixels: new Uint8Array(data) };
}

async function readWhole(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new Error(`Cannot read ${JSON.stringify(path)}: ${reasonOf(cause)}`, { cause });
  }
}
