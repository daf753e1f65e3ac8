import * as tf from "@tensorflow/tfjs-core";
import type { TensorData } from "../ir/graph.js";
import { allocateField, flatten, unflatten, type TensorField } from "../signature.js";
import { onBackend, type TensorFunction } from "../trace/trace.js";
import { repairCpuKernels } from "./cpu-kernels.js";
import type { Executor, ProgramFields } from "./executor.js";

type Values = Map<string, TensorData>;

/**
 * Runs a program by calling its function on a tfjs backend, operation by operation: slow, and the oracle that the compiled
 * engines are tested against.
 */
export class EagerExecutor implements Executor {
  readonly fields: ProgramFields;
  private readonly backend: string;
  private readonly fn: TensorFunction;
  private readonly constants: readonly (readonly [TensorField, TensorData])[];
  private readonly inputs: Values;
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
    this.inputs = make(fields.inputs);
    this.outputs = make(fields.outputs);
    this.states = make(fields.state);
    this.next = new Map(this.states);
  }

  setInput(name: string, data: TensorData): void {
    this.inputs.set(name, data);
  }

  output(name: string): TensorData {
    return this.outputs.get(name) as TensorData;
  }

  state(name: string): TensorData {
    return this.states.get(name) as TensorData;
  }

  nextState(name: string): TensorData {
    return this.next.get(name) as TensorData;
  }

  async run(): Promise<void> {
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
        const result = this.fn(unflatten(state), unflatten(read(this.fields.inputs, this.inputs)));
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

  dispose(): void {
    // Values lie in ordinary arrays, which JavaScript collects.
  }
}
