import type { RgbImage } from "./rgb-image.js";

/** Bytes of the headers that are known: OS/2's first, Windows' 3 and its successors. */
const HEADERS: readonly number[] = [12, 40, 52, 56, 64, 108, 124];
const [RAW, RLE8, RLE4, BITFIELDS] = [0, 1, 2, 3];

/** Masks of red, green, blue in 32 bits, and the bytes in which they lie. */
const LAYOUTS: Readonly<Record<string, readonly [red: number, green: number, blue: number]>> = {
  "ff0000,ff00,ff": [2, 1, 0],
  "ff000000,ff0000,ff00": [3, 2, 1],
  "ff000000,ff00,ff": [3, 1, 0],
  "ff,ff00,ff0000": [0, 1, 2],
  "0,0,0": [2, 1, 0],
};

/** What the header says. */
interface Bitmap {
  readonly width: number;
  readonly height: number;
  readonly topDown: boolean;
  readonly bits: number;
  readonly compression: number;
  /** Where pixels begin. */
  readonly offset: number;
  /** (256, 3) */
  readonly palette: Uint8Array;
}

export const isBmp = (file: Uint8Array): boolean => file[0] === 0x42 && file[1] === 0x4d;

/** @throws {RangeError} If the header cannot be read; the message is the reason alone. */
export function sizeOfBmp(file: Uint8Array): { readonly width: number; readonly height: number } {
  const { width, height } = headerOf(file, viewOf(file));
  return { width, height };
}

const viewOf = (file: Uint8Array): DataView => new DataView(file.buffer, file.byteOffset, file.byteLength);

/**
 * Decodes a Windows bitmap: 1, 4, 8 (by its palette, also run-length encoded), 16, 24 or 32 bits for a pixel; what
 * would be alpha is left out. Bytes are those of PIL's `Image.open(file).convert("RGB")`, which some things follow that
 * no one else does: 5 bits become 8 by division, runs are counted over the ends of rows.
 *
 * Source: Pillow's `BmpImagePlugin.py` and `Unpack.c`.
 *
 * @param file The file's bytes. Borrowed.
 * @param maxPixels Images of more pixels are refused.
 * @throws {RangeError} If it does not decode completely; the message is the reason alone.
 */
export function decodeBmp(file: Uint8Array, maxPixels: number): RgbImage {
  const view = viewOf(file);
  const bitmap = headerOf(file, view);
  const { width, height, topDown, bits, compression, offset, palette } = bitmap;
  if (width === 0 || height === 0 || width * height > maxPixels)
    throw new RangeError(`it is ${width} x ${height} pixels, expected 1 to ${maxPixels} together`);
  const isRuns = compression === RLE8 || compression === RLE4;
  const rowBytes = isRuns ? width : Math.ceil((width * bits) / 8);
  const stride = isRuns ? width : Math.floor((width * bits + 31) / 32) * 4;
  const rows = isRuns ? runsOf(file, bitmap) : file.subarray(offset);
  if (rows.length < (height - 1) * stride + rowBytes) throw new RangeError("its bmp data ends early");

  const [red, green, blue] = bits === 32 && compression === BITFIELDS ? layoutOf(view) : [2, 1, 0];
  const narrow = bits === 16 && compression === BITFIELDS ? greenBitsOf(view) === 5 : true;
  if (bits === 24 && compression === BITFIELDS && masksOf(view) !== "ff0000,ff00,ff") throw unknownLayout(view);
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const start = (topDown ? y : height - 1 - y) * stride;
    for (let x = 0, at = y * width * 3; x < width; x++, at += 3)
      if (bits <= 8) {
        const index = isRuns ? rows[start + x]! : indexAt(rows, start, x, bits);
        for (let c = 0; c < 3; c++) pixels[at + c] = palette[index * 3 + c]!;
      } else if (bits === 16) {
        const value = rows[start + 2 * x]! | (rows[start + 2 * x + 1]! << 8);
        pixels[at] = (((value >> (narrow ? 10 : 11)) & 31) * 255) / 31;
        pixels[at + 1] = narrow ? (((value >> 5) & 31) * 255) / 31 : (((value >> 5) & 63) * 255) / 63;
        pixels[at + 2] = ((value & 31) * 255) / 31;
      } else {
        const from = start + (x * bits) / 8;
        pixels[at] = rows[from + red]!;
        pixels[at + 1] = rows[from + green]!;
        pixels[at + 2] = rows[from + blue]!;
      }
  }
  return { width, height, pixels };
}

function headerOf(file: Uint8Array, view: DataView): Bitmap {
  const size = file.length < 18 ? 0 : view.getUint32(14, true);
  if (!HEADERS.includes(size)) throw new RangeError(`its bmp header has ${size} bytes, expected ${HEADERS.join(", ")}`);
  if (file.length < 14 + size) throw new RangeError("its bmp data ends early");
  const old = size === 12;
  const rawHeight = old ? view.getUint16(20, true) : view.getInt32(22, true);
  const topDown = !old && file[25] === 0xff;
  const bits = view.getUint16(old ? 24 : 28, true);
  const compression = old ? RAW : view.getUint32(30, true);
  if (![1, 4, 8, 16, 24, 32].includes(bits))
    throw new RangeError(`it is a bmp of ${bits} bits for a pixel, expected 1, 4, 8, 16, 24 or 32`);
  const allowed = bits <= 8 ? [RAW, RLE8, RLE4] : [RAW, BITFIELDS];
  if (!allowed.includes(compression))
    throw new RangeError(`it is a bmp of compression ${compression} and ${bits} bits for a pixel, which is not read`);

  const colors = (old ? 0 : view.getUint32(46, true)) || 2 ** bits;
  const entryBytes = old ? 3 : 4;
  const palette = new Uint8Array(768); // what it does not name is black
  if (bits <= 8) {
    if (colors > 256) throw new RangeError(`it is a bmp of ${colors} colours, expected 256 at most`);
    for (let i = 0; i < colors && 14 + size + i * entryBytes + 2 < file.length; i++)
      for (let c = 0; c < 3; c++) palette[i * 3 + c] = file[14 + size + i * entryBytes + 2 - c]!;
  }
  const behind = 14 + size + (bits <= 8 ? colors * entryBytes : size === 40 && compression === BITFIELDS ? 12 : 0);
  const told = view.getUint32(10, true);
  return {
    width: old ? view.getUint16(18, true) : view.getUint32(18, true),
    height: topDown ? -rawHeight : rawHeight >>> 0,
    topDown,
    bits,
    compression,
    // Some writers give the end of the header, where the palette lies.
    offset: told === 0 || (told === 14 + size && bits <= 8) ? behind : told,
    palette,
  };
}

const indexAt = (rows: Uint8Array, start: number, x: number, bits: number): number => {
  const shift = 8 - bits - ((x * bits) % 8);
  return (rows[start + Math.floor((x * bits) / 8)]! >> shift) & (2 ** bits - 1);
};

/** Masks of red, green and blue, which all headers have in the same place. */
function masksOf(view: DataView): string {
  if (view.byteLength < 66) throw new RangeError("its bmp data ends early");
  return [54, 58, 62].map((at) => view.getUint32(at, true).toString(16)).join(",");
}

const unknownLayout = (view: DataView): RangeError =>
  new RangeError(`it is a bmp with masks ${masksOf(view)}, which is not read`);

function layoutOf(view: DataView): readonly [number, number, number] {
  const layout = LAYOUTS[masksOf(view)];
  if (layout === undefined) throw unknownLayout(view);
  return layout;
}

function greenBitsOf(view: DataView): number {
  const masks = masksOf(view);
  if (masks !== "f800,7e0,1f" && masks !== "7c00,3e0,1f") throw unknownLayout(view);
  return masks === "f800,7e0,1f" ? 6 : 5;
}

/** Run-length encoded indices, a byte for each, in the order of the file's rows: as many as there are. */
function runsOf(file: Uint8Array, { width, height, compression, offset }: Bitmap): Uint8Array {
  const indices = new Uint8Array(width * height);
  let [to, from, x] = [0, offset, 0];
  while (to < indices.length && from + 1 < file.length) {
    const [count, value] = [file[from]!, file[from + 1]!];
    from += 2;
    if (count > 0) {
      const run = Math.min(count, Math.max(0, width - x), indices.length - to);
      for (let i = 0; i < run; i++)
        indices[to++] = compression === RLE8 ? value : i % 2 === 0 ? value >> 4 : value & 15;
      x += run;
    } else if (value === 0) {
      to = Math.ceil(to / width) * width;
      x = 0;
    } else if (value === 1) break;
    else if (value === 2) {
      if (from + 2 > file.length) break;
      to = Math.min(indices.length, to + file[from]! + file[from + 1]! * width);
      from += 2;
      x = to % width;
    } else {
      const run = Math.min(value, indices.length - to);
      const bytes = compression === RLE8 ? run : Math.ceil(run / 2);
      if (from + bytes > file.length) break;
      for (let i = 0; i < run; i++)
        indices[to++] =
          compression === RLE8
            ? file[from + i]!
            : i % 2 === 0
              ? file[from + i / 2]! >> 4
              : file[from + (i - 1) / 2]! & 15;
      from += bytes;
      from += from % 2;
      x += value;
    }
  }
  return indices.subarray(0, to);
}
