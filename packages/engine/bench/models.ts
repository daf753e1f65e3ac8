import * as tf from "@tensorflow/tfjs-core";
import { groupNorm, rmsNorm, silu, spec, type TensorSpec } from "../src/index.js";

type Params = Record<string, tf.Tensor>;
type Shapes = Record<string, readonly number[]>;

/** A model to train: its parameters' shapes, its inputs and its loss. */
export interface BenchModel {
  readonly name: string;
  readonly parameters: Shapes;
  readonly inputs: Record<string, TensorSpec>;
  loss(p: Params, inputs: Params): tf.Scalar;
}

/** Signature of a training step: parameters and AdamW's two moments as state. */
export function signatureOf(model: BenchModel) {
  const specs = Object.fromEntries(Object.entries(model.parameters).map(([name, shape]) => [name, spec(shape)]));
  return { state: { params: specs, m: specs, v: specs }, inputs: model.inputs };
}

/** One step: loss, gradients, clipping to norm 1, AdamW. */
export function stepOf(model: BenchModel) {
  const names = Object.keys(model.parameters);
  const [rate, beta1, beta2, eps, decay] = [3e-4, 0.9, 0.95, 1e-8, 0.05];
  return (state: { params: Params; m: Params; v: Params }, inputs: Params) => {
    const { params, m, v } = state;
    const list = names.map((name) => params[name] as tf.Tensor);
    const lossOf = (...values: tf.Tensor[]): tf.Scalar =>
      model.loss(Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor])), inputs);
    const { value, grads } = tf.tidy("gradients", () => tf.valueAndGrads(lossOf)(list));
    return tf.tidy("adamw", () => {
      const norm = tf.sqrt(tf.addN(grads.map((g) => tf.sum(tf.square(g)))));
      const clip = tf.minimum(tf.div(1, tf.add(norm, 1e-6)), 1);
      // The gradient is clipped and weighted in one product: (1 - beta1) · clip · g, and ((1 - beta2)^½ · clip · g)².
      const [clip1, clip2] = [tf.mul(clip, 1 - beta1), tf.mul(clip, Math.sqrt(1 - beta2))];
      const next = { params: {} as Params, m: {} as Params, v: {} as Params };
      names.forEach((name, i) => {
        const g = grads[i] as tf.Tensor;
        const m1 = tf.add(tf.mul(m[name] as tf.Tensor, beta1), tf.mul(g, clip1));
        const v1 = tf.add(tf.mul(v[name] as tf.Tensor, beta2), tf.square(tf.mul(g, clip2)));
        const kept = tf.mul(params[name] as tf.Tensor, 1 - rate * decay);
        next.params[name] = tf.sub(kept, tf.mul(rate, tf.div(m1, tf.add(tf.sqrt(v1), eps))));
        next.m[name] = m1;
        next.v[name] = v1;
      });
      return { state: next, outputs: { loss: value, norm } };
    });
  };
}

const at = (p: Params, name: string): tf.Tensor => {
  const tensor = p[name];
  if (!tensor) throw new RangeError(`no parameter "${name}"`);
  return tensor;
};

/** Sizes of a two-tower transformer. */
export interface TransformerSize {
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlp: number;
  readonly blocks: number;
  readonly blockTokens: number;
  readonly batch: number;
}

/**
 * Two towers of tokens in blocks, with weights of their own: clean block i attends to the clean blocks 0..i, noised
 * block i to the clean blocks before i and to itself. RMSNorm, multi-head attention, SwiGLU.
 */
export function transformer(size: TransformerSize): BenchModel {
  const { width: C, depth, heads: H, mlp, blocks, blockTokens: M, batch: B } = size;
  const D = C / H;
  const T = blocks * M;
  const parameters: Shapes = Object.fromEntries(
    Array.from({ length: depth }, (_, layer) =>
      [0, 1].flatMap((tower): [string, readonly number[]][] => {
        const key = (name: string): string => `layer${layer}.tower${tower}.${name}`;
        return [
          [key("qkv"), [C, 3 * C]],
          [key("out"), [C, C]],
          [key("gate"), [C, mlp]],
          [key("up"), [C, mlp]],
          [key("down"), [mlp, C]],
          [key("norm1"), [C]],
          [key("norm2"), [C]],
        ];
      }),
    ).flat(),
  );
  const attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor): tf.Tensor =>
    tf.matMul(tf.softmax(tf.mul(tf.matMul(q, k, false, true), D ** -0.5)), v);
  const part = (x: tf.Tensor, start: number, count: number): tf.Tensor =>
    tf.slice(x, [0, start * M, 0], [-1, count * M, -1]);

  return {
    name: "transformer",
    parameters,
    inputs: { clean: spec([B, T, C]), noised: spec([B, T, C]), target: spec([B, T, C]) },
    loss(p, { clean, noised, target }) {
      let towers = [clean, noised].map((x) => tf.reshape(x as tf.Tensor, [B * T, C]));
      for (let layer = 0; layer < depth; layer++) {
        const weight = (tower: number, name: string): tf.Tensor => at(p, `layer${layer}.tower${tower}.${name}`);
        const [cleanQkv, noisedQkv] = towers.map((x, tower) => {
          const flat = tf.matMul(rmsNorm(x, weight(tower, "norm1") as tf.Tensor1D, 1e-5), weight(tower, "qkv"));
          const split = tf.transpose(tf.reshape(flat, [B, T, 3, H, D]), [2, 0, 3, 1, 4]);
          return tf.split(split, 3, 0).map((t) => tf.reshape(t, [B * H, T, D]));
        }) as [tf.Tensor[], tf.Tensor[]];
        const [cq, ck, cv] = cleanQkv as [tf.Tensor, tf.Tensor, tf.Tensor];
        const [nq, nk, nv] = noisedQkv as [tf.Tensor, tf.Tensor, tf.Tensor];
        const cleanOut: tf.Tensor[] = [];
        const noisedOut: tf.Tensor[] = [];
        for (let i = 0; i < blocks; i++) {
          cleanOut.push(attend(part(cq, i, 1), part(ck, 0, i + 1), part(cv, 0, i + 1)));
          const before = (c: tf.Tensor, n: tf.Tensor): tf.Tensor =>
            i > 0 ? tf.concat([part(c, 0, i), part(n, i, 1)], 1) : part(n, i, 1);
          noisedOut.push(attend(part(nq, i, 1), before(ck, nk), before(cv, nv)));
        }
        const attended = [cleanOut, noisedOut].map((list) =>
          tf.reshape(tf.transpose(tf.reshape(tf.concat(list, 1), [B, H, T, D]), [0, 2, 1, 3]), [B * T, C]),
        );
        towers = towers.map((x, tower) => {
          const y = tf.add(x, tf.matMul(attended[tower] as tf.Tensor2D, weight(tower, "out") as tf.Tensor2D));
          const h = rmsNorm(y, weight(tower, "norm2") as tf.Tensor1D, 1e-5);
          const gate = tf.matMul(h, weight(tower, "gate"));
          const inner = tf.mul(silu(gate), tf.matMul(h, weight(tower, "up")));
          return tf.add(y, tf.matMul(inner, weight(tower, "down")));
        });
      }
      const wanted = tf.reshape(target as tf.Tensor, [B * T, C]);
      const [cleanLoss, noisedLoss] = towers.map((x) => tf.mean(tf.squaredDifference(x, wanted)));
      return tf.add<tf.Scalar>(noisedLoss as tf.Tensor, tf.mul(0.1, cleanLoss as tf.Tensor));
    },
  };
}

/** Sizes of a convolutional U-Net of two levels. */
export interface UNetSize {
  readonly channels: readonly [number, number];
  readonly side: number;
  readonly latentChannels: number;
  readonly heads: number;
  readonly groups: number;
  readonly batch: number;
}

/**
 * A U-Net of two levels with two residual blocks each on the way down and three on the way up, attention at the low
 * level, group normalization, SiLU, and skip connections: the shape of the reference's downsampler and upsampler, put
 * together.
 */
export function uNet(size: UNetSize): BenchModel {
  const { channels, side, latentChannels, heads, groups, batch: B } = size;
  const [high, low] = channels;
  const parameters: Record<string, readonly number[]> = {};
  const norm = (name: string, C: number): void => {
    parameters[`${name}.weight`] = [C];
    parameters[`${name}.bias`] = [C];
  };
  const conv = (name: string, window: number, from: number, to: number): void => {
    parameters[`${name}.kernel`] = [window, window, from, to];
    parameters[`${name}.bias`] = [to];
  };
  const resnet = (name: string, from: number, to: number): void => {
    norm(`${name}.norm1`, from);
    conv(`${name}.conv1`, 3, from, to);
    norm(`${name}.norm2`, to);
    conv(`${name}.conv2`, 3, to, to);
    if (from !== to) conv(`${name}.shortcut`, 1, from, to);
  };
  const attention = (name: string, C: number): void => {
    norm(`${name}.norm`, C);
    for (const part of ["q", "k", "v", "out"]) conv(`${name}.${part}`, 1, C, C);
  };
  conv("conv_in", 3, latentChannels, high);
  resnet("down0.0", high, high);
  resnet("down0.1", high, high);
  conv("down0.downsample", 3, high, high);
  resnet("down1.0", high, low);
  attention("down1.0.attention", low);
  resnet("down1.1", low, low);
  attention("down1.1.attention", low);
  for (const [i, skip] of [low, low, high].entries()) {
    resnet(`up0.${i}`, low + skip, low);
    attention(`up0.${i}.attention`, low);
  }
  conv("up0.upsample", 3, low, low);
  for (const [i, from] of [low + high, high + high, high + high].entries()) resnet(`up1.${i}`, from, high);
  conv("conv_out", 3, high, latentChannels);

  return {
    name: "unet",
    parameters,
    inputs: { x: spec([B, side, side, latentChannels]), noise: spec([B, side, side, latentChannels]) },
    loss(p, { x, noise }) {
      const convolve = (h: tf.Tensor4D, name: string, stride = 1): tf.Tensor4D => {
        const kernel = at(p, `${name}.kernel`) as tf.Tensor4D;
        return tf.add(tf.conv2d(h, kernel, stride, kernel.shape[0] === 3 ? 1 : 0), at(p, `${name}.bias`));
      };
      const normed = (h: tf.Tensor4D, name: string): tf.Tensor4D =>
        groupNorm(h, at(p, `${name}.weight`) as tf.Tensor1D, at(p, `${name}.bias`) as tf.Tensor1D, groups, 1e-6);
      const block = (h: tf.Tensor4D, name: string): tf.Tensor4D => {
        const inner = convolve(silu(normed(h, `${name}.norm1`)), `${name}.conv1`);
        const outer = convolve(silu(normed(inner, `${name}.norm2`)), `${name}.conv2`);
        return tf.add(`${name}.shortcut.kernel` in p ? convolve(h, `${name}.shortcut`) : h, outer);
      };
      const attend = (h: tf.Tensor4D, name: string): tf.Tensor4D => {
        const [N, H, W, C] = h.shape;
        const D = C / heads;
        const n = normed(h, `${name}.norm`);
        const project = (part: string): tf.Tensor4D =>
          tf.transpose(tf.reshape(convolve(n, `${name}.${part}`), [N, H * W, heads, D]), [0, 2, 1, 3]);
        const scores = tf.softmax(tf.mul(tf.matMul(project("q"), project("k"), false, true), D ** -0.5));
        const mixed = tf.transpose(tf.matMul(scores, project("v")), [0, 2, 1, 3]); // (N, HW, heads, D)
        return tf.add(h, convolve(tf.reshape(mixed, [N, H, W, C]), `${name}.out`));
      };
      let h = convolve(x as tf.Tensor4D, "conv_in");
      const skips = [h];
      const push = (next: tf.Tensor4D): void => void skips.push((h = next));
      push(block(h, "down0.0"));
      push(block(h, "down0.1"));
      push(convolve(h, "down0.downsample", 2));
      push(attend(block(h, "down1.0"), "down1.0.attention"));
      push(attend(block(h, "down1.1"), "down1.1.attention"));
      const join = (): tf.Tensor4D => tf.concat([h, skips.pop() as tf.Tensor4D], 3);
      for (let i = 0; i < 3; i++) h = attend(block(join(), `up0.${i}`), `up0.${i}.attention`);
      h = convolve(tf.image.resizeNearestNeighbor(h, [side, side]), "up0.upsample");
      for (let i = 0; i < 3; i++) h = block(join(), `up1.${i}`);
      return tf.mean(tf.squaredDifference(convolve(h, "conv_out"), noise as tf.Tensor));
    },
  };
}
