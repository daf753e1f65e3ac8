import type { Backend } from "../../backend.js";
import { optimize } from "../../passes/index.js";
import { loadXla } from "./load.js";
import { pluginRuntime } from "./plugin-path.js";
import { xlaState } from "./state.js";

/**
 * Writes the graph as StableHLO and has XLA compile it, through a PJRT plugin: for GPUs of NVIDIA's and AMD's, and
 * CPUs.
 */
export const xla: Backend<{ readonly threads?: number }> = {
  precisions: ["float32", "tf32", "bf16"],
  state: xlaState,
  runtime: pluginRuntime,
  prepare({ traced, fields, precision, session, ...request }) {
    const threads = session.threads ?? request.threads;
    const optimized = optimize(traced, "xla");
    return { optimized, load: () => loadXla(optimized.graph, fields, { precision, threads }) };
  },
};
