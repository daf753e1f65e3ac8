import { normal, randomKey, uniform } from "@madformer/engine";
import type { ParameterSpecs } from "./parameters.js";

/**
 * Draws first values for parameters, each from a random stream of its own: a parameter's values depend on the seed, its
 * key and its shape alone, not on what else the network has.
 *
 * Source: spec section 3 (distributions). The random numbers themselves are this project's, not PyTorch's.
 *
 * @param seed An integer in [0, 2^53).
 * @returns By key, in the order of the specs, laid out as programs take them.
 */
export function initialize(specs: ParameterSpecs, seed: number): Record<string, Float32Array> {
  return Object.fromEntries(
    Object.entries(specs).map(([key, { shape, initializer }]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const random = randomKey(seed, `initialize ${key}`);
      /** Uniform in ±bound. */
      const within = (bound: number): Float32Array => uniform(random, { size }).map((u) => (2 * u - 1) * bound);
      switch (initializer.kind) {
        case "xavier":
          return [key, within(Math.sqrt(6 / (initializer.fanIn + initializer.fanOut)))];
        case "fan-in":
          return [key, within(1 / Math.sqrt(initializer.fanIn))];
        case "constant":
          return [key, new Float32Array(size).fill(initializer.value)];
        case "normal":
          return [key, normal(random, { size })];
        case "embedding": {
          const [, width = 1] = shape;
          const { zeroRow } = initializer;
          const values = normal(random, { size });
          if (zeroRow !== null) values.fill(0, zeroRow * width, (zeroRow + 1) * width);
          return [key, values];
        }
      }
    }),
  );
}
