import * as tf from "@tensorflow/tfjs-core";
import { geometryOf, type MadformerConfig } from "./config.js";
import { part, type Recompute } from "./nn/part.js";
import { needs, type ImageOutput, type OutputName } from "./needs.js";
import { Scope, under, type Parameters, type ParameterSpecs } from "./parameters.js";
import { dims, ShapeError } from "./shape.js";
import { embedText, hasText, textSpecs } from "./text/embedding.js";
import { textRope } from "./text/text-rope.js";
import { layerSpecs } from "./transformer/layer.js";
import { ropeOfBlocks, ropeTables } from "./transformer/rope.js";
import { towersLayer, type Observe, type Towers } from "./transformer/towers-layer.js";
import { towersDown, towersUp } from "./unet/towers.js";
import { downsamplerSpecs, upsamplerSpecs } from "./unet/unet.js";

/**
 * All parameters of MADFormer, in the order of the reference's `state_dict`. Spec section 2; with a text
 * spec section 19.
 */
export function madformerSpecs(config: MadformerConfig): ParameterSpecs {
  const { M, layers } = geometryOf(config);
  const { unet, latentChannels, width } = config;
  return {
    boi_block: { shape: [1, M, width], initializer: { kind: "normal" } },
    ...under("downsampler", downsamplerSpecs(unet, latentChannels, width)),
    ...under("upsampler", upsamplerSpecs(unet, latentChannels, width)),
    ...textSpecs(config),
    ...(Object.assign(
      {},
      ...Array.from({ length: layers }, (_, i) => under(`blocks.${i}`, layerSpecs(config))),
    ) as ParameterSpecs),
  };
}

/**
 * Outputs of the forward pass, latents in blocks: (N, T, P, channels) float32 each; and the text's tokens as they leave
 * the last layer, (N, tokens, C), of which `textLogits` makes logits.
 */
export type Outputs = Partial<Record<ImageOutput, tf.Tensor4D>> & { readonly text?: tf.Tensor3D };

/** What the forward pass is given. */
export interface ForwardBatch {
  /** (N, T, P, channels) float32: latents in blocks, pixels row-major. */
  readonly cleanX: tf.Tensor4D;
  /** Like cleanX. */
  readonly noisedX: tf.Tensor4D;
  /** (N, T) int32 in [0, 1000): the timestep of each block. */
  readonly t: tf.Tensor2D;
  /** (N, tokens) int32: the text of each image, for a model that has one. */
  readonly text?: tf.Tensor2D;
}

/**
 * MADFormer's training pass, every block at once: each block is denoised in the light of the clean blocks before it.
 *
 *     clean, noised = down(cleanX, t), down(noisedX, t)               the U-Net's way down: M tokens per block
 *     words = embed(text)                                             where there are classes: seen by all other tokens
 *     h = layers 0..N-1 of [first | clean[:-1]], beside clean         autoregressive: block j sees the blocks before j
 *     h = layers N.. of h + noised, beside clean                      diffusion: the same, and the noise of block j
 *     noisePred = up(h, t)                                            the way up, with the way down's states: the
 *                                                                     noise, or what `prediction` names instead
 *
 * Two towers of weights, one for clean and one for noised tokens, attend to each other as `visibleBlocks` says. The
 * same with every token of both towers in every layer, under a mask, is `plainForward` in test/plain.ts: read that
 * first.
 *
 * Source: arXiv:2506.07999, section 3; spec sections 5 to 7 and Junhaoo-Chen/MADFormer@b19ccb5 src/models.py
 * MADFormer.forward. Departs from it: what the wanted outputs do not depend on is not computed (`needs`): without
 * `cleanTower` the last clean block takes no part, clean tokens end with the last layer in which somebody sees them,
 * and there only their keys and values exist. Quirks of the released code are switches of the config.
 *
 * @param p Parameters, as `madformerSpecs` lists them. Borrowed.
 * @param batch Borrowed.
 * @param wanted Which outputs. `cleanTower` does not exist under `clearClean`, `text` not without one.
 * @param recompute What is computed again for the gradients, where there are some; `observe` sees it twice.
 * @returns The outputs, new.
 * @throws {ShapeError} If a shape does not fit the config.
 */
export function forward(
  p: Parameters,
  config: MadformerConfig,
  batch: ForwardBatch,
  wanted: readonly OutputName[],
  observe: Observe = () => undefined,
  recompute: Recompute = "none",
): Outputs {
  const { T, P, M, layers } = geometryOf(config);
  const { arLayers, latentChannels, clearCond, quirks } = config;
  const { N } = dims(batch.cleanX, ["N", T, P, latentChannels], "forward: cleanX");
  dims(batch.noisedX, [N, T, P, latentChannels], "forward: noisedX");
  dims(batch.t, [N, T], "forward: t");
  const root = new Scope(p);
  const need = needs(config, wanted);

  // Down: latent pixels become tokens.
  const down = towersDown(root, config, batch, need, observe, recompute);
  const { clean, noised } = down; // (N, embeddedBlocks·M, C) if there are any, (N, T·M, C)

  // The transformer starts with clean blocks and, for each block to generate, the embedding of the block before it.
  const rope = ropeTables(config); // (T·M, D)
  const ropes = {
    clean: ropeOfBlocks(rope, M, 0, need.cleanBlocks), // (cleanBlocks·M, D)
    noised: rope, // (T·M, D)
    ...(hasText(config) ? { text: textRope(config) } : {}), // (tokens, D)
  };
  const upTo = (x: tf.Tensor3D, blocks: number): tf.Tensor3D => tf.slice(x, [0, 0, 0], [-1, blocks * M, -1]);
  const first = tf.tile(root.get<tf.Tensor3D>("boi_block"), [N, 1, 1]); // (N, M, C)
  let x: Towers = {};
  if (clean && need.cleanBlocks > 0) x.clean = upTo(clean, need.cleanBlocks); // (N, cleanBlocks·M, C)
  if (need.text || need.textLayers > 0) x.text = wordsOf(root, config, batch, observe); // (N, tokens, C)
  if (need.autoregressive) x.noised = clean ? tf.concat([first, upTo(clean, T - 1)], 1) : first; // (N, T·M, C)

  // Autoregressive layers, once for all of a block's denoising steps.
  const through = (layer: number): Towers =>
    part(recompute !== "none", root.in(`blocks.${layer}`), x, ropes, (p, x, ropes) =>
      towersLayer(p, config, layer, x, ropes, need, observe),
    );
  for (let layer = 0; layer < arLayers; layer++) x = through(layer);

  // Their output is the condition, to which the noised block is added.
  const before = x.noised; // (N, T·M, C)
  x.noised = clearCond ? noised : tf.add(before as tf.Tensor3D, noised); // (N, T·M, C)
  const condition = quirks.condition === "with-noised" ? x.noised : before; // (N, T·M, C)

  // Diffusion layers, at every denoising step.
  if (!need.diffusion) x = need.text && x.text ? { text: x.text } : {};
  if (need.diffusion || need.text) for (let layer = arLayers; layer < layers; layer++) x = through(layer);

  // Up: tokens become latent pixels.
  const tokens = { condition, noisePred: x.noised, cleanTower: x.clean }; // (N, T·M, C) each
  const latents = towersUp(root, config, down, tokens, wanted, observe, recompute); // (N, T, P, channels) each
  return need.text && x.text ? { ...latents, text: x.text } : latents;
}

/** The embedded text of a batch: (N, tokens, C). */
function wordsOf(root: Scope, config: MadformerConfig, { text, t }: ForwardBatch, observe: Observe): tf.Tensor3D {
  if (!hasText(config) || !text)
    throw new ShapeError("forward: text is missing, expected one for each image of a model that has classes");
  dims(text, [t.shape[0], config.text.tokens], "forward: text");
  const words = embedText(root, config, text);
  observe("embed_tokens.out", words);
  return words;
}
