import { compile, spec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { medianSeconds } from "./measure.js";

const SIDES = [512, 1024, 2048] as const;

/** Rate of square matrix products on this machine, GFLOP/s: the best of a few sides, each its median. */
export async function gemmRate(threads: number): Promise<{ gflops: number; side: number; median_s: number }> {
  let best = { gflops: 0, side: 0, median_s: NaN };
  for (const side of SIDES) {
    const square = spec([side, side]);
    // The product is state: it is written where it stays, and nothing is copied.
    const fn = (_: unknown, { a, b }: { a: tf.Tensor2D; b: tf.Tensor2D }) => ({ state: { c: tf.matMul(a, b) } });
    const signature = { state: { c: square }, inputs: { a: square, b: square } };
    await using program = await compile(fn, signature, { name: "gemm", session: { threads } });
    const matrix = Float32Array.from({ length: side * side }, (_, i) => (i % 7) / 7 - 0.5);
    const median_s = await medianSeconds(() => program.run({ a: matrix, b: matrix }), 9);
    const gflops = (2 * side ** 3) / median_s / 1e9;
    if (gflops > best.gflops) best = { gflops, side, median_s };
  }
  return best;
}
