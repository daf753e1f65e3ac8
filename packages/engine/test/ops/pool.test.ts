import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { caseOf, expectAgreement, type Case, type CaseOptions } from "../oracle.js";
import { TOLERANCE } from "../tolerance.js";
import { Draws, given, type Value } from "../values.js";

const draws = new Draws("pool");
const { exact, reduction } = TOLERANCE;

type Pair = [number, number];
type Padding = "same" | "valid" | number | tf.backend_util.ExplicitPadding;

interface Pool {
  readonly x: Value<readonly [number, number, number, number]>;
  readonly window: Pair | number;
  readonly strides: Pair | number;
  readonly padding: Padding;
  readonly rounding?: "floor" | "round" | "ceil";
}

function poolOf(fn: "max" | "avg", { x, window, strides, padding, rounding }: Pool, options?: CaseOptions<"x">): Case {
  const attributes = JSON.stringify({ window, strides, padding, rounding });
  const pool = fn === "max" ? tf.maxPool : tf.avgPool;
  return caseOf(`${fn}Pool ${attributes}`, { x }, ({ x }) => pool(x, window, strides, padding, rounding), options);
}

const MAX = { tolerance: exact, gradient: reduction };
const AVG = { tolerance: reduction, gradient: reduction };
/** tfjs' cpu backend divides the gradient by the whole window, padding and all: see central-differences.test.ts. */
const AVG_VALUES = { tolerance: reduction, gradient: false } as const;

const side = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });
/** Images with windows that fit into them. */
const anyPool = (padding: "same" | "valid") =>
  fc
    .record({
      shape: fc.tuple(fc.constantFrom(1, 3), side(9), side(9), fc.constantFrom(1, 4)),
      window: fc.tuple(side(4), side(4)),
      strides: fc.tuple(side(3), side(3)),
      padding: fc.constant(padding),
    })
    .filter(({ shape, window }) => padding === "same" || (shape[1] >= window[0] && shape[2] >= window[1]));

const pools = (
  padding: "same" | "valid",
  values: (shape: [number, number, number, number]) => Pool["x"],
  count = 20,
): Pool[] => draws.list(anyPool(padding), count).map(({ shape, ...rest }) => ({ x: values(shape), ...rest }));

const normal = (shape: [number, number, number, number]): Pool["x"] => draws.normal(shape);
const ties = (shape: [number, number, number, number]): Pool["x"] => draws.integers(shape, -2, 2, "float32");
const negative = (shape: [number, number, number, number]): Pool["x"] => draws.uniform(shape, -3, -1);

const EXPLICIT: Padding = [[0, 0], [1, 0], [0, 2], [0, 0]]; // prettier-ignore

describe("tf.maxPool()", () => {
  test.each(["same", "valid"] as const)('and its gradient, with padding "%s"', async (padding) => {
    await expectAgreement(pools(padding, normal).map((pool) => poolOf("max", pool, MAX)));
  });

  test("gives the gradient of ties to the first of them", async () => {
    await expectAgreement([
      ...[...pools("same", ties), ...pools("valid", ties)].map((pool) => poolOf("max", pool, MAX)),
      poolOf("max", { x: given([1, 3, 3, 1], Array(9).fill(1)), window: 3, strides: 1, padding: "same" }, MAX),
    ]);
  });

  test("never takes its padding for a maximum", async () => {
    await expectAgreement([
      ...pools("same", negative, 10).map((pool) => poolOf("max", pool, MAX)),
      ...[1, EXPLICIT].flatMap((padding) =>
        [1, 2].map((strides) => poolOf("max", { x: negative([2, 5, 6, 3]), window: 3, strides, padding }, MAX)),
      ),
    ]);
  });

  test.each(["floor", "round", "ceil"] as const)("with sizes rounded to %s", async (rounding) => {
    const cases = [5, 6, 7, 8].flatMap((size) =>
      [0, 1].map((padding) =>
        poolOf(
          "max",
          { x: normal([1, size, 6, 2]), window: 3, strides: 2, padding, rounding },
          { ...MAX, gradient: false },
        ),
      ),
    );
    await expectAgreement(cases);
  });
});

describe("tf.avgPool()", () => {
  test("and its gradient, without padding", async () => {
    await expectAgreement(pools("valid", normal).map((pool) => poolOf("avg", pool, AVG)));
  });

  test("does not count its padding", async () => {
    await expectAgreement([
      ...pools("same", normal).map((pool) => poolOf("avg", pool, AVG_VALUES)),
      ...[1, EXPLICIT].flatMap((padding) =>
        [1, 2].map((strides) => poolOf("avg", { x: normal([2, 5, 6, 3]), window: 3, strides, padding }, AVG_VALUES)),
      ),
    ]);
  });

  test("counts zeros that tf.pad() added", async () => {
    const cases = ([[3, 1], [3, 2], [2, 1]] as const) // prettier-ignore
      .map(([window, strides]) =>
        caseOf(
          `pad, avgPool ${window} by ${strides}`,
          { x: normal([2, 5, 6, 3]) },
          ({ x }) => tf.avgPool(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), window, strides, "valid"), // prettier-ignore
          AVG,
        ),
      );
    await expectAgreement(cases);
  });

  test.each(["floor", "round", "ceil"] as const)("with sizes rounded to %s", async (rounding) => {
    const cases = [5, 6, 7, 8].flatMap((size) =>
      [0, 1].map((padding) =>
        poolOf("avg", { x: normal([1, size, 6, 2]), window: 3, strides: 2, padding, rounding }, AVG_VALUES),
      ),
    );
    await expectAgreement(cases);
  });

  test("of the whole image, and of single pixels", async () => {
    await expectAgreement([
      poolOf("avg", { x: normal([2, 8, 8, 5]), window: 8, strides: 1, padding: "valid" }, AVG),
      poolOf("avg", { x: normal([2, 5, 5, 3]), window: 1, strides: 1, padding: "valid" }, AVG),
      poolOf("avg", { x: normal([2, 5, 5, 3]), window: 1, strides: 2, padding: "valid" }, AVG),
      poolOf("max", { x: normal([2, 5, 5, 3]), window: 1, strides: 2, padding: "valid" }, MAX),
      caseOf("mean over rows and columns", { x: normal([2, 8, 8, 5]) }, ({ x }) => tf.mean(x, [1, 2]), AVG),
    ]);
  });
});

describe("gradients of pools whose size is rounded up", () => {
  // tfjs does not tell its gradient kernels how sizes were rounded.
  test.each(["max", "avg"] as const)("%s: is refused", async (fn) => {
    const pool = poolOf(fn, { x: normal([1, 6, 6, 2]), window: 3, strides: 2, padding: 0, rounding: "ceil" });
    await expect(expectAgreement([pool])).rejects.toThrow(/poolGrad.*dy should be \(1, 2, 2, 2\)/);
  });
});
