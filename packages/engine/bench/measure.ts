import { ORT_TENSORS } from "../src/backends/onnx/ort-library.js";
import { OrtSession } from "../src/backends/onnx/ort-session.js";
import { BoundMemory } from "../src/bound/memory.js";
import { alignedArray } from "../src/bound/buffers.js";
import { lowerToOnnx } from "../src/onnx/lower.js";
import { encodeModel } from "../src/onnx/proto.js";
import { makeNode } from "../src/ir/infer.js";
import type { Graph, NodeOf } from "../src/ir/graph.js";

/** The middle one of some numbers. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[half] ?? NaN) : ((sorted[half - 1] ?? NaN) + (sorted[half] ?? NaN)) / 2;
}

/** Milliseconds that `body` takes. */
export async function time(body: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await body();
  return performance.now() - start;
}

/** Sides of the square matrices whose product's rate is what this machine can do. */
export const GEMM_SIDES = [512, 768, 1024, 1536, 2048] as const;

/** The product of two square matrices, as a model. */
function squareProduct(side: number): Uint8Array {
  const input = (name: string): NodeOf<"input"> =>
    makeNode({ kind: "input", name, dtype: "float32", shape: [side, side] }) as NodeOf<"input">;
  const [a, b] = [input("inputs/a"), input("inputs/b")];
  const product = makeNode({ kind: "matmul", transposeA: false, transposeB: false, alpha: 1 }, [a, b]);
  const graph: Graph = { name: "gemm", inputs: [a, b], outputs: [{ name: "outputs/c", node: product }] };
  return encodeModel(lowerToOnnx(graph, "onnxruntime"));
}

/** One matrix product of ONNX Runtime, with preallocated output. */
export async function gemm(side: number, threads: number): Promise<{ run(): Promise<void>; dispose(): void }> {
  const session = await OrtSession.load(squareProduct(side), new Map(), { threads });
  const matrix = () => {
    const data = alignedArray("float32", side * side);
    const values = data.map((_, i) => (i % 7) / 7 - 0.5);
    return new BoundMemory(ORT_TENSORS, { dtype: "float32", shape: [side, side], data: values });
  };
  const slot = session.bind({
    inputs: new Map([
      ["inputs/a", matrix()],
      ["inputs/b", matrix()],
    ]),
    outputs: new Map([["outputs/c", matrix()]]),
  });
  return { run: () => session.run(slot), dispose: () => session[Symbol.dispose]() };
}

/**
 * The same rate through `onnxruntime-node`'s own `run`, with preallocated output, which it copies all the same: what a
 * user of that package sees. GFLOP/s, best side.
 */
export async function nodeBindingRate(threads: number): Promise<number> {
  const ort = await import("onnxruntime-node");
  let best = 0;
  for (const side of GEMM_SIDES) {
    const session = await ort.InferenceSession.create(squareProduct(side), { intraOpNumThreads: threads });
    const tensor = () =>
      new ort.Tensor(
        "float32",
        new Float32Array(side * side).map((_, i) => (i % 7) / 7 - 0.5),
        [side, side],
      );
    const [feeds, fetches] = [{ "inputs/a": tensor(), "inputs/b": tensor() }, { "outputs/c": tensor() }];
    const times: number[] = [];
    for (let i = 0; i < 15; i++) times.push(await time(() => session.run(feeds, fetches)));
    best = Math.max(best, (2 * side ** 3) / median(times.slice(3)) / 1e6);
    await session.release();
  }
  return best;
}

/**
 * Best rate of square products, GFLOP/s: for each side the median of its runs, which are spread over the whole
 * measurement by calling `sample` now and then, then the best side.
 */
export class GemmRate {
  private readonly times = new Map<number, number[]>();
  private readonly products: { side: number; run(): Promise<void>; dispose(): void }[] = [];

  static async create(threads: number): Promise<GemmRate> {
    const rate = new GemmRate();
    for (const side of GEMM_SIDES) {
      const product = await gemm(side, threads);
      for (let i = 0; i < 3; i++) await product.run();
      rate.products.push({ side, ...product });
    }
    return rate;
  }

  /** Measures every side twice, after a run that brings its matrices into the cache. */
  async sample(): Promise<void> {
    for (const product of this.products) {
      const times = this.times.get(product.side) ?? [];
      this.times.set(product.side, times);
      await product.run();
      for (let i = 0; i < 2; i++) times.push(await time(() => product.run()));
    }
  }

  /** The best side and its rate. */
  best(): { side: number; gflops: number } {
    const rates = [...this.times].map(([side, times]) => ({ side, gflops: (2 * side ** 3) / median(times) / 1e6 }));
    return rates.reduce((a, b) => (b.gflops > a.gflops ? b : a));
  }

  dispose(): void {
    for (const product of this.products) product.dispose();
  }
}
