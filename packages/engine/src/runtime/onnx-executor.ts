import type { Shape, TensorData } from "../ir/graph.js";
import type { OnnxModel, OnnxTensor } from "../onnx/proto.js";
import { dtypeOfElement, encodeModel } from "../onnx/proto.js";
import type { Update } from "../passes/split-updates.js";
import type { TensorField } from "../signature.js";
import { INPUTS, NEXT_STATE, OUTPUTS, STATE } from "../trace/trace.js";
import { alignedArray } from "./buffers.js";
import type { Executor, ProgramFields } from "./executor.js";
import { OrtSession, type Buffer, type SessionOptions } from "./ort-session.js";
import { UpdateRunner } from "./update-runner.js";

/** Initializers from this size on are handed to ONNX Runtime where they lie, and not copied into the model's bytes. */
const EXTERNAL_BYTES = 1024;

const bufferOf = ({ dtype, shape }: TensorField): Buffer => ({
  dtype,
  shape,
  data: alignedArray(
    dtype,
    shape.reduce((product, size) => product * size, 1),
  ),
});

/**
 * Runs a program in ONNX Runtime. State that a run changes exists twice: a run reads one copy and writes the other in
 * place, `commit` swaps them, and nothing is copied.
 */
export class OnnxExecutor implements Executor {
  readonly fields: ProgramFields;
  private readonly session: OrtSession;
  private readonly inputs: ReadonlyMap<string, TensorField>;
  private readonly outputs: ReadonlyMap<string, Buffer>;
  /** State by name, in the two copies; state that never changes is the same buffer in both. */
  private readonly states: readonly [ReadonlyMap<string, Buffer>, ReadonlyMap<string, Buffer>];
  private readonly slots: readonly [number, number];
  private current: 0 | 1 = 0;

  /** What follows the graph: next state that is made element by element. */
  private readonly updates: UpdateRunner | undefined;
  /** The model's inputs and outputs: state that updates alone read or write is not among them. */
  private readonly shapes: ReadonlyMap<string, Shape>;

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
    const make = (list: readonly TensorField[]): Map<string, Buffer> =>
      new Map(list.map((field) => [field.name, bufferOf(field)]));
    this.inputs = new Map(fields.inputs.map((field) => [field.name, field]));
    this.outputs = make(fields.outputs);
    const states = fields.state.map((field) => {
      const copies = updates?.state(field.name);
      const buffer = copies ? { ...field, data: copies[0] } : bufferOf(field);
      if (!fields.updated.has(field.name)) return { name: field.name, first: buffer, second: buffer };
      return { name: field.name, first: buffer, second: copies ? { ...field, data: copies[1] } : bufferOf(field) };
    });
    this.states = [
      new Map(states.map(({ name, first }) => [name, first])),
      new Map(states.map(({ name, second }) => [name, second])),
    ];
    this.slots = fields.updated.size > 0 ? [this.bind(0), this.bind(1)] : [this.bind(0), 0];
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

  setInput(name: string, data: TensorData): void {
    const field = this.inputs.get(name) as TensorField;
    this.session.rebindInput(this.slots[this.current], INPUTS + name, { ...field, data });
  }

  output(name: string): TensorData {
    return dataOf(this.outputs, name);
  }

  state(name: string): TensorData {
    return dataOf(this.states[this.current], name);
  }

  nextState(name: string): TensorData {
    return dataOf(this.states[this.current === 0 ? 1 : 0], name);
  }

  async run(): Promise<void> {
    await this.session.run(this.slots[this.current]);
    await this.updates?.run(this.current);
  }

  commit(): void {
    if (this.fields.updated.size > 0) this.current = this.current === 0 ? 1 : 0;
  }

  /** Ends profiling (`profilePrefix`); returns the path of the profile. */
  endProfiling(): string {
    return this.session.endProfiling();
  }

  dispose(): void {
    this.session[Symbol.dispose]();
    this.updates?.[Symbol.dispose]();
  }

  private bind(from: 0 | 1): number {
    const [now, next] = from === 0 ? this.states : [this.states[1], this.states[0]];
    const prefixed = (
      prefix: string,
      buffers: ReadonlyMap<string, Buffer>,
      only?: ReadonlySet<string>,
    ): [string, Buffer][] =>
      [...buffers]
        .filter(([name]) => (only?.has(name) ?? true) && this.shapes.has(prefix + name))
        .map(([name, buffer]) => [prefix + name, buffer]);
    const forUpdates = [...(this.updates?.operands ?? [])].map(([name, data]): [string, Buffer] => [
      name,
      { dtype: "float32", shape: this.shapes.get(name) as Shape, data },
    ]);
    return this.session.bind({
      inputs: new Map(prefixed(STATE, now)),
      outputs: new Map([
        ...prefixed(NEXT_STATE, next, this.fields.updated),
        ...prefixed(OUTPUTS, this.outputs),
        ...forUpdates,
      ]),
    });
  }
}

function dataOf(buffers: ReadonlyMap<string, Buffer>, name: string): TensorData {
  return (buffers.get(name) as Buffer).data;
}

/** Bytes as elements, in place where their alignment allows. (Node's Buffer, which a file is, has a `slice` that does not copy.) */
function viewOf(bytes: Uint8Array, dtype: Buffer["dtype"]): TensorData {
  if (dtype === "bool") return bytes;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const View = dtype === "float32" ? Float32Array : Int32Array;
  return new View(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / 4);
}
