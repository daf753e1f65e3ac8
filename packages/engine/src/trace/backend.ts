import * as tf from "@tensorflow/tfjs-core";
import { sizeOf, type DType, type Node, type Op, type Shape, type TensorData } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { callSite } from "./call-site.js";

/** Name under which the tracing backend is registered in tfjs. */
export const TRACE_BACKEND = "madformer-trace";

/**
 * A tfjs function that cannot be compiled: an operation without a kernel, or the value of a tensor that is not known
 * yet.
 */
export class TraceError extends Error {
  override name = "TraceError";
}

/**
 * What a tensor of this backend is: a node, or values from the host that become a constant when something uses them.
 */
type Content =
  { readonly node: Node } | { readonly values: tf.BackendValues; readonly shape: Shape; readonly dtype: tf.DataType };

/**
 * A tfjs backend that computes nothing: its tensors are nodes of a graph, its kernels make nodes. tfjs' own gradient
 * functions only call kernels, so the backward pass is traced like the forward pass.
 */
export class TraceBackend extends tf.KernelBackend {
  private readonly contents: tf.DataStorage<Content> = new tf.DataStorage<Content>(this, tf.engine());

  /** The node behind a tensor; values from the host become a constant. */
  nodeOf(info: tf.TensorInfo): Node {
    const content = this.contents.get(info.dataId);
    if ("node" in content) return content.node;
    const dtype = dtypeOf(content.dtype);
    const node = this.constant(toData(content.values, dtype), content.shape, dtype);
    this.contents.delete(info.dataId); // tfjs counts a tensor for every set()
    this.contents.set(info.dataId, { node });
    return node;
  }

  /** A tensor whose value is `node`. */
  infoOf(node: Node): tf.TensorInfo {
    const dataId = {};
    this.contents.set(dataId, { node });
    return { dataId, shape: [...node.shape], dtype: node.dtype };
  }

  /** A new node in the current tfjs scope. */
  node(op: Op, ...inputs: readonly Node[]): Node {
    return makeNode(op, inputs, currentScope());
  }

  constant(data: TensorData, shape: Shape, dtype: DType): Node {
    return this.node({ kind: "constant", dtype, shape, data });
  }

  /** One number of a dtype, as a constant of no axes. */
  scalar(value: number, dtype: DType = "float32"): Node {
    return this.constant(toData([value], dtype), [], dtype);
  }

  /** `value` everywhere: a broadcast scalar, which passes recognise. */
  filled(value: number, shape: Shape, dtype: DType): Node {
    return shape.length === 0
      ? this.scalar(value, dtype)
      : this.node({ kind: "broadcast", shape: [...shape] }, this.scalar(value, dtype));
  }

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): tf.DataId {
    const dataId = {};
    this.contents.set(dataId, { values, shape: [...shape], dtype });
    return dataId;
  }

  override move(dataId: tf.DataId, values: tf.BackendValues, shape: number[], dtype: tf.DataType): void {
    this.contents.set(dataId, { values, shape: [...shape], dtype });
  }

  override readSync(dataId: tf.DataId): tf.BackendValues {
    const content = this.contents.get(dataId);
    if (!("node" in content)) return content.values;
    if (content.node.op.kind === "constant") return content.node.op.data;
    const { op, scope } = content.node;
    throw new TraceError(
      `Cannot read the value of a tensor while a program is traced: it is the result of "${op.kind}"` +
        `${scope && ` in scope "${scope}"`} and known only when the program runs; read at ${callSite()}`,
    );
  }

  override read(dataId: tf.DataId): Promise<tf.BackendValues> {
    return Promise.resolve(this.readSync(dataId));
  }

  override disposeData(dataId: tf.DataId): boolean {
    return this.contents.delete(dataId);
  }

  override numDataIds(): number {
    return this.contents.numDataIds();
  }

  override refCount(): number {
    return 1;
  }

  override incRef(): void {
    // Nodes are shared freely and collected by JavaScript: there is nothing to count.
  }

  decRef(): void {
    // As incRef().
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: true };
  }

  override epsilon(): number {
    return 1e-7;
  }

  override floatPrecision(): 32 {
    return 32;
  }

  override timerAvailable(): boolean {
    return false;
  }
}

/** The dtype of a program for a dtype of tfjs. */
export function dtypeOf(dtype: tf.DataType): DType {
  if (dtype === "float32" || dtype === "int32" || dtype === "bool") return dtype;
  throw new TraceError(`Programs hold float32, int32 and bool tensors, found "${dtype}" at ${callSite()}`);
}

function toData(values: tf.BackendValues | readonly number[], dtype: DType): TensorData {
  if (dtype === "float32")
    return values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number>);
  if (dtype === "int32") return values instanceof Int32Array ? values : Int32Array.from(values as ArrayLike<number>);
  return values instanceof Uint8Array ? values : Uint8Array.from(values as ArrayLike<number>);
}

/** Names of the open tfjs scopes, outermost first: `tf.tidy("attention", ...)` and tfjs' own operations name theirs. */
function currentScope(): string {
  return (tf.engine().state as { scopeStack: { name?: string }[] }).scopeStack
    .map(({ name }) => name)
    .filter((name) => name !== undefined && name !== "" && name !== "unnamed scope" && name !== "default scope")
    .map((name) => name?.replace(/__op$/, ""))
    .join("/");
}

/** A shape in which one size may be -1, resolved for a tensor of `shape`. */
export function resolveShape(target: readonly number[], shape: Shape): Shape {
  return tf.util.inferFromImplicitShape([...target], sizeOf(shape));
}
