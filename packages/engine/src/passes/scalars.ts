import { isOp, sameNumbers, sizeOf, type Graph, type Node, type NodeOf, type Shape } from "../ir/graph.js";
import { broadcastShapes } from "../ir/infer.js";
import { groupAxes } from "./axis-groups.js";
import { alignedShape, filledValue, isUniform, operand, reshaped, scalarOp, scalarValue } from "./nodes.js";
import { rewrite, type Rewriting, type Rule } from "./rewrite.js";

/**
 * Tensors that repeat something smaller, above all one number, stay as small as they can for as long as they can: a
 * broadcast moves down, towards the outputs, through everything that treats its copies alike.
 *
 * tfjs' gradients fill tensors with ones and zeros and multiply by them. The gradient of a mean is
 * `div(mul(reshape(dy), ones), n)`: what remains of it is a broadcast of `dy / n`, and where that meets another tensor
 * of its shape in an elementwise operation, which broadcasts by itself, nothing remains.
 *
 * A product with a tensor that was *filled* with zeros is zero, even where the other operand is NaN or infinite: such
 * tensors come from `zerosLike`, as gradients of what has none. A product with the number zero is left alone.
 */
export const pushBroadcast: Rule = (node, rewriting) => {
  const { make } = rewriting;
  const { op, shape } = node;
  switch (op.kind) {
    case "constant": {
      if (shape.length === 0 || !isUniform(op.data)) return undefined;
      return make({ kind: "broadcast", shape }, make(scalarOp(op.data[0]!, op.dtype)));
    }
    case "broadcast": {
      const [x] = node.inputs as [Node];
      if (sameNumbers(x.shape, shape)) return x;
      if (isOp(x, "broadcast")) return make(op, operand(x));
      // Axes of size 1 in front are what a broadcast adds by itself.
      const squeezed = withoutLeadingOnes(x);
      return squeezed === x ? undefined : make(op, squeezed);
    }
    case "unary":
    case "binary":
    case "compare":
    case "select":
    case "cast":
      return throughElementwise(node, rewriting);
    case "tile":
      return throughTile(node as NodeOf<"tile">, rewriting);
    case "concat":
      return throughConcat(node as NodeOf<"concat">, rewriting);
    case "reduce":
      return throughReduce(node as NodeOf<"reduce">, rewriting);
    case "matmul":
      return throughMatmul(node as NodeOf<"matmul">, rewriting);
    case "pad": {
      const [x] = node.inputs as [Node];
      return filledValue(x) === op.value && scalarValue(x) === undefined
        ? make({ kind: "broadcast", shape }, operand(x))
        : undefined;
    }
    case "gather": {
      const [x] = node.inputs as [Node];
      return scalarValue(x) === undefined && filledValue(x) !== undefined
        ? make({ kind: "broadcast", shape }, operand(x))
        : undefined;
    }
    case "reshape":
    case "transpose":
    case "slice": {
      const [x] = node.inputs as [Node];
      if (!isOp(x, "broadcast")) return undefined;
      const small = throughMove(node as NodeOf<"reshape" | "transpose" | "slice">, x, rewriting);
      return small && broadcasted(small, shape, make);
    }
    default:
      return undefined;
  }
};

/** Every broadcast becomes the broadcast of the smallest thing possible, as late as possible. */
export function pushScalars(graph: Graph): Graph {
  return rewrite(graph, pushBroadcast);
}

/** The node before a reshape that only put axes of size 1 in front. */
function withoutLeadingOnes(node: Node): Node {
  if (!isOp(node, "reshape")) return node;
  const x = operand(node);
  const added = node.shape.length - x.shape.length;
  return added > 0 && sameNumbers(alignedShape(x.shape, node.shape.length), node.shape) ? x : node;
}

/** The operation on what was broadcast; broadcast afterwards, if no operand brings the whole shape along. */
function throughElementwise(node: Node, { make }: Rewriting): Node | undefined {
  const { op, inputs, shape } = node;
  if (op.kind === "binary" && op.fn === "mul") {
    const zeros = inputs.find((input) => isOp(input, "broadcast") && filledValue(input) === 0);
    if (zeros) return make({ kind: "broadcast", shape }, operand(zeros));
  }
  if (!inputs.some((input) => isOp(input, "broadcast"))) return undefined;
  const small = make(op, ...inputs.map((input) => (isOp(input, "broadcast") ? operand(input) : input)));
  return broadcasted(small, shape, make);
}

/** The node repeated to `shape`: itself, if it has that shape. */
function broadcasted(x: Node, shape: Shape, make: Rewriting["make"]): Node {
  return sameNumbers(x.shape, shape) ? x : make({ kind: "broadcast", shape }, x);
}

/** Repeating an axis of size 1 is broadcasting. */
function throughTile(node: NodeOf<"tile">, { make }: Rewriting): Node | undefined {
  const { repeats } = node.op;
  const [x] = node.inputs as [Node];
  const source = isOp(x, "broadcast") ? operand(x) : x;
  const sizes = alignedShape(source.shape, x.shape.length);
  const fits = repeats.every((times, axis) => times === 1 || sizes[axis] === 1);
  return fits ? make({ kind: "broadcast", shape: node.shape }, source) : undefined;
}

/** The same thing again and again beside itself. */
function throughConcat(node: NodeOf<"concat">, { make }: Rewriting): Node | undefined {
  const [first, ...rest] = node.inputs as [Node, ...Node[]];
  if (!isOp(first, "broadcast")) return undefined;
  const source = operand(first);
  const value = scalarValue(source);
  if (alignedShape(source.shape, node.shape.length)[node.op.axis] !== 1) return undefined;
  const same = (other: Node): boolean =>
    isOp(other, "broadcast") &&
    (operand(other) === source || (value !== undefined && Object.is(filledValue(other), value)));
  return rest.every(same) ? make({ kind: "broadcast", shape: node.shape }, source) : undefined;
}

/** Reducing n copies: their sum is n times one of them, their mean or their largest is one of them. */
function throughReduce(node: NodeOf<"reduce">, rewriting: Rewriting): Node | undefined {
  const { make } = rewriting;
  const { fn, axes, keepDims } = node.op;
  const [x] = node.inputs as [Node];
  if (!isOp(x, "broadcast") || sizeOf(x.shape) === 0 || fn === "prod") return undefined;
  const source = operand(x);
  const sizes = alignedShape(source.shape, x.shape.length);
  const copies = sizeOf(axes.map((axis) => (sizes[axis] === 1 ? x.shape[axis]! : 1)));
  const copied = x.shape.some((size, axis) => sizes[axis] !== size);
  if (!copied) return undefined;
  const small = make({ kind: "reduce", fn, axes, keepDims }, reshaped(rewriting, source, sizes));
  const scaled =
    (fn === "sum" || fn === "sumSquare") && copies > 1
      ? make({ kind: "binary", fn: "mul" }, small, make(scalarOp(copies, node.dtype)))
      : small;
  return broadcasted(scaled, node.shape, make);
}

/** A matmul broadcasts its batch axes and its addend by itself; a product with a tensor of zeros is one. */
function throughMatmul(node: NodeOf<"matmul">, { make }: Rewriting): Node | undefined {
  const { inputs, shape } = node;
  const [a, b, addend] = inputs as [Node, Node, Node?];
  const zeros = [a, b].find((input) => filledValue(input) === 0);
  if (zeros) return broadcasted(addend ?? operand(zeros), shape, make);
  const small = inputs.map((input, i) => {
    if (!isOp(input, "broadcast")) return input;
    const source = operand(input);
    const isMatrix = source.shape.length >= 2 && sameNumbers(source.shape.slice(-2), input.shape.slice(-2));
    return i === 2 || isMatrix ? source : input;
  });
  if (small.every((input, i) => input === inputs[i])) return undefined;
  const product = broadcastShapes((small[0] as Node).shape.slice(0, -2), (small[1] as Node).shape.slice(0, -2));
  // The addend may be all that has the result's batch axes: then the product stays as it is.
  if (addend && !sameNumbers(product, shape.slice(0, -2)))
    return small[2] === addend ? undefined : make(node.op, a, b, small[2] as Node);
  return broadcasted(make(node.op, ...small), shape, make);
}

/** What to broadcast in the end, if elements of a broadcast are only moved. */
function throughMove(
  node: NodeOf<"reshape" | "transpose" | "slice">,
  x: NodeOf<"broadcast">,
  rewriting: Rewriting,
): Node | undefined {
  const { make } = rewriting;
  const source = operand(x);
  if (sizeOf(source.shape) === 1) return reshaped(rewriting, source, []);
  const sizes = alignedShape(source.shape, x.shape.length);
  const aligned = (): Node => reshaped(rewriting, source, sizes);
  switch (node.op.kind) {
    case "transpose":
      return make(node.op, aligned());
    case "slice": {
      const { starts, sizes: wanted, steps } = node.op;
      const kept = (axis: number): boolean => sizes[axis] === x.shape[axis];
      const part = {
        kind: "slice",
        starts: starts.map((start, axis) => (kept(axis) ? start : 0)),
        sizes: wanted.map((size, axis) => (kept(axis) ? size : 1)),
        steps: steps.map((step, axis) => (kept(axis) ? step : 1)),
      } as const;
      return make(part, aligned());
    }
    case "reshape": {
      const shape = reshapedSource(sizes, x.shape, node.shape);
      return shape && reshaped(rewriting, source, shape);
    }
  }
}

/** The shape of a broadcast's source after the broadcast, of shape `from`, is reshaped; nothing if copies get mixed. */
function reshapedSource(source: Shape, from: Shape, to: Shape): Shape | undefined {
  const shape = to.map(() => 1);
  for (const group of groupAxes(from, to) ?? []) {
    const held = sizeOf(source.slice(...group.from));
    if (held === sizeOf(from.slice(...group.from)))
      for (let axis = group.to[0]; axis < group.to[1]; axis++) shape[axis] = to[axis]!;
    else if (held !== 1) return undefined;
  }
  return sizeOf(from) === 0 ? undefined : shape;
}
