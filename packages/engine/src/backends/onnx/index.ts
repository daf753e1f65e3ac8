import type { Backend } from "../../backend.js";
import { optimize } from "../../passes/index.js";
import { OnnxExecutor } from "./executor.js";
import { lowerToOnnx } from "./lower.js";
import { programMetadata } from "./metadata.js";
import type { SessionOptions } from "./ort-session.js";
import { splitUpdates } from "./updates/split-updates.js";
import { UpdateRunner } from "./updates/update-runner.js";

export type { OnnxTarget } from "./builder.js";
export { lowerToOnnx, OnnxExecutor };
export { PROGRAM_KEY, programMetadata } from "./metadata.js";
export type { SessionOptions } from "./ort-session.js";
export { decodeModel, dtypeOfElement, encodeModel, type OnnxModel, type OnnxValueInfo } from "./proto.js";

/** Writes the graph as ONNX and runs it in ONNX Runtime; the elementwise tail of a training step is a WebAssembly kernel. */
export const onnx: Backend<SessionOptions> = {
  precisions: ["float32"],
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
        return OnnxExecutor.load(model, fields, settings, updates);
      },
    };
  },
};
