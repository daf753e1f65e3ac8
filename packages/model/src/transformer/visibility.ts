import { geometryOf, type MadformerConfig } from "../config.js";

/** Clean tokens are embeddings of finished blocks; noised tokens are what is generated. */
export type Tower = "clean" | "noised";

/** All kinds of tokens, each with weights of its own: the towers of the image, and the text before it. */
export type Stream = "text" | Tower;

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

/**
 * Whether an image's tokens see its text, of which a token sees itself and those before it: always, except in sampling
 * with `denoisingMlp` and `sampled: "first-block"`, where diffusion layers do in the first block alone.
 *
 * Source: spec section 25.
 *
 * @param block While it is sampled; all of them while training.
 */
export function seesText({ text, denoisingMlp, arLayers }: MadformerConfig, layer: number, block?: number): boolean {
  if (!text) return false;
  return !(denoisingMlp && text.sampled === "first-block" && layer >= arLayers && (block ?? 0) > 0);
}

/**
 * Whether in sampling a layer's text sees all there is, the noised block included: that of the first block, with
 * `denoisingMlp` and `sampled: "first-block"`.
 */
export function textSeesNoise({ text, denoisingMlp, arLayers }: MadformerConfig, layer: number): boolean {
  return text !== undefined && denoisingMlp && text.sampled === "first-block" && layer >= arLayers;
}

/** The mask over some blocks of tokens, queries by rows: what `visibleBlocks` says, written out. */
function maskOf(
  config: MadformerConfig,
  layer: number,
  queries: readonly (readonly [Tower, number])[],
  keys: readonly (readonly [Tower, number])[],
  text: { readonly queries: boolean; readonly block?: number } = { queries: false },
): Mask {
  const { M } = geometryOf(config);
  const [textKeys, textQueries] = [config.text?.tokens ?? 0, text.queries ? (config.text?.tokens ?? 0) : 0];
  const shape = [textQueries + queries.length * M, textKeys + keys.length * M] as const;
  const data = new Uint8Array(shape[0] * shape[1]);
  for (let q = 0; q < textQueries; q++) data.fill(1, q * shape[1], q * shape[1] + q + 1);
  queries.forEach(([tower, block], q) => {
    const visible = visibleBlocks(config, layer, tower, block);
    for (let row = 0; row < M; row++) {
      const start = (textQueries + q * M + row) * shape[1];
      if (seesText(config, layer, text.block)) data.fill(1, start, start + textKeys);
      keys.forEach(([keyTower, keyBlock], k) => {
        const [first, end] = visible[keyTower];
        if (keyBlock < first || keyBlock >= end) return;
        const at = start + textKeys + k * M;
        data.fill(1, at, at + M);
      });
    }
  });
  return { shape, data };
}

const blocksOf = (tower: Tower, start: number, end: number): [Tower, number][] =>
  Array.from({ length: Math.max(end - start, 0) }, (_, i) => [tower, start + i]);

/**
 * The training mask of a layer as the reference has it: the text if there is one, all clean tokens, then all noised
 * ones; under `clearClean` no clean ones. For showing and for tests: attention itself needs no mask.
 */
export function trainingMask(config: MadformerConfig, layer: number): Mask {
  const { T } = geometryOf(config);
  const tokens = [...(config.clearClean ? [] : blocksOf("clean", 0, T)), ...blocksOf("noised", 0, T)];
  return maskOf(config, layer, tokens, tokens, { queries: true });
}

/**
 * The mask of a layer while a block is sampled: queries are the clean block before it and the block, keys the clean
 * blocks before it and the block; under `clearClean` queries are the block, keys all blocks up to it. A text is in
 * front of the keys, and of the first block's queries.
 */
export function samplingMask(config: MadformerConfig, layer: number, block: number): Mask {
  const text = { queries: block === 0, block };
  const own = blocksOf("noised", block, block + 1);
  const [queries, keys] = config.clearClean
    ? [own, blocksOf("noised", 0, block + 1)]
    : [
        [...blocksOf("clean", Math.max(block - 1, 0), block), ...own],
        [...blocksOf("clean", 0, block), ...own],
      ];
  const mask = maskOf(config, layer, queries, keys, text);
  return block === 0 && textSeesNoise(config, layer) ? { ...mask, data: mask.data.fill(1) } : mask;
}
