/** What the tests of this package share: random tensors, one run of a function, comparisons. */
import { compile, normal, randomKey, spec, type TensorSpec } from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";

/** A tensor of a test. */
export interface Value {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Standard normal numbers, a function of their name and size alone. */
export function draw(name: string, ...shape: number[]): Value {
  return { shape, data: normal(randomKey(7, name), { size: shape.reduce((a, b) => a * b, 1) }) };
}

/** Compiles a function of tensors, runs it once and frees it. */
export async function runOnce<Name extends string, Outputs extends Readonly<Record<string, tf.Tensor>>>(
  inputs: Readonly<Record<Name, Value>>,
  fn: (inputs: Readonly<Record<Name, tf.Tensor>>) => Outputs,
): Promise<{ readonly [Output in keyof Outputs]: Float32Array }> {
  const entries = Object.entries<Value>(inputs);
  const specs: Record<string, TensorSpec> = Object.fromEntries(entries.map(([name, { shape }]) => [name, spec(shape)]));
  await using program = await compile(
    (_, tensors) => ({ outputs: fn(tensors as Readonly<Record<Name, tf.Tensor>>) }),
    { inputs: specs },
    { name: "test" },
  );
  const outputs = await program.run(Object.fromEntries(entries.map(([name, { data }]) => [name, data])));
  return outputs as { readonly [Output in keyof Outputs]: Float32Array };
}

/** How far results may be apart: a float32 keeps 24 bits, 6e-8 relatively; values here are of order 1. */
export const TOLERANCE = {
  /** A few correctly rounded operations one after another. */
  elementwise: 1e-6,
  /** Sums of products, added in another order. */
  sums: 1e-5,
} as const;

/** Fails if an element differs by more than the tolerance, times the largest expected one where that is above 1. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what = "result",
): void {
  expect(actual).toHaveLength(expected.length);
  const scale = Array.from(expected).reduce((max, value) => Math.max(max, Math.abs(value)), 1);
  Array.from(expected).forEach((value, i) => {
    if (!(Math.abs(actual[i]! - value) <= tolerance * scale))
      throw new Error(`${what}: element ${i} is ${actual[i]}, expected ${value}: allowed ${tolerance * scale}`);
  });
}
