import type { BinaryFunction, CompareFunction, UnaryFunction } from "./graph.js";

/** The error function, 2/sqrt(pi) · integral of exp(-t²) from 0 to x, within a few units in the last place. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x); // erfc(6) is 2e-17
  if (z < 2) {
    // 2/sqrt(pi) · exp(-z²) · sum over n of 2^n z^(2n+1) / (1·3·5···(2n+1)): every term is positive, nothing cancels.
    let term = z;
    let sum = z;
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= (2 * z * z) / (2 * n + 1);
      sum += term;
    }
    return (Math.sign(x) * 2 * Math.exp(-z * z) * sum) / Math.sqrt(Math.PI);
  }
  // erfc(z) = exp(-z²) / sqrt(pi) / (z + (1/2) / (z + (2/2) / (z + (3/2) / (z + ...)))), from the inside outwards.
  let fraction = z;
  for (let n = 100; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-z * z) / (fraction * Math.sqrt(Math.PI)));
}

function roundHalfToEven(x: number): number {
  return x - Math.floor(x) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/**
 * The functions of one argument. For int32 the caller wraps the result, which `square` alone could have made inexact.
 */
export const UNARY = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfToEven,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  square: (x) => x * x,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
  erf,
  sigmoid,
  silu: (x) => x * sigmoid(x),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), // log(1 + exp(x)) without overflow
  relu: (x) => Math.max(x, 0),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  isNaN: (x) => Number(Number.isNaN(x)),
  isInf: (x) => Number(Math.abs(x) === Infinity),
  not: (x) => Number(x === 0),
} as const satisfies Record<UnaryFunction, (x: number) => number>;

/** The functions of two float32 or bool arguments. */
export const BINARY = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  floorDiv: (a, b) => Math.floor(a / b),
  mod: (a, b) => {
    const rest = a % b;
    return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
  },
  pow: Math.pow,
  max: Math.max,
  min: Math.min,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
} as const satisfies Record<BinaryFunction, (a: number, b: number) => number>;

function integerPower(base: number, exponent: number): number {
  if (exponent < 0) return Math.trunc(base ** exponent);
  let result = 1;
  for (let square = base, rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = Math.imul(result, square);
    square = Math.imul(square, square);
  }
  return result;
}

/** The same for int32, where they differ: `div` truncates towards zero, a divisor of zero gives zero, products wrap. */
export const INTEGER_BINARY = {
  ...BINARY,
  mul: Math.imul,
  div: (a, b) => Math.trunc(a / b), // the caller's wrap makes 0 of NaN and infinity
  pow: integerPower,
} as const satisfies Record<BinaryFunction, (a: number, b: number) => number>;

/** The comparisons, as 0 or 1. */
export const COMPARE = {
  equal: (a, b) => Number(a === b),
  notEqual: (a, b) => Number(a !== b),
  less: (a, b) => Number(a < b),
  lessEqual: (a, b) => Number(a <= b),
  greater: (a, b) => Number(a > b),
  greaterEqual: (a, b) => Number(a >= b),
} as const satisfies Record<CompareFunction, (a: number, b: number) => number>;
