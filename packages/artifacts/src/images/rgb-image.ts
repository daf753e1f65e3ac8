/** Pixels: (height, width, 3) uint8, RGB. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}
