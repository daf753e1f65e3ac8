import { summarize, type Graph } from "@madformer/engine";
import type { CompiledMemory, Executable } from "../../src/backends/xla/executable.js";
import { xlaRuntime } from "../../src/backends/xla/runtime.js";

/** How large things are: `full` for a card, `tiny` to try a step on the CPU plugin. */
export type Size = "tiny" | "full";

/** One figure or fact of a step. `ok` is there where it is a check. */
export interface Finding {
  readonly what: string;
  readonly value: number | string;
  readonly unit?: string;
  readonly ok?: boolean;
}

export type Tell = (finding: Finding) => void;

/** What a program is, for those who look behind its interface. */
export function executableOf(program: object): Executable {
  return (program as { readonly executor: { readonly executable: Executable } }).executor.executable;
}

/** What XLA compiled, searched for a name. Names in the module's bytes are plain text. */
export function calls(program: object, name: string): boolean {
  return Buffer.from(executableOf(program).optimizedProgram()).includes(name);
}

/** Bytes that a compiled program takes in all; undefined where the plugin does not say. */
export function bytesOf(memory: CompiledMemory | undefined): number | undefined {
  return memory && memory.arguments + memory.outputs - memory.alias + memory.temporary + memory.code;
}

/** The most that was in use of the device's memory, as far as the plugin counts it, in GiB. */
export function peakGib(): number | undefined {
  const { peak } = xlaRuntime().client.memory();
  return peak === undefined ? undefined : peak / 2 ** 30;
}

/** Floating point operations of a run: those of products and convolutions. */
export const flopsOf = (graph: Graph | undefined): number => (graph ? summarize(graph).flops : NaN);

/** Seconds per run, the best of three rounds of `runs`, after two that do not count. Runs of a round are queued. */
export async function secondsOf(run: () => Promise<unknown>, runs: number): Promise<number> {
  for (let i = 0; i < 2; i++) await run();
  let best = Infinity;
  for (let round = 0; round < 3; round++) {
    const start = performance.now();
    await Promise.all(Array.from({ length: runs }, () => run()));
    best = Math.min(best, (performance.now() - start) / 1000 / runs);
  }
  return best;
}

/** How far a is from b, |a - b| / |b| in the 2-norm. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] ?? NaN) - (b[i] ?? NaN)) ** 2;
    size += (b[i] ?? NaN) ** 2;
  }
  return Math.sqrt(difference / size);
}

/**
 * Values between -scale and scale that cost little to make: a fixed table of 65,521 numbers, again and again. The
 * table's length is prime, so rows of a matrix are not the same.
 */
export function values(count: number, scale: number, seed = 1): Float32Array {
  const table = new Float32Array(Math.min(count, 65_521));
  let state = seed;
  for (let i = 0; i < table.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0; // Numerical Recipes' generator
    table[i] = (state / 2 ** 31 - 1) * scale;
  }
  const all = new Float32Array(count);
  for (let at = 0; at < count; at += table.length) all.set(table.subarray(0, count - at), at);
  return all;
}
