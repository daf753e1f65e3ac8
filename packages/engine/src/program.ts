import type * as tf from "@tensorflow/tfjs-core";
import type { Executor, Memory } from "./backend.js";
import { NonFiniteError, ProgramFailedError, ProgramStateError } from "./errors.js";
import { firstNonFinite } from "./finite.js";
import { isHandle, MemoryHandle, SharedMemory, type Handle } from "./handle.js";
import type { Graph, TensorData } from "./ir/graph.js";
import { StateHolder, type ProgramState } from "./program-state.js";
import {
  elementsOf,
  flatten,
  isValue,
  unflatten,
  type Handles,
  type InputValues,
  type TensorField,
  type TensorSpec,
  type TensorValue,
  type Tree,
  type Values,
} from "./signature.js";

export interface ProgramOptions {
  /**
   * Look for NaN and infinities after every run: in the outputs, or in the next state too. Costs one pass over them.
   */
  readonly checkFinite?: "outputs" | "all" | undefined;
}

/** How one run gives its outputs. */
export interface RunOptions<Kept> {
  /**
   * Outputs that stay where the engine has them: by name, as the function returns them; of a branch, all that is in it.
   */
  readonly handles?: readonly Kept[];
}

/** Outputs of a run: handles where they were asked for, else arrays. */
export type Results<Outputs, Kept = never> = {
  readonly [Name in keyof Outputs]: Name extends Kept ? Handles<Outputs[Name]> : Values<Outputs[Name]>;
};

/**
 * A compiled function: it takes inputs, returns outputs, and keeps its state between runs.
 *
 * Runs of one program happen one after another in the order of their calls; runs of different programs happen side by
 * side.
 */
export class Program<
  Inputs = Tree<TensorSpec>,
  Outputs = Tree<tf.Tensor>,
  State = Tree<TensorSpec>,
> implements AsyncDisposable {
  readonly name: string;
  /** Which engine runs it. */
  readonly engine: string;
  /** Inputs and outputs with their shapes and dtypes, by path. */
  readonly inputs: readonly TensorField[];
  readonly outputs: readonly TensorField[];
  /** The graph as it runs, or as it was traced where the engine calls the function itself; none of a loaded program. */
  readonly graph: Graph | undefined;

  private readonly executor: Executor;
  private readonly options: ProgramOptions;
  private readonly held: StateHolder<State>;
  private runs = 0;
  private underWay = 0;
  private queue: Promise<unknown> = Promise.resolve();
  private disposal: Promise<void> | undefined;

  constructor(name: string, engine: string, executor: Executor, graph: Graph | undefined, options: ProgramOptions) {
    this.name = name;
    this.engine = engine;
    this.executor = executor;
    this.inputs = executor.fields.inputs;
    this.outputs = executor.fields.outputs;
    this.graph = graph;
    this.options = options;
    this.held = new StateHolder<State>(name, engine, executor, {
      assertIdle: () => {
        this.assertAlive("use its state");
        if (this.underWay > 0)
          throw new ProgramStateError(`Program "${this.name}" is running: its state changes; await run() first`);
      },
      enqueue: (task) => this.enqueue(task),
    });
  }

  /** What it keeps between runs. */
  get state(): ProgramState<State> {
    return this.held;
  }

  /** Runs that have ended. */
  get runCount(): number {
    return this.runs;
  }

  /**
   * Runs the function once.
   *
   * @param inputs A value for every input of the signature: an array, or a handle of this engine's. Arrays are
   *   borrowed: leave them as they are until the run ends. Handles may be disposed at once.
   * @param options Which outputs are wanted as handles.
   * @returns The outputs: new arrays of the caller's, and handles, which the caller disposes.
   * @throws {TypeError} If an input is missing, is not in the signature or has another dtype; a handle: another shape
   *   or engine.
   * @throws {RangeError} If an input has another number of elements, or there is no such output.
   * @throws {HandleError} If a handle was disposed or has ended.
   * @throws {NonFiniteError} If `checkFinite` asks for it and a result is NaN or infinite; the state is as before.
   * @throws {ProgramFailedError} If the runtime fails. The state is as before; on an engine that writes the next over
   *   it (`xla`) it may be lost, and then has to be written before the next run.
   * @throws {ProgramStateError} If the program was disposed.
   */
  async run<const Kept extends keyof Outputs & string = never>(
    inputs: InputValues<Inputs>,
    options: RunOptions<Kept> = {},
  ): Promise<Results<Outputs, Kept>> {
    this.assertAlive("run");
    const kept = this.keptOutputs(options.handles ?? []);
    const borrowed: SharedMemory[] = [];
    const values = new Map<string, TensorData | Memory>();
    try {
      for (const [field, value] of this.matched(inputs as Tree<TensorValue | Handle>)) {
        if (!isHandle(value)) {
          values.set(field.name, elementsOf(value, field, this.name));
          continue;
        }
        const shared = value.fitting(`Program "${this.name}": "${field.name}"`, field, this.engine);
        values.set(field.name, shared.retain());
        borrowed.push(shared);
      }
    } catch (error) {
      for (const shared of borrowed) shared.letGo();
      throw error;
    }
    this.underWay++;
    return this.enqueue(async () => {
      try {
        return await this.runOnce(values, kept);
      } finally {
        for (const shared of borrowed) shared.letGo();
        this.underWay--;
      }
    }).then(async (reading) => unflatten(await allOf(reading)) as Results<Outputs, Kept>);
  }

  /**
   * Ends the profile that the option `session.profilePrefix` asked for.
   *
   * @returns The path of its file.
   * @throws {TypeError} If the engine writes none.
   */
  endProfiling(): string {
    const path = this.executor.endProfiling?.();
    if (path === undefined)
      throw new TypeError(`Program "${this.name}" runs on engine "${this.engine}", which writes no profile`);
    return path;
  }

  /** Frees the program once its runs have ended; doing so again does nothing. Outputs that are handles stay. */
  dispose(): Promise<void> {
    return (this.disposal ??= this.queue.then(async () => {
      await this.held.dispose();
      await this.executor.dispose();
    }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  private enqueue<T>(task: () => Promise<T>): Promise<T> {
    const result = this.queue.then(task);
    this.queue = result.catch(() => undefined);
    return result;
  }

  /** Runs once. The results are being read when it ends: the next run may begin before they are there. */
  private async runOnce(
    inputs: ReadonlyMap<string, TensorData | Memory>,
    kept: ReadonlySet<string>,
  ): Promise<readonly Promise<[string, TensorData | Handle]>[]> {
    const { executor } = this;
    const run = this.runs + 1;
    await this.held.during(async () => {
      try {
        await executor.run(inputs, kept, this.options.checkFinite !== undefined);
      } catch (cause) {
        throw this.failed(run, cause);
      }
      if (this.options.checkFinite) await this.assertFinite(this.options.checkFinite);
    });
    executor.commit();
    this.held.changed();
    this.runs++;
    return this.outputs.map(async (field): Promise<[string, TensorData | Handle]> => {
      const { name } = field;
      if (kept.has(name)) {
        const shared = new SharedMemory(`${this.name}: ${name}`, executor.keepOutput(name), false);
        return [name, new MemoryHandle(this.engine, field, shared)];
      }
      try {
        return [name, await executor.readOutput(name)];
      } catch (cause) {
        throw this.failed(run, cause);
      }
    });
  }

  private failed(run: number, cause: unknown): ProgramFailedError {
    return new ProgramFailedError(this.name, `ran (run ${run})`, cause);
  }

  /** Paths of the outputs under some names. */
  private keptOutputs(names: readonly string[]): ReadonlySet<string> {
    const paths = names.flatMap((wanted) => {
      const found = this.outputs.filter(({ name }) => name === wanted || name.startsWith(`${wanted}/`));
      if (found.length === 0) {
        const list = [...new Set(this.outputs.map(({ name }) => `"${name.split("/")[0]}"`))].join(", ") || "none";
        throw new RangeError(`Program "${this.name}" has no output "${wanted}"; its outputs are ${list}`);
      }
      return found.map(({ name }) => name);
    });
    return new Set(paths);
  }

  private matched(inputs: Tree<TensorValue | Handle>): [TensorField, TensorValue | Handle][] {
    const values = flatten(inputs ?? {}, isInput, `Program "${this.name}", inputs`);
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

  private async assertFinite(what: "outputs" | "all"): Promise<void> {
    const { executor } = this;
    const look = async (kind: "output" | "next", name: string): Promise<void> => {
      const data = await executor.look(kind, name);
      if (!(data instanceof Float32Array)) return;
      const index = firstNonFinite(data);
      if (index >= 0) throw new NonFiniteError(this.name, name, index, data[index] ?? NaN, this.runs);
    };
    for (const { name } of this.outputs) await look("output", name);
    if (what === "all") for (const name of executor.fields.updated) await look("next", name);
  }

  private assertAlive(what: string): void {
    if (this.disposal) throw new ProgramStateError(`Cannot ${what}: program "${this.name}" was disposed`);
  }
}

/** Whether a value given for a tensor is a leaf. */
export function isInput(value: unknown): value is TensorValue | Handle {
  return isValue(value) || isHandle(value);
}

/** Results by name, once all are there; if one is not, the handles among the others are let go. */
async function allOf(
  reading: readonly Promise<[string, TensorData | Handle]>[],
): Promise<[string, TensorData | Handle][]> {
  const all = await Promise.allSettled(reading);
  const results = all.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const failure = all.find((one) => one.status === "rejected");
  if (failure === undefined) return results;
  for (const [, value] of results) if (isHandle(value)) value.dispose();
  throw failure.reason;
}
