import { writeAtomically } from "../file/atomic-file.js";
import type { RgbImage } from "./rgb-image.js";

/**
 * Pixels as a PNG file's bytes. Equal pixels give equal bytes.
 *
 * @param pixels (height, width, 3) uint8, RGB. Borrowed.
 * @throws {RangeError} If there are more or fewer than that.
 */
export async function encodePng(pixels: Uint8Array, width: number, height: number): Promise<Uint8Array> {
  if (!(Number.isSafeInteger(width) && Number.isSafeInteger(height) && pixels.length === width * height * 3))
    throw new RangeError(`Cannot write an image: ${pixels.length} bytes are not ${width} x ${height} pixels of 3`);
  const { default: sharp } = await import("sharp");
  const png = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 6, adaptiveFiltering: true, palette: false })
    .toBuffer();
  return new Uint8Array(png);
}

/**
 * Writes a PNG file, whole or not at all.
 *
 * @param pixels (height, width, 3) uint8, RGB. Borrowed.
 * @throws {RangeError} If there are more or fewer than that. {Error} If the file cannot be written.
 */
export async function writePng(path: string, pixels: Uint8Array, width: number, height: number): Promise<void> {
  const png = await encodePng(pixels, width, height);
  await writeAtomically(path, (file) => file.append(png));
}

/**
 * Images side by side, row by row from the top left, on white. Cells have the size of the largest image.
 *
 * @param images At least one. Borrowed.
 * @param columns Images in a row.
 * @param gap Pixels between them, and around them all.
 * @throws {RangeError} If there is no image, or `columns` or `gap` is no count.
 */
export function imageGrid(images: readonly RgbImage[], columns: number, gap = 2): RgbImage {
  if (!(images.length > 0 && Number.isInteger(columns) && columns > 0 && Number.isInteger(gap) && gap >= 0))
    throw new RangeError(`Cannot lay out ${images.length} images in ${columns} columns with gaps of ${gap} pixels`);
  const cellWidth = Math.max(...images.map((image) => image.width));
  const cellHeight = Math.max(...images.map((image) => image.height));
  const across = Math.min(columns, images.length);
  const width = gap + across * (cellWidth + gap);
  const height = gap + Math.ceil(images.length / across) * (cellHeight + gap);
  const pixels = new Uint8Array(width * height * 3).fill(255);
  images.forEach((image, i) => {
    const left = gap + (i % across) * (cellWidth + gap);
    const top = gap + Math.floor(i / across) * (cellHeight + gap);
    for (let y = 0; y < image.height; y++) {
      const row = image.pixels.subarray(y * image.width * 3, (y + 1) * image.width * 3);
      pixels.set(row, ((top + y) * width + left) * 3);
    }
  });
  return { width, height, pixels };
}
