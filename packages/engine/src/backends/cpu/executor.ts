import * as tf from "@tensorflow/tfjs-core";
import { isMemory, type Executor, type Memory, type ProgramFields } from "../../backend.js";
import { countHostCopy } from "../../host-copies.js";
import type { TensorData } from "../../ir/graph.js";
import { allocateField, flatten, unflatten, type TensorField } from "../../signature.js";
import { onBackend, type TensorFunction } from "../../trace/trace.js";
import { repairCpuKernels } from "./kernels.js";

type Values = Map<string, TensorData>;

/** An array that nobody writes to: what it is of is replaced, never changed. */
class HostMemory implements Memory {
  constructor(readonly data: TensorData) {}

  async read(): Promise<TensorData> {
    return copyOf(this.data);
  }

  release(): void {
    // JavaScript collects it.
  }
}

function copyOf(data: TensorData): TensorData {
  countHostCopy(data.byteLength);
  return data.slice();
}

const dataOf = (value: TensorData | Memory): TensorData => (isMemory(value) ? (value as HostMemory).data : value);

/**
 * Runs a program by calling its function on a tfjs backend, operation by operation: slow, and the oracle that the
 * compiled engines are tested against.
 */
export class EagerExecutor implements Executor {
  readonly fields: ProgramFields;
  private readonly backend: string;
  private readonly fn: TensorFunction;
  private readonly constants: readonly (readonly [TensorField, TensorData])[];
  private readonly outputs: Values;
  private states: Values;
  private next: Values;

  constructor(
    backend: string,
    fn: TensorFunction,
    fields: ProgramFields,
    constants: readonly (readonly [TensorField, TensorData])[],
  ) {
    const make = (list: readonly TensorField[]): Values =>
      new Map(list.map((field) => [field.name, allocateField(field)]));
    this.backend = backend;
    repairCpuKernels();
    // At its first use tfjs' cpu backend recommends another one, in a banner.
    Object.assign(tf.findBackend(backend) ?? {}, { firstUse: false });
    this.fn = fn;
    this.fields = fields;
    this.constants = constants;
    this.outputs = make(fields.outputs);
    this.states = make(fields.state);
    this.next = new Map(this.states);
  }

  async run(inputs: ReadonlyMap<string, TensorData | Memory>): Promise<void> {
    const given = new Map([...inputs].map(([name, value]) => [name, dataOf(value)]));
    onBackend(this.backend, () =>
      tf.tidy(() => {
        // tfjs keeps the array it is given: each tensor gets a copy, so that no result can share memory with the state.
        const tensor = ({ name, shape, dtype }: TensorField, data: TensorData): [string, tf.Tensor] => [
          name,
          tf.tensor(data.slice(), [...shape], dtype),
        ];
        const read = (fields: readonly TensorField[], values: Values): [string, tf.Tensor][] =>
          fields.map((field) => tensor(field, values.get(field.name) as TensorData));
        const state = [
          ...read(this.fields.state, this.states),
          ...this.constants.map(([field, data]) => tensor(field, data)),
        ];
        const result = this.fn(unflatten(state), unflatten(read(this.fields.inputs, given)));
        const isTensor = (value: unknown): value is tf.Tensor => value instanceof tf.Tensor;
        const next = flatten(result.state ?? {}, isTensor, "returned state");
        this.next = new Map(this.states);
        for (const [name, value] of next) if (this.next.has(name)) this.next.set(name, value.dataSync().slice());
        for (const [name, value] of flatten(result.outputs ?? {}, isTensor, "outputs"))
          this.outputs.set(name, value.dataSync().slice());
      }),
    );
  }

  commit(): void {
    this.states = new Map(this.next);
  }

  async readOutput(name: string): Promise<TensorData> {
    return copyOf(this.outputs.get(name) as TensorData);
  }

  keepOutput(name: string): Memory {
    return new HostMemory(this.outputs.get(name) as TensorData); // the next run makes others
  }

  async look(what: "output" | "next", name: string): Promise<TensorData> {
    return (what === "output" ? this.outputs : this.next).get(name) as TensorData;
  }

  async readState(name: string): Promise<TensorData> {
    return copyOf(this.states.get(name) as TensorData);
  }

  async writeState(name: string, data: TensorData): Promise<void> {
    this.states.set(name, copyOf(data));
  }

  async adoptState(name: string, memory: Memory): Promise<boolean> {
    this.states.set(name, dataOf(memory));
    return true;
  }

  async clearState(name: string): Promise<void> {
    const field = this.fields.state.find((field) => field.name === name) as TensorField;
    this.states.set(name, allocateField(field));
  }

  shareState(name: string): Memory {
    return new HostMemory(this.states.get(name) as TensorData);
  }

  async dispose(): Promise<void> {
    // Values lie in ordinary arrays, which JavaScript collects.
  }
}
