import * as tf from "@tensorflow/tfjs-core";
import type { MadformerConfig } from "../config.js";
import { linear, linearSpecs } from "../nn/linear.js";
import { under, type ParameterSpecs, type Scope } from "../parameters.js";
import { dims } from "../shape.js";
import type { TextConfig } from "./config.js";

/** A config of a model with text. */
export type WithText = MadformerConfig & { readonly text: TextConfig };

/** Whether a model is told the class of an image. */
export function hasText(config: MadformerConfig): config is WithText {
  return config.text !== undefined;
}

/** Parameters of the text, which stand between those of the U-Net and the layers. spec section 19. */
export function textSpecs(config: MadformerConfig): ParameterSpecs {
  if (!hasText(config)) return {};
  const { vocabulary, zeroRow, head } = config.text;
  return {
    "embed_tokens.weight": { shape: [vocabulary, config.width], initializer: { kind: "embedding", zeroRow } },
    ...(head ? under("lm_head", linearSpecs(config.width, vocabulary, false)) : {}),
  };
}

/**
 * Embeds the tokens of texts. The row that is 0 has no gradient, so that it stays so.
 *
 * Source: spec sections 20 and 24.
 *
 * @param root The model's parameters.
 * @param text (N, tokens) int32.
 * @returns (N, tokens, C) float32.
 */
export function embedText(root: Scope, config: WithText, text: tf.Tensor2D): tf.Tensor3D {
  const { tokens, zeroRow } = config.text;
  const { N } = dims(text, ["N", tokens], "embedText: text");
  const flat = tf.reshape<tf.Rank.R1>(text, [N * tokens]);
  const rows = tf.gather(root.get<tf.Tensor2D>("embed_tokens.weight"), flat); // (N·tokens, C)
  const kept =
    zeroRow === null ? rows : tf.mul(rows, tf.cast(tf.notEqual(tf.reshape(flat, [-1, 1]), zeroRow), "float32"));
  return tf.reshape(kept, [N, tokens, config.width]);
}

/**
 * What the head makes of text tokens that went through all layers: a score for each token that could come next.
 *
 * @param root The model's parameters.
 * @param tokens (N, L, C) float32.
 * @returns (N, L, vocabulary) float32.
 */
export function textLogits(root: Scope, tokens: tf.Tensor3D): tf.Tensor3D {
  const [N, L, C] = tokens.shape;
  const logits = linear(root.in("lm_head"), tf.reshape<tf.Rank.R2>(tokens, [N * L, C]));
  return tf.reshape(logits, [N, L, logits.shape[1]]);
}

/**
 * The text loss: how well each token foretells the next one.
 *
 *     mean over images and positions p < tokens - 1 of  -log softmax(logits[p])[text[p + 1]]
 *
 * Source: spec section 26. With two tokens it is learned from the first one alone, the same for every
 * image: how frequent the classes are.
 *
 * @param root The model's parameters.
 * @param tokens (N, tokens, C) float32, as they leave the last layer.
 * @param text (N, tokens) int32.
 */
export function textLoss(root: Scope, tokens: tf.Tensor3D, text: tf.Tensor2D): tf.Scalar {
  const [N, L, C] = tokens.shape;
  const logits = textLogits(root, tf.slice(tokens, [0, 0, 0], [N, L - 1, C])); // (N, L - 1, V)
  const V = logits.shape[2];
  const next = tf.oneHot(tf.slice(text, [0, 1], [N, L - 1]), V); // (N, L - 1, V)
  const chosen = tf.sum(tf.mul(tf.logSoftmax(logits), tf.cast(next, "float32")), -1); // (N, L - 1)
  return tf.neg(tf.mean(chosen));
}
