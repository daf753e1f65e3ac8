import * as tf from "@tensorflow/tfjs-core";
import { compile } from "@madformer/engine";
import { caseOf, expectAgreement, type Case, type CaseOptions } from "../oracle.js";
import { expectClose, TOLERANCE } from "../tolerance.js";
import { Draws, given, shapes, vector, type Value } from "../values.js";

const draws = new Draws("reductions");
const { exact, reduction, saturating } = TOLERANCE;
const EXACT = { tolerance: exact, gradient: false } as const;

/** All lists of axes of a rank, negative ones too, and no list at all. */
function axesOf(rank: number): readonly (number | number[] | undefined)[] {
  const subsets = Array.from({ length: 2 ** rank }, (_, bits) =>
    Array.from({ length: rank }, (_, axis) => axis).filter((axis) => bits & (1 << axis)),
  );
  return [undefined, ...subsets, ...(rank > 0 ? [-1, [-1]] : []), ...(rank > 1 ? [[-1, 0], [1, 0], -2] : [])];
}

type Reduction = (x: tf.Tensor, axis?: number | number[], keepDims?: boolean) => tf.Tensor;

/** A reduction over every subset of axes of a tensor, the axes kept or not. */
function everyAxis(name: string, fn: Reduction, x: Value, options: CaseOptions<"x">): Case[] {
  return axesOf(x.shape.length).flatMap((axis) =>
    [false, true].map((keepDims) =>
      caseOf(
        `${name} over ${JSON.stringify(axis)}${keepDims ? ", kept" : ""}`,
        { x },
        ({ x }) => fn(x, axis, keepDims),
        options,
      ),
    ),
  );
}

const SHAPES = [[], [1], [7], [3, 5], [2, 1, 3], [2, 3, 4, 5]] as const;

describe("reductions over every subset of axes", () => {
  test.each<[string, Reduction]>([
    ["sum", tf.sum],
    ["mean", tf.mean],
    ["logSumExp", tf.logSumExp],
    ["euclideanNorm", (x, axis, keepDims) => tf.sqrt(tf.sum(tf.square(x), axis, keepDims))],
    ["sum of squares", (x, axis, keepDims) => tf.sum(tf.square(x), axis, keepDims)],
  ])("tf.%s() and its gradient", async (name, fn) => {
    await expectAgreement(
      SHAPES.flatMap((shape) => everyAxis(name, fn, draws.normal(shape), { tolerance: reduction })),
    );
  });

  test.each<[string, Reduction]>([
    ["max", tf.max],
    ["min", tf.min],
  ])("tf.%s() and its gradient, which every tie gets", async (name, fn) => {
    await expectAgreement([
      ...everyAxis(name, fn, draws.normal([2, 3, 4]), { tolerance: exact, gradient: exact }),
      ...SHAPES.flatMap((shape) =>
        everyAxis(`${name} with ties`, fn, draws.integers(shape, -2, 3, "float32"), {
          tolerance: exact,
          gradient: exact,
        }),
      ),
    ]);
  });

  // Its gradient needs a kernel, Cumprod, that programs do not have: see kernels.test.ts.
  test("tf.prod()", async () => {
    await expectAgreement(
      SHAPES.flatMap((shape) =>
        everyAxis("prod", tf.prod, draws.normal(shape), { tolerance: reduction, gradient: false }),
      ),
    );
  });

  test.each<[string, Reduction]>([
    ["sum", tf.sum],
    ["max", tf.max],
    ["min", tf.min],
    ["prod", tf.prod],
  ])("tf.%s() of int32", async (name, fn) => {
    await expectAgreement(
      SHAPES.slice(0, 5).flatMap((shape) => everyAxis(name, fn, draws.integers(shape, -3, 4), EXACT)),
    );
  });

  test.each<[string, Reduction]>([
    ["any", tf.any],
    ["all", tf.all],
  ])("tf.%s() of bool", async (name, fn) => {
    await expectAgreement(SHAPES.flatMap((shape) => everyAxis(name, fn, draws.bools(shape), EXACT)));
  });

  test("tf.moments() and its gradients", async () => {
    const x = draws.normal([3, 4, 5]);
    const moments: Reduction = (x, axis, keepDims) => {
      const { mean, variance } = tf.moments(x, axis, keepDims);
      return tf.add(tf.mul(mean, 2), variance);
    };
    await expectAgreement(everyAxis("moments", moments, x, { tolerance: reduction }));
  });

  test("of numbers that cancel, of one huge number, of infinities and of NaN", async () => {
    const rows = given(
      [6, 3],
      [1e8, 1, -1e8, 1e30, 1, 2, Infinity, 1, 2, Infinity, -Infinity, 0, NaN, 1, 2, -Infinity, 3, -0],
    );
    await expectAgreement([
      caseOf("sum", { rows }, ({ rows }) => tf.sum(tf.slice(rows, [1, 0], [5, 3]), 1), EXACT),
      caseOf("max", { rows }, ({ rows }) => tf.max(tf.slice(rows, [0, 0], [4, 3]), 1), EXACT),
      caseOf("min", { rows }, ({ rows }) => tf.min(tf.slice(rows, [0, 0], [4, 3]), 1), EXACT),
      caseOf("mean", { rows }, ({ rows }) => tf.mean(tf.slice(rows, [1, 0], [5, 3]), 1), {
        tolerance: reduction,
        gradient: false,
      }),
    ]);
  });

  test("over an axis of size zero, and of a tensor with no elements", async () => {
    await expectAgreement([
      caseOf("sum", { x: draws.normal([3, 0]) }, ({ x }) => tf.sum(x, 1), EXACT),
      caseOf("sum", { x: draws.normal([3, 0]) }, ({ x }) => tf.sum(x, 0), EXACT),
      caseOf("sum", { x: draws.normal([0]) }, ({ x }) => tf.sum(x), EXACT),
      caseOf("prod", { x: draws.normal([3, 0]) }, ({ x }) => tf.prod(x, 1), EXACT),
    ]);
  });

  test("of many elements, which are added in another order, and over the axes in front", async () => {
    const x = draws.uniform([100, 500], 0, 1);
    const options = { tolerance: reduction, gradient: false } as const;
    const shapes = [[256, 3], [1024, 7], [257, 5], [16, 17, 5], [300, 1], [512, 2, 3], [3, 256, 2]]; // prettier-ignore
    await expectAgreement([
      caseOf("sum", { x }, ({ x }) => tf.sum(x), options),
      caseOf("mean", { x }, ({ x }) => tf.mean(x), options),
      caseOf("sum over rows", { x }, ({ x }) => tf.sum(x, 0), options),
      ...shapes.flatMap((shape) => {
        const [rows, counts] = [draws.uniform(shape, 0, 1), draws.integers(shape, -99, 100)];
        return [[0], [0, 1], [1]].flatMap((axes) => [
          caseOf(`sum over ${axes.join()}`, { rows }, ({ rows }) => tf.sum(rows, axes), options),
          caseOf(`sum over ${axes.join()}, kept`, { rows }, ({ rows }) => tf.sum(rows, axes, true), options),
          caseOf(`mean over ${axes.join()}`, { rows }, ({ rows }) => tf.mean(rows, axes), options),
          caseOf(`sum over ${axes.join()}`, { counts }, ({ counts }) => tf.sum(counts, axes), EXACT),
        ]);
      }),
    ]);
  });
});

describe("positions", () => {
  test.each<[string, (x: tf.Tensor, axis?: number) => tf.Tensor]>([
    ["argMax", tf.argMax],
    ["argMin", tf.argMin],
  ])("tf.%s() gives the first of several", async (name, fn) => {
    const values = [[1], [7], [3, 5], [2, 3, 4]].flatMap((shape) => [
      draws.normal(shape),
      draws.integers(shape, -1, 2, "float32"),
      draws.integers(shape, -1, 2, "int32"),
    ]);
    const cases = values.flatMap((x) =>
      [...x.shape.keys(), -1].map((axis) => caseOf(`${name} along ${axis}`, { x }, ({ x }) => fn(x, axis), EXACT)),
    );
    const ends = given([3, 4], [5, 1, 1, 5, 0, 0, 0, 0, -Infinity, Infinity, Infinity, -Infinity]);
    await expectAgreement([
      ...cases,
      caseOf(name, { ends }, ({ ends }) => fn(ends, 1), EXACT),
      caseOf(`${name}, by default along the first axis`, { ends }, ({ ends }) => fn(ends), EXACT),
    ]);
  });
});

describe("tf.cumsum()", () => {
  const MODES = [false, true].flatMap((exclusive) => [false, true].map((reverse) => [exclusive, reverse] as const));

  test("along every axis, exclusive or not, from either end", async () => {
    const cases = [[1], [7], [3, 5], [2, 3, 4]].flatMap((shape) =>
      MODES.flatMap(([exclusive, reverse]) =>
        [...shape.keys()].flatMap((axis): Case[] => {
          const name = `cumsum along ${axis}, exclusive ${exclusive}, reverse ${reverse}`;
          const cumsum = ({ x }: { x: tf.Tensor }): tf.Tensor => tf.cumsum(x, axis, exclusive, reverse);
          return [
            caseOf(name, { x: draws.normal(shape) }, cumsum, { tolerance: reduction, gradient: false }),
            caseOf(name, { x: draws.integers(shape, -9, 10) }, cumsum, EXACT),
          ];
        }),
      ),
    );
    await expectAgreement(cases);
  });

  test("along a negative axis, for which tfjs' cpu backend gives nothing", async () => {
    const x = draws.normal([2, 3, 4]);
    await using program = await compile(
      (_state, { x }) => ({ outputs: { actual: tf.cumsum(x, -2), expected: tf.cumsum(x, 1) } }),
      { inputs: { x } },
    );
    const { actual, expected } = await program.run({ x: x.data });
    expectClose(actual, expected, exact);
  });

  // Along another axis tfjs' own gradient comes out transposed: see central-differences.test.ts.
  test("has its gradient along the last axis", async () => {
    const cases = MODES.flatMap(([exclusive, reverse]) =>
      [[1], [7], [3, 5], [2, 3, 4]].map((shape) => {
        const name = `cumsum, exclusive ${exclusive}, reverse ${reverse}`;
        const axis = shape.length - 1;
        return caseOf(name, { x: draws.normal(shape) }, ({ x }) => tf.cumsum(x, axis, exclusive, reverse), {
          tolerance: reduction,
        });
      }),
    );
    await expectAgreement(cases);
  });
});

describe("softmax", () => {
  const VALUES = [
    ...draws.list(shapes(1, 4), 6).map((shape) => draws.normal(shape, 3)),
    given([4, 3], [0, 0, 0, 100, -100, 0, 1000, 1000, -1000, -Infinity, 0, 1]), // masked, out of range for exp alone
    vector([5]),
  ];

  test("tf.softmax() and its gradient", async () => {
    const options = { tolerance: saturating, gradient: reduction } as const;
    await expectAgreement(VALUES.map((x) => caseOf("softmax", { x }, ({ x }) => tf.softmax(x), options)));
  });

  test("tf.logSoftmax() and its gradient", async () => {
    const finite = VALUES.filter(({ data }) => data.every(Number.isFinite));
    const options = { tolerance: reduction, gradient: reduction } as const;
    await expectAgreement(finite.map((x) => caseOf("logSoftmax", { x }, ({ x }) => tf.logSoftmax(x), options)));
  });

  test("its kernels work along any axis, though tfjs' functions call them along the last alone", async () => {
    const kernel = (name: string, logits: tf.Tensor, attributes: Record<string, number>): tf.Tensor =>
      tf.engine().runKernel<tf.Tensor>(name, { logits }, attributes);
    const swap = (x: tf.Tensor, axis: number): tf.Tensor => tf.transpose(x, axis === 0 ? [2, 1, 0] : [0, 2, 1]);
    const x = draws.normal([2, 3, 4]);
    await using program = await compile(
      (_state, { x }) => {
        const pairs = [0, 1].flatMap((axis) => [
          [kernel(tf.Softmax, x, { dim: axis }), swap(tf.softmax(swap(x, axis)), axis)] as const,
          [kernel(tf.LogSoftmax, x, { axis }), swap(tf.logSoftmax(swap(x, axis)), axis)] as const,
        ]);
        const side = (which: 0 | 1): tf.Tensor => tf.concat(pairs.map((pair) => tf.reshape(pair[which], [-1])));
        return { outputs: { actual: side(0), expected: side(1) } };
      },
      { inputs: { x } },
    );
    const { actual, expected } = await program.run({ x: x.data });
    expectClose(actual, expected, reduction);
  });
});
