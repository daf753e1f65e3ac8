/** Tags of a TIFF's first image, by their numbers. */
export const BITS = 258;
export const COMPRESSION = 259;
export const PHOTOMETRIC = 262;
export const PLANAR = 284;
export const EXTRA_SAMPLES = 338;
export const SAMPLE_FORMAT = 339;

/**
 * The first value of each tag with whole numbers of a TIFF's first image. Empty for what is no TIFF.
 *
 * @param file The file's bytes. Borrowed.
 */
export function tiffTags(file: Uint8Array): ReadonlyMap<number, number> {
  const tags = new Map<number, number>();
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const order = file.length < 16 ? "" : String.fromCharCode(file[0]!, file[1]!);
  if (order !== "II" && order !== "MM") return tags;
  const little = order === "II";
  const big = view.getUint16(2, little) === 43;
  const has = (at: number, bytes: number): boolean => at >= 0 && at + bytes <= file.length;
  const first = big ? Number(view.getBigUint64(8, little)) : view.getUint32(4, little);
  if (!has(first, 8)) return tags;
  const count = big ? Number(view.getBigUint64(first, little)) : view.getUint16(first, little);
  const [start, size] = big ? [first + 8, 20] : [first + 2, 12];
  for (let i = 0; i < count && has(start + i * size, size); i++) {
    const at = start + i * size;
    const type = view.getUint16(at + 2, little);
    const bytes = { 1: 1, 3: 2, 4: 4 }[type];
    if (bytes === undefined) continue;
    const values = big ? Number(view.getBigUint64(at + 4, little)) : view.getUint32(at + 4, little);
    const field = at + (big ? 12 : 8);
    const inline = values * bytes <= (big ? 8 : 4);
    const place = inline ? field : big ? Number(view.getBigUint64(field, little)) : view.getUint32(field, little);
    if (!has(place, bytes)) continue;
    const value =
      bytes === 1 ? view.getUint8(place) : bytes === 2 ? view.getUint16(place, little) : view.getUint32(place, little);
    tags.set(view.getUint16(at, little), value);
  }
  return tags;
}

/**
 * Whether a file is a TIFF with a sample besides its colours of which it says no meaning. sharp takes it for alpha;
 * PIL, and what wrote such files, do not.
 *
 * @param file The file's bytes. Borrowed.
 */
export const hasUnknownSample = (file: Uint8Array): boolean => tiffTags(file).get(EXTRA_SAMPLES) === 0;
