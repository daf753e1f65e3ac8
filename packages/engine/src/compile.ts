import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type * as tf from "@tensorflow/tfjs-core";
import { ProgramFailedError } from "./errors.js";
import { type Graph, type Node, type TensorData } from "./ir/graph.js";
import { makeNode } from "./ir/infer.js";
import { printGraph } from "./ir/print.js";
import { lowerToOnnx } from "./onnx/lower.js";
import { programMetadata } from "./onnx/file.js";
import { optimize, type PassReport } from "./passes/index.js";
import { splitUpdates } from "./passes/split-updates.js";
import { EagerExecutor } from "./runtime/eager-executor.js";
import type { ProgramFields } from "./runtime/executor.js";
import { OnnxExecutor } from "./runtime/onnx-executor.js";
import { UpdateRunner } from "./runtime/update-runner.js";
import type { SessionOptions } from "./runtime/ort-session.js";
import { Program, type InputValues, type ProgramOptions } from "./runtime/program.js";
import {
  elementsOf,
  fieldsOf,
  flatten,
  isValue,
  type Signature,
  type TensorField,
  type Tensors,
  type TensorSpec,
  type TensorValue,
  type Tree,
} from "./signature.js";
import { NEXT_STATE, OUTPUTS, trace, type TensorFunction } from "./trace/trace.js";

/** Engines that can run a program. `cpu` calls the function operation by operation and is slow. */
export const ENGINES = ["onnx", "cpu"] as const;
export type EngineName = (typeof ENGINES)[number];

/** Some of a tree's leaves. */
type Part<T> = T extends TensorValue ? T : { readonly [Name in keyof T]?: Part<T[Name]> };

export interface CompileOptions<State = Tree<TensorSpec>> extends ProgramOptions {
  /** Shown in errors, dumps and files. Default: the function's name. */
  readonly name?: string;
  /** Which engine runs it. Default: `MADFORMER_ENGINE`, else `onnx`. */
  readonly engine?: EngineName;
  /** What the state is at first; zeros where nothing is said. Copied. */
  readonly initialState?: Part<InputValues<State>>;
  /**
   * State that never changes and is known now (weights, at inference): it becomes part of the program, which may fold it and
   * pack it for its kernels, and no longer of its state. Not copied: do not change it afterwards.
   */
  readonly constants?: Part<InputValues<State>>;
  /**
   * A folder to write the graph to, as text: `<name>.traced.txt` as it was traced, `<name>.optimized.txt` as it runs,
   * and `<name>.passes.txt`, what each pass did. Default: `MADFORMER_DUMP`, else nothing is written.
   */
  readonly dump?: string;
  /** Settings of ONNX Runtime, for the `onnx` engine. */
  readonly session?: SessionOptions;
}

/**
 * Compiles a pure function over tfjs tensors, `(state, inputs) -> { state, outputs }`.
 *
 * The function is called once, with tensors that have shapes but no values; every tfjs operation it performs, those of
 * `tf.grad` and its kin included, becomes part of a graph that is optimized and run as a whole. So its control flow may
 * depend on shapes and on anything outside, but not on values of tensors, and it must not be asynchronous.
 *
 * @param fn Returns the next state (what it leaves out stays as it is) and outputs, as trees of tensors.
 * @param signature Shapes and dtypes of state and inputs.
 * @returns A program. The caller disposes it.
 * @throws {TraceError} If the function uses an operation that cannot be compiled, or a tensor's value.
 * @throws {RangeError} If the engine is unknown, or the signature or the values for it do not fit.
 * @throws {ProgramFailedError} If the runtime cannot load the program.
 *
 * @example
 * const program = await compile(
 *   ({ w }, { x, y }) => {
 *     const { value, grad } = tf.valueAndGrad((w) => tf.mean(tf.squaredDifference(tf.dot(x, w), y)))(w);
 *     return { state: { w: tf.sub(w, tf.mul(0.1, grad)) }, outputs: { loss: value } };
 *   },
 *   { state: { w: spec([3]) }, inputs: { x: spec([8, 3]), y: spec([8]) } },
 * );
 * const { loss } = await program.run({ x: new Float32Array(24).fill(1), y: new Float32Array(8).fill(2) });
 */
export async function compile<
  const State extends Tree<TensorSpec>,
  const Inputs extends Tree<TensorSpec>,
  Outputs extends Tree<tf.Tensor>,
>(
  fn: (
    state: Tensors<State>,
    inputs: Tensors<Inputs>,
  ) => { readonly state?: Tree<tf.Tensor>; readonly outputs?: Outputs },
  signature: Signature<State, Inputs>,
  options: CompileOptions<State> = {},
): Promise<Program<Inputs, Outputs>> {
  const name = options.name ?? (fn.name || "program");
  const engine = engineName(options.engine);
  const all = fieldsOf(signature.state ?? {}, `Program "${name}", state`);
  const inputs = fieldsOf(signature.inputs ?? {}, `Program "${name}", inputs`);
  const constants = constantValues(name, all, (options.constants ?? {}) as Tree<TensorValue>);
  const state = all.filter((field) => !constants.has(field));
  const erased = fn as unknown as TensorFunction;

  const nodes = new Map<string, Node>(
    [...constants].map(([{ name, dtype, shape }, data]) => [name, makeNode({ kind: "constant", dtype, shape, data })]),
  );
  const traced = trace(name, erased, state, inputs, nodes);
  const outputs = traced.outputs.flatMap(({ name, node }): TensorField[] =>
    name.startsWith(OUTPUTS) ? [{ name: name.slice(OUTPUTS.length), dtype: node.dtype, shape: node.shape }] : [],
  );
  const updated = traced.outputs
    .filter(({ name }) => name.startsWith(NEXT_STATE))
    .map(({ name }) => name.slice(NEXT_STATE.length));
  const fields: ProgramFields = { state, inputs, outputs, updated: new Set(updated) };

  const program = await (async (): Promise<Program<Inputs, Outputs>> => {
    switch (engine) {
      case "cpu":
        return new Program(name, engine, new EagerExecutor("cpu", erased, fields, [...constants]), undefined, options);
      case "onnx": {
        const { graph, report } = optimize(traced);
        const folder = options.dump ?? process.env["MADFORMER_DUMP"];
        if (folder) await dump(folder, name, { traced, optimized: graph }, report);
        const session: SessionOptions = {
          optimizationLevel: constants.size > 0 ? "all" : "disabled",
          ...options.session,
        };
        const split = splitUpdates(graph);
        const { graph: rest, updates } = UpdateRunner.fits(split.updates) ? split : { graph, updates: [] };
        const model = lowerToOnnx(rest, "onnxruntime", programMetadata(name, fields));
        const executor = await loading(name, () => OnnxExecutor.load(model, fields, session, updates));
        return new Program(name, engine, executor, graph, options);
      }
    }
  })();
  program.state.writeAll((options.initialState ?? {}) as Tree<TensorValue>);
  return program;
}

/** The engine that is used: the option, else `MADFORMER_ENGINE`, else `onnx`. The only place that decides. */
export function engineName(option?: string): EngineName {
  const wanted = option ?? (process.env["MADFORMER_ENGINE"] || "onnx");
  const found = ENGINES.find((name) => name === wanted);
  if (found) return found;
  const source = option === undefined ? "MADFORMER_ENGINE is" : "the engine is";
  throw new RangeError(`${source} "${wanted}", expected one of ${ENGINES.map((name) => `"${name}"`).join(", ")}`);
}

/** Writes graphs as text, by the stage they are in, and what each pass did. */
async function dump(
  folder: string,
  program: string,
  graphs: Readonly<Record<string, Graph>>,
  report: readonly PassReport[],
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const path = (stage: string): string => join(folder, `${program.replace(/[^\w.-]+/g, "_")}.${stage}.txt`);
  for (const [stage, graph] of Object.entries(graphs)) await writeFile(path(stage), printGraph(graph));
  const lines = report.map(
    ({ pass, before, after, ms }) => `${pass}: ${before} -> ${after} nodes, ${ms.toFixed(1)} ms\n`,
  );
  await writeFile(path("passes"), lines.join(""));
}

/** Runs what loads a program; a failure carries the program's name. */
export async function loading<T>(program: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new ProgramFailedError(program, "was loaded", cause);
  }
}

/** The values that become part of the program, by their field. */
function constantValues(
  program: string,
  state: readonly TensorField[],
  values: Tree<TensorValue>,
): Map<TensorField, TensorData> {
  const byName = new Map(state.map((field) => [field.name, field]));
  return new Map(
    [...flatten(values, isValue, `Program "${program}", constants`)].map(([name, value]) => {
      const field = byName.get(name);
      if (!field) throw new RangeError(`Program "${program}": constant "${name}" is not in the state of its signature`);
      return [field, elementsOf(value, field, program)];
    }),
  );
}
