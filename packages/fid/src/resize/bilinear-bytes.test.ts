import { resizeBytesBilinear } from "./bilinear-bytes.js";

const bytes = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * i * 7 + i * 13) % 256);

/** One pixel by the formula, in doubles. */
function pixelOf(pixels: Uint8Array, [width, height]: readonly [number, number], side: number, x: number, y: number) {
  const place = (at: number, from: number): number => Math.max(0, ((at + 0.5) * from) / side - 0.5);
  const [sourceX, sourceY] = [place(x, width), place(y, height)];
  return [0, 1, 2].map((c) => {
    let sum = 0;
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++) {
        // Behind the last pixel lies that pixel again.
        const weight = (at: number, source: number, last: number): number =>
          Math.max(0, 1 - Math.abs(at - Math.min(source, last)));
        const share = weight(row, sourceY, height - 1) * weight(column, sourceX, width - 1);
        sum += (share * pixels[(row * width + column) * 3 + c]!) / 255;
      }
    return sum;
  });
}

describe("resizeBytesBilinear()", () => {
  test.each([
    [7, 5, 11],
    [11, 13, 4],
    [3, 20, 9],
    [1, 1, 3],
  ])("mixes the nearest pixels: %d x %d to %d", (width, height, side) => {
    const pixels = bytes(width * height * 3);
    const result = new Float32Array(side * side * 3);
    resizeBytesBilinear(pixels, { width, height }, side, result);
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++)
        pixelOf(pixels, [width, height], side, x, y).forEach((value, c) => {
          expect(Math.abs(result[(y * side + x) * 3 + c]! - value)).toBeLessThan(1e-5);
        });
  });

  test("leaves an image of that size as it is", () => {
    const [pixels, result] = [bytes(6 * 6 * 3), new Float32Array(6 * 6 * 3)];
    resizeBytesBilinear(pixels, { width: 6, height: 6 }, 6, result);
    expect(result).toEqual(Float32Array.from(pixels, (byte) => byte / 255));
  });
});
