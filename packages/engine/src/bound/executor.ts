import { isMemory, type Executor, type Memory, type ProgramFields } from "../backend.js";
import { INPUTS, NEXT_STATE, OUTPUTS, STATE } from "../graph-names.js";
import type { Shape, TensorData } from "../ir/graph.js";
import type { TensorField } from "../signature.js";
import { BoundMemory } from "./memory.js";
import type { BoundSession } from "./session.js";
import type { UpdateRunner } from "./updates/update-runner.js";

/** Memory of outputs that came back is used again, as much as two runs in turn need; more is freed. */
const MAX_SPARE = 2;

/**
 * Runs a program in a runtime for ONNX models, over memory that is bound. State that a run changes exists twice: a run
 * reads one copy and writes the other in place, `commit` swaps them, and nothing is copied. Memory of another program
 * is bound as it is.
 */
export class BoundExecutor implements Executor {
  readonly fields: ProgramFields;
  private readonly session: BoundSession;
  private readonly slots: readonly number[];
  private current: 0 | 1 = 0;
  /** The model's inputs and outputs: state that updates alone read or write is not among them. */
  private readonly shapes: ReadonlyMap<string, Shape>;
  /** What follows the graph: next state that is made element by element. */
  private readonly updates: UpdateRunner | undefined;

  /** State that runs change, in its two copies. */
  private readonly changing = new Map<string, readonly [BoundMemory, BoundMemory]>();
  /** State that never changes, made when it is first needed: it may be memory of others. */
  private readonly fixed = new Map<string, BoundMemory>();
  /** Others' memory that is the state now. */
  private readonly adopted = new Map<string, BoundMemory>();
  /** Arrays that were inputs last, bound where they lie. */
  private readonly arrays = new Map<string, BoundMemory>();
  /** Outputs that are copied from, made when they are first needed. */
  private readonly outputs = new Map<string, BoundMemory>();
  /** Outputs of the last run, where it wrote them. */
  private readonly results = new Map<string, BoundMemory>();
  /** Memory for outputs that are kept: for the next run, and what came back. */
  private readonly next = new Map<string, BoundMemory>();
  private readonly spare = new Map<string, BoundMemory[]>();
  /** Memory of what the model computes for the updates. */
  private readonly operands: BoundMemory[] = [];
  private disposed = false;

  /**
   * @param session A loaded model whose inputs and outputs are named as `trace` names them. Owned from now on.
   * @param shapes The model's inputs and outputs, by name.
   * @param updates What follows the model, if its graph was split. Owned.
   */
  constructor(
    fields: ProgramFields,
    session: BoundSession,
    shapes: ReadonlyMap<string, Shape>,
    updates: UpdateRunner | undefined,
  ) {
    this.fields = fields;
    this.session = session;
    this.shapes = shapes;
    this.updates = updates;
    for (const field of fields.state) {
      const copies = updates?.state(field.name);
      const made = (copy: 0 | 1): BoundMemory =>
        copies
          ? new BoundMemory(session.runtime, { ...field, data: copies[copy] })
          : BoundMemory.make(session.runtime, field);
      if (fields.updated.has(field.name)) this.changing.set(field.name, [made(0), made(1)]);
      else if (copies) this.fixed.set(field.name, made(0));
    }
    this.slots = (fields.updated.size > 0 ? ([0, 1] as const) : ([0] as const)).map(() => session.bind());
    for (const [name, copies] of this.changing)
      for (const from of [0, 1] as const) {
        this.bindInput(from, STATE + name, copies[from]);
        this.bindOutput(from, NEXT_STATE + name, copies[from === 0 ? 1 : 0]);
      }
    for (const [name, memory] of this.fixed) this.bindFixed(name, memory);
    for (const [name, data] of updates?.operands ?? []) {
      const operand = new BoundMemory(session.runtime, { dtype: "float32", shape: shapes.get(name) as Shape, data });
      this.operands.push(operand);
      for (const slot of this.slots) session.bindOutput(slot, name, operand);
    }
  }

  async run(inputs: ReadonlyMap<string, TensorData | Memory>, kept: ReadonlySet<string>): Promise<void> {
    for (const field of this.fields.inputs) {
      const value = inputs.get(field.name) as TensorData | Memory;
      this.bindInput(
        this.current,
        INPUTS + field.name,
        isMemory(value) ? boundMemory(value) : this.overArray(field, value),
      );
    }
    for (const { name } of this.fields.state) if (!this.fields.updated.has(name)) this.fixedState(name);
    for (const field of this.fields.outputs) {
      const memory = kept.has(field.name) ? this.nextFor(field) : this.outputFor(field);
      this.results.set(field.name, memory);
      this.bindOutput(this.current, OUTPUTS + field.name, memory);
    }
    await this.session.run(this.slots[this.current] as number);
    await this.updates?.run(this.current);
  }

  commit(): void {
    if (this.fields.updated.size === 0) return;
    for (const name of this.adopted.keys()) if (this.fields.updated.has(name)) this.unadopt(name);
    this.current = this.current === 0 ? 1 : 0;
  }

  readOutput(name: string): Promise<TensorData> {
    return (this.results.get(name) as BoundMemory).read();
  }

  keepOutput(name: string): Memory {
    const memory = this.next.get(name) as BoundMemory;
    this.next.delete(name);
    return memory;
  }

  async look(what: "output" | "next", name: string): Promise<TensorData> {
    if (what === "output") return (this.results.get(name) as BoundMemory).buffer.data;
    return (this.changing.get(name) as readonly BoundMemory[])[this.current === 0 ? 1 : 0]!.buffer.data;
  }

  readState(name: string): Promise<TensorData> {
    return this.ownState(name).read();
  }

  async writeState(name: string, data: TensorData): Promise<void> {
    this.unadopt(name);
    this.ownState(name).write(data);
  }

  async adoptState(name: string, memory: Memory): Promise<boolean> {
    const bound = boundMemory(memory);
    if (this.updates?.state(name)) {
      this.ownState(name).write(bound.buffer.data); // what updates read lies in memory of theirs
      return false;
    }
    this.adopted.set(name, bound);
    if (this.fields.updated.has(name)) this.bindInput(this.current, STATE + name, bound);
    else {
      this.bindFixed(name, bound);
      this.fixed.get(name)?.free();
      this.fixed.delete(name);
    }
    return true;
  }

  async clearState(name: string): Promise<void> {
    this.unadopt(name);
    this.ownState(name).buffer.data.fill(0);
  }

  shareState(name: string): Memory {
    return this.ownState(name);
  }

  /** Ends profiling, where its session was told to; returns the path of the profile. */
  endProfiling(): string {
    if (!this.session.endProfiling) throw new TypeError("Cannot end a profile: this engine writes none");
    return this.session.endProfiling();
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    await this.session.settled?.();
    this.session[Symbol.dispose]();
    this.updates?.[Symbol.dispose]();
    const pairs = [...this.changing.values()].flat();
    const maps = [this.fixed, this.arrays, this.outputs, this.next];
    for (const memory of [...pairs, ...maps.flatMap((map) => [...map.values()])]) memory.free();
    for (const memory of [...[...this.spare.values()].flat(), ...this.operands]) memory.free();
  }

  /** Where a state tensor lies in memory of this program. */
  private ownState(name: string): BoundMemory {
    return this.changing.get(name)?.[this.current] ?? this.fixedState(name);
  }

  private fixedState(name: string): BoundMemory {
    const known = this.adopted.get(name) ?? this.fixed.get(name);
    if (known) return known;
    const memory = BoundMemory.make(
      this.session.runtime,
      this.fields.state.find((field) => field.name === name) as TensorField,
    );
    this.fixed.set(name, memory);
    this.bindFixed(name, memory);
    return memory;
  }

  /** Ends that others' memory is the state: what it is then is still to be said. */
  private unadopt(name: string): void {
    if (!this.adopted.delete(name)) return;
    const copies = this.changing.get(name);
    if (copies) this.bindInput(this.current, STATE + name, copies[this.current]);
    else this.bindFixed(name, this.fixedState(name));
  }

  /** Memory over an array of the caller's, which stays where it lies. */
  private overArray(field: TensorField, data: TensorData): BoundMemory {
    const before = this.arrays.get(field.name);
    if (before?.buffer.data === data) return before;
    const memory = new BoundMemory(this.session.runtime, { ...field, data });
    this.arrays.set(field.name, memory);
    before?.free();
    return memory;
  }

  /** Memory for an output that is copied from. */
  private outputFor(field: TensorField): BoundMemory {
    let memory = this.outputs.get(field.name);
    if (!memory) this.outputs.set(field.name, (memory = BoundMemory.make(this.session.runtime, field)));
    return memory;
  }

  /** Memory for an output that is kept. */
  private nextFor(field: TensorField): BoundMemory {
    const { name } = field;
    const memory =
      this.next.get(name) ??
      this.spare.get(name)?.pop() ??
      BoundMemory.make(this.session.runtime, field, (back) => this.takeBack(name, back));
    this.next.set(name, memory);
    return memory;
  }

  private takeBack(name: string, memory: BoundMemory): void {
    const spare = this.spare.get(name) ?? [];
    if (this.disposed || spare.length >= MAX_SPARE) return memory.free();
    this.spare.set(name, [...spare, memory]);
  }

  private bindFixed(name: string, memory: BoundMemory): void {
    for (const from of this.slots.keys()) this.bindInput(from as 0 | 1, STATE + name, memory);
  }

  /** Binds what the model takes; state that updates alone read it does not. */
  private bindInput(from: 0 | 1, name: string, memory: BoundMemory): void {
    if (this.shapes.has(name)) this.session.bindInput(this.slots[from] as number, name, memory);
  }

  private bindOutput(from: 0 | 1, name: string, memory: BoundMemory): void {
    if (this.shapes.has(name)) this.session.bindOutput(this.slots[from] as number, name, memory);
  }
}

/** Memory of this backend's: its handles alone get here. */
function boundMemory(memory: Memory): BoundMemory {
  return memory as BoundMemory;
}
