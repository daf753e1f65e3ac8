import type { RgbImage } from "./rgb-image.js";

export const isNetpbm = (file: Uint8Array): boolean =>
  file[0] === 0x50 && file[1]! >= 0x31 && file[1]! <= 0x36 && isSpace(file[2]);

/** Space, tab and the ends of lines and pages. */
const isSpace = (byte: number | undefined): boolean => byte === 0x20 || (byte !== undefined && byte >= 9 && byte <= 13);
const isLineEnd = (byte: number | undefined): boolean => byte === 10 || byte === 13;
const HASH = 0x23;

/** @throws {RangeError} If the header cannot be read; the message is the reason alone. */
export function sizeOfNetpbm(file: Uint8Array): { readonly width: number; readonly height: number } {
  const { width, height } = headerOf(file);
  return { width, height };
}

/**
 * Decodes a file of the kinds P1 to P6: PBM, PGM and PPM, as text or bytes.
 *
 * Bytes are those of PIL's `Image.open(file).convert("RGB")`: values up to another number than 255 are scaled to it and
 * rounded, halves to even. Greys of more than 8 bits PIL holds in 16, and cuts to 255 in the end, which leaves nearly
 * all white.
 *
 * Source: Pillow's `PpmImagePlugin.py`.
 *
 * @param file The file's bytes. Borrowed.
 * @param maxPixels Images of more pixels are refused.
 * @param wide Whether greys of more than 8 bits are cut to 255 as PIL does, or scaled.
 * @throws {RangeError} If it does not decode completely; the message is the reason alone.
 */
export function decodeNetpbm(file: Uint8Array, maxPixels: number, wide: "cut" | "scale"): RgbImage {
  const { kind, width, height, max, at } = headerOf(file);
  const isBits = kind === 1 || kind === 4;
  if (width === 0 || height === 0 || width * height > maxPixels)
    throw new RangeError(`it is ${width} x ${height} pixels, expected 1 to ${maxPixels} together`);
  if (max === 0 || max > 65535) throw new RangeError(`its largest value is ${max}, expected 1 to 65535`);

  const bands = kind === 3 || kind === 6 ? 3 : 1;
  const count = width * height * bands;
  const data = file.subarray(at);
  const isCut = bands === 1 && max > 255 && wide === "cut";
  const scale = isCut ? 65535 : 255;
  if (data.length < (kind > 3 ? bytesOf(kind, width, height, count, max) : count))
    throw new RangeError("its data ends early");
  const samples = new Uint8Array(count);
  const values = kind > 3 ? valuesOfBytes(data, kind, width, count, max) : valuesOfText(data, kind, count, max);
  let [i, largest] = [0, 0];
  for (const value of values) {
    const scaled = isBits ? 255 * (1 - value) : roundHalfToEven((value / max) * scale);
    if (scaled > largest) largest = scaled;
    samples[i++] = Math.min(255, scaled);
  }
  const pixels = bands === 3 ? samples : Uint8Array.from({ length: count * 3 }, (_, i) => samples[Math.floor(i / 3)]!);
  return { width, height, pixels, ...(isCut && largest > 255 ? { cut: true } : {}) };
}

interface Header {
  /** 1 to 3 text, 4 to 6 bytes. */
  readonly kind: number;
  readonly width: number;
  readonly height: number;
  readonly max: number;
  /** Where values begin. */
  readonly at: number;
}

function headerOf(file: Uint8Array): Header {
  const kind = file[1]! - 0x30;
  let at = 3;
  /** A number of the header. A comment may stand before it, or in it. */
  const number = (what: string): number => {
    let token = "";
    for (; at < file.length && token.length <= 10; at++) {
      const byte = file[at]!;
      if (byte === HASH) while (at + 1 < file.length && !isLineEnd(file[++at]));
      else if (!isSpace(byte)) token += String.fromCharCode(byte);
      else if (token !== "") break;
    }
    at++; // one space ends it
    if (!/^\d{1,10}$/.test(token)) throw new RangeError(`its ${what} is ${JSON.stringify(token)}, expected a number`);
    return Number(token);
  };
  const [width, height] = [number("width"), number("height")];
  const max = kind === 1 || kind === 4 ? 1 : number("largest value");
  return { kind, width, height, max, at };
}

function bytesOf(kind: number, width: number, height: number, count: number, max: number): number {
  if (kind === 4) return Math.ceil(width / 8) * height;
  return max > 255 ? 2 * count : count;
}

function* valuesOfBytes(data: Uint8Array, kind: number, width: number, count: number, max: number): Generator<number> {
  const stride = Math.ceil(width / 8);
  for (let i = 0; i < count; i++)
    if (kind === 4) {
      const x = i % width;
      yield (data[Math.floor(i / width) * stride + (x >> 3)]! >> (7 - (x & 7))) & 1;
    } else yield max > 255 ? (data[2 * i]! << 8) | data[2 * i + 1]! : data[i]!;
}

function* valuesOfText(data: Uint8Array, kind: number, count: number, max: number): Generator<number> {
  let [done, value, digits] = [0, 0, 0];
  for (let at = 0; at <= data.length && done < count; at++) {
    const byte = data[at] ?? 0x20;
    if (byte === HASH) while (at + 1 < data.length && !isLineEnd(data[++at]));
    else if (!isSpace(byte)) {
      if (!(byte >= 0x30 && byte <= 0x39) || ++digits > 10) throw new RangeError("its text holds what is no number");
      value = value * 10 + byte - 0x30;
    }
    const ends = kind === 1 ? digits === 1 : isSpace(byte) && digits > 0;
    if (!ends) continue;
    if (value > max) throw new RangeError(`it holds ${value}, more than its largest value ${max}`);
    yield value;
    [done, value, digits] = [done + 1, 0, 0];
  }
  if (done < count) throw new RangeError("its data ends early");
}

function roundHalfToEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
}
