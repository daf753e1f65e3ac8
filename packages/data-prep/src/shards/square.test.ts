import { resizePil } from "@madformer/artifacts";
import sharp from "sharp";
import { Memory } from "./memory.js";
import { squareImage, type SquareOptions } from "./square.js";

const [WIDTH, HEIGHT] = [300, 280];
const pixels = Uint8Array.from({ length: WIDTH * HEIGHT * 3 }, (_, i) => (i * i * 7 + i * 13) % 256);
const options = (changes: Partial<SquareOptions>): SquareOptions => ({
  side: 256,
  crop: "center",
  resize: "pil-bilinear",
  background: "black",
  maxPixels: 2 ** 20,
  memory: new Memory(2 ** 24),
  ...changes,
});
let png: Uint8Array;
beforeAll(async () => {
  png = await sharp(pixels, { raw: { width: WIDTH, height: HEIGHT, channels: 3 } })
    .png()
    .toBuffer();
});

/** Columns [left, left + HEIGHT) of all rows. */
function cut(left: number) {
  const data = new Uint8Array(HEIGHT * HEIGHT * 3);
  for (let y = 0; y < HEIGHT; y++)
    data.set(pixels.subarray((y * WIDTH + left) * 3, (y * WIDTH + left + HEIGHT) * 3), y * HEIGHT * 3);
  return { data, width: HEIGHT, height: HEIGHT, channels: 3 };
}
const size = (side: number) => ({ width: side, height: side });

describe("squareImage()", () => {
  test.each([
    ["center", 10],
    ["top-left", 0],
  ] as const)("with the crop %s takes the columns from %d on", async (crop, left) => {
    expect(await squareImage(png, options({ crop }))).toEqual(resizePil(cut(left), size(256)).data);
  });

  test("with the resize pil-lanczos is PIL's", async () => {
    const made = await squareImage(png, options({ resize: "pil-lanczos", side: 64 }));
    expect(made).toEqual(resizePil(cut(10), size(64), "lanczos").data);
  });

  test.each([64, 256, 300])("with imagenet comes to %d pixels through 256", async (side) => {
    const between = resizePil(cut(0), size(256), "lanczos");
    const made = await squareImage(png, options({ crop: "top-left", resize: "imagenet", side }));
    expect(made).toEqual(resizePil(between, size(side)).data);
  });
});
