import { normals } from "../linalg/testing.js";
import { inceptionUnits, type InceptionDims } from "./units.js";
import type { TensorSource } from "./weights.js";

// What tests of the network share: weights of its shapes.

export type DrawnTensors = ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>;

/**
 * The reference's tensors for these features, with values that keep activations in range and no scale or shift trivial.
 */
export function drawnTensors(dims: InceptionDims): DrawnTensors {
  const draw = normals(dims);
  const tensors = new Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }>();
  const add = (key: string, shape: readonly number[], value: () => number): void => {
    const size = shape.reduce((product, n) => product * n, 1);
    tensors.set(key, { shape, data: Float32Array.from({ length: size }, value) });
  };
  for (const [name, { channelsIn, channelsOut, kernel }] of inceptionUnits(dims)) {
    const scale = Math.sqrt(2 / (channelsIn * kernel[0] * kernel[1]));
    add(`${name}.conv.weight`, [channelsOut, channelsIn, ...kernel], () => scale * draw());
    add(`${name}.bn.weight`, [channelsOut], () => 1 + 0.1 * draw());
    add(`${name}.bn.bias`, [channelsOut], () => 0.2 * draw());
    add(`${name}.bn.running_mean`, [channelsOut], () => 0.1 * draw());
    add(`${name}.bn.running_var`, [channelsOut], () => 0.5 + Math.abs(draw()));
  }
  return tensors;
}

export function sourceOf(tensors: DrawnTensors): TensorSource {
  return {
    has: (name) => tensors.has(name),
    read: (name) => Promise.resolve(tensors.get(name)!),
  };
}
