import * as tf from "@tensorflow/tfjs-core";
import { caseOf, expectAgreement, type Case, type CaseOptions } from "../oracle.js";
import { TOLERANCE } from "../tolerance.js";
import { broadcastable, Draws, given, shapes, vector, type Value } from "../values.js";

const draws = new Draws("binary");
const { exact, elementwise, transcendental, reduction } = TOLERANCE;

type Binary = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;
type Pair = readonly [a: Value, b: Value];

function casesOf(name: string, fn: Binary, pairs: readonly Pair[], options: CaseOptions<"a" | "b"> = {}): Case[] {
  return pairs.map(([a, b]) => caseOf(name, { a, b }, ({ a, b }) => fn(a, b), options));
}

/** Random pairs that broadcast, and pairs of one shape, made by the same two functions. */
const broadcasting = (a: (shape: number[]) => Value, b: (shape: number[]) => Value, count = 12): Pair[] =>
  draws.list(broadcastable(5), count).map(([left, right]) => [a(left), b(right)]);
const matching = (a: (shape: number[]) => Value, b: (shape: number[]) => Value, count = 6): Pair[] =>
  draws.list(shapes(0, 5), count).map((shape) => [a(shape), b(shape)]);

const normal = (shape: number[]): Value => draws.normal(shape);
/** Away from zero, of both signs. */
const divisor = (shape: number[]): Value => {
  const { data, ...type } = draws.normal(shape);
  return { ...type, data: data.map((x) => x + Math.sign(x) * 0.5) };
};

/** Every pair of these numbers. */
const pairsOf = (numbers: readonly number[]): Pair => [
  vector(numbers.flatMap((x) => numbers.map(() => x))),
  vector(numbers.flatMap(() => numbers)),
];
const SPECIAL = pairsOf([0, -0, 1, -1, 0.5, -2.5, 1e30, -1e30, Infinity, -Infinity, NaN]);

describe("binary functions", () => {
  test.each<[string, Binary]>([
    ["add", tf.add],
    ["sub", tf.sub],
    ["mul", tf.mul],
    ["div", tf.div],
  ])("tf.%s() broadcasts, and its gradients are sums over what was broadcast", async (name, fn) => {
    const empty = [
      { a: [0], b: [0] },
      { a: [0], b: [] },
      { a: [3, 1], b: [2, 3, 0] },
      { a: [2, 0, 3], b: [1, 3] },
    ];
    const pairs = empty.map(({ a, b }): Pair => [draws.normal(a), draws.normal(b)]);
    await expectAgreement([
      ...casesOf(name, fn, broadcasting(normal, divisor), { gradient: { absolute: 1e-5, relative: 1e-5 } }),
      ...casesOf(`${name}, empty`, fn, pairs.slice(0, 2)),
      ...casesOf(`${name}, empty`, fn, pairs.slice(2), { gradient: false }), // tfjs does not sum what grew from 1 to 0
      ...casesOf(`${name}, special`, fn, [SPECIAL], { gradient: elementwise }),
    ]);
  });

  test.each<[string, Binary]>([
    ["maximum", tf.maximum],
    ["minimum", tf.minimum],
  ])("tf.%s() gives the gradient of ties to its first operand", async (name, fn) => {
    const ties = (shape: number[]): Value => draws.integers(shape, -2, 3, "float32");
    await expectAgreement([
      ...casesOf(name, fn, matching(ties, ties), { tolerance: exact, gradient: exact }),
      ...casesOf(`${name}, special`, fn, [SPECIAL], { tolerance: exact, gradient: exact }),
      // tfjs forgets to sum the gradients over what was broadcast, and then finds that their shapes are wrong.
      ...casesOf(name, fn, broadcasting(ties, ties), { tolerance: exact, gradient: false }),
    ]);
    const broadcast = caseOf(name, { a: draws.normal([2, 3]), b: draws.normal([3]) }, ({ a, b }) => fn(a, b));
    await expect(expectAgreement([broadcast])).rejects.toThrow(/gradient of input 'b' has shape '2,3'/);
  });

  test("tf.squaredDifference() and its gradients", async () => {
    const square: Binary = (a, b) => tf.squaredDifference(a, b);
    await expectAgreement([
      ...casesOf("squaredDifference", square, matching(normal, normal)),
      ...casesOf("squaredDifference", square, broadcasting(normal, normal), { gradient: false }), // as in maximum
    ]);
  });

  test("tf.pow() of positive numbers, and its gradients", () => {
    const base = (shape: number[]): Value => draws.uniform(shape, 0.1, 4);
    return expectAgreement([
      ...casesOf("pow", tf.pow, broadcasting(base, normal), { tolerance: transcendental, gradient: TOLERANCE.product }),
      caseOf("pow of zero", { a: vector([0, 0, 0, 0]), b: vector([0, 1, 2, 3]) }, ({ a, b }) => tf.pow(a, b)),
    ]);
  });

  test("tf.pow() with whole exponents, as constants and as tensors", async () => {
    const numbers = [-3, -1.5, -1, -0.5, 0, 0.5, 1, 2, 7];
    const exponents = [-3, -2, -1, 0, 1, 2, 3, 4, 5];
    const [a, b] = [numbers.flatMap((x) => exponents.map(() => x)), numbers.flatMap(() => exponents)];
    await expectAgreement([
      caseOf("pow", { a: vector(a), b: vector(b) }, ({ a, b }) => tf.pow(a, b), { gradient: elementwise }),
      ...[...exponents, 0.5, -0.5, 1.5].map((exponent) => {
        const x = exponent % 1 === 0 ? vector(numbers) : draws.uniform([3, 7], 0.1, 4);
        return caseOf(`pow ${exponent}`, { x }, ({ x }) => tf.pow(x, exponent), {
          tolerance: transcendental,
          gradient: transcendental,
        });
      }),
    ]);
  });

  test("tf.mod() has the sign of its divisor", async () => {
    await expectAgreement([
      ...casesOf("mod", tf.mod, broadcasting(normal, divisor), { gradient: reduction }),
      ...casesOf("mod", tf.mod, [pairsOf([-7, -5.5, -3, -1, -0.5, 0.5, 1, 3, 5.5, 7])]),
    ]);
  });

  test("tf.floorDiv() rounds towards minus infinity", async () => {
    await expectAgreement([
      ...casesOf("floorDiv", tf.floorDiv, broadcasting(normal, divisor), { tolerance: exact, gradient: false }),
      ...casesOf("floorDiv", tf.floorDiv, [pairsOf([-7, -5.5, -3, -1, -0.5, 0.5, 1, 3, 5.5, 7])], {
        tolerance: exact,
        gradient: false,
      }),
    ]);
  });

  test("tf.prelu() and its gradients; its slope broadcasts", async () => {
    const cases = draws.list(shapes(1, 4), 4).flatMap((shape): Pair[] => [
      [normal(shape), normal(shape)],
      [normal(shape), normal(shape.slice(-1))],
    ]);
    await expectAgreement(casesOf("prelu", tf.prelu, cases));
  });

  test.each([1, 2, 3, 4, 5, 9])("tf.addN() of %i tensors, and its gradients", async (count) => {
    const inputs = Object.fromEntries(Array.from({ length: count }, (_, i) => [`x${i}`, draws.normal([3, 5])]));
    await expectAgreement([
      caseOf("addN", inputs, (xs) => tf.addN(Object.values(xs)), { gradient: exact, tolerance: TOLERANCE.reduction }),
    ]);
  });

  test("constants on either side", async () => {
    const x = draws.uniform([2, 3, 5], 0.5, 3);
    const constants: readonly (readonly [string, (x: tf.Tensor) => tf.Tensor])[] = [0, 1, -1, 2, 0.5].flatMap((c) => [
      [`x + ${c}`, (x) => tf.add(x, c)],
      [`${c} + x`, (x) => tf.add(c, x)],
      [`x - ${c}`, (x) => tf.sub(x, c)],
      [`${c} - x`, (x) => tf.sub(c, x)],
      [`x * ${c}`, (x) => tf.mul(x, c)],
      [`${c} * x`, (x) => tf.mul(c, x)],
      [`${c} / x`, (x) => tf.div(c, x)],
      [`max(x, ${c})`, (x) => tf.maximum(x, tf.fill(x.shape, c))],
      ...(c === 0 ? [] : [[`x / ${c}`, (x: tf.Tensor) => tf.div(x, c)] as const]),
    ]);
    await expectAgreement(
      constants.map(([name, fn]) => caseOf(name, { x }, ({ x }) => fn(x), { gradient: elementwise })),
    );
  });

  test("one tensor on both sides", async () => {
    const x = given([2, 3], [0.5, -1.5, 2, -3, 0.25, 7]);
    const functions: Readonly<Record<string, Binary>> = {
      "x + x": tf.add,
      "x - x": tf.sub,
      "x · x": tf.mul,
      "x / x": tf.div,
      "max(x, x)": tf.maximum,
      "(x - x)²": (a, b) => tf.squaredDifference(a, b),
    };
    await expectAgreement(
      Object.entries(functions).map(([name, fn]) =>
        caseOf(name, { x }, ({ x }) => fn(x, x), { gradient: elementwise }),
      ),
    );
  });
});
