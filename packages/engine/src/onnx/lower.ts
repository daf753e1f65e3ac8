import { nodesOf, sizeOf, type Graph, type Node, type Op, type OpKind } from "../ir/graph.js";
import { decomposeAttention, type Decomposed } from "../passes/decompose-attention.js";
import { lowerChannelsFirst } from "./lower-channels-first.js";
import { MICROSOFT, OnnxBuilder, valueInfo, type OnnxTarget } from "./builder.js";
import { lowerBinary, lowerCompare, lowerSelect, lowerUnary } from "./lower-elementwise.js";
import {
  lowerConv2d,
  lowerConv2dFilterGrad,
  lowerConv2dInputGrad,
  lowerPatches,
  lowerPool,
  lowerPoolGrad,
  lowerResize,
} from "./lower-windows.js";
import { lowerGroupNorm, lowerRmsNorm } from "./lower-norms.js";
import { ELEMENT_TYPE, type OnnxModel } from "./proto.js";
import { REDUCE } from "./reduce.js";
import { planSplits } from "./splits.js";

/** Opset and IR version that models are written in. */
export const OPSET = 21;
export const IR_VERSION = 10;

/**
 * How one operation becomes ONNX nodes.
 *
 * @param inputs Names of the operands' values.
 * @param output The name the result must have, where the graph prescribes one.
 * @returns The name of the result.
 */
export type Lowering<K extends OpKind> = (
  onnx: OnnxBuilder,
  node: Node & { readonly op: Extract<Op, { kind: K }> },
  inputs: readonly string[],
  output: { readonly output?: string },
) => string;

const LOWERINGS: { readonly [K in Exclude<OpKind, Decomposed>]: Lowering<K> } = {
  input: (_onnx, node) => node.op.name,
  constant: (onnx, { op }) =>
    op.shape.length === 0 ? onnx.scalar(op.data[0] ?? 0, op.dtype) : onnx.constant(op.dtype, op.shape, op.data),
  unary: lowerUnary,
  binary: lowerBinary,
  compare: lowerCompare,
  select: lowerSelect,
  cast: lowerCast,

  reduce: lowerReduce,
  arg: (onnx, { op }, inputs, out) => {
    const attributes = { axis: op.axis, keepdims: 0, select_last_index: 0 };
    const position = onnx.op(op.fn === "max" ? "ArgMax" : "ArgMin", inputs, attributes);
    return onnx.op("Cast", [position], { to: ELEMENT_TYPE.int32 }, out);
  },
  cumsum: (onnx, { op }, [x = ""], out) =>
    onnx.op(
      "CumSum",
      [x, onnx.scalar(op.axis, "int32")],
      { exclusive: Number(op.exclusive), reverse: Number(op.reverse) },
      out,
    ),
  softmax: (onnx, _node, inputs, out) => onnx.op("Softmax", inputs, { axis: -1 }, out),
  rmsNorm: lowerRmsNorm,
  groupNorm: lowerGroupNorm,
  matmul: lowerMatmul,

  conv2d: lowerConv2d,
  conv2dInputGrad: lowerConv2dInputGrad,
  conv2dFilterGrad: lowerConv2dFilterGrad,
  patches: lowerPatches,
  pool: lowerPool,
  poolGrad: lowerPoolGrad,
  resize: (...args) => lowerResize(...args),
  resizeGrad: (...args) => lowerResize(...args),

  concat: (onnx, { op }, inputs, out) => onnx.op("Concat", inputs, { axis: op.axis }, out),
  slice: (onnx, { op, inputs }, [x = ""], out) => {
    const shape = inputs[0]?.shape ?? [];
    const cut = shape.flatMap((size, axis) => (op.sizes[axis] === size && op.steps[axis] === 1 ? [] : [axis]));
    if (cut.length === 0) return onnx.op("Identity", [x], {}, out);
    const at = (list: readonly number[], axis: number): number => list[axis] ?? 0;
    const start = (axis: number): number => (op.sizes[axis] === 0 ? 0 : at(op.starts, axis)); // none may start anywhere
    // An end before the first element cannot be written as -1, which means the last: ONNX clamps anything smaller.
    const end = (axis: number): number => {
      const stop = start(axis) + at(op.sizes, axis) * at(op.steps, axis);
      return stop < 0 ? -(2 ** 31) : stop;
    };
    const starts = cut.map(start);
    const steps = cut.map((axis) => at(op.steps, axis));
    const bounds = [starts, cut.map(end), cut, ...(steps.every((step) => step === 1) ? [] : [steps])];
    return onnx.op("Slice", [x, ...bounds.map((list) => onnx.ints(list))], {}, out);
  },
  pad: (onnx, { op, dtype }, [x = ""], out) =>
    onnx.op(
      "Pad",
      [x, onnx.ints([...op.before, ...op.after]), onnx.scalar(op.value, dtype)],
      { mode: "constant" },
      out,
    ),
  broadcast: (onnx, { op }, [x = ""], out) => onnx.op("Expand", [x, onnx.ints(op.shape)], {}, out),
  tile: (onnx, { op }, [x = ""], out) => onnx.op("Tile", [x, onnx.ints(op.repeats)], {}, out),
  transpose: (onnx, { op, inputs: [operand] }, [x = ""], out) =>
    onnx.transpose(x, operand?.shape ?? [], op.permutation, out.output),
  reshape: (onnx, { op }, [x = ""], out) => onnx.reshape(x, op.shape, out.output),
  gather: (onnx, { op }, inputs, out) => onnx.op("Gather", inputs, { axis: op.axis }, out),
  // One row more than asked for takes the rows whose id is outside.
  segmentSum: (onnx, { op, shape, dtype, inputs: [data, ids] }, [x = "", id = ""], out) => {
    const count = ids?.shape[0] ?? 0;
    const zero = onnx.scalar(0, "int32");
    const limit = onnx.scalar(op.segments, "int32");
    const inside = onnx.op("And", [onnx.op("GreaterOrEqual", [id, zero]), onnx.op("Less", [id, limit])]);
    const row = onnx.op("Cast", [onnx.op("Where", [inside, id, limit])], { to: ELEMENT_TYPE.int64 });
    const rows = [op.segments + 1, ...(data?.shape.slice(1) ?? [])];
    const start = onnx.op("Expand", [onnx.scalar(0, dtype), onnx.ints(rows)]);
    const sums = onnx.op("ScatterND", [start, onnx.reshape(row, [count, 1]), x], { reduction: "add" });
    return onnx.op("Slice", [sums, onnx.ints([0]), onnx.ints([shape[0] ?? 0]), onnx.ints([0])], {}, out);
  },
  // A reshape whose shape is known when all of `after` is there: zeros, made of their sizes, which keep every axis. It
  // copies nothing; the second one says the shape to whatever plans memory before the run.
  barrier: (onnx, { shape }, [x = "", ...after], out) => {
    const zeros = onnx.ints(shape.map(() => 0));
    const keep = after
      .map((name) => onnx.op("Mul", [onnx.op("Size", [name]), zeros]))
      .reduce((sum, next) => onnx.op("Add", [sum, next]));
    return onnx.reshape(onnx.op("Reshape", [x, keep]), shape, out.output);
  },
};

function lowerCast(
  ...[
    onnx,
    {
      op,
      inputs: [x],
    },
    inputs,
    out,
  ]: Parameters<Lowering<"cast">>
): string {
  // OpenVINO looks at the last byte alone.
  if (op.dtype === "bool" && x?.dtype === "int32" && onnx.target === "openvino")
    return onnx.op("Not", [onnx.op("Equal", [...inputs, onnx.scalar(0, "int32")])], {}, out);
  return onnx.op("Cast", inputs, { to: ELEMENT_TYPE[op.dtype] }, out);
}

function lowerReduce(...[onnx, node, [x = ""], out]: Parameters<Lowering<"reduce">>): string {
  const { op, dtype } = node;
  const attributes = { keepdims: op.keepDims ? 1 : 0, noop_with_empty_axes: 1 };
  if (dtype === "bool") {
    const numbers = onnx.op("Cast", [x], { to: ELEMENT_TYPE.int32 });
    return onnx.op(
      "Cast",
      [onnx.op(REDUCE[op.fn], [numbers, onnx.ints(op.axes)], attributes)],
      { to: ELEMENT_TYPE.bool },
      out,
    );
  }
  const shape = node.inputs[0]?.shape ?? [];
  const leading = op.axes.every((axis, i) => axis === i) && op.axes.length < shape.length;
  const rows = sizeOf(shape.slice(0, op.axes.length));
  const parts = op.fn === "sum" && leading && rows >= 256 ? divisorNear(rows, Math.sqrt(rows)) : 1;
  if (parts > 1) {
    // Sums over leading axes: ONNX Runtime adds up the middle axis of three 5 times faster than the first of two
    // (*measured*).
    const columns = sizeOf(shape.slice(op.axes.length));
    const blocks = onnx.reshape(x, [parts, rows / parts, columns]);
    const sums = onnx.op("ReduceSum", [blocks, onnx.ints([1])], { keepdims: 0 });
    return onnx.reshape(onnx.op("ReduceSum", [sums, onnx.ints([0])], { keepdims: 0 }), node.shape, out.output);
  }
  // With no axes, ONNX says, nothing is done; ONNX Runtime squares all the same.
  if (op.fn === "sumSquare" && op.axes.length === 0) return onnx.op("Mul", [x, x], {}, out);
  return onnx.op(REDUCE[op.fn], [x, onnx.ints(op.axes)], attributes, out);
}

/** The largest divisor of n that is not above `limit`. */
function divisorNear(n: number, limit: number): number {
  for (let divisor = Math.floor(limit); divisor > 1; divisor--) if (n % divisor === 0) return divisor;
  return 1;
}

function lowerMatmul(...[onnx, node, inputs, out]: Parameters<Lowering<"matmul">>): string {
  const { transposeA, transposeB, alpha } = node.op;
  const [a, b, c] = node.inputs as [Node, Node, Node?];
  const [x = "", y = "", z = ""] = inputs;
  const flags = { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: alpha } };
  const flat = (node: Node, name: string): string =>
    node.shape.length === 2 ? name : onnx.reshape(name, node.shape.slice(-2));
  const batches = sizeOf(node.shape.slice(0, -2));
  if (onnx.target === "openvino" && (sizeOf(a.shape) === 0 || sizeOf(b.shape) === 0)) {
    // OpenVINO compiles no products of nothing, nor sums of no terms.
    const zeros = onnx.op("Expand", [onnx.scalar(0), onnx.ints(node.shape)], {}, c === undefined ? out : {});
    return c === undefined ? zeros : onnx.op("Add", [zeros, z], {}, out);
  }
  const plain = node.shape.length === 2;

  if (batches === 1) {
    // Gemm adds an operand that broadcasts to its two axes.
    const addend = c === undefined ? [] : [c.shape.length <= 2 ? z : onnx.reshape(z, c.shape.slice(-2))];
    const product = onnx.op("Gemm", [flat(a, x), flat(b, y), ...addend], flags, plain ? out : {});
    return plain ? product : onnx.reshape(product, node.shape, out.output);
  }
  // Rows of all batches against one matrix: one product of two axes.
  const [M = 1, N = 1] = node.shape.slice(-2);
  const perRow = c === undefined || sizeOf(c.shape) === sizeOf(node.shape) || sizeOf(c.shape) === (c.shape.at(-1) ?? 1);
  if (!transposeA && sizeOf(b.shape.slice(0, -2)) === 1 && perRow) {
    const rows = onnx.reshape(x, [sizeOf(a.shape.slice(0, -1)), a.shape.at(-1) ?? 0]);
    const addend =
      c === undefined
        ? []
        : [onnx.reshape(z, sizeOf(c.shape) === sizeOf(node.shape) ? [batches * M, N] : [c.shape.at(-1) ?? 1])];
    return onnx.reshape(onnx.op("Gemm", [rows, flat(b, y), ...addend], flags), node.shape, out.output);
  }
  const product = lowerBatchedProduct(onnx, node, [x, y], c === undefined ? out : {});
  return c === undefined ? product : onnx.op("Add", [product, z], {}, out);
}

function lowerBatchedProduct(...[onnx, node, inputs, out]: Parameters<Lowering<"matmul">>): string {
  const { transposeA, transposeB, alpha } = node.op;
  const [a, b] = node.inputs as [Node, Node];
  if (!transposeA && !transposeB && alpha === 1) return onnx.op("MatMul", inputs, {}, out);
  if (onnx.target === "onnxruntime") {
    const flags = { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: alpha } };
    return onnx.op("FusedMatMul", inputs, flags, { domain: MICROSOFT, ...out });
  }
  const swapped = (node: Node, name: string, swap: boolean): string => {
    const axes = node.shape.map((_, axis) => axis);
    return swap ? onnx.transpose(name, node.shape, [...axes.slice(0, -2), axes.length - 1, axes.length - 2]) : name;
  };
  const operands = [swapped(a, inputs[0] ?? "", transposeA), swapped(b, inputs[1] ?? "", transposeB)];
  if (alpha === 1) return onnx.op("MatMul", operands, {}, out);
  return onnx.op("Mul", [onnx.op("MatMul", operands), onnx.scalar(alpha)], {}, out);
}

/**
 * Writes a graph as an ONNX model. Inputs and outputs keep their names.
 *
 * @param metadata Text kept in the model's `metadata_props`.
 */
export function lowerToOnnx(
  given: Graph,
  target: OnnxTarget,
  metadata: Readonly<Record<string, string>> = {},
): OnnxModel {
  const graph = decomposeAttention(given);
  const onnx = new OnnxBuilder(target);
  const names = new Map<Node, string>();
  // The first output of a node is the node's own value, under the output's name; further ones are copies.
  const wanted = new Map<Node, string>();
  for (const { name, node } of graph.outputs)
    if (node.op.kind !== "input" && node.op.kind !== "constant" && !wanted.has(node)) wanted.set(node, name);

  const nodes = nodesOf(graph);
  const splits = planSplits(nodes);
  for (const node of nodes) {
    if (names.has(node)) continue; // a part of a Split that is there already
    const inputs = node.inputs.map((input) => names.get(input) as string);
    const output = wanted.get(node);
    const split = splits.get(node);
    if (split) {
      const parts = split.slices.map((slice) => wanted.get(slice) ?? onnx.name("Split"));
      onnx.add("Split", [...inputs, onnx.ints(split.sizes)], parts, { axis: split.axis });
      split.slices.forEach((slice, i) => names.set(slice, parts[i] as string));
      continue;
    }
    const lower = LOWERINGS[node.op.kind as keyof typeof LOWERINGS] as Lowering<OpKind>;
    const first = onnx.nodes.length;
    const out = output === undefined ? {} : { output };
    const inPlace = lowerChannelsFirst(onnx, node, inputs, out, (operands) => lower(onnx, node, operands, {}));
    names.set(node, inPlace ?? lower(onnx, node, inputs, out));
    if (onnx.nodes.length === first && output !== undefined)
      onnx.add("Identity", [names.get(node) as string], [output]);
  }
  for (const { name, node } of graph.outputs) {
    if (wanted.get(node) === name) {
      if (names.get(node) !== name) onnx.add("Identity", [names.get(node) as string], [name]);
    } else onnx.add("Identity", [names.get(node) as string], [name]);
  }
  onnx.prune(graph.outputs.map(({ name }) => name));
  return {
    irVersion: IR_VERSION,
    producerName: "madformer",
    opsetImport: [
      { domain: "", version: OPSET },
      ...(onnx.nodes.some(({ domain }) => domain === MICROSOFT) ? [{ domain: MICROSOFT, version: 1 }] : []),
    ],
    metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    graph: {
      name: graph.name,
      node: onnx.nodes,
      initializer: onnx.initializers,
      input: graph.inputs.map(({ op }) => valueInfo(op.name, op.dtype, op.shape)),
      output: graph.outputs.map(({ name, node }) => valueInfo(name, node.dtype, node.shape)),
    },
  };
}
