import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type * as tf from "@tensorflow/tfjs-core";
import type { PrecisionName, ProgramFields } from "./backend.js";
import { chooseEngine } from "./choice.js";
import { BACKENDS, type EngineName, type SessionOptions } from "./engines.js";
import { ProgramFailedError } from "./errors.js";
import { NEXT_STATE, OUTPUTS } from "./graph-names.js";
import { type Graph, type Node, type TensorData } from "./ir/graph.js";
import { makeNode } from "./ir/infer.js";
import { printGraph } from "./ir/print.js";
import type { PassReport } from "./passes/index.js";
import { Program, type ProgramOptions } from "./program.js";
import {
  elementsOf,
  fieldsOf,
  flatten,
  isValue,
  type InputValues,
  type Part,
  type Signature,
  type TensorField,
  type Tensors,
  type TensorSpec,
  type TensorValue,
  type Tree,
} from "./signature.js";
import { trace, type TensorFunction } from "./trace/trace.js";

export interface CompileOptions<State = Tree<TensorSpec>> extends ProgramOptions {
  /** Shown in errors, dumps and files. Default: the function's name. */
  readonly name?: string;
  /** Which engine runs it. Default: see `chooseEngine`. */
  readonly engine?: EngineName;
  /** In which of the engine's precisions. Default: see `chooseEngine`. */
  readonly precision?: PrecisionName;
  /**
   * What the state is at first; zeros where nothing is said. Arrays are copied; a handle becomes the state as it is.
   */
  readonly initialState?: Part<InputValues<State>>;
  /**
   * State that never changes and is known now (weights, at inference): it becomes part of the program, which may fold
   * it and pack it for its kernels, and no longer of its state. Not copied: do not change it afterwards.
   */
  readonly constants?: Part<InputValues<State, TensorValue>>;
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
 * @throws {RangeError} If there is no such engine, or it has no such precision, or the signature or the values for it
 *   do not fit.
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
): Promise<Program<Inputs, Outputs, State>> {
  const name = options.name ?? (fn.name || "program");
  const { engine, precision, threads } = chooseEngine(options);
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

  const session = options.session ?? {};
  const chosen = { precision, threads, session };
  const prepared = BACKENDS[engine].prepare({ name, fn: erased, traced, fields, constants: [...constants], ...chosen });
  const { optimized } = prepared;
  const folder = options.dump ?? process.env["MADFORMER_DUMP"];
  if (folder && optimized) await dump(folder, name, { traced, optimized: optimized.graph }, optimized.report);
  const executor = await loading(name, prepared.load);
  const program = new Program<Inputs, Outputs, State>(name, engine, executor, optimized?.graph ?? traced, options);
  try {
    if (options.initialState) await program.state.writeAll(options.initialState);
  } catch (error) {
    await program.dispose();
    throw error;
  }
  return program;
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
async function loading<T>(program: string, load: () => Promise<T>): Promise<T> {
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
