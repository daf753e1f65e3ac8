import { madformerConfig } from "./config.js";
import { fromBlocks, toBlocks } from "./image-blocks.js";

// Two by two blocks of 2 x 2 pixels with 2 channels: the value says row, column and channel.
const config = madformerConfig({
  blocks: 4,
  blockSide: 2,
  latentChannels: 2,
  unet: { channels: [8], layers: [1], attention: [false] },
});
const image = Float32Array.from(
  { length: 32 },
  (_, i) => 100 * Math.floor(i / 8) + 10 * (Math.floor(i / 2) % 4) + (i % 2),
);

describe("toBlocks()", () => {
  test("takes blocks row by row, and the pixels of a block row by row", () => {
    const blocks = new Float32Array(32);
    toBlocks(config, image, blocks);
    expect([...blocks.subarray(0, 8)]).toEqual([0, 1, 10, 11, 100, 101, 110, 111]);
    expect([...blocks.subarray(8, 16)]).toEqual([20, 21, 30, 31, 120, 121, 130, 131]);
    expect([...blocks.subarray(16, 24)]).toEqual([200, 201, 210, 211, 300, 301, 310, 311]);
  });

  test("is undone by fromBlocks()", () => {
    const [blocks, back] = [new Float32Array(32), new Float32Array(32)];
    toBlocks(config, image, blocks);
    fromBlocks(config, blocks, back);
    expect(back).toEqual(image);
  });
});
