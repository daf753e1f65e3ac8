import type * as tf from "@tensorflow/tfjs-core";
import { compile, type CompileOptions } from "./compile.js";
import type { TensorData } from "./ir/graph.js";
import type { Program } from "./program.js";
import {
  flatten,
  isSpec,
  unflatten,
  type InputValues,
  type Part,
  type Tensors,
  type TensorSpec,
  type TensorValue,
  type Tree,
} from "./signature.js";

/** A weight with its elements, row-major. */
export interface Weight extends TensorSpec {
  readonly data: TensorData;
}

/** Options of `compileInference`; what is undefined counts as not said. */
export type InferenceOptions = {
  readonly [Name in "name" | "engine" | "precision" | "session"]?: CompileOptions[Name] | undefined;
};

/**
 * Compiles a network that is only used: its weights are constants of the program, which may fold them and pack them for
 * its kernels.
 *
 * @param weights Borrowed for good: do not change them afterwards.
 * @param inputs Shapes and dtypes of what every run takes.
 * @returns A program without state. The caller disposes it.
 * @throws As `compile`.
 *
 * @example
 * const weights = { w: { shape: [3], data: Float32Array.of(1, 2, 3) } };
 * const program = await compileInference(({ w }, { x }) => ({ y: tf.dot(x, w) }), weights, { x: spec([8, 3]) });
 */
export function compileInference<
  const Weights extends Tree<Weight>,
  const Inputs extends Tree<TensorSpec>,
  Outputs extends Tree<tf.Tensor>,
>(
  run: (weights: Tensors<Weights>, inputs: Tensors<Inputs>) => Outputs,
  weights: Weights,
  inputs: Inputs,
  { name, engine, precision, session }: InferenceOptions = {},
): Promise<Program<Inputs, Outputs>> {
  const leaves = flatten<Weight>(weights, isSpec as (value: unknown) => value is Weight, "Weights");
  const constants = unflatten([...leaves].map(([path, { data }]) => [path, data] as const));
  return compile(
    (weights: Tensors<Weights>, inputs: Tensors<Inputs>) => ({ outputs: run(weights, inputs) }),
    { state: weights, inputs },
    {
      constants: constants as Part<InputValues<Weights, TensorValue>>,
      name: name ?? (run.name || "inference"),
      ...(engine === undefined ? {} : { engine }),
      ...(precision === undefined ? {} : { precision }),
      ...(session === undefined ? {} : { session }),
    },
  );
}
