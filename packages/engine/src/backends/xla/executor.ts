import { isMemory, type Executor, type Memory, type ProgramFields } from "../../backend.js";
import { ProgramStateError } from "../../errors.js";
import { INPUTS, NEXT_STATE, OUTPUTS, STATE } from "../../graph-names.js";
import { countHostCopy } from "../../host-copies.js";
import { allocate, sizeOf, type NodeOf, type TensorData } from "../../ir/graph.js";
import type { TensorField } from "../../signature.js";
import type { DeviceBuffer } from "./device-buffer.js";
import type { Executable } from "./executable.js";
import type { Pointer } from "./pjrt-struct.js";

/** Runs that may be under way at once: one is computed while the inputs of the next are sent. */
const MAX_RUNS = 2;

/** Names of a program's parameters and results, in their order, as `trace` names them. */
export interface ProgramNames {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** A state tensor: where it is. */
interface State {
  readonly field: TensorField;
  buffer: DeviceBuffer | undefined;
  /** As the last run has made it, before it is the state. */
  next: DeviceBuffer | undefined;
  /** Whether others see it: then no run writes over it. */
  isShown: boolean;
  /** Whether a failed run took it along. */
  isLost: boolean;
}

/** A run that was started, and who waits for its end. */
interface Run {
  readonly ended: Pointer;
  settled?: Promise<void>;
}

/**
 * Runs a program that XLA has compiled. State stays on the device and is donated: a run writes the next state over it,
 * so there is one copy. It survives a run that fails only where it was shown, or where the run was told to keep it.
 *
 * A run has ended for its caller when it was started: results are waited for where they are read, and the next run may
 * be started meanwhile.
 */
export class XlaExecutor implements Executor {
  readonly fields: ProgramFields;
  private readonly executable: Executable;
  private readonly states: ReadonlyMap<string, State>;
  /** What each parameter is given. */
  private readonly parameters: readonly (State | TensorField)[];
  /** What those behind them are given, in every run. */
  private readonly constants: DeviceBuffer[] = [];
  /** What becomes of each result: next state, or the output of that name. */
  private readonly made: readonly (State | string)[];
  /** State that runs change, and its places among the parameters. */
  private readonly changing: readonly (readonly [state: State, place: number])[];
  private readonly results = new Map<string, DeviceBuffer>();
  /** State before the last run that others were shown: the next run gives it back. */
  private retired: DeviceBuffer[] = [];
  private runs: Run[] = [];
  /** What failed that took state along. */
  private failure: unknown;

  private constructor(executable: Executable, fields: ProgramFields, names: ProgramNames) {
    this.executable = executable;
    this.fields = fields;
    const none = { buffer: undefined, next: undefined, isShown: false, isLost: false };
    this.states = new Map(fields.state.map((field) => [field.name, { field, ...none }]));
    const inputs = new Map(fields.inputs.map((field) => [field.name, field]));
    this.parameters = names.inputs.map(
      (name) =>
        (name.startsWith(STATE) ? this.states.get(name.slice(STATE.length)) : inputs.get(name.slice(INPUTS.length))) as
          State | TensorField,
    );
    this.made = names.outputs.map((name) =>
      name.startsWith(NEXT_STATE) ? this.stateOf(name.slice(NEXT_STATE.length)) : name.slice(OUTPUTS.length),
    );
    this.changing = this.parameters.flatMap((one, i): [State, number][] =>
      isState(one) && fields.updated.has(one.field.name) ? [[one, i]] : [],
    );
  }

  /**
   * Makes a program whose state is zero.
   *
   * @param executable Owned from now on.
   * @param constants What its last parameters are given: sent to the device here, once.
   */
  static async make(
    executable: Executable,
    fields: ProgramFields,
    names: ProgramNames,
    constants: readonly NodeOf<"constant">["op"][] = [],
  ): Promise<XlaExecutor> {
    const made = new XlaExecutor(executable, fields, names);
    const { client } = executable;
    try {
      for (const { dtype, shape, data } of constants)
        made.constants.push(await client.exclusive(() => client.upload(dtype, shape, data)));
      for (const { name } of fields.state) await made.clearState(name);
    } catch (error) {
      await made.dispose();
      throw error;
    }
    return made;
  }

  async run(
    inputs: ReadonlyMap<string, TensorData | Memory>,
    _kept: ReadonlySet<string>,
    keepsState: boolean,
  ): Promise<void> {
    await this.settle(MAX_RUNS - 1);
    this.requireAll();
    const { client } = this.executable;
    await client.exclusive(async () => {
      this.releaseResults();
      const sent: DeviceBuffer[] = [];
      try {
        const given = this.parameters.map((one): DeviceBuffer => {
          if (isState(one)) return one.buffer as DeviceBuffer;
          const value = inputs.get(one.name) as TensorData | Memory;
          if (isMemory(value)) return value as DeviceBuffer;
          const buffer = client.upload(one.dtype, one.shape, value);
          sent.push(buffer);
          return buffer;
        });
        const kept = this.changing.flatMap(([state, place]) => (keepsState || state.isShown ? [place] : []));
        const { results, ended } = await this.executable.run([...given, ...this.constants], kept);
        this.runs.push({ ended });
        this.made.forEach((to, i) => {
          if (typeof to === "string") this.results.set(to, results[i] as DeviceBuffer);
          else to.next = results[i];
        });
      } catch (error) {
        this.lose(({ buffer }) => buffer !== undefined && client.isDeleted(buffer), error);
        throw error;
      } finally {
        for (const buffer of sent) buffer.release();
      }
    });
  }

  commit(): void {
    for (const [state] of this.changing) {
      if (state.next === undefined) continue;
      const { buffer, isShown, next } = state;
      state.next = undefined;
      state.buffer = next;
      state.isShown = false;
      if (buffer === undefined) continue;
      if (isShown) this.retired.push(buffer);
      else buffer.release();
    }
  }

  readOutput(name: string): Promise<TensorData> {
    return this.read(this.results.get(name) as DeviceBuffer);
  }

  keepOutput(name: string): Memory {
    const buffer = this.results.get(name) as DeviceBuffer;
    this.results.delete(name);
    return buffer;
  }

  look(what: "output" | "next", name: string): Promise<TensorData> {
    const buffer = what === "output" ? this.results.get(name) : this.stateOf(name).next;
    return this.executable.client.download(buffer as DeviceBuffer);
  }

  async readState(name: string): Promise<TensorData> {
    await this.settle(0);
    return this.read(this.bufferOf(name));
  }

  async writeState(name: string, data: TensorData): Promise<void> {
    await this.settle(0);
    countHostCopy(data.byteLength);
    await this.put(name, data);
  }

  async adoptState(name: string, memory: Memory): Promise<boolean> {
    await this.settle(0);
    this.replace(name, (memory as DeviceBuffer).retain());
    this.stateOf(name).isShown = true;
    return true;
  }

  async clearState(name: string): Promise<void> {
    await this.settle(0);
    const { dtype, shape } = this.stateOf(name).field;
    await this.put(name, allocate(dtype, sizeOf(shape)));
  }

  shareState(name: string): Memory {
    const buffer = this.bufferOf(name);
    this.stateOf(name).isShown = true;
    return buffer;
  }

  async dispose(): Promise<void> {
    await this.settle(0);
    this.releaseResults();
    for (const { buffer } of this.states.values()) buffer?.release();
    for (const buffer of this.constants) buffer.release();
    const { client } = this.executable;
    await client.exclusive(() => this.executable[Symbol.dispose]());
  }

  /** Gives back what the last run made that nobody took, and the state before it. */
  private releaseResults(): void {
    for (const buffer of [...this.retired.splice(0), ...this.results.values()]) buffer.release();
    this.results.clear();
    for (const [state] of this.changing) {
      state.next?.release();
      state.next = undefined;
    }
  }

  private async read(buffer: DeviceBuffer): Promise<TensorData> {
    try {
      return await buffer.read();
    } catch (error) {
      await this.settle(0); // which finds out what was lost
      throw error;
    }
  }

  private async put(name: string, data: TensorData): Promise<void> {
    const { client } = this.executable;
    const { dtype, shape } = this.stateOf(name).field;
    this.replace(name, await client.exclusive(() => client.upload(dtype, shape, data)));
  }

  private replace(name: string, buffer: DeviceBuffer): void {
    const state = this.stateOf(name);
    state.buffer?.release();
    Object.assign(state, { buffer, isShown: false, isLost: false });
  }

  /** Waits until no more than some of the runs are under way. A run that has failed has taken the state with it. */
  private async settle(most: number): Promise<void> {
    while (this.runs.length > most) {
      const run = this.runs[0] as Run;
      run.settled ??= this.executable.client.wait(run.ended).catch((error: unknown) => this.lose(() => true, error));
      await run.settled;
      if (this.runs[0] === run) this.runs.shift();
    }
  }

  private lose(which: (state: State) => boolean, error: unknown): void {
    for (const [state] of this.changing) state.isLost ||= which(state);
    this.failure = error;
  }

  /** @throws {ProgramStateError} If any state was lost. */
  private requireAll(): void {
    if (this.failure === undefined) return;
    const lost = this.changing.filter(([{ isLost }]) => isLost);
    const [first] = lost;
    if (first === undefined) this.failure = undefined;
    else this.refuse(first[0].field.name, lost.length - 1);
  }

  /** @throws {ProgramStateError} If it was lost. */
  private bufferOf(name: string): DeviceBuffer {
    const { buffer, isLost } = this.stateOf(name);
    if (isLost) this.refuse(name, 0);
    return buffer as DeviceBuffer;
  }

  private refuse(name: string, others: number): never {
    const more = others > 0 ? ` and ${others} more` : "";
    const why = this.failure instanceof Error ? this.failure.message : String(this.failure);
    throw new ProgramStateError(
      `a run that failed took the state "${name}"${more} with it, and it has to be written again: ${why}`,
      { cause: this.failure },
    );
  }

  private stateOf(name: string): State {
    return this.states.get(name) as State;
  }
}

const isState = (one: State | TensorField): one is State => "isShown" in one;
