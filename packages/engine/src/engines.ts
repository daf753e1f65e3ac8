import type { Backend, BackendState, PrecisionName } from "./backend.js";
import { cpu } from "./backends/cpu/index.js";
import { openvino } from "./backends/openvino/index.js";
import { tensorflow } from "./backends/tensorflow/index.js";
import { xla } from "./backends/xla/index.js";
import { onnx, type SessionOptions } from "./backends/onnx/index.js";

export type { SessionOptions };

/** Engines that can run a program. `cpu` calls the function operation by operation and is slow. */
export const ENGINES = ["onnx", "openvino", "xla", "tensorflow", "cpu"] as const;
export type EngineName = (typeof ENGINES)[number];

/** What runs programs, by the engine's name: a new backend is a folder and a line here. */
export const BACKENDS: Readonly<Record<EngineName, Backend<SessionOptions>>> = { onnx, openvino, xla, tensorflow, cpu };

/** An engine as it is on this machine. */
export interface EngineState extends BackendState {
  readonly name: EngineName;
  /** Precisions that it has, whether or not the machine gains from them. */
  readonly precisions: readonly PrecisionName[];
}

/** Looks which engines can be used here. Loads the runtimes of all that are installed. */
export function engineStates(): EngineState[] {
  return ENGINES.map((name) => {
    const backend = BACKENDS[name];
    return { name, precisions: backend.precisions, ...backend.state() };
  });
}
