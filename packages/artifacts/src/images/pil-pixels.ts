import type { Metadata, Sharp, SharpOptions } from "sharp";
import type { RgbImage } from "./rgb-image.js";
import { EXTRA_SAMPLES, PHOTOMETRIC, PLANAR, tiffTags } from "./tiff-tags.js";

/** The samples of an image, interleaved, upright if it is a TIFF. */
interface Samples {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  /** In 16 bits, if the file has so many. */
  readonly data: Uint8Array | Uint16Array;
}

type Open = (options: SharpOptions) => Sharp;

/**
 * Pixels of a file that sharp reads as PIL's `Image.open(file).convert("RGB")` gives them: colours as they are stored,
 * whatever the profile; CMYK by 255 - min(255, ink + black) in products; transparency dropped; TIFFs turned upright,
 * others not.
 *
 * Source: Pillow's `Convert.c`, `Unpack.c` and `TiffImagePlugin.py`.
 * Departs from it: of a TIFF without compression that lies on its side, Pillow 13 gives lines of a wrong length if it
 * is opened by its path; these are the pixels that it gives if it is opened from memory.
 *
 * @param file Its bytes. Borrowed.
 * @param open Opens them with sharp, with these options besides.
 * @throws {RangeError} If PIL's pixels are not known; the message is the reason alone. {Error} If it does not decode.
 */
export async function pilPixels(file: Uint8Array, metadata: Metadata, open: Open): Promise<RgbImage> {
  const { format, space, depth } = metadata;
  const tags = format === "tiff" ? tiffTags(file) : new Map<number, number>();
  // PIL takes half of each plane for all of it; and greys times alpha it does not convert.
  if (tags.get(PLANAR) === 2 && depth === "ushort") throw unknownPixels("a TIFF of 16 bits whose colours lie apart");
  if (tags.get(EXTRA_SAMPLES) === 1 && metadata.channels === 2) throw unknownPixels("a TIFF of greys times alpha");
  const image = (): Sharp => {
    const opened = open({ ignoreIcc: true });
    return format === "tiff" ? opened.autoOrient() : opened;
  };
  if (space === "cmyk") {
    const inks = await samplesOf(image().pipelineColourspace("cmyk").toColourspace("cmyk"), depth);
    return cmykToRgb(inks);
  }
  if (space === "grey16" && (format === "tiff" ? metadata.channels === 1 : isGreyPng(file))) {
    const greys = await samplesOf(image().removeAlpha().toColourspace("grey16"), "ushort");
    return cutGreys(greys, tags.get(PHOTOMETRIC) === 0);
  }
  if (tags.get(EXTRA_SAMPLES) === 1 && metadata.channels === 4) {
    const colourspace = depth === "ushort" ? "rgb16" : "srgb";
    return premultiplied(await samplesOf(image().toColourspace(colourspace), depth));
  }
  // Decoders of AVIF differ, and sharp's gives no colours where a GIF is transparent.
  if (format === "heif") throw unknownPixels("an AVIF");
  if (format === "gif") {
    const { data, channels } = await samplesOf(image(), depth);
    if (channels === 4 && data.some((alpha, i) => i % 4 === 3 && alpha < 255)) throw unknownPixels("a transparent GIF");
  }
  const { data, info } = await image().removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, pixels: new Uint8Array(data) };
}

const unknownPixels = (what: string): RangeError =>
  new RangeError(`it is ${what}, of which PIL's pixels are not known; expected another format, or the pixels "srgb"`);

async function samplesOf(image: Sharp, depth: string): Promise<Samples> {
  const raw = depth === "ushort" ? image.raw({ depth: "ushort" }) : image.raw();
  const { data, info } = await raw.toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  const bytes = new Uint8Array(data); // a copy, so that 16 bits lie at an even place
  return { width, height, channels, data: depth === "ushort" ? new Uint16Array(bytes.buffer) : bytes };
}

/** A sample as a byte: the upper one. */
const upper = ({ data }: Samples, i: number): number => (data instanceof Uint16Array ? data[i]! >> 8 : data[i]!);

/** Inks, also where a JPEG holds how much light is left: sharp turns these, as PIL does. */
function cmykToRgb(samples: Samples): RgbImage {
  const { width, height, channels } = samples;
  const pixels = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < pixels.length; from += channels) {
    const light = 255 - upper(samples, from + 3);
    for (let c = 0; c < 3; c++) {
      const product = upper(samples, from + c) * light + 128;
      pixels[to++] = Math.max(0, light - (((product >> 8) + product) >> 8)); // of 255, rounded
    }
  }
  return { width, height, pixels };
}

/**
 * Greys of 16 bits, cut to 255: nearly all are white then.
 *
 * @param whiteIsZero PIL does not turn these, which sharp has done.
 */
function cutGreys({ width, height, channels, data }: Samples, whiteIsZero: boolean): RgbImage {
  const pixels = new Uint8Array(width * height * 3);
  let largest = 0;
  for (let i = 0; i < width * height; i++) {
    const stored = whiteIsZero ? 65535 - data[i * channels]! : data[i * channels]!;
    if (stored > largest) largest = stored;
    pixels.fill(Math.min(255, stored), i * 3, i * 3 + 3);
  }
  return { width, height, pixels, ...(largest > 255 ? { cut: true } : {}) };
}

/**
 * Colours that were stored times alpha, and divided since, in floats that are cut: back, and divided as PIL does. Less
 * than 1 is lost by the cut, and more than one whole number lies below it only where alpha is full.
 */
function premultiplied(samples: Samples): RgbImage {
  const { width, height, channels, data } = samples;
  const max = data instanceof Uint16Array ? 65535 : 255;
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const full = data[i * channels + 3]!;
    const alpha = upper(samples, i * channels + 3);
    for (let c = 0; c < 3; c++) {
      const quotient = data[i * channels + c]!;
      const product = full === max ? quotient : Math.floor(((quotient + 1) * full) / max);
      const stored = max === 255 ? product : product >> 8;
      pixels[i * 3 + c] = alpha === 0 ? 0 : Math.min(255, Math.floor((255 * stored) / alpha));
    }
  }
  return { width, height, pixels };
}

/** Whether a PNG holds greys alone, without an alpha of their own. */
const isGreyPng = (file: Uint8Array): boolean => file[0] === 0x89 && file[25] === 0;
