/** Pixels: (height, width, 3) uint8, RGB. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
  /** That values above 255 were cut to it, as PIL does. */
  readonly cut?: true;
}
