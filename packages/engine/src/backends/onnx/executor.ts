import { isMemory, type Executor, type Memory, type ProgramFields } from "../../backend.js";
import { INPUTS, NEXT_STATE, OUTPUTS, STATE } from "../../graph-names.js";
import type { Shape, TensorData } from "../../ir/graph.js";
import type { TensorField } from "../../signature.js";
import { BoundMemory, type Buffer } from "./bound-memory.js";
import { OrtSession, type SessionOptions } from "./ort-session.js";
import { dtypeOfElement, encodeModel, type OnnxModel, type OnnxTensor } from "./proto.js";
import type { Update } from "./updates/split-updates.js";
import { UpdateRunner } from "./updates/update-runner.js";

/** Initializers from this size on are handed to ONNX Runtime where they lie, and not copied into the model's bytes. */
const EXTERNAL_BYTES = 1024;

/** Memory of outputs that came back is used again, as much as two runs in turn need; more is freed. */
const MAX_SPARE = 2;

/**
 * Runs a program in ONNX Runtime, over memory that is bound. State that a run changes exists twice: a run reads one copy and
 * writes the other in place, `commit` swaps them, and nothing is copied. Memory of another program is bound as it is.
 */
export class OnnxExecutor implements Executor {
  readonly fields: ProgramFields;
  private readonly session: OrtSession;
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

  private constructor(
    fields: ProgramFields,
    session: OrtSession,
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
        copies ? new BoundMemory({ ...field, data: copies[copy] }) : BoundMemory.make(field);
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
      const operand = new BoundMemory({ dtype: "float32", shape: shapes.get(name) as Shape, data });
      this.operands.push(operand);
      for (const slot of this.slots) session.bindOutput(slot, name, operand);
    }
  }

  /**
   * Loads an ONNX model whose inputs and outputs are named as `trace` names them.
   *
   * @param updates What follows the model, if its graph was split.
   */
  static async load(
    model: OnnxModel,
    fields: ProgramFields,
    options: SessionOptions,
    updates: readonly Update[] = [],
  ): Promise<OnnxExecutor> {
    const external = new Map<string, Buffer>();
    const initializer = model.graph.initializer.map((tensor): OnnxTensor => {
      const { rawData, dims, name } = tensor;
      const dtype = dtypeOfElement(tensor.dataType);
      if (rawData === undefined || rawData.byteLength < EXTERNAL_BYTES || dtype === undefined) return tensor;
      external.set(name, { dtype, shape: dims, data: viewOf(rawData, dtype) });
      const { rawData: _inline, ...head } = tensor;
      const entries = { location: "memory", offset: "0", length: String(rawData.byteLength) };
      return {
        ...head,
        dataLocation: 1,
        externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
      };
    });
    const bytes = encodeModel({ ...model, graph: { ...model.graph, initializer } });
    const session = await OrtSession.load(bytes, external, options);
    const shapes = new Map(
      [...model.graph.input, ...model.graph.output].map(({ name, type }): [string, Shape] => [
        name,
        type.tensorType.shape.dim.map(({ dimValue }) => dimValue),
      ]),
    );
    const runner = updates.length > 0 ? new UpdateRunner(updates, options.threads) : undefined;
    return new OnnxExecutor(fields, session, shapes, runner);
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
      const memory = kept.has(field.name) ? this.nextFor(field) : memoryIn(this.outputs, field);
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

  /** Ends profiling (`profilePrefix`); returns the path of the profile. */
  endProfiling(): string {
    return this.session.endProfiling();
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    await this.session.settled();
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
    const memory = BoundMemory.make(this.fields.state.find((field) => field.name === name) as TensorField);
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
    const memory = new BoundMemory({ ...field, data });
    this.arrays.set(field.name, memory);
    before?.free();
    return memory;
  }

  /** Memory for an output that is kept. */
  private nextFor(field: TensorField): BoundMemory {
    const { name } = field;
    const memory =
      this.next.get(name) ??
      this.spare.get(name)?.pop() ??
      BoundMemory.make(field, (back) => this.takeBack(name, back));
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

/** Memory for a field, made when it is first asked for. */
function memoryIn(map: Map<string, BoundMemory>, field: TensorField): BoundMemory {
  let memory = map.get(field.name);
  if (!memory) map.set(field.name, (memory = BoundMemory.make(field)));
  return memory;
}

/** Memory of this backend's: its handles alone get here. */
function boundMemory(memory: Memory): BoundMemory {
  return memory as BoundMemory;
}

/** Bytes as elements, in place where their alignment allows. (Node's Buffer, which a file is, has a `slice` that does not copy.) */
function viewOf(bytes: Uint8Array, dtype: Buffer["dtype"]): TensorData {
  if (dtype === "bool") return bytes;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const View = dtype === "float32" ? Float32Array : Int32Array;
  return new View(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / 4);
}
