/** Extensions of image files, the preferred first. */
export const IMAGE_EXTENSIONS = [
  ...(["webp", "png", "jpg", "jpeg", "avif", "tif", "tiff", "gif", "jfif", "jpe"] as const),
  ...(["bmp", "dib", "ppm", "pgm", "pbm", "pnm"] as const),
] as const;

/** Extensions under which a tar may hold images of other kinds: taken if they decode, else skipped and listed. */
const OTHER_EXTENSIONS: readonly string[] =
  "pam img image heic heif jp2 j2k jpx jpf jxl tga hdr exr dds ico pcx apng svg psd".split(" ");

const ALL_EXTENSIONS: readonly string[] = [...IMAGE_EXTENSIONS, ...OTHER_EXTENSIONS];

/** What is kept of tars to find the images in them. */
export const IMAGE_FILES = {
  extensions: IMAGE_EXTENSIONS,
  sniff: (start: Uint8Array, extension: string): boolean =>
    OTHER_EXTENSIONS.includes(kindOf(extension)) || looksLikeImage(start),
} as const;

/** Whether a file begins as images do that are decoded. */
export function looksLikeImage(start: Uint8Array): boolean {
  const text = Buffer.from(start.subarray(0, 16)).toString("latin1");
  return (
    /^(\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|BM.{4}\0{4}|P[1-6]\s+(#|\d+\s+\d))/s.test(text) ||
    (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") ||
    /^ftyp(avif|avis|heic|mif1)$/.test(text.slice(4, 12))
  );
}

/** `v2.png` is of the kind `png`. */
const kindOf = (extension: string): string => extension.slice(extension.lastIndexOf(".") + 1);

/** The part of an extension before its kind: `v2.` */
const prefixOf = (extension: string): string => extension.slice(0, extension.lastIndexOf(".") + 1);

/**
 * The extensions of a sample's image files, the preferred first: a plain `png` before `v2.png`, and both before files
 * that only look like images.
 *
 * @param files What was kept of a sample with `IMAGE_FILES`.
 */
export function imagesOf(files: ReadonlyMap<string, Uint8Array>): string[] {
  const order = (extension: string): number => ALL_EXTENSIONS.indexOf(kindOf(extension));
  const named = [...files.keys()].filter((extension) => order(extension) >= 0);
  if (named.length > 0)
    return named.sort(
      (a, b) => a.split(".").length - b.split(".").length || order(a) - order(b) || (a < b ? -1 : a > b ? 1 : 0),
    );
  return [...files].filter(([, bytes]) => looksLikeImage(bytes)).map(([extension]) => extension);
}

/** What stands beside an image: of `v2.png`, `v2.cls`, or else `cls`. */
export function besideImage(
  files: ReadonlyMap<string, Uint8Array>,
  image: string,
  kind: "cls" | "json",
): Uint8Array | undefined {
  return files.get(`${prefixOf(image)}${kind}`) ?? files.get(kind);
}
