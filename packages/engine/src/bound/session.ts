import type { BoundMemory, TensorRuntime } from "./memory.js";

/** A loaded model that reads and writes memory which is bound to it. Each set of bindings is a slot. */
export interface BoundSession extends Disposable {
  readonly runtime: TensorRuntime;
  /** A new set of bindings; returns its number. */
  bind(): number;
  /** Binds one input of a slot to memory, which stays the caller's: until it is bound to other memory. */
  bindInput(slot: number, name: string, memory: BoundMemory): void;
  /** Binds one output of a slot to memory, as `bindInput`. */
  bindOutput(slot: number, name: string, memory: BoundMemory): void;
  /** One run over a slot's buffers. */
  run(slot: number): Promise<void>;
  /** Waits for what goes on beside the runs, before it is disposed. */
  settled?(): Promise<void>;
  /** Ends profiling; returns the path of the profile. */
  endProfiling?(): string;
}
