import type { BinaryFunction, CompareFunction, Node, UnaryFunction } from "../ir/graph.js";
import { dtypeOf } from "./backend.js";
import type { Kernels } from "./kernel.js";

/** tfjs kernels that are one unary function. */
const UNARY: Readonly<Record<string, UnaryFunction>> = {
  Neg: "neg",
  Abs: "abs",
  Sign: "sign",
  Floor: "floor",
  Ceil: "ceil",
  Round: "round",
  Exp: "exp",
  Expm1: "expm1",
  Log: "log",
  Log1p: "log1p",
  Sqrt: "sqrt",
  Rsqrt: "rsqrt",
  Reciprocal: "reciprocal",
  Square: "square",
  Sin: "sin",
  Cos: "cos",
  Tan: "tan",
  Asin: "asin",
  Acos: "acos",
  Atan: "atan",
  Sinh: "sinh",
  Cosh: "cosh",
  Tanh: "tanh",
  Asinh: "asinh",
  Acosh: "acosh",
  Atanh: "atanh",
  Erf: "erf",
  Sigmoid: "sigmoid",
  Softplus: "softplus",
  Relu: "relu",
  Elu: "elu",
  IsNan: "isNaN",
  IsInf: "isInf",
  LogicalNot: "not",
};

const BINARY: Readonly<Record<string, BinaryFunction>> = {
  Add: "add",
  Sub: "sub",
  Multiply: "mul",
  RealDiv: "div",
  Mod: "mod",
  Pow: "pow",
  Maximum: "max",
  Minimum: "min",
  LogicalAnd: "and",
  LogicalOr: "or",
};

const COMPARE: Readonly<Record<string, CompareFunction>> = {
  Equal: "equal",
  NotEqual: "notEqual",
  Less: "less",
  LessEqual: "lessEqual",
  Greater: "greater",
  GreaterEqual: "greaterEqual",
};

const mapTable = <T>(table: Readonly<Record<string, T>>, make: (entry: T) => Kernels[string]): Kernels =>
  Object.fromEntries(Object.entries(table).map(([kernel, entry]) => [kernel, make(entry)]));

/** Kernels that treat every element alone. */
export const ELEMENTWISE: Kernels = {
  ...mapTable(
    UNARY,
    (fn) =>
      (trace, { x }) =>
        trace.node({ kind: "unary", fn }, x),
  ),
  ...mapTable(
    BINARY,
    (fn) =>
      (trace, { a, b }) =>
        trace.node({ kind: "binary", fn }, a, b),
  ),
  ...mapTable(
    COMPARE,
    (fn) =>
      (trace, { a, b }) =>
        trace.node({ kind: "compare", fn }, a, b),
  ),

  Identity: (_trace, { x }) => x,
  // int32, whatever the operands are.
  FloorDiv: (trace, { a, b }) => {
    const quotient = trace.node({ kind: "binary", fn: "floorDiv" }, a, b);
    return a.dtype === "int32" ? quotient : trace.node({ kind: "cast", dtype: "int32" }, quotient);
  },
  AddN: (trace, _inputs, _attrs, list) => balancedSum(list, (a, b) => trace.node({ kind: "binary", fn: "add" }, a, b)),
  SquaredDifference: (trace, { a, b }) =>
    trace.node({ kind: "unary", fn: "square" }, trace.node({ kind: "binary", fn: "sub" }, a, b)),
  ClipByValue: (trace, { x }, { clipValueMin, clipValueMax }: { clipValueMin: number; clipValueMax: number }) => {
    const raised = trace.node({ kind: "binary", fn: "max" }, x, trace.scalar(clipValueMin, x.dtype));
    return trace.node({ kind: "binary", fn: "min" }, raised, trace.scalar(clipValueMax, x.dtype));
  },
  Relu6: (trace, { x }) =>
    trace.node({ kind: "binary", fn: "min" }, trace.node({ kind: "unary", fn: "relu" }, x), trace.scalar(6)),
  LeakyRelu: (trace, { x }, { alpha }: { alpha: number }) => {
    const scaled = trace.node({ kind: "binary", fn: "mul" }, x, trace.scalar(alpha));
    return trace.node({ kind: "select" }, trace.node({ kind: "compare", fn: "less" }, x, trace.scalar(0)), scaled, x);
  },
  Prelu: (trace, { x, alpha }) => {
    const scaled = trace.node({ kind: "binary", fn: "mul" }, x, alpha);
    return trace.node({ kind: "select" }, trace.node({ kind: "compare", fn: "less" }, x, trace.scalar(0)), scaled, x);
  },
  // dy where y >= 0, else dy · (y + 1): the slope of e^x - 1 is y + 1.
  EluGrad: (trace, { dy, y }) => {
    const slope = trace.node({ kind: "binary", fn: "add" }, y, trace.scalar(1));
    const below = trace.node({ kind: "binary", fn: "mul" }, dy, slope);
    const positive = trace.node({ kind: "compare", fn: "greaterEqual" }, y, trace.scalar(0));
    return trace.node({ kind: "select" }, positive, dy, below);
  },
  // 1 where x > 0, else alpha; NaN stays NaN.
  Step: (trace, { x }, { alpha }: { alpha: number }) => {
    const above = trace.node({ kind: "compare", fn: "greater" }, x, trace.scalar(0, x.dtype));
    const step = trace.node({ kind: "select" }, above, trace.scalar(1, x.dtype), trace.scalar(alpha, x.dtype));
    if (x.dtype !== "float32") return step;
    return trace.node({ kind: "select" }, trace.node({ kind: "unary", fn: "isNaN" }, x), x, step);
  },
  IsFinite: (trace, { x }) => {
    const bad = trace.node(
      { kind: "binary", fn: "or" },
      trace.node({ kind: "unary", fn: "isNaN" }, x),
      trace.node({ kind: "unary", fn: "isInf" }, x),
    );
    return trace.node({ kind: "unary", fn: "not" }, bad);
  },
  LogicalXor: (trace, { a, b }) => trace.node({ kind: "compare", fn: "notEqual" }, a, b),
  Select: (trace, { condition, t, e }) => {
    // A condition of one axis chooses whole rows.
    const rows = condition.shape.length === 1 && t.shape.length > 1;
    const shape = [...condition.shape, ...t.shape.slice(1).map(() => 1)];
    return trace.node({ kind: "select" }, rows ? trace.node({ kind: "reshape", shape }, condition) : condition, t, e);
  },
  Cast: (trace, { x }, { dtype }: { dtype: string }) => {
    const target = dtypeOf(dtype as "float32");
    return target === x.dtype ? x : trace.node({ kind: "cast", dtype: target }, x);
  },
};

/** Sum of a list as a balanced tree: rounding grows with the logarithm of its length, and no chain is long. */
function balancedSum(list: readonly Node[], add: (a: Node, b: Node) => Node): Node {
  const [first, ...rest] = list;
  if (first === undefined) throw new RangeError("AddN needs at least one tensor");
  if (rest.length === 0) return first;
  const half = Math.ceil(list.length / 2);
  return add(balancedSum(list.slice(0, half), add), balancedSum(list.slice(half), add));
}
