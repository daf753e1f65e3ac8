/**
 * Tensor programs: pure functions over `@tensorflow/tfjs-core` tensors, traced once with their gradients and run
 * compiled.
 *
 * Reading order: `compile.ts` (what a user calls), `program.ts` (what they get), `trace/` (how a function becomes a
 * graph), `ir/graph.ts` (what a graph is), `passes/` (how it gets better), `backend.ts` and `backends/` (how it is
 * run).
 */
export { compile, type CompileOptions } from "./compile.js";
export { compileInference, type InferenceOptions, type Weight } from "./inference.js";
export { chooseEngine, computing, type EngineChoice, type EngineWords } from "./choice.js";
export { ENGINES, engineStates, type EngineState, type EngineName, type SessionOptions } from "./engines.js";
export type { PrecisionName } from "./backend.js";
export { enginesFolder, installFolder } from "./installs/folder.js";
export { INSTALLED_FILE, readInstalled, type Installed } from "./installs/installed.js";
export type { Handle } from "./handle.js";
export { hostCopies, type HostCopies } from "./host-copies.js";
export { loadProgram, saveProgram, type LoadOptions } from "./program-file.js";
export type { ProgramState } from "./program-state.js";
export { Program, type ProgramOptions, type Results, type RunOptions } from "./program.js";
export {
  spec,
  type Handles,
  type InputValues,
  type Signature,
  type TensorField,
  type Tensors,
  type TensorSpec,
  type TensorValue,
  type Tree,
  type Values,
} from "./signature.js";
export { HandleError, NonFiniteError, ProgramFailedError, ProgramStateError } from "./errors.js";
export { firstNonFinite } from "./finite.js";
export { TraceError } from "./trace/backend.js";
export { printGraph, summarize, type GraphSummary } from "./ir/print.js";
export type { DType, Graph, Shape, TensorData } from "./ir/graph.js";
export * from "./random/index.js";
export { attention } from "./ops/attention.js";
export { recomputed, type Use } from "./ops/recomputed.js";
export { groupNorm, rmsNorm } from "./ops/norm.js";
export { silu } from "./ops/silu.js";
/** An assembler for WebAssembly kernels. */
export * as wasm from "./wasm/index.js";
