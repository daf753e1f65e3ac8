import type * as tf from "@tensorflow/tfjs-core";
import { NonFiniteError, ProgramFailedError, ProgramStateError } from "../errors.js";
import { firstNonFinite } from "../finite.js";
import type { Graph, TensorData } from "../ir/graph.js";
import {
  elementsOf,
  flatten,
  isValue,
  unflatten,
  type TensorField,
  type TensorValue,
  type Tree,
  type Values,
} from "../signature.js";
import type { Executor } from "./executor.js";

/** A tree of values for a tree of specs: typed arrays, or plain numbers where a tensor is small. */
export type InputValues<Specs> = Specs extends { readonly shape: readonly number[] } | tf.Tensor
  ? TensorValue
  : { readonly [Name in keyof Specs]: InputValues<Specs[Name]> };

/** The state of a program, by the path of each tensor: `params/blocks.0.weight`. */
export interface ProgramState {
  /** Paths, in the order of the signature. */
  readonly names: readonly string[];
  /** Shape and dtype of each tensor, in the order of the signature. */
  readonly fields: readonly TensorField[];
  /** A copy of one tensor's elements. */
  read(name: string): TensorData;
  /** Replaces one tensor's elements; the values are copied. */
  write(name: string, value: TensorValue): void;
  /** Copies of everything, as the tree of the signature. */
  readAll(): Tree<TensorData>;
  /** Replaces what a tree names, which may be a part of the state; all of it is checked before any of it is written. */
  writeAll(values: Tree<TensorValue>): void;
}

export interface ProgramOptions {
  /** Look for NaN and infinities after every run: in the outputs, or in the next state too. Costs one pass over them. */
  readonly checkFinite?: "outputs" | "all" | undefined;
}

/**
 * A compiled function: it takes inputs, returns outputs, and keeps its state between runs.
 *
 * Runs of one program happen one after another in the order of their calls; runs of different programs happen side by side.
 */
export class Program<Inputs = Tree<unknown>, Outputs = Tree<unknown>> implements AsyncDisposable {
  readonly name: string;
  /** Which engine runs it. */
  readonly engine: string;
  /** Inputs and outputs with their shapes and dtypes, by path. */
  readonly inputs: readonly TensorField[];
  readonly outputs: readonly TensorField[];
  /** The optimized graph; none where the engine runs the function as it is. */
  readonly graph: Graph | undefined;
  readonly state: ProgramState;

  private readonly executor: Executor;
  private readonly options: ProgramOptions;
  private runs = 0;
  private queue: Promise<unknown> = Promise.resolve();
  private running = false;
  private disposal: Promise<void> | undefined;

  constructor(name: string, engine: string, executor: Executor, graph: Graph | undefined, options: ProgramOptions) {
    this.name = name;
    this.engine = engine;
    this.executor = executor;
    this.inputs = executor.fields.inputs;
    this.outputs = executor.fields.outputs;
    this.graph = graph;
    this.options = options;
    this.state = this.makeState();
  }

  /** Runs that have ended. */
  get runCount(): number {
    return this.runs;
  }

  /**
   * Runs the function once.
   *
   * @param inputs A value for every input of the signature. Typed arrays are borrowed: leave them as they are until the run ends.
   * @returns The outputs, new arrays of the caller's.
   * @throws {TypeError} If an input is missing, is not in the signature or has another dtype.
   * @throws {RangeError} If an input has another number of elements.
   * @throws {NonFiniteError} If `checkFinite` asks for it and a result is NaN or infinite; the state is as before.
   * @throws {ProgramFailedError} If the runtime fails; the state is as before.
   * @throws {ProgramStateError} If the program was disposed.
   */
  async run(inputs: InputValues<Inputs>): Promise<Values<Outputs>> {
    this.assertAlive("run");
    const values = this.matched(inputs as Tree<TensorValue>).map(
      ([field, value]) => [field.name, elementsOf(value, field, this.name)] as const,
    );
    return this.enqueue(() => {
      for (const [name, data] of values) this.executor.setInput(name, data);
      return this.runOnce();
    });
  }

  /** Frees the program once its runs have ended; doing so again does nothing. */
  dispose(): Promise<void> {
    return (this.disposal ??= this.queue.then(() => this.executor.dispose()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  private enqueue<T>(task: () => Promise<T>): Promise<T> {
    this.running = true;
    const result = this.queue.then(task);
    const settled: Promise<unknown> = result
      .catch(() => undefined)
      .then(() => {
        if (this.queue === settled) this.running = false;
      });
    this.queue = settled;
    return result;
  }

  private async runOnce(): Promise<Values<Outputs>> {
    try {
      await this.executor.run();
    } catch (cause) {
      throw new ProgramFailedError(this.name, `ran (run ${this.runs + 1})`, cause);
    }
    if (this.options.checkFinite) this.assertFinite(this.options.checkFinite);
    this.executor.commit();
    this.runs++;
    return unflatten(this.outputs.map(({ name }) => [name, this.executor.output(name).slice()])) as Values<Outputs>;
  }

  private matched(inputs: Tree<TensorValue>): [TensorField, TensorValue][] {
    const values = flatten(inputs ?? {}, isValue, `Program "${this.name}", inputs`);
    const known = new Set(this.inputs.map(({ name }) => name));
    const list = [...known].map((name) => `"${name}"`).join(", ") || "none";
    for (const name of values.keys())
      if (!known.has(name))
        throw new TypeError(`Program "${this.name}" has no input "${name}"; its inputs are ${list}`);
    return this.inputs.map((field) => {
      const value = values.get(field.name);
      if (value === undefined)
        throw new TypeError(`Program "${this.name}": input "${field.name}" is missing; its inputs are ${list}`);
      return [field, value];
    });
  }

  private assertFinite(what: "outputs" | "all"): void {
    const look = (name: string, data: TensorData): void => {
      if (!(data instanceof Float32Array)) return;
      const index = firstNonFinite(data);
      if (index >= 0) throw new NonFiniteError(this.name, name, index, data[index] ?? NaN, this.runs);
    };
    for (const { name } of this.outputs) look(name, this.executor.output(name));
    if (what === "all") for (const name of this.executor.fields.updated) look(name, this.executor.nextState(name));
  }

  private makeState(): ProgramState {
    const { executor } = this;
    const fields = executor.fields.state;
    const byName = new Map(fields.map((field) => [field.name, field]));
    const find = (name: string): TensorField => {
      this.assertAlive("use its state");
      if (this.running)
        throw new ProgramStateError(`Program "${this.name}" is running: its state changes; await run() first`);
      const field = byName.get(name);
      if (!field)
        throw new RangeError(
          `Program "${this.name}" has no state "${name}"; it has ${nearest(name, [...byName.keys()])}`,
        );
      return field;
    };
    const read = (name: string): TensorData => executor.state(find(name).name).slice();
    const writeAll = (values: Tree<TensorValue>): void => {
      const checked = [...flatten(values, isValue, `Program "${this.name}", state`)].map(([name, value]) => {
        return [name, elementsOf(value, find(name), this.name)] as const;
      });
      for (const [name, data] of checked) executor.state(name).set(data);
    };
    return {
      names: fields.map(({ name }) => name),
      fields,
      read,
      write: (name, value) => executor.state(find(name).name).set(elementsOf(value, find(name), this.name)),
      readAll: () => unflatten(fields.map(({ name }) => [name, read(name)])),
      writeAll,
    };
  }

  private assertAlive(what: string): void {
    if (this.disposal) throw new ProgramStateError(`Cannot ${what}: program "${this.name}" was disposed`);
  }
}

/** The names most like `name`, for messages: all of them if they are few. */
function nearest(name: string, names: readonly string[]): string {
  const shared = (other: string): number => {
    let length = 0;
    while (length < other.length && other[length] === name[length]) length++;
    return length;
  };
  const shown = [...names].sort((a, b) => shared(b) - shared(a)).slice(0, 5);
  const rest = names.length - shown.length;
  return names.length === 0 ? "none" : shown.map((n) => `"${n}"`).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
