/**
 * The graph IR: what a traced program is, and the contract for every backend that runs one.
 *
 * A graph is a directed acyclic graph of nodes. **A node is one operation and its one result**: a tensor of static
 * shape and dtype. Nodes are immutable and refer to their inputs directly; a graph holds its input nodes and its named
 * outputs, and consists of whatever these reach. So a pass is a function `Graph -> Graph` that shares what it does not
 * change, and dead nodes vanish by not being reached.
 *
 * Conventions, the same for every operation:
 * - row-major layout; images are NHWC, filters HWIO (tfjs' own, so that no layout change is traced);
 * - axes are non-negative and sorted, paddings and strides are resolved numbers, no dimension is symbolic;
 * - `float32` arithmetic rounds like IEEE single precision, `int32` wraps, `bool` is 0 or 1;
 * - binary, compare and select broadcast as NumPy does; no other operation broadcasts, but `matmul` over its batch
 *   axes.
 *
 * The meaning of each operation, in plain loops over doubles, is `interpret.ts`: where words and that code differ, it
 * is right. Shapes and dtypes are computed, and operands checked, in `infer.ts`.
 */

/** Element types a program may use. `bool` is stored as one byte, 0 or 1. */
export type DType = "float32" | "int32" | "bool";

/** Sizes by axis, outermost first. `[]` is a scalar. A size of zero is allowed. */
export type Shape = readonly number[];

/** The elements of a tensor, row-major: float32, int32, bool. */
export type TensorData = Float32Array | Int32Array | Uint8Array;

/**
 * Functions of one argument, elementwise. `silu(x) = x · sigmoid(x)`; `round` is half to even; `not` takes and gives
 * bool.
 */
export const UNARY_FUNCTIONS = [
  "neg",
  "abs",
  "sign",
  "floor",
  "ceil",
  "round",
  "exp",
  "expm1",
  "log",
  "log1p",
  "sqrt",
  "rsqrt",
  "reciprocal",
  "square",
  "sin",
  "cos",
  "tan",
  "asin",
  "acos",
  "atan",
  "sinh",
  "cosh",
  "tanh",
  "asinh",
  "acosh",
  "atanh",
  "erf",
  "sigmoid",
  "silu",
  "softplus",
  "relu",
  "elu",
  "isNaN",
  "isInf",
  "not",
] as const;
export type UnaryFunction = (typeof UNARY_FUNCTIONS)[number];

/**
 * Functions of two arguments of one dtype. `mod` has the sign of the divisor; `floorDiv` rounds towards minus infinity.
 */
export const BINARY_FUNCTIONS = [
  "add",
  "sub",
  "mul",
  "div",
  "floorDiv",
  "mod",
  "pow",
  "max",
  "min",
  "and",
  "or",
] as const;
export type BinaryFunction = (typeof BINARY_FUNCTIONS)[number];

/** Comparisons of two arguments of one dtype; the result is bool. NaN compares false, except for `notEqual`. */
export const COMPARE_FUNCTIONS = ["equal", "notEqual", "less", "lessEqual", "greater", "greaterEqual"] as const;
export type CompareFunction = (typeof COMPARE_FUNCTIONS)[number];

/** Reductions. `sumSquare` is the sum of squares. `any` and `all` take and give bool. */
export const REDUCE_FUNCTIONS = ["sum", "mean", "max", "min", "prod", "sumSquare", "any", "all"] as const;
export type ReduceFunction = (typeof REDUCE_FUNCTIONS)[number];

/** A window that moves over the two spatial axes of an NHWC tensor; all numbers in elements. */
export interface Window2D {
  /** Rows and columns of the window. */
  readonly size: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  /** Zeros added (for a max pool: -infinity) at top, bottom, left, right. Never negative. */
  readonly pads: readonly [top: number, bottom: number, left: number, right: number];
}

/** How an output pixel finds its place in the input of `resize`. */
export type ResizeCoordinates = "alignCorners" | "halfPixel" | "asymmetric";

/** One operation with its attributes. Operands are the node's `inputs`, in the order given here. */
export type Op =
  /** A value given at every run. */
  | { readonly kind: "input"; readonly name: string; readonly dtype: DType; readonly shape: Shape }
  /** A value known when the program is compiled. */
  | { readonly kind: "constant"; readonly dtype: DType; readonly shape: Shape; readonly data: TensorData }
  /** (x) */
  | { readonly kind: "unary"; readonly fn: UnaryFunction }
  /** (a, b), broadcast */
  | { readonly kind: "binary"; readonly fn: BinaryFunction }
  /** (a, b), broadcast -> bool */
  | { readonly kind: "compare"; readonly fn: CompareFunction }
  /** (condition bool, a, b), broadcast: a where the condition holds, else b */
  | { readonly kind: "select" }
  /** (x). float32 -> int32 truncates towards zero; anything -> bool is `x != 0`. */
  | { readonly kind: "cast"; readonly dtype: DType }
  /** (x) */
  | {
      readonly kind: "reduce";
      readonly fn: ReduceFunction;
      readonly axes: readonly number[];
      readonly keepDims: boolean;
    }
  /** (x) -> int32, the axis removed: the position of the first largest (smallest) element */
  | { readonly kind: "arg"; readonly fn: "max" | "min"; readonly axis: number }
  /** (x): running sum along an axis; `exclusive` leaves the element itself out; `reverse` runs from the end */
  | { readonly kind: "cumsum"; readonly axis: number; readonly exclusive: boolean; readonly reverse: boolean }
  /** (x): exp(x - max) / sum, along the last axis */
  | { readonly kind: "softmax" }
  /**
   * (q (N,Q,D), k (N,K,D), v (N,K,E)) or with a mask that broadcasts to (N,Q,K) -> (N,Q,E):
   * softmax(scale · q kᵀ + mask) v. Each query looks at all keys; ranges of keys are concatenated before.
   */
  | { readonly kind: "attention"; readonly scale: number }
  /**
   * (q, k, v, y, dy), or with the mask: the gradient of `attention`, of which y is the result, for one of its operands.
   * Three of them with the same operands are one calculation.
   */
  | { readonly kind: "attentionGrad"; readonly of: "q" | "k" | "v"; readonly scale: number }
  /** (x (...,C), weight (C)): x / sqrt(mean(x²) + eps) · weight, the mean along the last axis */
  | { readonly kind: "rmsNorm"; readonly eps: number }
  /**
   * (x (N,H,W,C), scale (C), shift (C)): (x - mean) / sqrt(variance + eps) · scale + shift; mean and population
   * variance are those of a group of C / groups channels of one image.
   */
  | { readonly kind: "groupNorm"; readonly groups: number; readonly eps: number }
  /**
   * (a, b) or (a, b, c): alpha · op(a) × op(b), over the last two axes, plus c. Other axes of a and b broadcast, and c
   * is broadcast to the result. float32 alone.
   */
  | { readonly kind: "matmul"; readonly transposeA: boolean; readonly transposeB: boolean; readonly alpha: number }
  /** (x (N,H,W,C), w (h,w,C/groups,O)) or (x, w, bias (O)) -> (N,H',W',O): cross-correlation, plus bias by channel */
  | { readonly kind: "conv2d"; readonly window: Window2D; readonly groups: number }
  /** (dy (N,H',W',O), w) -> `shape` = (N,H,W,C): the gradient of conv2d for x */
  | { readonly kind: "conv2dInputGrad"; readonly window: Window2D; readonly groups: number; readonly shape: Shape }
  /** (x, dy) -> `shape` = (h,w,C/groups,O): the gradient of conv2d for w */
  | { readonly kind: "conv2dFilterGrad"; readonly window: Window2D; readonly groups: number; readonly shape: Shape }
  /** (x (N,H,W,C)) -> (N·H'·W', h·w·C): every window laid out as a row (im2col), zero where it leaves the image */
  | { readonly kind: "patches"; readonly window: Window2D }
  /** (x (N,H,W,C)) -> (N,H',W',C); `avg` divides by the elements inside the image, so padding does not count */
  | { readonly kind: "pool"; readonly fn: "max" | "avg"; readonly window: Window2D }
  /** (dy, x) -> like x. `max` gives each window's gradient to its first largest element, in row-major order. */
  | { readonly kind: "poolGrad"; readonly fn: "max" | "avg"; readonly window: Window2D }
  /** (x (N,H,W,C)) -> (N,height,width,C) */
  | {
      readonly kind: "resize";
      readonly fn: "nearest" | "bilinear";
      readonly coordinates: ResizeCoordinates;
      readonly size: readonly [height: number, width: number];
    }
  /** (dy) -> (N,height,width,C): the transpose of the linear map `resize` from that size */
  | {
      readonly kind: "resizeGrad";
      readonly fn: "nearest" | "bilinear";
      readonly coordinates: ResizeCoordinates;
      readonly size: readonly [height: number, width: number];
    }
  /** (x, ...): side by side along an axis */
  | { readonly kind: "concat"; readonly axis: number }
  /** (x): for each axis, `sizes` elements from `starts` in steps of `steps` (negative steps run backwards) */
  | { readonly kind: "slice"; readonly starts: Shape; readonly sizes: Shape; readonly steps: readonly number[] }
  /** (x): `value` added around; no padding is negative */
  | { readonly kind: "pad"; readonly before: Shape; readonly after: Shape; readonly value: number }
  /** (x) -> `shape`, repeated as NumPy's broadcast_to */
  | { readonly kind: "broadcast"; readonly shape: Shape }
  /** (x): the whole repeated `repeats` times along each axis */
  | { readonly kind: "tile"; readonly repeats: Shape }
  /** (x): axis i of the result is axis permutation[i] of x */
  | { readonly kind: "transpose"; readonly permutation: readonly number[] }
  /** (x) -> `shape`: the same elements in the same order */
  | { readonly kind: "reshape"; readonly shape: Shape }
  /** (x, indices int32 in [0, size)): `axis` of x replaced by the axes of indices */
  | { readonly kind: "gather"; readonly axis: number }
  /**
   * (x (n,...), ids int32 (n)) -> (segments,...): rows with the same id added; ids outside [0, segments) are dropped
   */
  | { readonly kind: "segmentSum"; readonly segments: number }
  /**
   * (x, after, ...): x, but not before all of `after` are there. No pass looks through it, so what is made of it is not
   * what is made of x: that is how something is computed a second time, later, and not kept meanwhile.
   */
  | { readonly kind: "barrier" };

export type OpKind = Op["kind"];

/** One operation and its result. */
export interface Node {
  /** Grows in the order of creation: inputs have smaller ids than their users. */
  readonly id: number;
  readonly op: Op;
  readonly inputs: readonly Node[];
  readonly dtype: DType;
  readonly shape: Shape;
  /** Where it was made: names of tfjs scopes, outermost first, joined by "/". Empty if there were none. */
  readonly scope: string;
}

/** A node whose operation is of one kind. */
export type NodeOf<K extends OpKind> = Node & { readonly op: Extract<Op, { kind: K }> };

/** A program: its inputs in the order of its signature (unused ones too), and its results by name. */
export interface Graph {
  readonly name: string;
  readonly inputs: readonly NodeOf<"input">[];
  readonly outputs: readonly { readonly name: string; readonly node: Node }[];
}

/** Whether `node` is of this kind; narrows its type. */
export function isOp<K extends OpKind>(node: Node, kind: K): node is NodeOf<K> {
  return node.op.kind === kind;
}

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Whether two lists of numbers are the same. */
export function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** Elements of `dtype`, all zero. */
export function allocate(dtype: DType, size: number): TensorData {
  switch (dtype) {
    case "float32":
      return new Float32Array(size);
    case "int32":
      return new Int32Array(size);
    case "bool":
      return new Uint8Array(size);
  }
}

/**
 * Nodes that the outputs reach, in the order in which they can run: by id, which is the order of creation.
 * Input nodes that nothing uses are not among them.
 */
export function nodesOf(graph: Graph): Node[] {
  const seen = new Set<Node>();
  const stack = graph.outputs.map((output) => output.node);
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    stack.push(...node.inputs);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

/** Operations of a graph: its nodes but for inputs and constants. What the counts in the passes' tests count. */
export function operationsOf(graph: Graph): Node[] {
  return nodesOf(graph).filter((node) => node.op.kind !== "input" && node.op.kind !== "constant");
}

/** For each node, the nodes that use it, once per use. Outputs of the graph do not count as uses. */
export function usersOf(nodes: readonly Node[]): Map<Node, Node[]> {
  const users = new Map<Node, Node[]>(nodes.map((node) => [node, []]));
  for (const node of nodes) for (const input of node.inputs) users.get(input)?.push(node);
  return users;
}
