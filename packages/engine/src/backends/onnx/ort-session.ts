import { busyWatch } from "./busy.js";
import type { BoundMemory, Buffer } from "../../bound/memory.js";
import type { BoundSession } from "../../bound/session.js";
import { OPTIMIZATION_LEVEL, ORT_TENSORS, ortLibrary, valueOf, type OrtLibrary, type Pointer } from "./ort-library.js";

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
  binding: Pointer;
  /** What is bound, by name: kept alive as long as it is. */
  readonly inputs: Map<string, BoundMemory>;
  readonly outputs: Map<string, BoundMemory>;
}

/** What a session is loaded from, and once more where it has to wait in another way. */
interface Source {
  readonly model: Uint8Array;
  readonly external: ReadonlyMap<string, Buffer>;
  readonly options: SessionOptions;
}

/** Whether threads wait by spinning. */
const SPINNING = "session.intra_op.allow_spinning";

/** A session with more initializers is not loaded a second time: it would take twice the memory meanwhile. */
const MAX_RELOAD_BYTES = 2 ** 30;

/**
 * A loaded model with its tensors bound once: each set of bindings is a slot, a run reads and writes the slot's buffers
 * in place. Buffers are kept alive as long as the session.
 */
export class OrtSession implements BoundSession {
  private readonly ort: OrtLibrary;
  private readonly source: Source;
  readonly runtime = ORT_TENSORS;
  private session: Pointer;
  private readonly slots: Slot[] = [];
  private spins: boolean;
  /** The same model, about to be loaded or loaded, whose threads wait in the other way. */
  private next: { readonly loaded: Promise<void>; session?: Pointer } | undefined;
  private disposed = false;

  private constructor(ort: OrtLibrary, source: Source, session: Pointer, spins: boolean) {
    this.ort = ort;
    this.source = source;
    this.session = session;
    this.spins = spins;
  }

  /**
   * Loads a model on another thread.
   *
   * Whether its threads wait by spinning follows from how busy the machine is (`BusyWatch`), now and later on, unless
   * `config` says it.
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
    const source = { model, external, options };
    const spins = !busyWatch.isBusy(options.threads);
    return new OrtSession(ort, source, await loadSession(ort, source, spins), spins);
  }

  /** Bytes of the initializers that are shared with the session. */
  get externalBytes(): number {
    return [...this.source.external.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  }

  /** A new set of bindings; returns its number. */
  bind({ inputs, outputs }: Bindings = { inputs: new Map(), outputs: new Map() }): number {
    const binding = this.ort.make("CreateIoBinding", this.session);
    const slot = this.slots.push({ binding, inputs: new Map(), outputs: new Map() }) - 1;
    for (const [name, memory] of inputs) this.bindInput(slot, name, memory);
    for (const [name, memory] of outputs) this.bindOutput(slot, name, memory);
    return slot;
  }

  /** Binds one input of a slot to memory, which stays the caller's: until it is bound to other memory. */
  bindInput(slot: number, name: string, memory: BoundMemory): void {
    const { binding, inputs } = this.slots[slot] as Slot;
    if (inputs.get(name) === memory) return;
    this.ort.call("BindInput", binding, name, memory.value);
    inputs.set(name, memory);
  }

  /** Binds one output of a slot to memory, as `bindInput`. */
  bindOutput(slot: number, name: string, memory: BoundMemory): void {
    const { binding, outputs } = this.slots[slot] as Slot;
    if (outputs.get(name) === memory) return;
    this.ort.call("BindOutput", binding, name, memory.value);
    outputs.set(name, memory);
  }

  /** One run over a slot's buffers, on another thread unless `blocking` says otherwise. */
  async run(slot: number): Promise<void> {
    this.adapt();
    const { binding } = this.slots[slot] as Slot;
    const args = [this.session, this.ort.runOptions, binding] as const;
    if (this.source.options.blocking) this.ort.call("RunWithBinding", ...args);
    else await this.ort.callAsync("RunWithBinding", ...args);
  }

  /** Waits for a session that is being loaded to take this one's place: it would outlive what it was loaded from. */
  async settled(): Promise<void> {
    await this.next?.loaded;
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
    this.disposed = true;
    for (const { binding } of this.slots.splice(0)) this.ort.release("ReleaseIoBinding", binding);
    if (this.next?.session !== undefined) this.ort.release("ReleaseSession", this.next.session);
    this.ort.release("ReleaseSession", this.session);
  }

  /**
   * Lets threads wait as is best on the machine as it is now. How they wait is fixed when a session is loaded: another
   * one is loaded beside the runs, and takes this one's place, with all that is bound, when it is there. The numbers
   * are the same.
   */
  private adapt(): void {
    const { config, profilePrefix, threads } = this.source.options;
    if (config?.[SPINNING] !== undefined || profilePrefix !== undefined) return;
    const spins = !busyWatch.isBusy(threads);
    if (this.next?.session !== undefined) {
      this.ort.release("ReleaseSession", this.exchange(this.next.session));
      this.spins = !this.spins;
      this.next = undefined;
    }
    if (spins === this.spins || this.next || this.externalBytes > MAX_RELOAD_BYTES) return;
    const next: { loaded: Promise<void>; session?: Pointer } = {
      loaded: loadSession(this.ort, this.source, spins).then(
        (session) => {
          if (this.disposed) this.ort.release("ReleaseSession", session);
          else next.session = session;
        },
        () => undefined, // then it stays as it is
      ),
    };
    this.next = next;
  }

  /** Binds what is bound in another session; returns the one before. */
  private exchange(session: Pointer): Pointer {
    const before = this.session;
    this.session = session;
    for (const slot of this.slots) {
      this.ort.release("ReleaseIoBinding", slot.binding);
      slot.binding = this.ort.make("CreateIoBinding", session);
      for (const [how, bound] of [
        ["BindInput", slot.inputs],
        ["BindOutput", slot.outputs],
      ] as const)
        for (const [name, memory] of bound)
          if (memory.freed)
            bound.delete(name); // what was bound for an earlier run, and will not be for the next
          else this.ort.call(how, slot.binding, name, memory.value);
    }
    return before;
  }
}

async function loadSession(ort: OrtLibrary, { model, external, options }: Source, spins: boolean): Promise<Pointer> {
  const settings = ort.make("CreateSessionOptions");
  const made: Pointer[] = [];
  try {
    const FATAL = 4; // errors are thrown, which says it once
    ort.call("SetSessionLogSeverityLevel", settings, FATAL);
    ort.call("SetSessionGraphOptimizationLevel", settings, OPTIMIZATION_LEVEL[options.optimizationLevel ?? "disabled"]);
    ort.call("SetIntraOpNumThreads", settings, options.threads ?? 0);
    if (options.memoryPattern === false) ort.call("DisableMemPattern", settings);
    if (options.profilePrefix !== undefined) ort.call("EnableProfiling", settings, options.profilePrefix);
    const entries = {
      [SPINNING]: spins ? "1" : "0",
      // Threads wait for work by spinning, but not after a run: they would take the cores from whatever comes next.
      "session.force_spinning_stop": "1",
      ...options.config,
    };
    for (const [key, value] of Object.entries(entries)) ort.call("AddSessionConfigEntry", settings, key, value);
    const names = [...external.keys()];
    for (const buffer of external.values()) made.push(valueOf(ort, buffer));
    if (names.length > 0) ort.call("AddExternalInitializers", settings, names, made, names.length);
    const session: [Pointer | null] = [null];
    await ort.callAsync("CreateSessionFromArray", ort.env, model, model.byteLength, settings, session);
    return session[0] as Pointer;
  } finally {
    for (const value of made) ort.release("ReleaseValue", value);
    ort.release("ReleaseSessionOptions", settings);
  }
}
