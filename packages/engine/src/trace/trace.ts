import "@tensorflow/tfjs"; // registers the gradients of tfjs-core's operations, which has none by itself
import * as tf from "@tensorflow/tfjs-core";
import { INPUTS, NEXT_STATE, OUTPUTS, STATE } from "../graph-names.js";
import type { Graph, Node, NodeOf } from "../ir/graph.js";
import { formatType } from "../ir/infer.js";
import { flatten, unflatten, type TensorField, type Tree } from "../signature.js";
import { TRACE_BACKEND, TraceError } from "./backend.js";
import { traceBackend } from "./kernels.js";

/**
 * A pure function over tensors, with everything but names forgotten: what `compile` takes, after its types are checked.
 */
export type TensorFunction = (
  state: Tree<tf.Tensor>,
  inputs: Tree<tf.Tensor>,
) => { readonly state?: Tree<tf.Tensor>; readonly outputs?: Tree<tf.Tensor> };

/**
 * Runs `fn` once with tensors that have no values and records every tfjs kernel it calls, those of its gradients
 * included.
 *
 * @param constants Values known now, by name; seen by the function as state.
 * @returns A graph with the inputs `state/*`, `inputs/*` and the outputs `next/*`, `outputs/*`. State the function does
 *   not return is kept as it is and has no output.
 * @throws {TraceError} If the function uses an operation without a kernel, reads a value, is asynchronous, or returns
 *   state of another name, dtype or shape.
 */
export function trace(
  name: string,
  fn: TensorFunction,
  state: readonly TensorField[],
  inputs: readonly TensorField[],
  constants: ReadonlyMap<string, Node> = new Map(),
): Graph {
  const backend = traceBackend();
  const inputNode = (prefix: string, { name, dtype, shape }: TensorField): NodeOf<"input"> =>
    backend.node({ kind: "input", name: prefix + name, dtype, shape }) as NodeOf<"input">;
  const stateNodes = state.map((field) => inputNode(STATE, field));
  const inputNodes = inputs.map((field) => inputNode(INPUTS, field));
  const nodes = [...stateNodes, ...inputNodes];

  const outputs: { readonly name: string; readonly node: Node }[] = [];
  onBackend(TRACE_BACKEND, () =>
    tf.tidy(() => {
      const tensor = (node: Node): tf.Tensor => tf.engine().makeTensorFromTensorInfo(backend.infoOf(node));
      const named = (fields: readonly TensorField[], of: readonly Node[]): [string, tf.Tensor][] =>
        fields.map((field, i) => [field.name, tensor(of[i] as Node)]);
      const known = [...constants].map(([name, node]): [string, tf.Tensor] => [name, tensor(node)]);
      const result = fn(unflatten([...named(state, stateNodes), ...known]), unflatten(named(inputs, inputNodes)));
      if (tf.util.isPromise(result)) {
        (result as unknown as Promise<unknown>).catch(() => undefined); // what it throws later matters no more
        throw new TraceError(`Program "${name}" is asynchronous: its function returns a promise, expected tensors`);
      }
      const next = checkState(name, flatten(result.state ?? {}, isTensor, `Program "${name}", returned state`), state);
      const results = flatten(result.outputs ?? {}, isTensor, `Program "${name}", outputs`);
      for (const [path, value] of next) outputs.push({ name: NEXT_STATE + path, node: backend.nodeOf(value) });
      for (const [path, value] of results) outputs.push({ name: OUTPUTS + path, node: backend.nodeOf(value) });
    }),
  );
  // State returned as it came needs no output: its buffer simply stays.
  const byName = new Map(stateNodes.map((node) => [NEXT_STATE + node.op.name.slice(STATE.length), node]));
  return { name, inputs: nodes, outputs: outputs.filter(({ name, node }) => byName.get(name) !== node) };
}

function checkState(
  program: string,
  next: Map<string, tf.Tensor>,
  state: readonly TensorField[],
): Map<string, tf.Tensor> {
  const fields = new Map(state.map((field) => [field.name, field]));
  for (const [path, value] of next) {
    const field = fields.get(path);
    if (!field) throw new TraceError(`Program "${program}" returns state "${path}", which its signature does not have`);
    const found = formatType({ dtype: value.dtype as "float32", shape: value.shape });
    if (found !== formatType(field))
      throw new TraceError(`Program "${program}" returns state "${path}" as ${found}, expected ${formatType(field)}`);
  }
  return next;
}

function isTensor(value: unknown): value is tf.Tensor {
  return value instanceof tf.Tensor;
}

/**
 * Runs `body`, which is synchronous, with a tfjs backend that starts synchronously, and puts the one before back:
 * no other code sees the change. Where none was chosen before, that is tfjs' `cpu`.
 */
export function onBackend<T>(backend: string, body: () => T): T {
  const before = tf.engine().backendName ?? "cpu";
  // setBackend() is declared asynchronous, but has done its work on return for a backend whose factory is not.
  void tf.setBackend(backend);
  if (tf.engine().backendName !== backend) throw new Error(`tfjs backend "${backend}" did not start synchronously`);
  try {
    return body();
  } finally {
    if (before !== backend) void tf.setBackend(before);
  }
}
