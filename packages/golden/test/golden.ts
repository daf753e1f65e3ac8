import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the set: `MADFORMER_GOLDEN`, else the copy in this package. */
export const FOLDER = process.env["MADFORMER_GOLDEN"] ?? fileURLToPath(new URL("../data", import.meta.url));

/** A tensor of the set. Integers are Int32Array, booleans Uint8Array (0 or 1), doubles Float64Array. */
export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array | Uint8Array;
}

/** Any JSON of the set, by path: the files' fields are described in data/README.md. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- free-form data of another program
export type Json = any;

/** `name.json` of the set, or of another one. */
export function goldenJson(name: string, folder = FOLDER): Json {
  return JSON.parse(readFileSync(join(folder, name), "utf8"));
}

export const META = goldenJson("meta.json");

const ELEMENTS = { F32: Float32Array, F64: Float64Array, I32: Int32Array, U8: Uint8Array } as const;

/**
 * All tensors of a `.safetensors` file of the set. A reader of its own, as plain as the format: the one under test is
 * not needed to test it.
 *
 * @param folder Of another set.
 */
export function goldenTensors(name: string, folder = FOLDER): Record<string, GoldenTensor> {
  const file = readFileSync(join(folder, name));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerBytes)) as Record<
    string,
    { dtype: keyof typeof ELEMENTS; shape: number[]; data_offsets: [number, number] }
  >;
  return Object.fromEntries(
    Object.entries(header)
      .filter(([key]) => key !== "__metadata__")
      .map(([key, { dtype, shape, data_offsets }]) => {
        const [start, end] = data_offsets.map((at) => 8 + headerBytes + at) as [number, number];
        const bytes = Uint8Array.from(file.subarray(start, end)); // a copy, aligned
        return [key, { shape, data: new ELEMENTS[dtype](bytes.buffer) }];
      }),
  );
}

/** What a figure may differ by: ten times the rounding noise that the reference was measured to have, and 1e-6. */
export const toleranceOf = (noise: number): number => 10 * noise + 1e-6;

/**
 * Asserts that no element differs by more than `tolerance`. NaN is never close. A failure names the worst element.
 *
 * @returns The largest difference.
 */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what = "tensor",
): number {
  if (actual.length !== expected.length)
    throw new Error(`${what} has ${actual.length} elements, expected ${expected.length}`);
  let [worst, at] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN));
    if (!(difference <= worst)) [worst, at] = [difference, i];
    if (Number.isNaN(difference)) break;
  }
  if (!(worst <= tolerance))
    throw new Error(
      `${what}: element ${at} is ${actual[at]}, expected ${expected[at]}: differs by ${worst}, allowed ${tolerance}`,
    );
  return worst;
}
