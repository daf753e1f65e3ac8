import sharp, { type Sharp } from "sharp";
import type { FaceAttributes } from "./attributes.js";
import { drawFace } from "./draw.js";

/** Quality of the WebP files unless told, as sharp counts it: 1 to 100. */
export const FACE_QUALITY = 90;

/**
 * A face as the bytes of a WebP file.
 *
 * @param attributes See `FACE_ATTRIBUTES`. Borrowed.
 * @param sidePixels Width and height in pixels.
 * @param quality 1 (smallest) to 100 (best).
 */
export async function renderFace(
  attributes: FaceAttributes,
  sidePixels: number,
  quality: number = FACE_QUALITY,
): Promise<Uint8Array> {
  return await picture(attributes, sidePixels).webp({ quality }).toBuffer();
}

/**
 * A face as pixels.
 *
 * @param attributes See `FACE_ATTRIBUTES`. Borrowed.
 * @param sidePixels Width and height in pixels.
 * @returns (sidePixels, sidePixels, 3) uint8, red, green, blue in [0, 255].
 */
export async function renderFacePixels(attributes: FaceAttributes, sidePixels: number): Promise<Uint8Array> {
  return await picture(attributes, sidePixels).raw().toBuffer();
}

function picture(attributes: FaceAttributes, sidePixels: number): Sharp {
  return sharp(Buffer.from(drawFace(attributes, sidePixels))).removeAlpha();
}
