import { decodeBmp, isBmp, sizeOfBmp } from "./bmp.js";
import { decodeNetpbm, isNetpbm, sizeOfNetpbm } from "./netpbm.js";
import type { RgbImage } from "./rgb-image.js";

/** An image that is decoded here, because sharp does not know its format. */
export interface PlainImage {
  readonly format: "bmp" | "netpbm";
  readonly width: number;
  readonly height: number;
  /**
   * @param maxPixels Images of more pixels are refused.
   * @param wide Whether greys of more than 8 bits are cut to 255 as PIL does, or scaled.
   * @throws {RangeError} If it does not decode completely; the message is the reason alone.
   */
  readonly decode: (maxPixels: number, wide: "cut" | "scale") => RgbImage;
}

/**
 * What a BMP, PBM, PGM or PPM file says of itself; nothing if it is none, by its content.
 *
 * @param file The file's bytes. Borrowed, also by what is returned.
 * @throws {RangeError} If its header cannot be read; the message is the reason alone.
 */
export function plainImage(file: Uint8Array): PlainImage | undefined {
  if (isBmp(file))
    return { format: "bmp", ...sizeOfBmp(file), decode: (maxPixels: number): RgbImage => decodeBmp(file, maxPixels) };
  if (isNetpbm(file))
    return {
      format: "netpbm",
      ...sizeOfNetpbm(file),
      decode: (maxPixels: number, wide: "cut" | "scale"): RgbImage => decodeNetpbm(file, maxPixels, wide),
    };
  return undefined;
}
