import type { Graph, TensorData } from "./ir/graph.js";
import type { Runtime } from "./installs/installed.js";
import type { PassReport } from "./passes/index.js";
import type { TensorField } from "./signature.js";
import type { TensorFunction } from "./trace/trace.js";

/** What a program's tensors are called, and what they are. */
export interface ProgramFields {
  readonly state: readonly TensorField[];
  readonly inputs: readonly TensorField[];
  readonly outputs: readonly TensorField[];
  /** Names of the state that a run changes; the rest stays as it is. */
  readonly updated: ReadonlySet<string>;
}

/**
 * How programs may round between their inputs and their results, which are float32 in each of them. `tf32` and `bf16`
 * round what is multiplied.
 */
export type PrecisionName = "float32" | "tf32" | "bf16";

/** One tensor in a backend's memory, which may lie on a device. Only its backend looks inside. */
export interface Memory {
  /** A copy of its elements, for the host. */
  read(): Promise<TensorData>;
  /** Gives it back. Called once, when nothing refers to it any more. */
  release(): void;
}

/** Whether a value lies in a backend's memory. */
export function isMemory(value: TensorData | Memory): value is Memory {
  return !ArrayBuffer.isView(value);
}

/**
 * Runs one program: the part that engines differ in. It owns the memory of state and of outputs, and nobody else writes
 * there. Nothing here is checked: names, sizes and order of calls are the `Program`'s business.
 */
export interface Executor {
  readonly fields: ProgramFields;
  /**
   * One run: reads inputs and state, writes outputs and next state.
   *
   * @param inputs A value for every input. Borrowed until the run ends.
   * @param kept Names of the outputs that `keepOutput` will ask for.
   * @param keepsState Whether the state must still be there afterwards, for the run may be taken back. Otherwise an
   *   executor may write the next state over it; it says so where that fails.
   */
  run(inputs: ReadonlyMap<string, TensorData | Memory>, kept: ReadonlySet<string>, keepsState: boolean): Promise<void>;
  /** Makes the next state the state. */
  commit(): void;
  /** A copy of a result of the last `run`, which it is however many others are started before it is there. */
  readOutput(name: string): Promise<TensorData>;
  /**
   * A result of the last `run`, which was told to keep it, and its memory: the caller's from now on. Once for each run.
   */
  keepOutput(name: string): Memory;
  /**
   * The elements of a result or of next state as the last `run` made it, before `commit`. Borrowed: only to be looked
   * at.
   */
  look(what: "output" | "next", name: string): Promise<TensorData>;
  /** A copy of a state tensor. */
  readState(name: string): Promise<TensorData>;
  /** Replaces a state tensor by a copy of the elements. */
  writeState(name: string, data: TensorData): Promise<void>;
  /**
   * Makes memory the state: it is borrowed until the state is replaced, by one of these or by a run that changes it,
   * and is never written to.
   *
   * @returns Whether it is borrowed; else it had to be copied.
   */
  adoptState(name: string, memory: Memory): Promise<boolean>;
  /** Makes a state tensor zero. */
  clearState(name: string): Promise<void>;
  /**
   * A state tensor's memory as it is now: it stays so through the next `run`, until the one after it begins, or until
   * it is written to. It stays the executor's.
   */
  shareState(name: string): Memory;
  /** Ends the profile that its session was told to write; returns its path. */
  endProfiling?(): string;
  /** Frees everything but the outputs that were kept. Called once, with no run under way. */
  dispose(): Promise<void>;
}

/** What a backend makes a program of. */
export interface CompileRequest<Session> {
  readonly name: string;
  readonly fn: TensorFunction;
  /** What was traced; the backend has it optimized for itself. */
  readonly traced: Graph;
  readonly fields: ProgramFields;
  /** State that never changes and is known now. */
  readonly constants: readonly (readonly [TensorField, TensorData])[];
  /** One of the backend's. */
  readonly precision: PrecisionName;
  /** Threads of one operation; undefined leaves it to the backend. */
  readonly threads: number | undefined;
  /** Settings of the backend's own; they win over those above. */
  readonly session: Session;
}

/** A program that is ready to be loaded. */
export interface Prepared {
  /** What runs, and what each pass did; none where the function is called as it is. */
  readonly optimized: { readonly graph: Graph; readonly report: readonly PassReport[] } | undefined;
  readonly load: () => Promise<Executor>;
}

/** What of a backend is there on this machine. */
export interface BackendState {
  /** Its runtime's version. */
  readonly version?: string;
  /** Where it computes: `cpu`, or `gpu` with the card's name where that is known. */
  readonly devices: readonly string[];
  /** Why it cannot be used, and what to do about it. */
  readonly problem?: string;
  /** What else there is to know, such as what the processor gives a precision. */
  readonly notes?: readonly string[];
}

/** A way to run programs: a folder of `backends/`, which knows nothing of the others. */
export interface Backend<Session> {
  /** In which precisions it runs programs, the usual one first. */
  readonly precisions: readonly [PrecisionName, ...PrecisionName[]];
  prepare(request: CompileRequest<Session>): Prepared;
  /** Looks whether it can be used, which loads its runtime. It never throws. */
  state(): BackendState;
  /** The precision that programs get on this machine which ask for one of those above, if it may be another. */
  granted?(precision: PrecisionName): PrecisionName;
  /** Which runtime programs get, found without loading it; only of a backend whose runtime is not in the lock file. */
  runtime?(): Runtime;
}
