import type { Backend } from "../../backend.js";
import { GraphExecutor } from "../../eager/executor.js";
import { optimize } from "../../passes/index.js";
import { loadTensorFlow, TFJS_BACKEND } from "./addon.js";

/** Runs the optimized graph operation by operation in TensorFlow, through tfjs-node: on NVIDIA's GPUs where it finds one. */
export const tensorflow: Backend<unknown> = {
  precisions: ["float32"],
  state() {
    try {
      const { version, usesGpu, source } = loadTensorFlow();
      return { version, devices: usesGpu ? ["gpu", "cpu"] : ["cpu"], notes: [`from ${source}`] };
    } catch (error) {
      return { devices: [], problem: (error as Error).message };
    }
  },
  prepare({ traced, fields, threads }) {
    const optimized = optimize(traced, "tensorflow");
    return {
      optimized,
      load: async () => {
        loadTensorFlow(threads);
        return new GraphExecutor(TFJS_BACKEND, optimized.graph, fields);
      },
    };
  },
};
