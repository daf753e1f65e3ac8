import fc from "fast-check";
import type { TensorSpec } from "@madformer/engine";
import { sizeOf, type DType, type Shape, type TensorData } from "../src/ir/graph.js";
import { integers, normal, randomKey, uniform } from "../src/random/index.js";

/** Fixes every shape, attribute and value that these tests draw; failures show it. */
export const SEED = Number(process.env["MADFORMER_TEST_SEED"] ?? 20_250_607);

/** A tensor's type with its elements. */
export interface Value<S extends Shape = Shape> extends TensorSpec<S> {
  readonly dtype: DType;
  readonly data: TensorData;
}

/** A tensor of these elements. */
export function given<const S extends Shape>(
  shape: S,
  elements: readonly number[],
  dtype: DType = "float32",
): Value<S> {
  const type = dtype === "float32" ? Float32Array : dtype === "int32" ? Int32Array : Uint8Array;
  if (elements.length !== sizeOf(shape)) throw new RangeError(`${elements.length} elements for (${shape.join(", ")})`);
  return { shape, dtype, data: type.from(elements) };
}

/** A vector of these elements. */
export function vector(elements: readonly number[], dtype: DType = "float32"): Value<readonly [number]> {
  return given([elements.length], elements, dtype);
}

/** Draws tensors, shapes and attributes. A test file's draws depend on its own name and their order in it, no more. */
export class Draws {
  private readonly name: string;
  private count = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** `count` values of an arbitrary. */
  list<T>(arbitrary: fc.Arbitrary<T>, count: number): T[] {
    return fc.sample(arbitrary, { seed: (SEED + this.count++) | 0, numRuns: count });
  }

  /** Standard normal numbers, times `scale`. */
  normal<const S extends Shape>(shape: S, scale = 1): Value<S> {
    const data = normal(this.key(), { size: sizeOf(shape) });
    return { shape, dtype: "float32", data: data.map((x) => x * scale) };
  }

  /** Numbers in [low, high). */
  uniform<const S extends Shape>(shape: S, low: number, high: number): Value<S> {
    const data = uniform(this.key(), { size: sizeOf(shape) });
    return { shape, dtype: "float32", data: data.map((x) => low + x * (high - low)) };
  }

  /** Whole numbers in [low, high); as float32 they have ties. */
  integers<const S extends Shape>(shape: S, low: number, high: number, dtype: DType = "int32"): Value<S> {
    const data = integers(this.key(), low, high, { size: sizeOf(shape) });
    return { shape, dtype, data: dtype === "float32" ? Float32Array.from(data) : data };
  }

  bools<const S extends Shape>(shape: S): Value<S> {
    return { shape, dtype: "bool", data: Uint8Array.from(integers(this.key(), 0, 2, { size: sizeOf(shape) })) };
  }

  private key() {
    return randomKey(SEED, this.name, [this.count++]);
  }
}

/** Shapes with few elements: sizes of one, prime sizes, and others. */
export function shapes(minRank: number, maxRank: number, maxSize = 400): fc.Arbitrary<number[]> {
  const size = fc.constantFrom(1, 2, 3, 4, 5, 7);
  return fc.array(size, { minLength: minRank, maxLength: maxRank }).filter((shape) => sizeOf(shape) <= maxSize);
}

/** Two shapes of up to `maxRank` axes that broadcast with each other. */
export function broadcastable(maxRank: number): fc.Arbitrary<[a: number[], b: number[]]> {
  const size = fc.constantFrom(1, 2, 3, 5);
  const axis = fc.tuple(size, fc.constantFrom("both", "both", "a", "b"));
  return fc
    .tuple(fc.array(axis, { maxLength: maxRank }), fc.nat({ max: maxRank }), fc.constantFrom("a", "b"))
    .map(([axes, missing, from]) => {
      const of = (side: string): number[] => axes.map(([size, who]) => (who === "both" || who === side ? size : 1));
      const rest = (side: string): number[] => of(side).slice(side === from ? missing % (axes.length + 1) : 0);
      return [rest("a"), rest("b")];
    });
}
