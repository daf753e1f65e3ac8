import type { Backend } from "../../backend.js";
import { splitUpdates } from "../../bound/updates/split-updates.js";
import { UpdateRunner } from "../../bound/updates/update-runner.js";
import { lowerToOnnx } from "../../onnx/lower.js";
import { programMetadata } from "../../onnx/metadata.js";
import { optimize } from "../../passes/index.js";
import { loadOnnx } from "./load.js";
import { ortLibrary } from "./ort-library.js";
import type { SessionOptions } from "./ort-session.js";

export { loadOnnx };
export type { SessionOptions };

/**
 * Writes the graph as ONNX and runs it in ONNX Runtime; the elementwise tail of a training step is a WebAssembly
 * kernel.
 */
export const onnx: Backend<SessionOptions> = {
  precisions: ["float32"],
  state() {
    try {
      return { version: ortLibrary().version, devices: ["cpu"] };
    } catch (error) {
      return { devices: [], problem: (error as Error).message };
    }
  },
  prepare({ name, traced, fields, constants, threads, session }) {
    const optimized = optimize(traced, "onnx");
    return {
      optimized,
      load: () => {
        const split = splitUpdates(optimized.graph);
        const { graph, updates } = UpdateRunner.fits(split.updates) ? split : { graph: optimized.graph, updates: [] };
        const model = lowerToOnnx(graph, "onnxruntime", programMetadata(name, fields.updated));
        const optimizationLevel = constants.length > 0 ? "all" : "disabled";
        const settings = { optimizationLevel, ...(threads === undefined ? {} : { threads }), ...session } as const;
        return loadOnnx(model, fields, settings, updates);
      },
    };
  },
};
