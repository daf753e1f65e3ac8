import { fileProblem, hasUnknownSample, kindProblem, plainImage, resizePil } from "@madformer/artifacts";
import sharp, { type Metadata } from "sharp";
import type { Memory } from "./memory.js";

/**
 * How an image changes its size: as PIL does on bytes, with antialiasing; as the released code does for ImageNet, with
 * PIL's Lanczos to 256 pixels and its bilinear from there; or with a kernel of sharp's.
 */
export const RESIZES = [
  "pil-bilinear",
  "pil-lanczos",
  "imagenet",
  "nearest",
  "linear",
  "cubic",
  "mitchell",
  "lanczos2",
  "lanczos3",
] as const;
export type Resize = (typeof RESIZES)[number];

export interface SquareOptions {
  /** Pixels each way. */
  readonly side: number;
  /** The largest square in the middle, or at the top left; or all of the image, stretched. */
  readonly crop: "center" | "top-left" | "none";
  readonly resize: Resize;
  /** What shows where an image is transparent. */
  readonly background: "black" | "white";
  /** Images of more pixels are refused. */
  readonly maxPixels: number;
  /** What decoded images may take together. */
  readonly memory: Memory;
}

/** An image file that is no image, or none that can be used; the message is the reason. */
export class ImageProblem extends Error {
  override readonly name = "ImageProblem";
}

/** Of one decoded pixel: red, green, blue and alpha in up to 16 bits. */
const PIXEL_BYTES = 8;

/**
 * Decodes an image file to a square: upright (by EXIF), in sRGB, without transparency, cropped, then resized. Of an
 * animation the first frame is taken.
 *
 * With `pil-bilinear` the bytes are those of torchvision's `Resize` on such a PIL image; a side that has its size
 * already is left alone (spec 9).
 *
 * @param file The file's bytes. Borrowed.
 * @returns (side, side, 3) uint8, RGB. Yours.
 * @throws {ImageProblem} If it does not decode completely, or is too large.
 */
export async function squareImage(file: Uint8Array, options: SquareOptions): Promise<Uint8Array> {
  const unread = fileProblem(file);
  if (unread !== undefined) throw new ImageProblem(unread);
  const plain = said(() => plainImage(file));
  const { width, height, format, problem } = plain ? { ...plain, problem: undefined } : await metadataOf(file);
  if (problem !== undefined) throw new ImageProblem(problem);
  if (width * height > options.maxPixels)
    throw new ImageProblem(`it is ${width} x ${height} pixels, more than ${options.maxPixels} together`);
  return options.memory.with(width * height * PIXEL_BYTES, async () => {
    if (!plain)
      return attempt(`its ${format} data is damaged or ends early`, async () =>
        square(await decode(file, options), options),
      );
    const { pixels } = said(() => plain.decode(options.maxPixels, "scale"));
    return square({ data: pixels, width, height, channels: 3 }, options);
  });
}

/** What sharp says of a file, and why it is not decoded, if it is not. */
async function metadataOf(file: Uint8Array): Promise<Metadata & { readonly problem: string | undefined }> {
  const metadata = await attempt("it is damaged, or of no known format", () =>
    sharp(file, { limitInputPixels: false }).metadata(),
  );
  return { ...metadata, problem: kindProblem(metadata) };
}

/** Does something that throws a reason. */
function said<T>(step: () => T): T {
  try {
    return step();
  } catch (cause) {
    throw new ImageProblem(`it does not decode: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Does something with sharp; if it fails, `reason` is why. What libvips says is only the cause: all its threads write
 * to one text, so with images decoded at the same time it may be another image's, and would differ from run to run.
 */
async function attempt<T>(reason: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    throw new ImageProblem(`it does not decode: ${reason}`, { cause });
  }
}

async function decode(file: Uint8Array, options: SquareOptions): Promise<RgbBytes> {
  // sRGB in bytes, and the first frame, are what sharp gives where nothing else is asked for.
  // A file that ends early or holds impossible values is broken; one that merely draws a warning is common.
  const upright = sharp(file, { failOn: "error", limitInputPixels: options.maxPixels }).autoOrient();
  const opaque = hasUnknownSample(file) ? upright.removeAlpha() : upright.flatten({ background: options.background });
  const { data, info } = await opaque.raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}

async function square(whole: RgbBytes, { side, crop, resize }: SquareOptions): Promise<Uint8Array> {
  const image = crop === "none" ? whole : largestSquare(whole, crop);
  const size = { width: side, height: side };
  if (resize === "pil-bilinear") return resizePil(image, size).data;
  if (resize === "pil-lanczos") return resizePil(image, size, "lanczos").data;
  // Source: spec section 28.
  if (resize === "imagenet") return resizePil(resizePil(image, { width: 256, height: 256 }, "lanczos"), size).data;
  const raw = { width: image.width, height: image.height, channels: 3 } as const;
  const pixels = await sharp(image.data, { raw }).resize(side, side, { fit: "fill", kernel: resize }).raw().toBuffer();
  return new Uint8Array(pixels);
}

interface RgbBytes {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

/** The largest square at a place; where it cannot be in the middle, half a pixel to the left or up. */
function largestSquare(image: RgbBytes, place: "center" | "top-left"): RgbBytes {
  const { data, width, height, channels } = image;
  if (width === height) return image;
  const side = Math.min(width, height);
  const [left, top] = place === "center" ? [Math.floor((width - side) / 2), Math.floor((height - side) / 2)] : [0, 0];
  const square = new Uint8Array(side * side * channels);
  for (let y = 0; y < side; y++) {
    const start = ((top + y) * width + left) * channels;
    square.set(data.subarray(start, start + side * channels), y * side * channels);
  }
  return { data: square, width: side, height: side, channels };
}
