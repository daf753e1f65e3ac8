import { geometryOf, type MadformerConfig } from "./config.js";

/**
 * Copies the latents of an image from rows to blocks: blocks row by row, and the pixels of a block row by row.
 *
 * @param image (side, side, channels). Borrowed.
 * @param blocks (T, P, channels). Filled.
 */
export function toBlocks(model: MadformerConfig, image: Float32Array, blocks: Float32Array): void {
  eachRow(model, (inImage, inBlocks, length) => blocks.set(image.subarray(inImage, inImage + length), inBlocks));
}

/** The inverse of `toBlocks`. */
export function fromBlocks(model: MadformerConfig, blocks: Float32Array, image: Float32Array): void {
  eachRow(model, (inImage, inBlocks, length) => image.set(blocks.subarray(inBlocks, inBlocks + length), inImage));
}

/** Calls back for each row of pixels of each block: where it starts in the image and in the blocks, and its length. */
function eachRow(model: MadformerConfig, move: (inImage: number, inBlocks: number, length: number) => void): void {
  const { T, grid, latentSide } = geometryOf(model);
  const { blockSide, latentChannels: C } = model;
  const length = blockSide * C;
  for (let block = 0; block < T; block++)
    for (let y = 0; y < blockSide; y++) {
      const row = Math.floor(block / grid) * blockSide + y;
      const column = (block % grid) * blockSide;
      move((row * latentSide + column) * C, (block * blockSide + y) * length, length);
    }
}
