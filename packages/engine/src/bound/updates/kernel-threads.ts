import { Worker } from "node:worker_threads";
import { LANES } from "./elementwise-kernel.js";
import type { WebAssemblyMemory } from "../../wasm/webassembly.js";

/** One call of an elementwise kernel. */
export interface KernelCall {
  readonly kernel: string;
  /** Groups of four elements. */
  readonly count: number;
  readonly scalarsAt: number;
  readonly addresses: readonly number[];
}

/**
 * What a thread does: one instance of the module, calls as they come. It has nothing to import, so that text is enough.
 */
const THREAD = `
const { parentPort, workerData } = require("node:worker_threads");
const { module, memory } = workerData;
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
parentPort.on("message", (calls) => {
  for (const { kernel, count, scalarsAt, addresses } of calls) exports[kernel](count, scalarsAt, ...addresses);
  parentPort.postMessage("done");
});
`;

/** Threads that run elementwise kernels over one memory, each on its share of the elements. */
export class KernelThreads implements Disposable {
  private readonly workers: readonly Worker[];

  constructor(module: object, memory: WebAssemblyMemory<SharedArrayBuffer>, threads: number) {
    this.workers = Array.from({ length: threads }, () => {
      const worker = new Worker(THREAD, { eval: true, workerData: { module, memory } });
      worker.unref(); // a program that nobody disposed does not keep the process from ending
      return worker;
    });
  }

  /**
   * Runs calls that do not depend on each other.
   *
   * @throws {Error} If a thread has ended.
   */
  async run(calls: readonly KernelCall[]): Promise<void> {
    const threads = this.workers.length;
    await Promise.all(
      this.workers.map((worker, thread) => {
        const share = calls.flatMap(({ kernel, count, scalarsAt, addresses }): KernelCall[] => {
          const [start, end] = [thread, thread + 1].map((i) => Math.floor((count * i) / threads)) as [number, number];
          const moved = addresses.map((at) => at + start * 4 * LANES);
          return end > start ? [{ kernel, count: end - start, scalarsAt, addresses: moved }] : [];
        });
        return new Promise<void>((resolve, reject) => {
          const settle = (error?: Error): void => {
            worker.off("message", done).off("error", settle).off("exit", ended);
            worker.unref();
            if (error === undefined) resolve();
            else reject(error);
          };
          const done = (): void => settle();
          const ended = (): void => settle(new Error("A thread that updates the state has ended"));
          worker.on("message", done).on("error", settle).on("exit", ended);
          worker.ref();
          worker.postMessage(share);
        });
      }),
    );
  }

  [Symbol.dispose](): void {
    for (const worker of this.workers) void worker.terminate();
  }
}
