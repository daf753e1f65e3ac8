import { isMemory, type Executor, type Memory, type ProgramFields } from "../../backend.js";
import { ProgramStateError } from "../../errors.js";
import { INPUTS, NEXT_STATE, OUTPUTS, STATE } from "../../graph-names.js";
import { countHostCopy } from "../../host-copies.js";
import { allocate, sizeOf, type TensorData } from "../../ir/graph.js";
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

/** A state tensor where it is. */
interface State {
  readonly buffer: DeviceBuffer;
  /** Whether others see it: then no run writes over it. */
  isShown: boolean;
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
  private readonly names: ProgramNames;
  /** Places of state that runs change among the parameters. */
  private readonly changing: ReadonlyMap<string, number>;
  private readonly states = new Map<string, State>();
  private readonly next = new Map<string, DeviceBuffer>();
  private readonly results = new Map<string, DeviceBuffer>();
  /** State before the last run that others were shown: the next run gives it back. */
  private retired: DeviceBuffer[] = [];
  private runs: Run[] = [];
  /** State that a failed run took with it, and what failed. */
  private readonly lost = new Set<string>();
  private failure: unknown;

  private constructor(executable: Executable, fields: ProgramFields, names: ProgramNames) {
    this.executable = executable;
    this.fields = fields;
    this.names = names;
    this.changing = new Map(
      names.inputs.flatMap((name, i): [string, number][] => {
        const key = name.startsWith(STATE) ? name.slice(STATE.length) : undefined;
        return key !== undefined && fields.updated.has(key) ? [[key, i]] : [];
      }),
    );
  }

  /** Makes a program whose state is zero. @param executable Owned from now on. */
  static async make(executable: Executable, fields: ProgramFields, names: ProgramNames): Promise<XlaExecutor> {
    const made = new XlaExecutor(executable, fields, names);
    for (const { name } of fields.state) await made.clearState(name);
    return made;
  }

  async run(
    inputs: ReadonlyMap<string, TensorData | Memory>,
    _kept: ReadonlySet<string>,
    keepsState: boolean,
  ): Promise<void> {
    await this.settle(MAX_RUNS - 1);
    this.requireState();
    const { client } = this.executable;
    const fieldOf = new Map(this.fields.inputs.map((field) => [field.name, field]));
    await client.exclusive(async () => {
      for (const buffer of [...this.retired.splice(0), ...this.results.values(), ...this.next.values()])
        buffer.release();
      this.results.clear();
      this.next.clear();
      const sent: DeviceBuffer[] = [];
      try {
        const given = this.names.inputs.map((name): DeviceBuffer => {
          if (name.startsWith(STATE)) return (this.states.get(name.slice(STATE.length)) as State).buffer;
          const { dtype, shape, name: key } = fieldOf.get(name.slice(INPUTS.length)) as TensorField;
          const value = inputs.get(key) as TensorData | Memory;
          if (isMemory(value)) return value as DeviceBuffer;
          sent.push(client.upload(dtype, shape, value));
          return sent.at(-1) as DeviceBuffer;
        });
        const kept = [...this.changing].filter(([name]) => keepsState || this.states.get(name)?.isShown === true);
        const { results, ended } = await this.executable.run(
          given,
          kept.map(([, place]) => place),
        );
        this.runs.push({ ended });
        this.names.outputs.forEach((name, i) => {
          const buffer = results[i] as DeviceBuffer;
          if (name.startsWith(NEXT_STATE)) this.next.set(name.slice(NEXT_STATE.length), buffer);
          else this.results.set(name.slice(OUTPUTS.length), buffer);
        });
      } catch (error) {
        this.lose((name) => client.isDeleted((this.states.get(name) as State).buffer), error);
        throw error;
      } finally {
        for (const buffer of sent) buffer.release();
      }
    });
  }

  commit(): void {
    for (const [name, buffer] of this.next) this.replace(name, buffer, true);
    this.next.clear();
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
    const buffer = (what === "output" ? this.results : this.next).get(name) as DeviceBuffer;
    return this.executable.client.download(buffer);
  }

  async readState(name: string): Promise<TensorData> {
    await this.settle(0);
    this.requireState(name);
    return this.read((this.states.get(name) as State).buffer);
  }

  async writeState(name: string, data: TensorData): Promise<void> {
    await this.settle(0);
    countHostCopy(data.byteLength);
    await this.put(name, data);
  }

  async adoptState(name: string, memory: Memory): Promise<boolean> {
    await this.settle(0);
    this.replace(name, (memory as DeviceBuffer).retain());
    (this.states.get(name) as State).isShown = true;
    return true;
  }

  async clearState(name: string): Promise<void> {
    await this.settle(0);
    const { dtype, shape } = this.fieldOf(name);
    await this.put(name, allocate(dtype, sizeOf(shape)));
  }

  shareState(name: string): Memory {
    this.requireState(name);
    const state = this.states.get(name) as State;
    state.isShown = true;
    return state.buffer;
  }

  async dispose(): Promise<void> {
    await this.settle(0);
    const states = [...this.states.values()].map(({ buffer }) => buffer);
    for (const buffer of [...states, ...this.retired, ...this.results.values(), ...this.next.values()])
      buffer.release();
    const { client } = this.executable;
    await client.exclusive(() => this.executable[Symbol.dispose]());
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
    const { dtype, shape } = this.fieldOf(name);
    this.replace(name, await client.exclusive(() => client.upload(dtype, shape, data)));
  }

  /** @param byRun Whether a run made it: what others were shown before is theirs until the next one. */
  private replace(name: string, buffer: DeviceBuffer, byRun = false): void {
    const before = this.states.get(name);
    this.states.set(name, { buffer, isShown: false });
    this.lost.delete(name);
    if (byRun && before?.isShown === true) this.retired.push(before.buffer);
    else before?.buffer.release();
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

  private lose(which: (name: string) => boolean, error: unknown): void {
    for (const name of this.changing.keys()) if (which(name)) this.lost.add(name);
    this.failure = error;
  }

  /** @throws {ProgramStateError} If a tensor, or any, was lost. */
  private requireState(name?: string): void {
    if (name === undefined ? this.lost.size === 0 : !this.lost.has(name)) return;
    const [first] = this.lost;
    const others = this.lost.size > 1 ? ` and ${this.lost.size - 1} more` : "";
    throw new ProgramStateError(
      `a run that failed took the state "${name ?? first}"${name === undefined ? others : ""} with it, and it has to be ` +
        `written again: ${(this.failure as Error).message}`,
      { cause: this.failure },
    );
  }

  private fieldOf(name: string): TensorField {
    return this.fields.state.find((field) => field.name === name) as TensorField;
  }
}
