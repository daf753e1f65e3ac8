/**
 * Tensor programs: pure functions over `@tensorflow/tfjs-core` tensors, traced once with their gradients and run compiled.
 *
 * Reading order: `compile.ts` (what a user calls), `runtime/program.ts` (what they get), `trace/` (how a function becomes a
 * graph), `ir/graph.ts` (what a graph is), `passes/` (how it gets better), `onnx/` (how it is written for ONNX Runtime).
 */
export { compile, engineName, ENGINES, type CompileOptions, type EngineName } from "./compile.js";
export { loadProgram, saveProgram, type LoadOptions } from "./onnx/file.js";
export type { SessionOptions } from "./runtime/ort-session.js";
export { Program, type InputValues, type ProgramOptions, type ProgramState } from "./runtime/program.js";
export {
  spec,
  type Signature,
  type TensorField,
  type Tensors,
  type TensorSpec,
  type TensorValue,
  type Tree,
  type Values,
} from "./signature.js";
export { NonFiniteError, ProgramFailedError, ProgramStateError } from "./errors.js";
export { firstNonFinite } from "./finite.js";
export { TraceError } from "./trace/backend.js";
export { printGraph, summarize, type GraphSummary } from "./ir/print.js";
export type { DType, Graph, Shape, TensorData } from "./ir/graph.js";
export * from "./random/index.js";
export { groupNorm, rmsNorm } from "./ops/norm.js";
export { silu } from "./ops/silu.js";
/** An assembler for WebAssembly kernels. */
export * as wasm from "./wasm/index.js";
