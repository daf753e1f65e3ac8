import * as tf from "@tensorflow/tfjs-core";
import { caseOf, expectAgreement, type Case } from "../oracle.js";
import { TOLERANCE, type Tolerance } from "../tolerance.js";
import { Draws, shapes, vector } from "../values.js";

const draws = new Draws("unary");
const { exact, elementwise, transcendental, saturating, reduction } = TOLERANCE;

const LEAST = 2 ** -126; // the least normal float32
const LARGEST = 3.4028234663852886e38;
const bothSigns = (sizes: readonly number[]): number[] => sizes.flatMap((size) => [size, -size]);
const EDGES = bothSigns([0, 1e-20, 1e-7, 1e-3, 0.25, 0.5, 1, 1.5, 2.5, 3, 10, 50, 80, 87, 100, 1e4, 1e10]);
/** Values alone are compared here: derivatives overflow, and where depends on the order of their factors. */
const EXTREMES = bothSigns([LEAST, 1e30, LARGEST]);
const SPECIAL = [NaN, Infinity, -Infinity];

interface Row {
  readonly fn: (x: tf.Tensor) => tf.Tensor;
  /** Where it is tested: random numbers, and the edges, that lie here. NaN and infinities too if `special`. */
  readonly from?: number;
  readonly to?: number;
  readonly special?: boolean;
  /** For its values and derivatives. */
  readonly tolerance: Tolerance;
  /** Whether it has a derivative. */
  readonly gradient?: false;
  /** Engines whose values of NaN and infinities are others, and which. */
  readonly unlike?: Readonly<Record<string, string>>;
}

const FUNCTIONS: Readonly<Record<string, Row>> = {
  neg: { fn: tf.neg, special: true, tolerance: exact },
  abs: { fn: tf.abs, special: true, tolerance: exact },
  sign: { fn: tf.sign, tolerance: exact }, // of NaN: 0 in tfjs, NaN here
  floor: { fn: tf.floor, special: true, tolerance: exact },
  ceil: { fn: tf.ceil, special: true, tolerance: exact },
  round: { fn: tf.round, special: true, tolerance: exact },
  square: { fn: tf.square, special: true, tolerance: elementwise },
  sqrt: { fn: tf.sqrt, special: true, tolerance: elementwise },
  rsqrt: { fn: tf.rsqrt, from: 0, special: true, tolerance: elementwise },
  reciprocal: { fn: tf.reciprocal, special: true, tolerance: elementwise },
  exp: { fn: tf.exp, special: true, tolerance: transcendental },
  expm1: { fn: tf.expm1, special: true, tolerance: transcendental },
  log: { fn: tf.log, special: true, tolerance: transcendental },
  log1p: { fn: tf.log1p, special: true, tolerance: transcendental },
  sin: { fn: tf.sin, from: -1e4, to: 1e4, tolerance: transcendental },
  cos: { fn: tf.cos, from: -1e4, to: 1e4, tolerance: transcendental },
  tan: { fn: tf.tan, from: -1.5, to: 1.5, tolerance: transcendental },
  asin: { fn: tf.asin, from: -1, to: 1, tolerance: transcendental },
  acos: { fn: tf.acos, from: -1, to: 1, tolerance: transcendental },
  atan: { fn: tf.atan, special: true, tolerance: transcendental },
  sinh: { fn: tf.sinh, from: -87, to: 87, tolerance: transcendental },
  cosh: { fn: tf.cosh, from: -87, to: 87, tolerance: transcendental },
  tanh: { fn: tf.tanh, special: true, tolerance: saturating },
  asinh: { fn: tf.asinh, tolerance: transcendental },
  acosh: { fn: tf.acosh, from: 1, tolerance: transcendental },
  atanh: { fn: tf.atanh, from: -1, to: 1, tolerance: transcendental },
  erf: { fn: tf.erf, special: true, tolerance: saturating },
  sigmoid: { fn: tf.sigmoid, special: true, tolerance: saturating },
  softplus: { fn: tf.softplus, special: true, tolerance: saturating },
  logSigmoid: { fn: tf.logSigmoid, tolerance: saturating },
  relu: { fn: tf.relu, special: true, tolerance: exact, unlike: { openvino: "0 of NaN" } },
  relu6: { fn: tf.relu6, special: true, tolerance: exact, unlike: { openvino: "0 of NaN" } },
  elu: { fn: tf.elu, special: true, tolerance: saturating },
  "leakyRelu, alpha 0.2": { fn: (x) => tf.leakyRelu(x), special: true, tolerance: elementwise },
  "leakyRelu, alpha -0.5": { fn: (x) => tf.leakyRelu(x, -0.5), special: true, tolerance: elementwise },
  step: { fn: (x) => tf.step(x), special: true, tolerance: exact },
  "step, alpha -0.5": { fn: (x) => tf.step(x, -0.5), special: true, tolerance: exact },
  silu: { fn: (x) => tf.mul(x, tf.sigmoid(x)), tolerance: saturating },
  gelu: {
    fn: (x) => tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2)))),
    from: -50,
    to: 50,
    tolerance: saturating,
  },
  "gelu by tanh": {
    fn: (x) => {
      const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.pow(x, 3))));
      return tf.mul(tf.mul(0.5, x), tf.add(1, tf.tanh(inner)));
    },
    from: -50,
    to: 50,
    tolerance: reduction,
  },
  clipByValue: { fn: (x) => tf.clipByValue(x, -0.5, 1), special: true, tolerance: exact },
  identity: { fn: tf.clone, special: true, tolerance: exact },
  isNaN: { fn: tf.isNaN, special: true, tolerance: exact, gradient: false },
  isInf: { fn: tf.isInf, special: true, tolerance: exact, gradient: false },
  isFinite: { fn: tf.isFinite, special: true, tolerance: exact, gradient: false },
};

function casesOf(name: string, row: Row): Case[] {
  const { fn, from = -Infinity, to = Infinity, special = false, tolerance, gradient = tolerance, unlike = {} } = row;
  const within = (list: readonly number[]): number[] => list.filter((x) => x >= from && x <= to);
  const values = [
    vector(within(EDGES)),
    ...draws.list(shapes(0, 4), 3).map((shape) => draws.uniform(shape, Math.max(from, -4), Math.min(to, 4))),
    draws.normal([0]),
    draws.normal([2, 0, 3]),
  ];
  const extremes = vector([...within(EXTREMES), ...(special ? SPECIAL : [])]);
  return [
    ...values.map((x) => caseOf(name, { x }, ({ x }) => fn(x), { tolerance, gradient })),
    caseOf(name, { x: extremes }, ({ x }) => fn(x), { tolerance, gradient: false, unlike }),
  ];
}

describe("unary functions", () => {
  test.each(Object.entries(FUNCTIONS))("tf.%s() and its gradient", (name, row) => expectAgreement(casesOf(name, row)));
});
