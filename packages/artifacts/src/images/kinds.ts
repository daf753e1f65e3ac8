import { foreignKind } from "./foreign.js";
import { BITS, COMPRESSION, PHOTOMETRIC, SAMPLE_FORMAT, tiffTags } from "./tiff-tags.js";

/** What is decoded. Not SVG, which sharp would draw: it is a program more than an image. */
const FORMATS: readonly string[] = ["jpeg", "png", "webp", "gif", "tiff", "heif"];
/** All that is decoded, for messages. */
const KINDS = "JPEG, PNG, WebP, GIF, TIFF, AVIF, BMP, PBM, PGM or PPM";
/** Types of samples whose black and white are known. What is white in a float or a signed TIFF, no file says. */
const DEPTHS: readonly string[] = ["uchar", "ushort"];

const [RAW, CCITT_RLE, CCITT_3, CCITT_4, LZW, OLD_JPEG, JPEG, DEFLATE] = [1, 2, 3, 4, 5, 6, 7, 8];
const [PACKBITS, OLD_DEFLATE] = [32773, 32946];
const READ_COMPRESSIONS: readonly number[] = [
  ...[RAW, CCITT_RLE, CCITT_3, CCITT_4, LZW, OLD_JPEG, JPEG, DEFLATE],
  ...[PACKBITS, OLD_DEFLATE],
];
const COMPRESSIONS: Readonly<Record<number, string>> = {
  34661: "JBIG",
  34712: "JPEG 2000",
  33003: "JPEG 2000",
  33005: "JPEG 2000",
  34887: "LERC",
  34925: "LZMA",
  50000: "Zstandard",
  50001: "WebP",
  50002: "JPEG XL",
};
const [YCBCR, READ_PHOTOMETRICS] = [6, [0, 1, 2, 3, 5, 6]] as const;
const PHOTOMETRICS: Readonly<Record<number, string>> = {
  4: "a mask",
  8: "CIE L*a*b*",
  9: "ICC L*a*b*",
  32803: "a colour filter array",
  32844: "LogL",
  32845: "LogLuv",
};
const READ_BITS: readonly number[] = [1, 2, 4, 8, 16];
const SAMPLE_FORMATS: Readonly<Record<number, string>> = {
  3: "float",
  4: "void",
  5: "complex int",
  6: "complex float",
};

/**
 * Why a file is not decoded, as far as its first bytes and its tags say it, or nothing.
 *
 * @param file The file's bytes. Borrowed.
 */
export function fileProblem(file: Uint8Array): string | undefined {
  if (file.length === 0) return "it is empty";
  const foreign = foreignKind(file);
  return foreign === undefined ? tiffProblem(file) : `it is ${foreign}, expected one of ${KINDS}`;
}

/**
 * Why a TIFF is not decoded, or nothing: sharp would give pixels to samples that it does not understand, or not say
 * what it lacks. Nothing as well for what is no TIFF.
 *
 * @param file The file's bytes. Borrowed.
 */
function tiffProblem(file: Uint8Array): string | undefined {
  const tags = tiffTags(file);
  const [compression, photometric] = [tags.get(COMPRESSION) ?? RAW, tags.get(PHOTOMETRIC) ?? 1];
  if (!READ_COMPRESSIONS.includes(compression))
    return `it is a TIFF compressed by ${COMPRESSIONS[compression] ?? `method ${compression}`}, expected LZW, Deflate, JPEG, PackBits, CCITT or none`;
  const samples = SAMPLE_FORMATS[tags.get(SAMPLE_FORMAT) ?? 1];
  if (samples !== undefined) return depthProblem(samples);
  const bits = tags.get(BITS) ?? 1;
  if (bits < 32 && !READ_BITS.includes(bits)) return depthProblem(`uint of ${bits} bits`);
  if (!READ_PHOTOMETRICS.some((known) => known === photometric))
    return `it is a TIFF of ${PHOTOMETRICS[photometric] ?? `photometric interpretation ${photometric}`}, expected grey, RGB, CMYK or a palette`;
  if (photometric === YCBCR && compression !== OLD_JPEG && compression !== JPEG)
    return "it is a TIFF of YCbCr samples that are not JPEG's, expected grey, RGB, CMYK or a palette";
  return undefined;
}

/**
 * Why an image file that sharp knows is not decoded, or nothing: sharp would draw programs.
 *
 * @param found What sharp says of it.
 */
export function kindProblem({ format, depth, compression }: Found): string | undefined {
  if (compression === "hevc") return `it is HEIC, expected one of ${KINDS}`;
  if (!FORMATS.includes(format)) return `it is of the format ${format}, expected one of ${FORMATS.join(", ")}`;
  return DEPTHS.includes(depth) ? undefined : depthProblem(depth);
}

interface Found {
  readonly format: string;
  readonly depth: string;
  readonly compression?: string | undefined;
}

const depthProblem = (type: string): string =>
  `its samples are of the type ${type}, expected 8 or 16 bits without a sign`;
