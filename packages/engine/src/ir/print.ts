import {
  nodesOf,
  sameNumbers,
  sizeOf,
  type DType,
  type Graph,
  type Node,
  type NodeOf,
  type Window2D,
} from "./graph.js";
import { formatType } from "./infer.js";

/** What a graph is made of, in numbers. */
export interface GraphSummary {
  /** Nodes that the outputs reach, inputs and constants among them: the sum of `byKind`. */
  readonly nodes: number;
  /** Nodes by the kind of their operation, in alphabetical order. */
  readonly byKind: Readonly<Record<string, number>>;
  /** What the constants take, in bytes. */
  readonly constantsBytes: number;
  /** Additions and multiplications of one run in matmuls and convolutions; the rest is not counted. */
  readonly flops: number;
}

/**
 * Additions and multiplications that one node takes, where they are products of matrices: 2·M·N·K per matmul of the
 * batch, 2·N·H'·W'·h·w·(C/groups)·O for a convolution and for each of its gradients. Zero for every other operation.
 */
export function flopsOf(node: Node): number {
  const [a, b] = node.inputs;
  switch (node.op.kind) {
    case "matmul":
      return 2 * sizeOf(node.shape) * a!.shape.at(node.op.transposeA ? -2 : -1)!;
    case "conv2d":
      return convolutionFlops(node, b!);
    case "conv2dInputGrad":
      return convolutionFlops(a!, b!);
    case "conv2dFilterGrad":
      return convolutionFlops(b!, node);
    case "attention":
      return 2 * sizeOf(a!.shape) * b!.shape[1]! + 2 * sizeOf(node.shape) * b!.shape[1]!;
    // The scores again and what comes back to the weights are one product each, and needed for all three.
    case "attentionGrad":
      return 2 * sizeOf(a!.shape) * b!.shape[1]!;
    default:
      return 0;
  }
}

/** Of y (N,H',W',O) = conv2d(x, w (h,w,C/groups,O)). */
function convolutionFlops(y: Node, w: Node): number {
  return 2 * sizeOf(y.shape) * sizeOf(w.shape.slice(0, 3));
}

/** Counts what a graph is made of. */
export function summarize(graph: Graph): GraphSummary {
  const nodes = nodesOf(graph);
  const byKind: Record<string, number> = {};
  for (const kind of nodes.map((node) => node.op.kind).sort()) byKind[kind] = (byKind[kind] ?? 0) + 1;
  return {
    nodes: nodes.length,
    byKind,
    constantsBytes: nodes.reduce((sum, { op }) => sum + (op.kind === "constant" ? op.data.byteLength : 0), 0),
    flops: nodes.reduce((sum, node) => sum + flopsOf(node), 0),
  };
}

/**
 * A graph as text, for people: a header, then one line per node in the order in which they can run, numbered from zero.
 * The same graph gives the same text in every process. Attributes that the result's type shows (the shape of a
 * reshape), or that are as plain as they can be (alpha 1, no padding), are left out.
 *
 *     graph "layer"
 *       inputs   x float32(2, 4), unused float32()
 *       outputs  y = %2
 *       nodes    3: 1 constant, 1 input, 1 matmul; 64 flops; constants 64 bytes
 *
 *     %0 float32(2, 4) = input "x"
 *     %1 float32(4, 4) = constant [0.5, 0, 0, 0, ...]
 *     %2 float32(2, 4) = matmul(%0, %1) transposeB alpha=0.125  # attention/matMul
 *
 * @param options.values How many elements of a constant are shown.
 */
export function printGraph(graph: Graph, { values = 4 }: { values?: number } = {}): string {
  const nodes = nodesOf(graph);
  const numbers = new Map(nodes.map((node, i) => [node, `%${i}`]));
  const { byKind, constantsBytes, flops } = summarize(graph);
  const counts = Object.entries(byKind).sort(([, a], [, b]) => b - a); // stable: equal counts stay alphabetical
  const lines = nodes.map((node) => {
    const operands = node.inputs.length > 0 ? `(${node.inputs.map((input) => numbers.get(input)).join(", ")})` : "";
    const scope = node.scope ? `  # ${node.scope}` : "";
    const call = [`${nameOf(node)}${operands}`, ...attributesOf(node, values)].join(" ");
    return `${numbers.get(node)} ${formatType(node)} = ${call}${scope}`;
  });
  return [
    `graph ${JSON.stringify(graph.name)}`,
    `  inputs   ${graph.inputs.map((node) => `${node.op.name} ${formatType(node)}`).join(", ")}`,
    `  outputs  ${graph.outputs.map(({ name, node }) => `${name} = ${numbers.get(node)}`).join(", ")}`,
    `  nodes    ${nodes.length}: ${counts.map(([kind, count]) => `${count} ${kind}`).join(", ")}; ` +
      `${flops} flops; constants ${constantsBytes} bytes`,
    "",
    ...lines,
    "",
  ].join("\n");
}

/** `add` for elementwise functions, whose kind goes without saying; else `matmul`, `reduce.sum`. */
function nameOf({ op }: Node): string {
  if (op.kind === "unary" || op.kind === "binary" || op.kind === "compare") return op.fn;
  return "fn" in op ? `${op.kind}.${op.fn}` : op.kind;
}

function attributesOf({ op, dtype }: Node, values: number): string[] {
  switch (op.kind) {
    case "input":
      return [JSON.stringify(op.name)];
    case "constant":
      return [formatConstant(op, dtype, values)];
    case "reduce":
      return [list("axes", op.axes), ...flag("keepDims", op.keepDims)];
    case "arg":
    case "concat":
    case "gather":
      return [`axis=${op.axis}`];
    case "cumsum":
      return [`axis=${op.axis}`, ...flag("exclusive", op.exclusive), ...flag("reverse", op.reverse)];
    case "attention":
    case "attentionGrad":
      return [...("of" in op ? [op.of] : []), `scale=${op.scale}`];
    case "rmsNorm":
      return [`eps=${op.eps}`];
    case "groupNorm":
      return [`groups=${op.groups}`, `eps=${op.eps}`];
    case "matmul": {
      const alpha = op.alpha === 1 ? [] : [`alpha=${op.alpha}`];
      return [...flag("transposeA", op.transposeA), ...flag("transposeB", op.transposeB), ...alpha];
    }
    case "conv2d":
    case "conv2dInputGrad":
    case "conv2dFilterGrad":
      return [...formatWindow(op.window), ...(op.groups === 1 ? [] : [`groups=${op.groups}`])];
    case "patches":
    case "pool":
    case "poolGrad":
      return formatWindow(op.window);
    case "resize":
    case "resizeGrad":
      return [op.coordinates];
    case "slice":
      return [...unless(0, "starts", op.starts), ...unless(1, "steps", op.steps)];
    case "pad":
      return [
        ...unless(0, "before", op.before),
        ...unless(0, "after", op.after),
        ...(op.value === 0 ? [] : [`value=${op.value}`]),
      ];
    case "tile":
      return [list("repeats", op.repeats)];
    case "transpose":
      return [list("permutation", op.permutation)];
    case "unary":
    case "binary":
    case "compare":
    case "select":
    case "cast":
    case "softmax":
    case "broadcast":
    case "reshape":
    case "segmentSum":
    case "barrier":
      return []; // all there is stands in the name and the result's type
  }
}

const flag = (name: string, value: boolean): string[] => (value ? [name] : []);
const list = (name: string, numbers: readonly number[]): string => `${name}=[${numbers.join(", ")}]`;

/** The list, unless every number in it is `plain`. */
function unless(plain: number, name: string, numbers: readonly number[]): string[] {
  return numbers.every((number) => number === plain) ? [] : [list(name, numbers)];
}

function formatWindow({ size, strides, dilations, pads }: Window2D): string[] {
  return [
    `window=${size.join("x")}`,
    ...(sameNumbers(strides, [1, 1]) ? [] : [`strides=${strides.join("x")}`]),
    ...(sameNumbers(dilations, [1, 1]) ? [] : [`dilations=${dilations.join("x")}`]),
    ...unless(0, "pads", pads),
  ];
}

function formatConstant({ shape, data }: NodeOf<"constant">["op"], dtype: DType, values: number): string {
  const texts = Array.from(data.subarray(0, values), (value) => formatNumber(value, dtype));
  if (shape.length === 0) return formatNumber(data[0]!, dtype);
  return `[${[...texts, ...(data.length > texts.length ? ["..."] : [])].join(", ")}]`;
}

/** float32 values in the fewest digits that give them back: 0.1, not 0.10000000149011612. */
function formatNumber(value: number, dtype: DType): string {
  if (Object.is(value, -0)) return "-0";
  if (dtype !== "float32" || !Number.isFinite(value)) return String(value);
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
}
