/** What the tests of this package share: small models, random tensors, one run of a function, comparisons. */
import {
  compile,
  normal,
  randomKey,
  spec,
  type EngineName,
  type TensorData,
  type TensorSpec,
  type Tree,
} from "@madformer/engine";
import type * as tf from "@tensorflow/tfjs-core";
import type { z } from "zod";
import { madformerConfig, type MadformerConfig } from "./config.js";
import { initialize } from "./initialize.js";
import { madformerSpecs } from "./madformer.js";
import type { ParameterSpecs } from "./parameters.js";
import { classTokens } from "./text/class-tokens.js";
import { hasText, type WithText } from "./text/embedding.js";

/** A tensor of a test. */
export interface Value {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** Fixes all random tensors of these tests. */
const SEED = 20_250_607;

/** Standard normal numbers, a function of their name and size alone. */
export function draw(name: string, ...shape: number[]): Value & { readonly data: Float32Array } {
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: normal(randomKey(SEED, name), { size }) };
}

/**
 * The smallest model that has every part, with sizes that differ where they can: what is confused is then seen. Numbers
 * of the two halves of the network are no multiples of each other either.
 */
export function tiny(overrides: z.input<typeof MadformerConfig> = {}): MadformerConfig {
  return madformerConfig({
    latentChannels: 3,
    blocks: 4,
    blockSide: 4,
    width: 24,
    heads: 3,
    mlpWidth: 20,
    arLayers: 2,
    diffusionLayers: 2,
    unet: { channels: [4, 8], layers: [1, 1], attention: [false, true], groups: 2, heads: 2, timeChannels: 6 },
    normEps: 0.02, // large enough to be seen, and to be told from each other
    qkNormEps: 0.1,
    ...overrides,
  });
}

/** Every mode of the network. */
export const MODES = {
  default: {},
  "clear clean": { clearClean: true },
  "clear condition": { clearCond: true },
  "denoising MLP": { denoisingMlp: true },
  "clear clean, denoising MLP": { clearClean: true, denoisingMlp: true },
  "clear condition, denoising MLP": { clearCond: true, denoisingMlp: true },
  "clear clean, clear condition": { clearClean: true, clearCond: true },
  "single tower": { singleTower: true },
  "no normalization of queries and keys": { qkNorm: false },
  "no autoregressive layers": { arLayers: 0 },
  "one layer of each kind": { arLayers: 1, diffusionLayers: 1 },
  "one block": { blocks: 1 },
  "nine blocks": { blocks: 9, blockSide: 2, arLayers: 1, diffusionLayers: 1 },
} as const satisfies Record<string, z.input<typeof MadformerConfig>>;

/** A model that is told one of five classes; one of its tokens has the row of the table that is 0. */
export function tinyWithText(overrides: z.input<typeof MadformerConfig> = {}): WithText {
  const text = { classes: 5, vocabulary: 9, zeroRow: 8, words: { begin: 7, padding: 6, classes: [0, 1, 2, 3, 5] } };
  const config = tiny({ text: { ...text, tokens: 3, ropeTheta: 10 }, ...overrides });
  if (!hasText(config)) throw new Error("no text");
  return config;
}

/**
 * Weights with which no term vanishes, no scale is 1 and outputs are of order 1: first values, moved. Timesteps of 0 to
 * 999 would drown everything else in the network that embeds them as they are, so that their weights are smaller there.
 */
export function weightsOf(config: MadformerConfig, name = "weights"): Record<string, Float32Array> {
  const weights = randomWeights(madformerSpecs(config), name);
  const scale = (key: string, factor: number): void => {
    weights[key] = (weights[key] as Float32Array).map((value) => value * factor);
  };
  for (const part of ["weight", "bias"]) scale(`upsampler.conv_out.${part}`, 0.1);
  if (config.quirks.timestepScale !== "unit")
    for (const way of ["downsampler", "upsampler"]) scale(`${way}.time_embedding.linear_1.weight`, 1 / 500);
  return weights;
}

/** First values of parameters, each moved by a normal number of standard deviation 0.2. */
export function randomWeights(specs: ParameterSpecs, name = "weights"): Record<string, Float32Array> {
  return Object.fromEntries(
    Object.entries(initialize(specs, SEED)).map(([key, values]) => {
      const moves = draw(`${name} ${key}`, values.length).data;
      return [key, values.map((value, i) => value + 0.2 * (moves[i] ?? 0))];
    }),
  );
}

/** Weights as values of `runOnce`. */
export function valuesOf(
  specs: ParameterSpecs,
  weights: Readonly<Record<string, Float32Array>>,
): Record<string, Value> {
  return Object.fromEntries(
    Object.entries(specs).map(([key, { shape }]) => [key, { shape, data: weights[key] as Float32Array }]),
  );
}

/**
 * Latents, noised latents and timesteps of N images; of a model with classes, the texts of classes 1, 2, ... as well.
 */
export function batchOf(
  config: MadformerConfig,
  N: number,
  name = "batch",
): Record<"cleanX" | "noisedX" | "t", Value> & { readonly text?: Value } {
  const shape = [N, config.blocks, config.blockSide ** 2, config.latentChannels];
  const t = Int32Array.from({ length: N * config.blocks }, (_, i) => [0, 999, 17, 430, 801][i % 5] as number);
  return {
    cleanX: draw(`${name} clean`, ...shape),
    noisedX: draw(`${name} noised`, ...shape),
    t: { shape: [N, config.blocks], data: t },
    ...(hasText(config)
      ? {
          text: textsOf(
            config,
            Array.from({ length: N }, (_, i) => i + 1),
          ),
        }
      : {}),
  };
}

/** The texts of some classes. */
export function textsOf(config: WithText, labels: readonly number[]): Value & { readonly data: Int32Array } {
  return { shape: [labels.length, config.text.tokens], data: classTokens(config.text, labels) };
}

const isTensor = (value: Value | Tree<Value>): value is Value => ArrayBuffer.isView((value as { data?: unknown }).data);

const specsOf = (tree: Tree<Value>): Tree<TensorSpec> =>
  Object.fromEntries(
    Object.entries(tree).map(([name, value]) => [
      name,
      isTensor(value) ? spec(value.shape, value.data instanceof Int32Array ? "int32" : "float32") : specsOf(value),
    ]),
  );

const dataOf = (tree: Tree<Value>): Tree<TensorData> =>
  Object.fromEntries(Object.entries(tree).map(([name, value]) => [name, isTensor(value) ? value.data : dataOf(value)]));

/**
 * What a tree of values is inside a function: tensors of the ranks that the test knows, so that they fit wherever they
 * go.
 */
export type Inside<T> = T extends Value ? never : { [Name in keyof T]: Inside<T[Name]> };

/** A function of tensors, compiled for tensors like the given ones. */
export async function compiledFor<
  const Inputs extends Tree<Value>,
  Outputs extends Readonly<Record<string, tf.Tensor>>,
>(like: Inputs, fn: (inputs: Inside<Inputs>) => Outputs, engine: EngineName = "onnx") {
  const traced = (_: unknown, tensors: unknown) => ({ outputs: fn(tensors as Inside<Inputs>) as Tree<tf.Tensor> });
  const program = await compile(traced, { inputs: specsOf(like) }, { name: "test", engine });
  return {
    run: async (inputs: Inputs) => (await program.run(dataOf(inputs))) as { [Name in keyof Outputs]: Float32Array },
    [Symbol.asyncDispose]: () => program.dispose(),
  };
}

/** Compiles a function of tensors, runs it once and frees it. */
export async function runOnce<const Inputs extends Tree<Value>, Outputs extends Readonly<Record<string, tf.Tensor>>>(
  inputs: Inputs,
  fn: (inputs: Inside<Inputs>) => Outputs,
  engine: EngineName = "onnx",
): Promise<{ [Name in keyof Outputs]: Float32Array }> {
  await using program = await compiledFor(inputs, fn, engine);
  return await program.run(inputs);
}

/**
 * How far results may be apart, by kind of computation. A float32 keeps 24 bits, 6e-8 relatively; values here are of
 * order 1.
 */
export const TOLERANCE = {
  /** A few correctly rounded operations one after another. */
  elementwise: 1e-6,
  /** Sums of some hundred products, added in another order, and transcendental functions of them. */
  layer: 1e-5,
  /** All layers one after another: normalizations divide by sums that carry earlier layers' errors. */
  network: 1e-4,
} as const;

/** Fails if an element differs by more than the tolerance, times the largest expected one where that is above 1. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what = "result",
): void {
  const found = differenceOf(actual, expected);
  const scale = Array.from(expected).reduce((max, value) => Math.max(max, Math.abs(value)), 1);
  if (!(found.by <= tolerance * scale))
    throw new Error(
      `${what}: element ${found.at} is ${actual[found.at]}, expected ${expected[found.at]}: ` +
        `differs by ${found.by}, allowed ${tolerance * scale}`,
    );
}

/** The largest difference of two arrays, and where it is. NaN is larger than any. */
export function differenceOf(a: ArrayLike<number>, b: ArrayLike<number>): { readonly by: number; readonly at: number } {
  if (a.length !== b.length) throw new Error(`${a.length} elements against ${b.length}`);
  let [by, at] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    const difference = Math.abs((a[i] ?? NaN) - (b[i] ?? NaN));
    if (Number.isNaN(difference)) return { by: NaN, at: i };
    if (difference > by) [by, at] = [difference, i];
  }
  return { by, at };
}
