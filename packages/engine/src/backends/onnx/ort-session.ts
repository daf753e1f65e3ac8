import { type BoundMemory, valueOf, type Buffer } from "./bound-memory.js";
import { OPTIMIZATION_LEVEL, ortLibrary, type OrtLibrary, type Pointer } from "./ort-library.js";

/** Settings of ONNX Runtime. */
export interface SessionOptions {
  /** Threads of one operation. Default: one per physical core. */
  readonly threads?: number;
  /**
   * ONNX Runtime's own graph optimizations. Default: `all` for programs with constant weights, which gain its blocked
   * convolutions, else `disabled`: programs bring their own, load twice as fast without, and run no slower.
   */
  readonly optimizationLevel?: keyof typeof OPTIMIZATION_LEVEL;
  /** Plan all memory of a run as one block: faster from the third run on, slower before. */
  readonly memoryPattern?: boolean;
  /** Write a profile to a file whose name starts like this; `endProfiling` says its name. */
  readonly profilePrefix?: string;
  /** Run on the calling thread: 0.2 ms less for each run, but timers and signals wait until it ends. */
  readonly blocking?: boolean;
  /** Further entries of ONNX Runtime's session configuration, such as `session.intra_op.allow_spinning`. */
  readonly config?: Readonly<Record<string, string>>;
}

/** Memory by the name of the graph's input or output that it is bound to. */
export type Bindings = Readonly<Record<"inputs" | "outputs", ReadonlyMap<string, BoundMemory>>>;

/** One set of bindings. */
interface Slot {
  readonly binding: Pointer;
  /** What is bound, by name: kept alive as long as it is. */
  readonly bound: Map<string, BoundMemory>;
}

/**
 * A loaded model with its tensors bound once: each set of bindings is a slot, a run reads and writes the slot's buffers in
 * place. Buffers are kept alive as long as the session.
 */
export class OrtSession implements Disposable {
  private readonly ort: OrtLibrary;
  private readonly session: Pointer;
  private readonly slots: Slot[] = [];
  private readonly external: readonly Buffer[];
  private readonly blocking: boolean;

  private constructor(ort: OrtLibrary, session: Pointer, external: readonly Buffer[], blocking: boolean) {
    this.ort = ort;
    this.session = session;
    this.external = external;
    this.blocking = blocking;
  }

  /**
   * Loads a model on another thread.
   *
   * @param external Initializers of the model that are marked as external, by name. Not copied.
   * @throws {Error} If ONNX Runtime cannot load it; the message is ONNX Runtime's.
   */
  static async load(
    model: Uint8Array,
    external: ReadonlyMap<string, Buffer>,
    options: SessionOptions,
  ): Promise<OrtSession> {
    const ort = ortLibrary();
    const settings = ort.make("CreateSessionOptions");
    const made: Pointer[] = [];
    try {
      const FATAL = 4; // errors are thrown, which says it once
      ort.call("SetSessionLogSeverityLevel", settings, FATAL);
      ort.call(
        "SetSessionGraphOptimizationLevel",
        settings,
        OPTIMIZATION_LEVEL[options.optimizationLevel ?? "disabled"],
      );
      ort.call("SetIntraOpNumThreads", settings, options.threads ?? 0);
      if (options.memoryPattern === false) ort.call("DisableMemPattern", settings);
      if (options.profilePrefix !== undefined) ort.call("EnableProfiling", settings, options.profilePrefix);
      // Threads wait for work by spinning, but not after a run: they would take the cores from whatever comes next.
      ort.call("AddSessionConfigEntry", settings, "session.force_spinning_stop", "1");
      for (const [key, value] of Object.entries(options.config ?? {}))
        ort.call("AddSessionConfigEntry", settings, key, value);
      const names = [...external.keys()];
      for (const buffer of external.values()) made.push(valueOf(ort, buffer));
      if (names.length > 0) ort.call("AddExternalInitializers", settings, names, made, names.length);
      const session: [Pointer | null] = [null];
      await ort.callAsync("CreateSessionFromArray", ort.env, model, model.byteLength, settings, session);
      return new OrtSession(ort, session[0] as Pointer, [...external.values()], options.blocking ?? false);
    } finally {
      for (const value of made) ort.release("ReleaseValue", value);
      ort.release("ReleaseSessionOptions", settings);
    }
  }

  /** Bytes of the initializers that are shared with the session. */
  get externalBytes(): number {
    return this.external.reduce((sum, { data }) => sum + data.byteLength, 0);
  }

  /** A new set of bindings; returns its number. */
  bind({ inputs, outputs }: Bindings = { inputs: new Map(), outputs: new Map() }): number {
    const slot = this.slots.push({ binding: this.ort.make("CreateIoBinding", this.session), bound: new Map() }) - 1;
    for (const [name, memory] of inputs) this.bindInput(slot, name, memory);
    for (const [name, memory] of outputs) this.bindOutput(slot, name, memory);
    return slot;
  }

  /** Binds one input of a slot to memory, which stays the caller's: until it is bound to other memory. */
  bindInput(slot: number, name: string, memory: BoundMemory): void {
    this.rebind("BindInput", slot, name, memory);
  }

  /** Binds one output of a slot to memory, as `bindInput`. */
  bindOutput(slot: number, name: string, memory: BoundMemory): void {
    this.rebind("BindOutput", slot, name, memory);
  }

  /** One run over a slot's buffers, on another thread unless `blocking` says otherwise. */
  async run(slot: number): Promise<void> {
    const { binding } = this.slots[slot] as Slot;
    const args = [this.session, this.ort.runOptions, binding] as const;
    if (this.blocking) this.ort.call("RunWithBinding", ...args);
    else await this.ort.callAsync("RunWithBinding", ...args);
  }

  /** Ends profiling; returns the path of the profile. */
  endProfiling(): string {
    const allocator = this.ort.make("GetAllocatorWithDefaultOptions");
    const text = this.ort.make("SessionEndProfiling", this.session, allocator);
    const path = this.ort.text(text);
    this.ort.call("AllocatorFree", allocator, text);
    return path;
  }

  [Symbol.dispose](): void {
    for (const { binding } of this.slots.splice(0)) this.ort.release("ReleaseIoBinding", binding);
    this.ort.release("ReleaseSession", this.session);
  }

  private rebind(how: "BindInput" | "BindOutput", slot: number, name: string, memory: BoundMemory): void {
    const { binding, bound } = this.slots[slot] as Slot;
    if (bound.get(name) === memory) return;
    this.ort.call(how, binding, name, memory.value);
    bound.set(name, memory);
  }
}
