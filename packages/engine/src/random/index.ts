/**
 * Random numbers that are functions of their names. There is no generator with a position: a key is made from (seed,
 * purpose, indices), and element i of its stream is computed from the key and i alone. So an image's noise does not
 * depend on the batch it is in, the worker that drew it or the step at which a run was resumed.
 *
 * @example
 * const key = randomKey(17, "noise", [step, image]);
 * const noise = normal(key, { size: 16 * 64 * 64 }); // Float32Array
 *
 * @packageDocumentation
 */
export { randomKey, foldIn, type RandomKey } from "./key.js";
export type { StreamSlice } from "./stream.js";
export { uniform } from "./uniform.js";
export { normal } from "./normal.js";
export { integers } from "./integers.js";
export { permutation, permutationAt } from "./permutation.js";
