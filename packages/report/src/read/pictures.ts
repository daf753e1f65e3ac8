import { type Artifact, DataError } from "@madformer/artifacts";
import sharp, { type Sharp } from "sharp";
import { describeFile, readBytes } from "./text.js";

/** An image inside the page. */
export interface Picture {
  /** A data URI. */
  readonly src: string;
  /** Of the image in the page, in pixels. */
  readonly width: number;
  readonly height: number;
  /** How many times smaller it is than the artifact's, 1 if its bytes are the artifact's own. */
  readonly reduced: number;
}

const MAX_BYTES = 256 * 2 ** 20;
const MAX_PIXELS = 16384 * 16384;

/**
 * A PNG of an artifact: its own bytes, or reduced by a whole factor if a side is longer than `maxSide`.
 *
 * @throws {DataError} If it is no PNG, damaged, or larger than 16384 x 16384 pixels.
 */
export async function readPicture(artifact: Artifact, file: string, maxSide: number): Promise<Picture> {
  const bytes = await readBytes(artifact, file, MAX_BYTES);
  try {
    const { format, width, height } = await sharp(bytes, { limitInputPixels: MAX_PIXELS }).metadata();
    if (format !== "png") throw new DataError(`found ${format}, expected png`);
    const factor = Math.ceil(Math.max(width, height) / maxSide);
    if (factor > 1) return await reduce(sharp(bytes, { limitInputPixels: MAX_PIXELS }), width, height, factor);
    await sharp(bytes, { failOn: "error" }).stats(); // decodes it all
    return { src: dataUri(bytes), width, height, reduced: 1 };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DataError(`Cannot show ${describeFile(artifact, file)}: ${reason}`, { cause });
  }
}

/**
 * Pixels as a PNG in the page, reduced by a whole factor if the longer side exceeds `maxSide`. (height, width, 3)
 * uint8.
 */
export async function pictureOfPixels(
  pixels: Uint8Array,
  width: number,
  height: number,
  maxSide: number,
): Promise<Picture> {
  const image = sharp(pixels, { raw: { width, height, channels: 3 } });
  return reduce(image, width, height, Math.ceil(Math.max(width, height) / maxSide));
}

async function reduce(image: Sharp, width: number, height: number, factor: number): Promise<Picture> {
  const [w, h] = [Math.max(1, Math.round(width / factor)), Math.max(1, Math.round(height / factor))];
  if (factor > 1) image = image.resize(w, h, { fit: "fill" });
  return { src: dataUri(await image.png({ compressionLevel: 9 }).toBuffer()), width: w, height: h, reduced: factor };
}

function dataUri(png: Buffer): string {
  return `data:image/png;base64,${png.toString("base64")}`;
}
