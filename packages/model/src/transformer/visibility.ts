import { geometryOf, type MadformerConfig } from "../config.js";

/** Clean tokens are embeddings of finished blocks; noised tokens are what is generated. */
export type Tower = "clean" | "noised";

/** Blocks [start, end) of each tower that something sees. */
export type Visible = Readonly<Record<Tower, readonly [start: number, end: number]>>;

const NONE = [0, 0] as const;

/**
 * Which blocks the tokens of one block see in one layer. Whatever is allowed is a contiguous range of either tower, so
 * no mask is ever applied: keys outside the ranges are not looked at.
 *
 *     clean i   sees clean 0..i            noised j  sees clean 0..j-1 and itself
 *
 * and with `denoisingMlp` each block sees itself alone in the diffusion layers. Under `clearClean` there are noised
 * tokens alone, and block j sees the blocks 0..j.
 *
 * Source: spec section 7.
 *
 * @param layer 0-based; the layers from `arLayers` on are diffusion layers.
 */
export function visibleBlocks(config: MadformerConfig, layer: number, tower: Tower, block: number): Visible {
  const own = [block, block + 1] as const;
  const alone = config.denoisingMlp && layer >= config.arLayers;
  if (tower === "clean") return { clean: alone ? own : [0, block + 1], noised: NONE };
  if (alone) return { clean: NONE, noised: own };
  return config.clearClean ? { clean: NONE, noised: [0, block + 1] } : { clean: [0, block], noised: own };
}

/** A mask of the reference: rows are queries, columns keys; 1 where a query sees a key. */
export interface Mask {
  readonly shape: readonly [queries: number, keys: number];
  readonly data: Uint8Array;
}

/** The mask over some blocks of tokens, queries by rows: what `visibleBlocks` says, written out. */
function maskOf(
  config: MadformerConfig,
  layer: number,
  queries: readonly (readonly [Tower, number])[],
  keys: readonly (readonly [Tower, number])[],
): Mask {
  const { M } = geometryOf(config);
  const shape = [queries.length * M, keys.length * M] as const;
  const data = new Uint8Array(shape[0] * shape[1]);
  queries.forEach(([tower, block], q) => {
    const visible = visibleBlocks(config, layer, tower, block);
    keys.forEach(([keyTower, keyBlock], k) => {
      const [start, end] = visible[keyTower];
      if (keyBlock < start || keyBlock >= end) return;
      for (let row = 0; row < M; row++) {
        const at = (q * M + row) * shape[1] + k * M;
        data.fill(1, at, at + M);
      }
    });
  });
  return { shape, data };
}

const blocksOf = (tower: Tower, start: number, end: number): [Tower, number][] =>
  Array.from({ length: Math.max(end - start, 0) }, (_, i) => [tower, start + i]);

/**
 * The training mask of a layer as the reference has it: all clean tokens, then all noised ones; under `clearClean` the
 * noised ones alone. For showing and for tests: attention itself needs no mask.
 */
export function trainingMask(config: MadformerConfig, layer: number): Mask {
  const { T } = geometryOf(config);
  const tokens = [...(config.clearClean ? [] : blocksOf("clean", 0, T)), ...blocksOf("noised", 0, T)];
  return maskOf(config, layer, tokens, tokens);
}

/**
 * The mask of a layer while a block is sampled: queries are the clean block before it and the block, keys the clean
 * blocks before it and the block; under `clearClean` queries are the block, keys all blocks up to it.
 */
export function samplingMask(config: MadformerConfig, layer: number, block: number): Mask {
  if (config.clearClean)
    return maskOf(config, layer, blocksOf("noised", block, block + 1), blocksOf("noised", 0, block + 1));
  const own = blocksOf("noised", block, block + 1);
  const queries = [...blocksOf("clean", Math.max(block - 1, 0), block), ...own];
  return maskOf(config, layer, queries, [...blocksOf("clean", 0, block), ...own]);
}
