import type { BinaryFunction, CompareFunction, UnaryFunction } from "../ir/graph.js";
import type { Direction, HloBuilder, Value } from "./builder.js";
import type { Lowering } from "./lower.js";

type Apply<N extends number> = (hlo: HloBuilder, ...operands: N extends 1 ? [Value] : [Value, Value]) => Value;

/** A function that StableHLO (or CHLO, its extension) has, by its name there. */
const direct =
  (name: string): Apply<1> & Apply<2> =>
  (hlo: HloBuilder, ...operands: [Value, Value?]) =>
    hlo.map(name, ...(operands.filter((x) => x !== undefined) as [Value, ...Value[]]));

const UNARY: { readonly [F in UnaryFunction]: Apply<1> } = {
  neg: direct("negate"),
  abs: direct("abs"),
  sign: direct("sign"),
  floor: direct("floor"),
  ceil: direct("ceil"),
  round: direct("round_nearest_even"),
  exp: direct("exponential"),
  expm1: direct("exponential_minus_one"),
  log: direct("log"),
  log1p: direct("log_plus_one"),
  sqrt: direct("sqrt"),
  rsqrt: direct("rsqrt"),
  reciprocal: (hlo, x) => hlo.map("divide", hlo.filled(1, x.shape, x.type), x),
  square: (hlo, x) => hlo.map("multiply", x, x),
  sin: direct("sine"),
  cos: direct("cosine"),
  tan: direct("tan"),
  asin: direct("chlo.asin"),
  acos: direct("chlo.acos"),
  atan: direct("chlo.atan"),
  sinh: direct("chlo.sinh"),
  cosh: direct("chlo.cosh"),
  tanh: direct("tanh"),
  asinh: direct("chlo.asinh"),
  acosh: direct("chlo.acosh"),
  atanh: direct("chlo.atanh"),
  erf: direct("chlo.erf"),
  sigmoid: direct("logistic"),
  silu: (hlo, x) => hlo.map("multiply", x, hlo.map("logistic", x)),
  // log(1 + exp(x)) without overflow
  softplus: (hlo, x) => {
    const power = hlo.map("exponential", hlo.map("negate", hlo.map("abs", x)));
    return hlo.map("add", hlo.mapScalar("maximum", x, 0), hlo.map("log_plus_one", power));
  },
  relu: (hlo, x) => hlo.mapScalar("maximum", x, 0),
  elu: (hlo, x) => hlo.select(hlo.compareScalar("GT", x, 0), x, hlo.map("exponential_minus_one", x)),
  isNaN: (hlo, x) => hlo.compare("NE", x, x),
  isInf: (hlo, x) => hlo.compareScalar("EQ", hlo.map("abs", x), Infinity),
  not: direct("not"),
};

/** Where a remainder is not zero and has the other sign than the divisor. */
function signsDiffer(hlo: HloBuilder, remainder: Value, divisor: Value): Value {
  const differ = hlo.compare("NE", hlo.compareScalar("LT", remainder, 0), hlo.compareScalar("LT", divisor, 0));
  return hlo.map("and", differ, hlo.compareScalar("NE", remainder, 0));
}

/** A quotient or a remainder of integers: zero where the divisor is. XLA makes other things of that. */
function whole(hlo: HloBuilder, name: "divide" | "remainder", a: Value, b: Value): Value {
  const zero = hlo.filled(0, a.shape, a.type);
  return hlo.select(hlo.compare("EQ", b, zero), zero, hlo.map(name, a, b));
}

const BINARY: { readonly [F in BinaryFunction]: Apply<2> } = {
  add: direct("add"),
  sub: direct("subtract"),
  mul: direct("multiply"),
  div: (hlo, a, b) => (a.type === "i32" ? whole(hlo, "divide", a, b) : hlo.map("divide", a, b)),
  floorDiv: (hlo, a, b) => {
    if (a.type !== "i32") return hlo.map("floor", hlo.map("divide", a, b));
    // Integer division truncates; where that rounded up, one less.
    const up = signsDiffer(hlo, whole(hlo, "remainder", a, b), b);
    return hlo.map("subtract", whole(hlo, "divide", a, b), hlo.convert(up, "i32"));
  },
  mod: (hlo, a, b) => {
    const rest = a.type === "i32" ? whole(hlo, "remainder", a, b) : hlo.map("remainder", a, b);
    return hlo.select(signsDiffer(hlo, rest, b), hlo.map("add", rest, b), rest);
  },
  pow: direct("power"),
  max: direct("maximum"),
  min: direct("minimum"),
  and: direct("and"),
  or: direct("or"),
};

const COMPARE = {
  equal: "EQ",
  notEqual: "NE",
  less: "LT",
  lessEqual: "LE",
  greater: "GT",
  greaterEqual: "GE",
} as const satisfies Record<CompareFunction, Direction>;

export const lowerUnary: Lowering<"unary"> = (hlo, { op }, [x]) => UNARY[op.fn](hlo, x);

export const lowerBinary: Lowering<"binary"> = (hlo, { op, shape }, [a, b]) =>
  BINARY[op.fn](hlo, hlo.broadcast(a, shape), hlo.broadcast(b, shape));

export const lowerCompare: Lowering<"compare"> = (hlo, { op, shape }, [a, b]) =>
  hlo.compare(COMPARE[op.fn], hlo.broadcast(a, shape), hlo.broadcast(b, shape));

export const lowerSelect: Lowering<"select"> = (hlo, { shape }, [condition, a, b]) =>
  hlo.select(hlo.broadcast(condition, shape), hlo.broadcast(a, shape), hlo.broadcast(b, shape));

export const lowerCast: Lowering<"cast"> = (hlo, { op }, [x]) => {
  if (op.dtype !== "bool") return hlo.convert(x, op.dtype === "int32" ? "i32" : "f32");
  return x.type === "i1" ? x : hlo.compareScalar("NE", x, 0);
};
