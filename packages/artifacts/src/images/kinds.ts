import { COMPRESSION, PHOTOMETRIC, tiffTags } from "./tiff-tags.js";

/** What is decoded. Not SVG, which sharp would draw: it is a program more than an image. */
const FORMATS: readonly string[] = ["jpeg", "png", "webp", "gif", "tiff", "heif"];
/** Types of samples whose black and white are known. What is white in a float or a signed TIFF, no file says. */
const DEPTHS: readonly string[] = ["uchar", "ushort"];
const [YCBCR, OLD_JPEG, JPEG] = [6, 6, 7];

/**
 * Why an image file that sharp knows is not decoded, or nothing: sharp would draw programs, and give pixels to samples that it
 * does not understand.
 *
 * @param file The file's bytes. Borrowed.
 * @param found What sharp says of it.
 */
export function kindProblem(
  file: Uint8Array,
  { format, depth }: { readonly format: string; readonly depth: string },
): string | undefined {
  if (!FORMATS.includes(format)) return `it is of the format ${format}, expected one of ${FORMATS.join(", ")}`;
  if (!DEPTHS.includes(depth)) return `its samples are of the type ${depth}, expected 8 or 16 bits without a sign`;
  if (format !== "tiff") return undefined;
  const tags = tiffTags(file);
  const compression = tags.get(COMPRESSION) ?? 1;
  if (tags.get(PHOTOMETRIC) === YCBCR && compression !== OLD_JPEG && compression !== JPEG)
    return "it is a TIFF of YCbCr samples that are not JPEG's, expected grey, RGB, CMYK or a palette";
  return undefined;
}
