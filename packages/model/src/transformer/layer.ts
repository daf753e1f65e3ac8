import { rmsNorm, silu } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import type { MadformerConfig } from "../config.js";
import { linear, linearSpecs } from "../nn/linear.js";
import { under, type ParameterSpecs, type Scope } from "../parameters.js";
import { rotate, type RopeTables } from "./rope.js";
import type { Stream } from "./visibility.js";

/**
 * Which of a layer's sets of weights some tokens have: those of the text first if there is one, then clean, then
 * noised; with `singleTower` both of the image have the one there is.
 */
export function towerIndex(config: MadformerConfig, stream: Stream): number {
  if (stream === "text") return 0;
  return (config.text ? 1 : 0) + (stream === "clean" || config.singleTower ? 0 : 1);
}

/** Parameters of one layer, in the order of the reference. Spec section 2. */
export function layerSpecs(config: MadformerConfig): ParameterSpecs {
  const { width: C, heads, mlpWidth, qkNorm } = config;
  const scale = (size: number): ParameterSpecs => ({
    weight: { shape: [size], initializer: { kind: "constant", value: 1 } },
  });
  /** A part that each tower has. */
  const towers = (name: string, specs: ParameterSpecs): ParameterSpecs =>
    Object.assign(
      {},
      ...Array.from({ length: towerIndex(config, "noised") + 1 }, (_, i) => under(`${name}.${i}`, specs)),
    ) as ParameterSpecs;
  return {
    ...towers("self_attn.qkv_list", linearSpecs(C, 3 * C)),
    ...(qkNorm ? { ...towers("self_attn.q_norm_list", scale(C / heads)) } : {}),
    ...(qkNorm ? { ...towers("self_attn.k_norm_list", scale(C / heads)) } : {}),
    ...towers("self_attn.proj_list", linearSpecs(C, C)),
    ...towers("mlp_list", {
      ...under("gate_proj", linearSpecs(C, mlpWidth, false)),
      ...under("up_proj", linearSpecs(C, mlpWidth, false)),
      ...under("down_proj", linearSpecs(mlpWidth, C, false)),
    }),
    ...towers("input_layernorm_list", scale(C)),
    ...towers("post_attention_layernorm_list", scale(C)),
  };
}

/** Queries, keys and values of some tokens, all heads of all images side by side: (N·H, L, D) each. */
export interface Heads {
  /** None where nobody asks. */
  readonly q: tf.Tensor3D | undefined;
  readonly k: tf.Tensor3D;
  readonly v: tf.Tensor3D;
}

/**
 * The part of a layer before attention:
 *
 *     q, k, v = W norm(x) + b        q, k = rotate(norm(q)), rotate(norm(k))
 *
 * Source: spec section 5, steps 1 to 4.
 *
 * @param p The layer's parameters.
 * @param x (N, L, C) float32.
 * @param rope Tables of the L tokens.
 * @param queries Whether queries are wanted too; without, their third of the weights is not used.
 */
export function projectHeads(
  p: Scope,
  config: MadformerConfig,
  tower: Stream,
  x: tf.Tensor3D,
  rope: RopeTables,
  queries: boolean,
): Heads {
  const [N, L, C] = x.shape;
  const { heads: H } = config;
  const D = C / H;
  const index = towerIndex(config, tower);
  const parts = queries ? 3 : 2;

  const normed = rmsNorm(
    tf.reshape<tf.Rank.R2>(x, [N * L, C]),
    p.get(`input_layernorm_list.${index}.weight`),
    config.normEps,
  );
  const flat = linear(p.in(`self_attn.qkv_list.${index}`), normed, queries ? undefined : [C, 3 * C]);
  const split = tf.transpose(tf.reshape(flat, [N, L, parts, H, D]), [2, 0, 3, 1, 4]); // (parts, N, H, L, D)
  const list = tf.split(split, parts, 0).map((part) => tf.reshape<tf.Rank.R3>(part, [N * H, L, D]));
  const [v, k, q] = [list.at(-1), list.at(-2), list.at(-3)] as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D | undefined];
  const place = (heads: tf.Tensor3D, norm: string): tf.Tensor3D => {
    const scaled = config.qkNorm ? rmsNorm(heads, p.get(`self_attn.${norm}.${index}.weight`), config.qkNormEps) : heads;
    return rotate(scaled, rope);
  };
  return { q: q && place(q, "q_norm_list"), k: place(k, "k_norm_list"), v };
}

/**
 * The part of a layer after attention:
 *
 *     y = x + W attended + b        y + W_down (SiLU(W_gate norm(y)) ∘ W_up norm(y))
 *
 * Source: spec section 5, steps 6 and 7; SwiGLU is Shazeer 2020, arXiv:2002.05202.
 *
 * @param p The layer's parameters.
 * @param x (N, L, C) float32, what went into the layer.
 * @param attended (N·H, L, D) float32.
 * @returns (N, L, C) float32, and what attention added (for inspection).
 */
export function completeLayer(
  p: Scope,
  config: MadformerConfig,
  tower: Stream,
  x: tf.Tensor3D,
  attended: tf.Tensor3D,
): { readonly y: tf.Tensor3D; readonly attention: tf.Tensor3D } {
  const [N, L, C] = x.shape;
  const { heads: H } = config;
  const index = towerIndex(config, tower);
  const merged = tf.transpose(tf.reshape(attended, [N, H, L, C / H]), [0, 2, 1, 3]); // (N, L, H, D): heads side by side
  const attention = linear(p.in(`self_attn.proj_list.${index}`), tf.reshape(merged, [N * L, C]));
  const rows = tf.add<tf.Tensor2D>(tf.reshape(x, [N * L, C]), attention);
  const normed = rmsNorm<tf.Tensor2D>(rows, p.get(`post_attention_layernorm_list.${index}.weight`), config.normEps);
  const mlp = p.in(`mlp_list.${index}`);
  const inner = tf.mul(silu(linear(mlp.in("gate_proj"), normed)), linear(mlp.in("up_proj"), normed)); // (N·L, mlpWidth)
  const y = tf.add(rows, linear(mlp.in("down_proj"), inner as tf.Tensor2D));
  return { y: tf.reshape(y, [N, L, C]), attention: tf.reshape(attention, [N, L, C]) };
}
