import type { Backend } from "./backend.js";
import { cpu } from "./backends/cpu/index.js";
import { onnx, type SessionOptions } from "./backends/onnx/index.js";

export type { SessionOptions };

/** Engines that can run a program. `cpu` calls the function operation by operation and is slow. */
export const ENGINES = ["onnx", "cpu"] as const;
export type EngineName = (typeof ENGINES)[number];

/** What runs programs, by the engine's name: a new backend is a folder and a line here. */
export const BACKENDS: Readonly<Record<EngineName, Backend<SessionOptions>>> = { onnx, cpu };
