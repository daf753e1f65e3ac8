import {
  allocate,
  nodesOf,
  sizeOf,
  type DType,
  type Graph,
  type Node,
  type Op,
  type Shape,
  type TensorData,
} from "./graph.js";
import { formatType, infer, type TensorType } from "./infer.js";
import { attention, attentionGrad } from "./interpret-attention.js";
import { BINARY, COMPARE, INTEGER_BINARY, UNARY } from "./interpret-elementwise.js";
import { evaluateWindow } from "./interpret-windows.js";

/**
 * `float64` carries float32 tensors as doubles that are never rounded: an oracle, smooth enough for central
 * differences. `float32` rounds the result of every node; inside a node sums are still doubles.
 */
export type Precision = "float64" | "float32";

/** A tensor while it is interpreted: every dtype as doubles. int32 and bool hold what they say. */
interface Value extends TensorType {
  readonly data: Float64Array;
}

/**
 * Runs a graph as plain loops over doubles. This is what the operations mean: slow, and right by definition.
 *
 * @param feeds Elements of each input by its name, row-major. Borrowed. Only inputs that the outputs reach must be
 *   there.
 * @returns Elements of each output by its name; new arrays.
 * @throws {RangeError} If an input is missing or has the wrong number of elements, or an index lies outside its axis.
 */
export function interpret(
  graph: Graph,
  feeds: Readonly<Record<string, ArrayLike<number>>>,
  { precision = "float64" }: { precision?: Precision } = {},
): Record<string, Float64Array> {
  const values = new Map<Node, Value>();
  for (const node of nodesOf(graph)) {
    const inputs = node.inputs.map((input) => values.get(input)!);
    values.set(
      node,
      node.op.kind === "input" ? feed(node.op, feeds[node.op.name], precision) : evaluate(node.op, inputs, precision),
    );
  }
  return Object.fromEntries(graph.outputs.map(({ name, node }) => [name, values.get(node)!.data.slice()]));
}

function feed(op: Extract<Op, { kind: "input" }>, data: ArrayLike<number> | undefined, precision: Precision): Value {
  if (data?.length !== sizeOf(op.shape))
    throw new RangeError(`Input "${op.name}" is ${formatType(op)}, got ${data ? `${data.length} values` : "nothing"}`);
  return { dtype: op.dtype, shape: op.shape, data: store(Float64Array.from(data), op.dtype, precision) };
}

/**
 * Runs one operation in `float32` precision: what constant folding puts in a node's place.
 *
 * @param inputs The operands, borrowed. float32 elements may be doubles, and then are used as they are.
 * @returns A new tensor; nothing is shared with the operands.
 * @throws {TypeError} If `op` is an `input`: it has no value here.
 * @throws {RangeError} If the operands do not fit, or an index lies outside its axis.
 */
export function evaluateNode(
  op: Op,
  inputs: readonly (TensorType & { readonly data: ArrayLike<number> })[],
): TensorType & { readonly data: TensorData } {
  const operands = inputs.map(({ dtype, shape, data }) => ({ dtype, shape, data: Float64Array.from(data) }));
  const { dtype, shape, data } = evaluate(op, operands, "float32");
  const elements = allocate(dtype, data.length);
  elements.set(data);
  return { dtype, shape, data: elements };
}

/** Makes the elements ones of `dtype`, in place: int32 wraps, bool is 0 or 1, float32 rounds if `precision` says so. */
function store(data: Float64Array, dtype: DType, precision: Precision): Float64Array {
  if (dtype === "int32") data.forEach((value, i) => (data[i] = value | 0));
  else if (dtype === "bool") data.forEach((value, i) => (data[i] = Number(value !== 0)));
  else if (precision === "float32") data.forEach((value, i) => (data[i] = Math.fround(value)));
  return data;
}

function evaluate(op: Op, inputs: readonly Value[], precision: Precision): Value {
  const { dtype, shape } = infer(op, inputs);
  return { dtype, shape, data: store(compute(op, inputs, shape), dtype, precision) };
}

/** Elements of the result before they are made ones of its dtype; always a new array. */
function compute(op: Op, inputs: readonly Value[], shape: Shape): Float64Array {
  const [a, b, c] = inputs as readonly [Value, Value, Value]; // `infer` has counted them
  switch (op.kind) {
    case "input":
      throw new TypeError(`Input "${op.name}" has no value: it cannot be evaluated alone`);
    case "constant":
      return Float64Array.from(op.data);
    case "unary": {
      const fn = op.fn === "square" && a.dtype === "int32" ? (x: number) => Math.imul(x, x) : UNARY[op.fn];
      return a.data.map((x) => fn(x));
    }
    case "binary":
    case "compare": {
      const table = op.kind === "compare" ? COMPARE : a.dtype === "int32" ? INTEGER_BINARY : BINARY;
      const fn = (table as Record<typeof op.fn, (x: number, y: number) => number>)[op.fn];
      const [ia, ib] = [broadcastIndices(a.shape, shape), broadcastIndices(b.shape, shape)];
      return new Float64Array(sizeOf(shape)).map((_, i) => fn(a.data[ia[i]!]!, b.data[ib[i]!]!));
    }
    case "select": {
      const [ia, ib, ic] = [a, b, c].map((x) => broadcastIndices(x.shape, shape)) as [
        Int32Array,
        Int32Array,
        Int32Array,
      ];
      return new Float64Array(sizeOf(shape)).map((_, i) => (a.data[ia[i]!] ? b.data[ib[i]!]! : c.data[ic[i]!]!));
    }
    case "cast":
      return a.data.slice(); // the caller makes the elements ones of the dtype
    case "reduce":
      return reduce(op, a);
    case "arg":
      return arg(op, a);
    case "cumsum":
      return cumsum(op, a);
    case "softmax":
      return softmax(a);
    case "rmsNorm":
      return rmsNorm(op, a, b);
    case "groupNorm":
      return groupNorm(op, a, b, c);
    case "attention":
      return attention(op, inputs);
    case "attentionGrad":
      return attentionGrad(op, inputs);
    case "matmul":
      return plus(matmul(op, a, b, shape), inputs[2], shape);
    case "conv2d":
      return plus(evaluateWindow(op, inputs, shape), inputs[2], shape);
    case "conv2dInputGrad":
    case "conv2dFilterGrad":
    case "patches":
    case "pool":
    case "poolGrad":
    case "resize":
    case "resizeGrad":
      return evaluateWindow(op, inputs, shape);
    case "concat": {
      const parts = inputs.map((x) => around(x.shape, op.axis));
      const width = sizeOf(shape.slice(op.axis));
      const result = new Float64Array(sizeOf(shape));
      let at = 0;
      inputs.forEach(({ data }, k) => {
        const { outer, size, inner } = parts[k]!;
        const block = size * inner;
        for (let o = 0; o < outer; o++) result.set(data.subarray(o * block, (o + 1) * block), o * width + at);
        at += block;
      });
      return result;
    }
    case "slice": {
      const strides = stridesOf(a.shape);
      const start = strides.reduce((sum, stride, axis) => sum + stride * op.starts[axis]!, 0);
      const steps = strides.map((stride, axis) => stride * op.steps[axis]!);
      return pick(a.data, indices(shape, steps, start));
    }
    case "pad": {
      const strides = stridesOf(shape);
      const start = strides.reduce((sum, stride, axis) => sum + stride * op.before[axis]!, 0);
      const result = new Float64Array(sizeOf(shape)).fill(op.value);
      indices(a.shape, strides, start).forEach((to, from) => (result[to] = a.data[from]!));
      return result;
    }
    case "broadcast":
      return pick(a.data, broadcastIndices(a.shape, shape));
    case "tile": {
      // Each axis as two: the repeats, which do not move in x, and the axis itself.
      const pairs = a.shape.flatMap((size, axis) => [op.repeats[axis]!, size]);
      const strides = stridesOf(a.shape).flatMap((stride) => [0, stride]);
      return pick(a.data, indices(pairs, strides));
    }
    case "transpose": {
      const strides = stridesOf(a.shape);
      return pick(
        a.data,
        indices(
          shape,
          op.permutation.map((axis) => strides[axis]!),
        ),
      );
    }
    case "reshape":
      return a.data.slice();
    case "gather": {
      const { outer, size, inner } = around(a.shape, op.axis);
      const result = new Float64Array(sizeOf(shape));
      for (let o = 0, at = 0; o < outer; o++)
        for (const index of b.data) {
          if (index < 0 || index >= size) throw new RangeError(`gather: index ${index} is not in [0, ${size})`);
          const from = (o * size + index) * inner;
          result.set(a.data.subarray(from, from + inner), at);
          at += inner;
        }
      return result;
    }
    case "segmentSum": {
      const result = new Float64Array(sizeOf(shape));
      const { inner } = around(a.shape, 0);
      b.data.forEach((segment, row) => {
        if (segment < 0 || segment >= op.segments) return;
        for (let i = 0; i < inner; i++) result[segment * inner + i]! += a.data[row * inner + i]!;
      });
      return result;
    }
    case "barrier":
      return a.data.slice();
  }
}

/** Elements between neighbors along each axis, row-major. */
function stridesOf(shape: Shape): number[] {
  return shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
}

/** The product of sizes before an axis, its size, and the product of those after it. */
function around(shape: Shape, axis: number): { outer: number; size: number; inner: number } {
  return { outer: sizeOf(shape.slice(0, axis)), size: shape[axis]!, inner: sizeOf(shape.slice(axis + 1)) };
}

/** For each position of `shape` in row-major order: `start` + sum over the axes of its coordinate times the stride. */
function indices(shape: Shape, strides: readonly number[], start = 0): Int32Array {
  let all = Int32Array.of(start);
  shape.forEach((size, axis) => {
    const next = new Int32Array(all.length * size);
    all.forEach((base, k) => {
      for (let i = 0; i < size; i++) next[k * size + i] = base + i * strides[axis]!;
    });
    all = next;
  });
  return all;
}

/** For each position of `to`, the position in a tensor of shape `from` that is broadcast to it. */
function broadcastIndices(from: Shape, to: Shape): Int32Array {
  const added = to.length - from.length;
  const strides = stridesOf(from).map((stride, axis) => (from[axis] === 1 ? 0 : stride));
  return indices(to, [...new Array<number>(added).fill(0), ...strides]);
}

function pick(data: Float64Array, positions: Int32Array): Float64Array {
  return Float64Array.from(positions, (position) => data[position]!);
}

function reduce({ fn, axes }: Extract<Op, { kind: "reduce" }>, x: Value): Float64Array {
  const integral = x.dtype === "int32";
  const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const [largest, smallest] = integral ? [2 ** 31 - 1, -(2 ** 31)] : [Infinity, -Infinity];
  const empty = { sum: 0, mean: 0, max: smallest, min: largest, prod: 1, sumSquare: 0, any: 0, all: 1 } as const;
  const multiply = integral ? Math.imul : BINARY.mul;
  const accumulate = {
    sum: BINARY.add,
    mean: BINARY.add,
    max: Math.max,
    min: Math.min,
    prod: multiply,
    sumSquare: (sum, value) => sum + multiply(value, value),
    any: BINARY.or,
    all: BINARY.and,
  } as const satisfies Record<typeof fn, (result: number, value: number) => number>;

  const result = new Float64Array(sizeOf(kept)).fill(empty[fn]);
  broadcastIndices(kept, x.shape).forEach((to, from) => (result[to] = accumulate[fn](result[to]!, x.data[from]!)));
  const count = sizeOf(axes.map((axis) => x.shape[axis]!));
  return fn === "mean" ? result.map((sum) => sum / count) : result;
}

function arg({ fn, axis }: Extract<Op, { kind: "arg" }>, x: Value): Float64Array {
  const { outer, size, inner } = around(x.shape, axis);
  const result = new Float64Array(outer * inner);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const at = (k: number): number => x.data[(o * size + k) * inner + i]!;
      let best = 0;
      for (let k = 1; k < size; k++) if (fn === "max" ? at(k) > at(best) : at(k) < at(best)) best = k;
      result[o * inner + i] = best;
    }
  return result;
}

function cumsum({ axis, exclusive, reverse }: Extract<Op, { kind: "cumsum" }>, x: Value): Float64Array {
  const { outer, size, inner } = around(x.shape, axis);
  const result = new Float64Array(x.data.length);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      let sum = 0;
      for (let k = 0; k < size; k++) {
        const at = (o * size + (reverse ? size - 1 - k : k)) * inner + i;
        if (exclusive) result[at] = sum;
        sum += x.data[at]!;
        if (!exclusive) result[at] = sum;
      }
    }
  return result;
}

function softmax(x: Value): Float64Array {
  const size = x.shape.at(-1)!;
  const result = new Float64Array(x.data.length);
  for (let start = 0; start < x.data.length; start += size) {
    const row = x.data.subarray(start, start + size);
    const largest = row.reduce((max, value) => Math.max(max, value), -Infinity);
    const powers = row.map((value) => Math.exp(value - largest));
    const sum = powers.reduce((total, power) => total + power, 0);
    result.set(
      powers.map((power) => power / sum),
      start,
    );
  }
  return result;
}

function rmsNorm({ eps }: Extract<Op, { kind: "rmsNorm" }>, x: Value, weight: Value): Float64Array {
  const C = weight.data.length;
  const result = new Float64Array(x.data.length);
  for (let start = 0; start < x.data.length; start += C) {
    const row = x.data.subarray(start, start + C);
    const root = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / C + eps);
    row.forEach((value, i) => (result[start + i] = (value / root) * weight.data[i]!));
  }
  return result;
}

function groupNorm(
  { groups, eps }: Extract<Op, { kind: "groupNorm" }>,
  x: Value,
  scale: Value,
  shift: Value,
): Float64Array {
  const [N, H, W, C] = x.shape as [number, number, number, number];
  const width = C / groups;
  const result = new Float64Array(x.data.length);
  for (let n = 0; n < N; n++)
    for (let group = 0; group < groups; group++) {
      const at = Array.from({ length: H * W * width }, (_, i) => {
        return (n * H * W + Math.floor(i / width)) * C + group * width + (i % width);
      });
      const mean = at.reduce((sum, i) => sum + x.data[i]!, 0) / at.length;
      const variance = at.reduce((sum, i) => sum + (x.data[i]! - mean) ** 2, 0) / at.length;
      for (const i of at)
        result[i] = ((x.data[i]! - mean) / Math.sqrt(variance + eps)) * scale.data[i % C]! + shift.data[i % C]!;
    }
  return result;
}

/** Adds an operand that broadcasts to the result, in place, if there is one. */
function plus(result: Float64Array, addend: Value | undefined, shape: Shape): Float64Array {
  if (addend) broadcastIndices(addend.shape, shape).forEach((from, at) => (result[at]! += addend.data[from]!));
  return result;
}

function matmul(op: Extract<Op, { kind: "matmul" }>, a: Value, b: Value, shape: Shape): Float64Array {
  const [M, N] = [shape.at(-2)!, shape.at(-1)!];
  const K = a.shape.at(op.transposeA ? -2 : -1)!;
  const [rowA, innerA] = op.transposeA ? [1, M] : [K, 1]; // strides of a's rows and of the summed axis
  const [innerB, columnB] = op.transposeB ? [1, K] : [N, 1];
  const batch = shape.slice(0, -2);
  const batchA = broadcastIndices(a.shape.slice(0, -2), batch);
  const batchB = broadcastIndices(b.shape.slice(0, -2), batch);
  const result = new Float64Array(sizeOf(shape));
  for (let n = 0, at = 0; n < batchA.length; n++)
    for (let i = 0; i < M; i++)
      for (let j = 0; j < N; j++, at++) {
        let sum = 0;
        for (let k = 0; k < K; k++) {
          const left = a.data[batchA[n]! * M * K + i * rowA + k * innerA]!;
          sum += left * b.data[batchB[n]! * K * N + k * innerB + j * columnB]!;
        }
        result[at] = op.alpha * sum;
      }
  return result;
}
