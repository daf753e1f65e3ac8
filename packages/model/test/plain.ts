/**
 * MADFormer as plain as its description: the place to read first. Every token of both towers, and of the text before
 * them, goes through every layer, attention is masked and not skipped, each U-Net call stands alone. From the end
 * upwards: `plainForward` (section 6), `layer` (5), `mayAttend` (7), `rope` (8), `downsampler` and `upsampler` (4).
 *
 * Source: docs/reference.md, and docs/imagenet.md for the text. It shares no code with `src/`, which tests compare with
 * it, except for the sizes of a config.
 */
import { geometryOf, type MadformerConfig, type OutputName } from "@madformer/model";
import * as tf from "@tensorflow/tfjs-core";

/** Parameters by key. */
export type P = Readonly<Record<string, tf.Tensor>>;

const at = <T extends tf.Tensor>(p: P, key: string): T => {
  if (!p[key]) throw new Error(`no "${key}"`);
  return p[key] as T;
};

function linear(p: P, key: string, x: tf.Tensor): tf.Tensor {
  const weight = at<tf.Tensor2D>(p, `${key}.weight`);
  const rows = tf.reshape(x, [-1, weight.shape[1]]);
  const y = tf.matMul(rows, tf.transpose(weight));
  const bias = p[`${key}.bias`];
  return tf.reshape(bias ? tf.add(y, bias) : y, [...x.shape.slice(0, -1), weight.shape[0]]);
}

export function conv(p: P, key: string, x: tf.Tensor4D, stride = 1, farSides = false): tf.Tensor4D {
  const kernel = at<tf.Tensor4D>(p, `${key}.weight`);
  const around = kernel.shape[0] === 3 ? 1 : 0;
  const sides: [number, number] = farSides ? [0, 1] : [around, around];
  const padded = tf.pad(x, [[0, 0], sides, sides, [0, 0]]);
  return tf.add(tf.conv2d(padded, kernel, stride, "valid"), at(p, `${key}.bias`));
}

export const silu = <T extends tf.Tensor>(x: T): T => tf.mul(x, tf.sigmoid(x));

export function groupNorm(p: P, key: string, x: tf.Tensor4D, groups: number): tf.Tensor4D {
  const [N, H, W, C] = x.shape;
  const grouped = tf.reshape(x, [N, H * W, groups, C / groups]);
  const mean = tf.mean(grouped, [1, 3], true);
  const variance = tf.mean(tf.square(tf.sub(grouped, mean)), [1, 3], true);
  const normed = tf.reshape(tf.div(tf.sub(grouped, mean), tf.sqrt(tf.add(variance, 1e-6))), x.shape);
  return tf.add(tf.mul(normed, at(p, `${key}.weight`)), at(p, `${key}.bias`));
}

function rmsNorm(weight: tf.Tensor, x: tf.Tensor, eps: number): tf.Tensor {
  return tf.mul(tf.div(x, tf.sqrt(tf.add(tf.mean(tf.square(x), -1, true), eps))), weight);
}

export function resnet(p: P, key: string, x: tf.Tensor4D, groups: number, temb?: tf.Tensor2D): tf.Tensor4D {
  let h = conv(p, `${key}.conv1`, silu(groupNorm(p, `${key}.norm1`, x, groups)));
  if (temb) {
    const shift = linear(p, `${key}.time_emb_proj`, silu(temb));
    h = tf.add(h, tf.reshape(shift, [shift.shape[0] ?? 0, 1, 1, -1]));
  }
  h = conv(p, `${key}.conv2`, silu(groupNorm(p, `${key}.norm2`, h, groups)));
  return tf.add(p[`${key}.conv_shortcut.weight`] ? conv(p, `${key}.conv_shortcut`, x) : x, h);
}

export function spatialAttention(p: P, key: string, x: tf.Tensor4D, groups: number, heads: number): tf.Tensor4D {
  const [N, H, W, C] = x.shape;
  const D = Math.floor(C / heads);
  const normed = groupNorm(p, `${key}.group_norm`, x, groups);
  const split = (name: string): tf.Tensor =>
    tf.transpose(tf.reshape(linear(p, `${key}.${name}`, normed), [N, H * W, -1, D]), [0, 2, 1, 3]);
  const scores = tf.div(tf.matMul(split("to_q"), tf.transpose(split("to_k"), [0, 1, 3, 2])), Math.sqrt(D));
  const mixed = tf.transpose(tf.matMul(tf.softmax(scores), split("to_v")), [0, 2, 1, 3]); // (N, HW, heads, D)
  const merged = tf.reshape(mixed, [N, H, W, (mixed.shape[2] ?? 0) * D]);
  return tf.add(x, linear(p, `${key}.to_out.0`, merged));
}

const timeEmbedding = (p: P, key: string, t: tf.Tensor1D): tf.Tensor2D =>
  linear(p, `${key}.linear_2`, silu(linear(p, `${key}.linear_1`, tf.reshape(t, [-1, 1])))) as tf.Tensor2D;

/** (R, side, side, channels) -> embedding (R, side', side', C) and the states for the way up. */
function downsampler(p: P, { unet }: MadformerConfig, x: tf.Tensor4D, t: tf.Tensor1D): [tf.Tensor4D, tf.Tensor4D[]] {
  const temb = timeEmbedding(p, "downsampler.time_embedding", t);
  let h = conv(p, "downsampler.conv_in", x);
  const states = [h];
  unet.channels.forEach((_, i) => {
    const level = `downsampler.down_blocks.${i}`;
    for (let j = 0; j < (unet.layers[i] ?? 0); j++) {
      h = resnet(p, `${level}.resnets.${j}`, h, unet.groups, temb);
      if (unet.attention[i]) h = spatialAttention(p, `${level}.attentions.${j}`, h, unet.groups, unet.heads);
      states.push(h);
    }
    if (i < unet.channels.length - 1) states.push((h = conv(p, `${level}.downsamplers.0.conv`, h, 2)));
  });
  return [conv(p, "downsampler.conv_out", h), states];
}

/** Every pixel twice in both directions. */
export function doubled(x: tf.Tensor4D): tf.Tensor4D {
  const [N, H, W, C] = x.shape;
  const twice = tf.tile(tf.reshape(x, [N, H, 1, W, 1, C] as never), [1, 1, 2, 1, 2, 1]);
  return tf.reshape(twice, [N, 2 * H, 2 * W, C]);
}

function upsampler(
  p: P,
  { unet }: MadformerConfig,
  x: tf.Tensor4D,
  t: tf.Tensor1D,
  states: readonly tf.Tensor4D[],
): tf.Tensor4D {
  const temb = timeEmbedding(p, "upsampler.time_embedding", t);
  const left = [...states];
  let h = conv(p, "upsampler.conv_in", x);
  [...unet.channels.keys()].reverse().forEach((level, i) => {
    for (let j = 0; j <= (unet.layers[level] ?? 0); j++) {
      h = resnet(
        p,
        `upsampler.up_blocks.${i}.resnets.${j}`,
        tf.concat([h, left.pop() as tf.Tensor4D], 3),
        unet.groups,
        temb,
      );
      if (unet.attention[level])
        h = spatialAttention(p, `upsampler.up_blocks.${i}.attentions.${j}`, h, unet.groups, unet.heads);
    }
    if (level > 0) {
      h = conv(p, `upsampler.up_blocks.${i}.upsamplers.0.conv`, doubled(h));
    }
  });
  return conv(p, "upsampler.conv_out", h);
}

/** Rotates (N, H, L, D) by the positions of the tokens of whole images, written out pair by pair. Spec section 8. */
function rope(config: MadformerConfig, x: tf.Tensor4D): tf.Tensor4D {
  const { D, grid, tokenSide, M, T } = geometryOf(config);
  const side = grid * tokenSide;
  const base = (Math.floor(Math.trunc((8 * side) / Math.PI) / 100) + 1) * 100;
  const n = D / 4;
  const frequency = (i: number): number =>
    base ** -(config.quirks.ropeExponents === "inclusive" ? i / Math.max(n - 1, 1) : i / n);
  // Dimension j turns by its axis' angle, towards its partner: out[j] = x[j] cos(angle) ± x[partner] sin(angle).
  const dimension = (j: number) => {
    const axis = j < D / 2 ? "row" : "column";
    const first = config.quirks.ropePairs === "across-axes" ? j < D / 2 : j % (D / 2) < n;
    const apart = config.quirks.ropePairs === "across-axes" ? D / 2 : n;
    return { axis, i: j % n, partner: first ? j + apart : j - apart, sign: first ? -1 : 1 };
  };
  const dimensions = Array.from({ length: D }, (_, j) => dimension(j));
  const angles = Array.from({ length: T * M }, (_, token) => {
    const [block, inside] = [Math.floor(token / M), token % M];
    const position = {
      row: Math.floor(block / grid) * tokenSide + Math.floor(inside / tokenSide),
      column: (block % grid) * tokenSide + (inside % tokenSide),
    };
    return dimensions.map(({ axis, i }) => position[axis as "row" | "column"] * frequency(i));
  });
  const towers = x.shape[2] / (T * M); // the clean tower's positions, then the noised one's: the same
  const table = (of: (angle: number) => number): tf.Tensor =>
    tf.tile(tf.tensor2d(angles.map((row) => row.map(of))), [towers, 1]);
  const turned = tf.mul(
    tf.gather(
      x,
      tf.tensor1d(
        dimensions.map(({ partner }) => partner),
        "int32",
      ),
      3,
    ),
    tf.tensor1d(dimensions.map(({ sign }) => sign)),
  );
  return tf.add(tf.mul(x, table(Math.cos)), tf.mul(turned, table(Math.sin)));
}

/** Rotates (N, H, tokens, D) of a text, pair by pair: dimensions i and i + D / 2 by position · theta^(-2i / D). */
function textRope(theta: number, x: tf.Tensor4D): tf.Tensor4D {
  const [, , tokens, D] = x.shape;
  const table = (of: (angle: number) => number): tf.Tensor =>
    tf.tensor2d(
      Array.from({ length: tokens }, (_, position) =>
        Array.from({ length: D / 2 }, (_, i) => of(position * theta ** ((-2 * i) / D))),
      ),
    );
  const [first, second] = tf.split(x, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
  const [cos, sin] = [table(Math.cos), table(Math.sin)];
  return tf.concat<tf.Tensor4D>(
    [tf.sub(tf.mul(first, cos), tf.mul(second, sin)), tf.add(tf.mul(second, cos), tf.mul(first, sin))],
    3,
  );
}

/** Whether block `q` may look at block `k`, numbered over both towers: 0..T-1 clean, T..2T-1 noised. Spec section 7. */
export function mayAttend(config: MadformerConfig, layer: number, q: number, k: number): boolean {
  const T = config.blocks;
  if (config.denoisingMlp && layer >= config.arLayers) return q === k;
  if (config.clearClean) return q >= T && k >= T && q >= k;
  const [cleanQ, cleanK] = [q < T, k < T];
  return (cleanQ && cleanK && q >= k) || (!cleanQ && cleanK && q - T > k) || q === k;
}

/**
 * One transformer layer over (N, L, C): the text's tokens and the clean ones, where there are any, then noised ones.
 * Spec section 5; spec sections 22 and 25.
 */
function layer(p: P, config: MadformerConfig, index: number, x: tf.Tensor3D, cleanTokens: number): tf.Tensor3D {
  const { M, D, T } = geometryOf(config);
  const [N, L, C] = x.shape;
  const key = `blocks.${index}`;
  /** Applies to each tower what has its weights. */
  const words = config.text?.tokens ?? 0;
  const byTower = (x: tf.Tensor3D, f: (part: tf.Tensor, tower: number) => tf.Tensor): tf.Tensor3D => {
    const [clean, noised] = config.text ? [1, config.singleTower ? 1 : 2] : [0, config.singleTower ? 0 : 1];
    const parts = [
      [0, words, 0],
      [words, cleanTokens, clean],
      [words + cleanTokens, L - words - cleanTokens, noised],
    ] as const;
    const applied = parts.flatMap(([start, tokens, tower]) =>
      tokens === 0 ? [] : [f(tf.slice(x, [0, start, 0], [-1, tokens, -1]), tower)],
    );
    return tf.concat(applied, 1) as tf.Tensor3D;
  };
  const norm = (name: string, x: tf.Tensor3D): tf.Tensor3D =>
    byTower(x, (part, tower) => rmsNorm(at(p, `${key}.${name}.${tower}.weight`), part, config.normEps));
  const qkv = byTower(norm("input_layernorm_list", x), (part, tower) =>
    linear(p, `${key}.self_attn.qkv_list.${tower}`, part),
  );
  const part = (i: number, scale?: string): tf.Tensor4D => {
    let heads: tf.Tensor3D = tf.slice(qkv, [0, 0, i * C], [-1, -1, C]);
    if (scale !== undefined && config.qkNorm)
      heads = byTower(heads, (rows, tower) => {
        const weight = at(p, `${key}.self_attn.${scale}.${tower}.weight`);
        return tf.reshape(rmsNorm(weight, tf.reshape(rows, [N, -1, C / D, D]), config.qkNormEps), rows.shape);
      });
    return tf.transpose(tf.reshape(heads, [N, L, C / D, D]), [0, 2, 1, 3]);
  };
  /** Text and image each by positions of their own. */
  const turned = (x: tf.Tensor4D): tf.Tensor4D => {
    const [text, image] = tf.split(x, [words, L - words], 2) as [tf.Tensor4D, tf.Tensor4D];
    return words === 0 ? rope(config, x) : tf.concat([textRope(config.text!.ropeTheta, text), rope(config, image)], 2);
  };
  const [q, k, v] = [turned(part(0, "q_norm_list")), turned(part(1, "k_norm_list")), part(2)];
  const blockOf = (token: number): number => Math.floor((token - words) / M) + (cleanTokens > 0 ? 0 : T);
  const mayLook = (i: number, j: number): boolean => {
    if (j < words) return i >= j; // a text sees what is before it, all else sees all of the text
    return i >= words && mayAttend(config, index, blockOf(i), blockOf(j));
  };
  const mask = tf.tensor2d(
    Array.from({ length: L }, (_, i) => Array.from({ length: L }, (_, j) => (mayLook(i, j) ? 0 : -1e9))),
  );
  const scores = tf.div(tf.matMul(q, tf.transpose(k, [0, 1, 3, 2])), Math.sqrt(D)); // (N, H, L, L)
  const mixed = tf.reshape(tf.transpose(tf.matMul(tf.softmax(tf.add(scores, mask)), v), [0, 2, 1, 3]), [N, L, C]);
  const h: tf.Tensor3D = tf.add(
    x,
    byTower(mixed as tf.Tensor3D, (part, tower) => linear(p, `${key}.self_attn.proj_list.${tower}`, part)),
  );
  const mlp = byTower(norm("post_attention_layernorm_list", h), (n, tower) => {
    const list = `${key}.mlp_list.${tower}`;
    return linear(
      p,
      `${list}.down_proj`,
      tf.mul(silu(linear(p, `${list}.gate_proj`, n)), linear(p, `${list}.up_proj`, n)),
    );
  });
  return tf.add(h, mlp);
}

/**
 * All outputs. Spec section 6; with a text spec section 24.
 *
 * @param cleanT (N, T) int32: the timestep of each clean block, whatever the quirk says.
 */
export function plainForward(
  p: P,
  config: MadformerConfig,
  batch: Readonly<Record<"cleanX" | "noisedX", tf.Tensor4D>> &
    Readonly<Record<"t" | "cleanT", tf.Tensor2D>> & { readonly text?: tf.Tensor2D },
): Partial<Record<Exclude<OutputName, "text">, tf.Tensor4D>> & { readonly text?: tf.Tensor3D } {
  const { T, M, tokenSide, latentSide, grid, layers } = geometryOf(config);
  const { width: C, quirks } = config;
  const side = latentSide / grid;
  const N = batch.cleanX.shape[0];
  const time = (t: tf.Tensor2D): tf.Tensor1D => {
    const flat = tf.reshape<tf.Rank.R1>(tf.cast(t, "float32"), [N * T]);
    return quirks.timestepScale === "unit" ? tf.div(flat, 1000) : flat;
  };
  const [noisedTime, cleanTime] = [time(batch.t), time(batch.cleanT)];
  const images = (x: tf.Tensor4D): tf.Tensor4D => tf.reshape(x, [N * T, side, side, config.latentChannels]);
  const tokens = (x: tf.Tensor4D): tf.Tensor3D => tf.reshape(x, [N, T * M, C]);
  const [cleanMap, cleanStates] = downsampler(p, config, images(batch.cleanX), cleanTime);
  const [noisedMap, noisedStates] = downsampler(p, config, images(batch.noisedX), noisedTime);
  const [clean, noised] = [tokens(cleanMap), tokens(noisedMap)];
  const first = tf.tile(at<tf.Tensor3D>(p, "boi_block"), [N, 1, 1]);
  const shifted = tf.concat([first, tf.slice(clean, [0, 0, 0], [-1, (T - 1) * M, -1])], 1);
  const cleanTokens = config.clearClean ? 0 : T * M;
  const words = batch.text
    ? [tf.gather<tf.Tensor3D>(at(p, "embed_tokens.weight"), tf.cast(batch.text, "int32"))] // (N, tokens, C)
    : [];
  const before = cleanTokens + (words[0]?.shape[1] ?? 0); // tokens before the noised ones
  let x: tf.Tensor3D = tf.concat([...words, ...(config.clearClean ? [] : [clean]), shifted], 1);
  const last = (x: tf.Tensor3D): tf.Tensor3D => tf.slice(x, [0, before, 0], [-1, -1, -1]);
  let condition: tf.Tensor3D | undefined;
  for (let i = 0; i < layers; i++) {
    if (i === config.arLayers) {
      const output = last(x);
      const sum = config.clearCond ? noised : tf.add<tf.Tensor3D>(output, noised);
      condition = quirks.condition === "with-noised" ? sum : output;
      x = before === 0 ? sum : tf.concat([tf.slice(x, [0, 0, 0], [-1, before, -1]), sum], 1);
    }
    x = layer(p, config, i, x, cleanTokens);
  }
  const up = (h: tf.Tensor3D, t: tf.Tensor1D, states: readonly tf.Tensor4D[]): tf.Tensor4D =>
    tf.reshape(upsampler(p, config, tf.reshape(h, [N * T, tokenSide, tokenSide, C]), t, states), batch.cleanX.shape);
  const skips = quirks.conditionSkips === "clean" ? cleanStates : cleanStates.map((state) => tf.zerosLike(state));
  return {
    noisePred: up(last(x), noisedTime, noisedStates),
    condition: up(condition as tf.Tensor3D, cleanTime, skips),
    ...(config.clearClean
      ? {}
      : { cleanTower: up(tf.slice(x, [0, before - cleanTokens, 0], [-1, cleanTokens, -1]), cleanTime, cleanStates) }),
    ...(words.length === 0 ? {} : { text: tf.slice(x, [0, 0, 0], [-1, before - cleanTokens, -1]) }),
  };
}
