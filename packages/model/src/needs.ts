import { geometryOf, type MadformerConfig } from "./config.js";

/** What the forward pass can give; what nobody wants is not computed. */
export type OutputName = ImageOutput | "text";

/**
 * Outputs that are latents. `noisePred` is the noise of the noised blocks, or what the config's `prediction` names
 * instead.
 */
export type ImageOutput = "noisePred" | "condition" | "cleanTower";

/** What has to be computed for some outputs: the rest changes none of them. */
export interface Needs {
  /** Whether the clean tower's own output is wanted, and there is one. */
  readonly cleanTower: boolean;
  /** Whether it matters what the autoregressive layers make of noised tokens. */
  readonly autoregressive: boolean;
  /** Whether the diffusion layers are needed. */
  readonly diffusion: boolean;
  /** Clean blocks whose tokens go through the transformer, from the first one on: the last is seen by no other. */
  readonly cleanBlocks: number;
  /** Layers, from the first one on, up to the last in which somebody sees clean tokens. */
  readonly cleanLayers: number;
  /** Whether the text's own tokens are wanted, as they leave the last layer, and there is one. */
  readonly text: boolean;
  /** Layers, from the first one on, up to the last in which an image's tokens see its text. */
  readonly textLayers: number;
  /** Clean blocks that become tokens, in the clean tower or shifted in the noised one. */
  readonly embeddedBlocks: number;
  /** Clean blocks that go down the U-Net: all of them where its states are skip connections of an output. */
  readonly shrunkBlocks: number;
}

/**
 * What the wanted outputs depend on. `forward` computes that and nothing else; sampling is the same for `noisePred`,
 * block by block.
 *
 * Source: spec section 17.
 */
export function needs(config: MadformerConfig, wanted: readonly OutputName[]): Needs {
  const { T, layers } = geometryOf(config);
  const { arLayers, clearClean, clearCond, denoisingMlp, quirks } = config;
  const wants = (name: OutputName): boolean => wanted.includes(name);
  const cleanTower = wants("cleanTower") && !clearClean;
  const autoregressive = !clearCond || (wants("condition") && quirks.condition === "autoregressive");
  const cleanBlocks = clearClean ? 0 : cleanTower ? T : T - 1;
  const seenInAr = autoregressive && arLayers > 0;
  const cleanLayers = cleanBlocks === 0 ? 0 : !denoisingMlp ? layers : seenInAr ? arLayers : 0;
  const diffusion = wants("noisePred") || cleanTower; // the condition needs none of them
  const textLayers = !config.text ? 0 : diffusion ? layers : wants("condition") && autoregressive ? arLayers : 0;
  const embeddedBlocks = Math.max(cleanBlocks, autoregressive ? T - 1 : 0);
  const skips = cleanTower || (wants("condition") && quirks.conditionSkips === "clean");
  return {
    cleanTower,
    autoregressive,
    diffusion,
    cleanBlocks,
    cleanLayers,
    text: wants("text") && config.text !== undefined,
    textLayers,
    embeddedBlocks,
    shrunkBlocks: skips ? T : embeddedBlocks,
  };
}
