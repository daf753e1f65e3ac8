import { BINARY_FUNCTIONS, COMPARE_FUNCTIONS, UNARY_FUNCTIONS, type Op } from "./graph.js";
import { BINARY, COMPARE, erf, INTEGER_BINARY, UNARY } from "./interpret-elementwise.js";

type Fn<K extends Op["kind"]> = Extract<Op, { kind: K; fn: string }>["fn"];

// Expected values come from closed forms, or were computed with 30 digits (mpmath).
const UNARY_VALUES: Record<Fn<"unary">, readonly (readonly [x: number, y: number])[]> = {
  neg: [[2, -2]],
  abs: [[-2, 2]],
  sign: [
    [-3, -1],
    [0, 0],
    [5, 1],
  ],
  floor: [[-1.5, -2]],
  ceil: [[-1.5, -1]],
  round: [
    [0.5, 0],
    [1.5, 2],
    [2.5, 2],
    [-0.5, -0],
    [-1.5, -2],
    [-2.5, -2],
    [2.4, 2],
    [2.6, 3],
    [-2.6, -3],
    [1e300, 1e300],
    [Infinity, Infinity],
  ],
  exp: [[1, Math.E]],
  expm1: [[1e-20, 1e-20]],
  log: [[Math.E, 1]],
  log1p: [[1e-20, 1e-20]],
  sqrt: [[6.25, 2.5]],
  rsqrt: [[6.25, 0.4]],
  reciprocal: [[4, 0.25]],
  square: [[-3, 9]],
  sin: [[Math.PI / 6, 0.5]],
  cos: [[Math.PI / 3, 0.5]],
  tan: [[Math.PI / 4, 1]],
  asin: [[0.5, Math.PI / 6]],
  acos: [[0.5, Math.PI / 3]],
  atan: [[1, Math.PI / 4]],
  sinh: [[Math.log(2), 0.75]],
  cosh: [[Math.log(2), 1.25]],
  tanh: [[Math.log(2), 0.6]],
  asinh: [[0.75, Math.log(2)]],
  acosh: [[1.25, Math.log(2)]],
  atanh: [[0.6, Math.log(2)]],
  erf: [[1, 0.8427007929497149]],
  sigmoid: [
    [Math.log(3), 0.75],
    [-1000, 0],
    [1000, 1],
  ],
  silu: [
    [Math.log(3), 0.75 * Math.log(3)],
    [-1000, -0],
  ],
  softplus: [
    [Math.log(3), Math.log(4)],
    [1000, 1000],
    [-50, 1.9287498479639178e-22],
  ],
  relu: [
    [-2, 0],
    [2, 2],
    [NaN, NaN],
  ],
  elu: [
    [-Math.log(2), -0.5],
    [0.5, 0.5],
    [-1e-20, -1e-20],
    [NaN, NaN],
  ],
  isNaN: [
    [NaN, 1],
    [Infinity, 0],
    [0, 0],
  ],
  isInf: [
    [NaN, 0],
    [Infinity, 1],
    [-Infinity, 1],
    [0, 0],
  ],
  not: [
    [0, 1],
    [1, 0],
  ],
};

type Row = readonly [a: number, b: number, result: number];

const BINARY_VALUES: Record<Fn<"binary">, readonly Row[]> = {
  add: [[2, 3.5, 5.5]],
  sub: [[2, 3.5, -1.5]],
  mul: [[2, 3.5, 7]],
  div: [
    [7, -2, -3.5],
    [1, 0, Infinity],
  ],
  floorDiv: [
    [7, 2, 3],
    [-7, 2, -4],
    [7, -2, -4],
    [-7, -2, 3],
    [5.5, 2, 2],
  ],
  mod: [
    [7, 3, 1],
    [-7, 3, 2],
    [7, -3, -2],
    [-7, -3, -1],
    [6, -3, 0],
    [-5.5, 2, 0.5],
    [2.5, 2, 0.5],
    [0.75, 0.5, 0.25],
    [1, 0, NaN],
  ],
  pow: [
    [2, -2, 0.25],
    [9, 0.5, 3],
    [-8, 1 / 3, NaN],
  ],
  max: [
    [2, 3, 3],
    [NaN, 3, NaN],
    [3, NaN, NaN],
  ],
  min: [
    [2, 3, 2],
    [NaN, 3, NaN],
    [3, NaN, NaN],
  ],
  and: [
    [0, 0, 0],
    [0, 1, 0],
    [1, 0, 0],
    [1, 1, 1],
  ],
  or: [
    [0, 0, 0],
    [0, 1, 1],
    [1, 0, 1],
    [1, 1, 1],
  ],
};

/** Where int32 differs; the results still have to wrap. */
const INTEGER_VALUES: Partial<Record<Fn<"binary">, readonly Row[]>> = {
  mul: [
    [65537, 65537, 131073],
    [0x7fffffff, 0x7fffffff, 1],
  ],
  div: [
    [7, 2, 3],
    [-7, 2, -3],
  ],
  pow: [
    [3, 4, 81],
    [-3, 3, -27],
    [3, 21, 1870418611], // 3^21 = 10460353203
    [3, 127, -2088621909], // 3^127 modulo 2^32
    [-2, 31, -(2 ** 31)],
    [-2, -1, -0],
    [5, 0, 1],
    [2, -1, 0],
    [1, -1, 1],
    [-1, -3, -1],
  ],
};

const COMPARE_VALUES: Record<Fn<"compare">, { less: number; equal: number; greater: number; nan: number }> = {
  equal: { less: 0, equal: 1, greater: 0, nan: 0 },
  notEqual: { less: 1, equal: 0, greater: 1, nan: 1 },
  less: { less: 1, equal: 0, greater: 0, nan: 0 },
  lessEqual: { less: 1, equal: 1, greater: 0, nan: 0 },
  greater: { less: 0, equal: 0, greater: 1, nan: 0 },
  greaterEqual: { less: 0, equal: 1, greater: 1, nan: 0 },
};

/** Whether two numbers are the same within two units in the last place; the sign of zero counts, NaN is NaN. */
function same(actual: number, expected: number): boolean {
  if (expected === 0 || !Number.isFinite(expected)) return Object.is(actual, expected);
  return Math.abs(actual - expected) <= 5e-16 * Math.abs(expected);
}

describe("UNARY", () => {
  test.each(UNARY_FUNCTIONS)("%s has its closed-form values", (fn) => {
    expect(UNARY_VALUES[fn].length).toBeGreaterThan(0);
    for (const [x, y] of UNARY_VALUES[fn]) {
      const actual = UNARY[fn](x);
      expect({ x, actual, close: same(actual, y) }).toEqual({ x, actual, close: true });
    }
  });
});

describe("BINARY", () => {
  test.each(BINARY_FUNCTIONS)("%s has its closed-form values", (fn) => {
    expect(BINARY_VALUES[fn].length).toBeGreaterThan(0);
    for (const [a, b, result] of BINARY_VALUES[fn]) expect([a, b, BINARY[fn](a, b) + 0]).toEqual([a, b, result]);
  });
});

describe("INTEGER_BINARY", () => {
  test.each(BINARY_FUNCTIONS)("%s is exact on int32, or does not differ", (fn) => {
    const rows = INTEGER_VALUES[fn];
    if (!rows) expect(INTEGER_BINARY[fn]).toBe(BINARY[fn]);
    else for (const [a, b, result] of rows) expect([a, b, INTEGER_BINARY[fn](a, b)]).toEqual([a, b, result]);
  });
});

describe("COMPARE", () => {
  test.each(COMPARE_FUNCTIONS)("%s orders numbers, and NaN with nothing", (fn) => {
    const { less, equal, greater, nan } = COMPARE_VALUES[fn];
    const compare = COMPARE[fn];
    expect([compare(1, 2), compare(2, 2), compare(3, 2)]).toEqual([less, equal, greater]);
    expect([compare(NaN, 2), compare(2, NaN), compare(NaN, NaN)]).toEqual([nan, nan, nan]);
    expect(compare(0, -0)).toBe(equal);
  });
});

describe("erf()", () => {
  // mpmath 1.3, erf(x) at 30 digits, rounded to double.
  const values: readonly (readonly [number, number])[] = [
    [1e-300, 1.1283791670955126e-300],
    [1e-10, 1.1283791670955126e-10],
    [0.001, 0.0011283787909692365],
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [1.5, 0.9661051464753108],
    [1.999, 0.9953015566513705],
    [2, 0.9953222650189527],
    [2.5, 0.999593047982555],
    [3, 0.9999779095030014],
    [4, 0.9999999845827421],
    [5, 0.9999999999984626],
    [5.9, 0.9999999999999999],
    [7, 1],
  ];

  test.each(values)("of %d is %d", (x, y) => {
    expect(Math.abs(erf(x) - y)).toBeLessThanOrEqual(8e-16 * y);
    expect(erf(-x)).toBe(-erf(x));
  });

  test("keeps zeros, infinities and NaN", () => {
    expect([erf(0), erf(-0), erf(Infinity), erf(-Infinity), erf(NaN)]).toEqual([0, -0, 1, -1, NaN]);
  });

  test("has no seam where the series meets the continued fraction", () => {
    const slope = (2 / Math.sqrt(Math.PI)) * Math.exp(-4);
    expect(erf(2 + 1e-9) - erf(2 - 1e-9)).toBeCloseTo(2e-9 * slope, 15);
  });
});
