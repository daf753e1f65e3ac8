import { geometryOf } from "../config.js";
import { MODES, tiny } from "../testing.js";
import { samplingMask, trainingMask, visibleBlocks, type Mask, type Tower } from "./visibility.js";

/** Whether block q may look at block k in training: 0..T-1 clean, T..2T-1 noised. Spec section 7, word by word. */
function training(T: number, q: number, k: number, ownOnly: boolean): boolean {
  if (ownOnly) return q === k;
  const clean = q < T && k < T && q >= k;
  const noisedToClean = q >= T && k < T && q - T > k;
  return clean || noisedToClean || q === k;
}

const LAYERS = [
  ["autoregressive", 1],
  ["diffusion", 2],
] as const;

describe.each(Object.entries(MODES))("visibleBlocks(), %s,", (_, mode) => {
  const config = tiny({ ...mode, arLayers: 2, diffusionLayers: 2 });
  const { T, M } = geometryOf(config);
  const at = ({ shape, data }: Mask, q: number, k: number): boolean => data[q * shape[1] + k] === 1;

  test.each(LAYERS)("is the rule for every pair of blocks in training, %s layers", (kind, layer) => {
    const ownOnly = kind === "diffusion" && config.denoisingMlp;
    const towers: readonly Tower[] = config.clearClean ? ["noised"] : ["clean", "noised"];
    for (const tower of towers)
      for (let block = 0; block < T; block++) {
        const visible = visibleBlocks(config, layer, tower, block);
        for (const keys of ["clean", "noised"] as const)
          for (let k = 0; k < T; k++) {
            const [start, end] = visible[keys];
            const number = (tower: Tower, i: number): number => (tower === "clean" ? i : T + i);
            const expected = config.clearClean
              ? keys === "noised" && (ownOnly ? block === k : block >= k)
              : training(T, number(tower, block), number(keys, k), ownOnly);
            expect([tower, block, keys, k, start <= k && k < end]).toEqual([tower, block, keys, k, expected]);
          }
      }
  });

  test.each(LAYERS)("is written out, token by token, by trainingMask() (%s layers)", (_, layer) => {
    const mask = trainingMask(config, layer);
    const towers: readonly Tower[] = config.clearClean ? ["noised"] : ["clean", "noised"];
    const tokens = towers.length * T * M;
    expect(mask.shape).toEqual([tokens, tokens]);
    for (let q = 0; q < tokens; q++)
      for (let k = 0; k < tokens; k++) {
        const place = (token: number): [Tower, number] => [
          towers[Math.floor(token / (T * M))]!,
          Math.floor(token / M) % T,
        ];
        const [[tower, block], [keys, other]] = [place(q), place(k)];
        const [start, end] = visibleBlocks(config, layer, tower, block)[keys];
        if (at(mask, q, k) !== (start <= other && other < end)) throw new Error(`token ${q} and key ${k}`);
      }
  });

  test.each(LAYERS)("is what samplingMask() shows of each block (%s layers)", (kind, layer) => {
    const ownOnly = kind === "diffusion" && config.denoisingMlp;
    for (let block = 0; block < T; block++) {
      const mask = samplingMask(config, layer, block);
      const rows = config.clearClean || block === 0 ? M : 2 * M;
      expect(mask.shape).toEqual([rows, (block + 1) * M]);
      for (let q = 0; q < rows; q++)
        for (let k = 0; k < (block + 1) * M; k++) {
          const clean = q < rows - M; // tokens of the clean block before
          const own = k >= block * M;
          const inBefore = k >= (block - 1) * M && !own;
          const expected = clean ? (ownOnly ? inBefore : !own) : ownOnly ? own : true;
          if (at(mask, q, k) !== expected) throw new Error(`block ${block}, token ${q} and key ${k}`);
        }
    }
  });
});
