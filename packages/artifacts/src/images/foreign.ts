/**
 * How files begin that are often found among images, or in the place of others, and are not read: at which byte, with
 * one of which texts in Latin-1.
 */
const BEGINNINGS: readonly (readonly [kind: string, at: number, ...texts: string[]])[] = [
  ["JPEG 2000", 0, "\0\0\0\x0cjP  ", "\xff\x4f\xff\x51"],
  ["JPEG XL", 0, "\xff\x0a", "\0\0\0\x0cJXL "],
  ["HEIC", 4, "ftypheic", "ftypheix", "ftypheim", "ftypheis", "ftyphevc", "ftyphevx", "ftyphevm", "ftyphevs"],
  ["Photoshop's format", 0, "8BPS"],
  ["DDS", 0, "DDS "],
  ["OpenEXR", 0, "\x76\x2f\x31\x01"],
  ["Radiance's HDR", 0, "#?RADIANCE", "#?RGBE"],
  ["QOI", 0, "qoif"],
  ["PFM, of floats", 0, "Pf\n", "PF\n"],
  ["PAM", 0, "P7\n"],
  ["PCX", 0, "\x0a\x05\x01\x01", "\x0a\x05\x01\x08", "\x0a\x03\x01\x08"],
  ["FITS", 0, "SIMPLE  ="],
  ["PDF", 0, "%PDF"],
  ["compressed by gzip", 0, "\x1f\x8b"],
  ["a ZIP archive", 0, "PK\x03\x04"],
  ["a pointer of Git LFS, for which git lfs pull brings the file", 0, "version https://git-lfs"],
];
/** Icons and cursors, with up to 255 pictures. */
const ICONS = ["\0\0\x01\0", "\0\0\x02\0"];

/**
 * What a file is that is no image which is read, or nothing if that is not known.
 *
 * @param file The file's bytes. Borrowed.
 */
export function foreignKind(file: Uint8Array): string | undefined {
  const text = Buffer.from(file.subarray(0, 64)).toString("latin1");
  if (/^\s*<(!doctype html|html)/i.test(text)) return "an HTML page";
  if (ICONS.includes(text.slice(0, 4)) && file[4] !== 0 && file[5] === 0) return "an icon";
  return BEGINNINGS.find(([, at, ...texts]) => texts.some((beginning) => text.startsWith(beginning, at)))?.[0];
}
