import type { Backend } from "../../backend.js";
import { GraphExecutor } from "../../eager/executor.js";
import { optimize } from "../../passes/index.js";
import { loadTensorFlow, tensorFlowRuntime, TFJS_BACKEND } from "./addon.js";

/**
 * Runs the optimized graph operation by operation in TensorFlow, through tfjs-node: on NVIDIA's GPUs where it finds
 * one.
 */
export const tensorflow: Backend<{ readonly threads?: number }> = {
  precisions: ["float32"],
  state() {
    try {
      const { version, usesGpu, source } = loadTensorFlow();
      return { version, devices: usesGpu ? ["gpu", "cpu"] : ["cpu"], notes: [`from ${source}`] };
    } catch (error) {
      return { devices: [], problem: (error as Error).message };
    }
  },
  runtime: tensorFlowRuntime,
  prepare({ traced, fields, session, ...request }) {
    const optimized = optimize(traced, "tensorflow");
    return {
      optimized,
      load: async () => {
        loadTensorFlow(session.threads ?? request.threads);
        return new GraphExecutor(TFJS_BACKEND, optimized.graph, fields);
      },
    };
  },
};
