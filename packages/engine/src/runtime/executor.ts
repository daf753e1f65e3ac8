import type { TensorData } from "../ir/graph.js";
import type { TensorField } from "../signature.js";

/** What a program's tensors are called, and what they are. */
export interface ProgramFields {
  readonly state: readonly TensorField[];
  readonly inputs: readonly TensorField[];
  readonly outputs: readonly TensorField[];
  /** Names of the state that a run changes; the rest stays as it is. */
  readonly updated: ReadonlySet<string>;
}

/**
 * Runs one program: the part that engines differ in. It owns the memory of outputs and state, which callers copy.
 * Nothing here is checked: names, sizes and order of calls are the `Program`'s business.
 */
export interface Executor {
  readonly fields: ProgramFields;
  /** Sets an input of the next `run`. The array is borrowed until that run ends. */
  setInput(name: string, data: TensorData): void;
  /** The results of the last `run`, until the next. */
  output(name: string): TensorData;
  /** State as it is now; writing to it changes the state. */
  state(name: string): TensorData;
  /** State as the last `run` made it, before `commit`. */
  nextState(name: string): TensorData;
  /** One run: reads inputs and state, writes outputs and next state. */
  run(): Promise<void>;
  /** Makes the next state the state. */
  commit(): void;
  /** Frees everything. Called once, with no run under way. */
  dispose(): void;
}
