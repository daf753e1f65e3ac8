import * as tf from "@tensorflow/tfjs-core";
import { isMemory, type Executor, type Memory, type ProgramFields } from "../backend.js";
import { INPUTS, NEXT_STATE, OUTPUTS, STATE } from "../graph-names.js";
import { countHostCopy } from "../host-copies.js";
import { isOp, nodesOf, type Graph, type Node, type TensorData } from "../ir/graph.js";
import { decomposeAttention } from "../passes/decompose-attention.js";
import { allocateField, type TensorField } from "../signature.js";
import { onBackend } from "../trace/trace.js";
import { runNode } from "./table.js";

/** So long a run keeps timers and signals waiting. */
const TURN_MS = 25;

/** A tensor where tfjs has it. Tensors are never changed, so that whoever has one keeps what it was. */
class TensorMemory implements Memory {
  constructor(
    readonly backend: string,
    readonly tensor: tf.Tensor,
  ) {}

  async read(): Promise<TensorData> {
    const data = onBackend(this.backend, () => this.tensor.dataSync().slice());
    countHostCopy(data.byteLength);
    return data;
  }

  release(): void {
    this.tensor.dispose();
  }
}

/** A node as it runs: where its operands are, and what is freed after it. */
interface Step {
  readonly node: Node;
  readonly last: readonly Node[];
}

/**
 * Runs a graph operation by operation on the kernels of a tfjs backend. Every tensor is freed after its last use; state
 * stays where the backend has it, and only inputs and what is read are copied.
 */
export class GraphExecutor implements Executor {
  readonly fields: ProgramFields;
  private readonly backend: string;
  private readonly steps: readonly Step[];
  private readonly inputs: ReadonlyMap<string, Node>;
  private readonly constants = new Map<Node, tf.Tensor>();
  private readonly results: readonly { readonly name: string; readonly node: Node }[];
  private readonly states = new Map<string, tf.Tensor>();
  private readonly next = new Map<string, tf.Tensor>();
  private readonly outputs = new Map<string, tf.Tensor>();
  /** State before the last run: others may still be reading it. */
  private retired: tf.Tensor[] = [];

  /** @param backend The name of a tfjs backend that is registered and starts synchronously. */
  constructor(backend: string, given: Graph, fields: ProgramFields) {
    const graph = decomposeAttention(given);
    this.backend = backend;
    this.fields = fields;
    this.results = graph.outputs;
    this.inputs = new Map(graph.inputs.map((node) => [node.op.name, node]));
    const nodes = nodesOf(graph);
    const wanted = new Set(graph.outputs.map(({ node }) => node));
    const lastUser = new Map<Node, Node>();
    for (const node of nodes) for (const input of node.inputs) lastUser.set(input, node);
    this.steps = nodes
      .filter((node) => !isOp(node, "input") && !isOp(node, "constant"))
      .map((node) => ({
        node,
        last: [...new Set(node.inputs)].filter(
          (input) => lastUser.get(input) === node && !wanted.has(input) && !isOp(input, "constant"),
        ),
      }));
    onBackend(backend, () => {
      for (const node of nodes)
        if (isOp(node, "constant")) this.constants.set(node, tensorOf(node.op.data.slice(), node));
      for (const field of fields.state) this.states.set(field.name, tensorOf(allocateField(field), field));
    });
  }

  async run(inputs: ReadonlyMap<string, TensorData | Memory>): Promise<void> {
    for (const tensor of this.retired.splice(0)) tensor.dispose();
    const values = new Map<Node, tf.Tensor>(this.constants);
    const own = new Set<tf.Tensor>();
    const given = (name: string): tf.Tensor => {
      if (name.startsWith(STATE)) return this.states.get(name.slice(STATE.length)) as tf.Tensor;
      const key = name.slice(INPUTS.length);
      const value = inputs.get(key) as TensorData | Memory;
      if (isMemory(value)) return (value as TensorMemory).tensor;
      const tensor = tensorOf(value.slice(), this.fields.inputs.find((field) => field.name === key) as TensorField);
      own.add(tensor);
      return tensor;
    };
    const free = (node: Node): void => {
      const tensor = values.get(node);
      values.delete(node);
      if (tensor && own.delete(tensor)) tensor.dispose();
    };
    try {
      onBackend(this.backend, () => {
        for (const [name, node] of this.inputs) values.set(node, given(name));
      });
      for (let at = 0; at < this.steps.length;) {
        at = onBackend(this.backend, () => this.runTurn(at, values, own, free));
        if (at < this.steps.length) await new Promise((resolve) => setImmediate(resolve));
      }
      for (const { name, node } of this.results) {
        const to = name.startsWith(NEXT_STATE) ? this.next : this.outputs;
        const key = name.slice((to === this.next ? NEXT_STATE : OUTPUTS).length);
        to.get(key)?.dispose();
        to.set(key, tf.clone(values.get(node) as tf.Tensor));
      }
    } finally {
      for (const tensor of own) tensor.dispose();
    }
  }

  commit(): void {
    for (const [name, tensor] of this.next) {
      this.retired.push(this.states.get(name) as tf.Tensor);
      this.states.set(name, tensor);
    }
    this.next.clear();
  }

  readOutput(name: string): Promise<TensorData> {
    return this.memoryOf(this.outputs.get(name)).read();
  }

  keepOutput(name: string): Memory {
    const tensor = this.outputs.get(name);
    this.outputs.delete(name);
    return this.memoryOf(tensor);
  }

  async look(what: "output" | "next", name: string): Promise<TensorData> {
    const tensor = (what === "output" ? this.outputs : this.next).get(name) as tf.Tensor;
    return onBackend(this.backend, () => tensor.dataSync());
  }

  readState(name: string): Promise<TensorData> {
    return this.memoryOf(this.states.get(name)).read();
  }

  async writeState(name: string, data: TensorData): Promise<void> {
    countHostCopy(data.byteLength);
    this.replace(name, (field) => tensorOf(data.slice(), field));
  }

  async adoptState(name: string, memory: Memory): Promise<boolean> {
    this.replace(name, () => tf.clone((memory as TensorMemory).tensor));
    return true;
  }

  async clearState(name: string): Promise<void> {
    this.replace(name, (field) => tensorOf(allocateField(field), field));
  }

  shareState(name: string): Memory {
    return this.memoryOf(this.states.get(name));
  }

  async dispose(): Promise<void> {
    const maps = [this.constants, this.states, this.next, this.outputs];
    for (const tensor of [...this.retired, ...maps.flatMap((map) => [...map.values()])]) tensor.dispose();
  }

  /** Runs operations from one on until a turn is over; returns which is next. */
  private runTurn(at: number, values: Map<Node, tf.Tensor>, own: Set<tf.Tensor>, free: (node: Node) => void): number {
    const end = performance.now() + TURN_MS;
    let index = at;
    for (; index < this.steps.length && (index === at || performance.now() < end); index++) {
      const { node, last } = this.steps[index] as Step;
      const inputs = node.inputs.map((input) => values.get(input) as tf.Tensor);
      const result = runNode(node, inputs);
      own.add(result);
      values.set(node, result);
      for (const input of last) free(input);
    }
    return index;
  }

  private replace(name: string, make: (field: TensorField) => tf.Tensor): void {
    const field = this.fields.state.find((field) => field.name === name) as TensorField;
    this.states.get(name)?.dispose();
    this.states.set(
      name,
      onBackend(this.backend, () => make(field)),
    );
  }

  private memoryOf(tensor: tf.Tensor | undefined): TensorMemory {
    return new TensorMemory(this.backend, tensor as tf.Tensor);
  }
}

const tensorOf = (data: TensorData, { shape, dtype }: Pick<TensorField, "shape" | "dtype">): tf.Tensor =>
  tf.tensor(data, [...shape], dtype);
