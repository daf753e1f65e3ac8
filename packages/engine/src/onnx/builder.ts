import type { DType, Shape, TensorData } from "../ir/graph.js";
import { ELEMENT_TYPE, type Attribute, type OnnxNode, type OnnxTensor, type OnnxValueInfo } from "./proto.js";

/**
 * Where a program is to run: ONNX Runtime with its own operators, or anything that knows the standard ones (opset 21).
 */
export type OnnxTarget = "onnxruntime" | "openvino" | "standard";

/** Domain of ONNX Runtime's own operators. */
export const MICROSOFT = "com.microsoft";

/** Attribute values by name; numbers are ints, unless marked by `float`. */
export type Attributes = Readonly<Record<string, number | string | readonly number[] | { readonly float: number }>>;

/** Collects the nodes and initializers of an ONNX graph. Values are known by their name. */
export class OnnxBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  private readonly shared = new Map<string, string>();
  readonly target: OnnxTarget;
  private count = 0;
  /** Values with their channels first, by the name of the same with its channels last. */
  private readonly first = new Map<string, string>();

  /** What a value was made of, by its name. */
  private readonly sources = new Map<string, string>();

  constructor(target: OnnxTarget) {
    this.target = target;
  }

  /** Adds a node and returns the name of its (first) output. */
  op(
    opType: string,
    input: readonly string[],
    attributes: Attributes = {},
    options: { domain?: string; output?: string } = {},
  ): string {
    const output = options.output ?? this.name(opType);
    this.add(opType, input, [output], attributes, options.domain);
    return output;
  }

  /** Adds a node with outputs of given names. */
  add(
    opType: string,
    input: readonly string[],
    output: readonly string[],
    attributes: Attributes = {},
    domain = "",
  ): void {
    const attribute = Object.entries(attributes).map(([name, value]): Attribute => {
      if (typeof value === "number") return { name, type: 2, i: value };
      if (typeof value === "string") return { name, type: 3, s: Buffer.from(value) };
      return "float" in value ? { name, type: 1, f: value.float } : { name, type: 7, ints: value };
    });
    this.nodes.push({ name: output[0] ?? opType, opType, domain, input, output, attribute });
  }

  /** A name nothing else has. */
  name(stem: string): string {
    return `${stem}_${this.count++}`;
  }

  /** A constant tensor. */
  constant(dtype: DType, shape: Shape, data: TensorData): string {
    const name = this.name("constant");
    this.initializers.push({ name, dims: shape, dataType: ELEMENT_TYPE[dtype], rawData: bytesOf(data) });
    return name;
  }

  /** A list of whole numbers (shapes, axes, bounds), shared between its users. */
  ints(values: readonly number[]): string {
    return this.once(`ints:${values.join()}`, () => ({
      dims: [values.length],
      dataType: ELEMENT_TYPE.int64,
      rawData: bytesOf(BigInt64Array.from(values, BigInt)),
    }));
  }

  /** A constant of no axes, shared between its users. */
  scalar(value: number, dtype: DType = "float32"): string {
    const data =
      dtype === "float32" ? Float32Array.of(value) : dtype === "int32" ? Int32Array.of(value) : Uint8Array.of(value);
    const key = Object.is(value, -0) ? "-0" : String(value);
    return this.once(`${dtype}:${key}`, () => ({ dims: [], dataType: ELEMENT_TYPE[dtype], rawData: bytesOf(data) }));
  }

  /** A table of numbers that follows from `key`, shared between its users. */
  table(key: string, shape: Shape, make: () => Float32Array | Int32Array): string {
    return this.once(`table:${key}`, () => {
      const data = make();
      const dataType = data instanceof Float32Array ? ELEMENT_TYPE.float32 : ELEMENT_TYPE.int32;
      return { dims: shape, dataType, rawData: bytesOf(data) };
    });
  }

  reshape(x: string, shape: Shape, output?: string): string {
    // Compiling a reshape of a product to a scalar ends the process: OpenVINO 2026.4.
    if (this.target === "openvino" && shape.length === 0)
      return this.op("Squeeze", [x], {}, output === undefined ? {} : { output });
    return this.op("Reshape", [x, this.ints(shape)], { allowzero: 1 }, output === undefined ? {} : { output });
  }

  /**
   * Permutes axes. ONNX Runtime is fast where one axis moves past others, and up to 20 times slower else (*measured*: a
   * filter of 3x3x128x128 to 128x128x3x3 in 680 us, in two such moves in 75): axes that stay together are moved as one,
   * and three axes in reverse order are two moves.
   *
   * @param shape Of x.
   */
  transpose(x: string, shape: Shape, permutation: readonly number[], output?: string): string {
    const named = output === undefined ? {} : { output };
    const result = permutation.map((axis) => shape[axis] ?? 1);
    const { sizes, order } = mergeAxes(shape, permutation);
    if (order.every((axis, i) => axis === i)) return this.reshape(x, result, output);
    if (sizes.length === shape.length && order.length !== 3)
      return this.op("Transpose", [x], { perm: permutation }, named);
    const merged = sizes.length === shape.length ? x : this.reshape(x, sizes);
    const reversed = order.length === 3 && order[0] === 2 && order[1] === 1;
    const last = (perm: readonly number[], of: string): string =>
      sizes.length === shape.length
        ? this.op("Transpose", [of], { perm }, named)
        : this.reshape(this.op("Transpose", [of], { perm }), result, output);
    return reversed ? last([1, 2, 0], this.op("Transpose", [merged], { perm: [0, 2, 1] })) : last(order, merged);
  }

  /** An image (N,H,W,C) as (N,C,H,W): what it was made of, where `channelsLast` made it. */
  channelsFirst(name: string, nhwc: Shape): string {
    const known = this.first.get(name);
    if (known !== undefined) return known;
    const first = this.transpose(name, nhwc, [0, 3, 1, 2]);
    this.first.set(name, first);
    return first;
  }

  /** An image (N,C,H,W) as (N,H,W,C), and the other way round for nothing. */
  channelsLast(name: string, nhwc: Shape, output?: string): string {
    const [N = 0, H = 0, W = 0, C = 0] = nhwc;
    const last = this.transpose(name, [N, C, H, W], [0, 2, 3, 1], output);
    this.first.set(last, name);
    return last;
  }

  /** Remembers what a value was made of. */
  keepSource(name: string, source: string): void {
    this.sources.set(name, source);
  }

  /** What a value was made of, where `keepSource` was told. */
  source(name: string): string {
    return this.sources.get(name) ?? name;
  }

  /** Takes out nodes and initializers that no output needs: transposes that were cancelled. */
  prune(outputs: readonly string[]): void {
    const needed = new Set(outputs);
    for (const node of [...this.nodes].reverse())
      if (node.output.some((name) => needed.has(name))) for (const name of node.input) needed.add(name);
    const isNeeded = ({ output }: OnnxNode): boolean => output.some((name) => needed.has(name));
    this.nodes.splice(0, this.nodes.length, ...this.nodes.filter(isNeeded));
    const { initializers } = this;
    initializers.splice(0, initializers.length, ...initializers.filter(({ name }) => needed.has(name)));
  }

  private once(key: string, make: () => Omit<OnnxTensor, "name">): string {
    let name = this.shared.get(key);
    if (name === undefined) {
      name = this.name("constant");
      this.shared.set(key, name);
      this.initializers.push({ name, ...make() });
    }
    return name;
  }
}

/** A permutation without its axes of size one, and with axes that stay side by side as one. */
function mergeAxes(shape: Shape, permutation: readonly number[]): { sizes: number[]; order: number[] } {
  const groups: number[][] = []; // axes of x, in the order of the result
  for (const axis of permutation) {
    if (shape[axis] === 1) continue;
    const last = groups.at(-1);
    const previous = last?.at(-1);
    const adjacent =
      previous !== undefined && axis > previous && shape.slice(previous + 1, axis).every((size) => size === 1);
    if (last && adjacent) last.push(axis);
    else groups.push([axis]);
  }
  const ordered = [...groups].sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0));
  return {
    sizes: ordered.map((group) => group.reduce((product, axis) => product * (shape[axis] ?? 1), 1)),
    order: groups.map((group) => ordered.indexOf(group)),
  };
}

/** Declares an input or output of the graph. */
export function valueInfo(name: string, dtype: DType, shape: Shape): OnnxValueInfo {
  const dim = shape.map((dimValue) => ({ dimValue }));
  return { name, type: { tensorType: { elemType: ELEMENT_TYPE[dtype], shape: { dim } } } };
}

function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
