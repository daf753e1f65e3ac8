import type { Backend } from "../../backend.js";
import { splitUpdates } from "../../bound/updates/split-updates.js";
import { UpdateRunner } from "../../bound/updates/update-runner.js";
import { lowerToOnnx } from "../../onnx/lower.js";
import { installedRuntime } from "../../installs/installed.js";
import { optimize } from "../../passes/index.js";
import { loadOpenVino } from "./load.js";
import { granted, ovState } from "./state.js";

/**
 * Writes the graph as ONNX and runs it in OpenVINO, whose kernels multiply in bfloat16 where the processor does. The
 * elementwise tail of a training step is the WebAssembly kernel that `onnx` has, in float32: master weights, moments
 * and averages never are anything else.
 */
export const openvino: Backend<{ readonly threads?: number }> = {
  precisions: ["float32", "bf16"],
  state: ovState,
  granted,
  runtime: () => installedRuntime("openvino", "openvino"),
  prepare({ traced, fields, precision, session, ...request }) {
    const threads = session.threads ?? request.threads;
    const optimized = optimize(traced, "openvino");
    return {
      optimized,
      load: () => {
        const split = splitUpdates(optimized.graph);
        const { graph, updates } = UpdateRunner.fits(split.updates) ? split : { graph: optimized.graph, updates: [] };
        return loadOpenVino(
          lowerToOnnx(graph, "openvino"),
          fields,
          { precision: granted(precision), threads },
          updates,
        );
      },
    };
  },
};
