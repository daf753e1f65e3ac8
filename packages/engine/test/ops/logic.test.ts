import * as tf from "@tensorflow/tfjs-core";
import { compile, spec } from "@madformer/engine";
import type { DType } from "../../src/ir/graph.js";
import { caseOf, expectAgreement, type Case } from "../oracle.js";
import { TOLERANCE } from "../tolerance.js";
import { broadcastable, Draws, given, shapes, vector, type Value } from "../values.js";

const draws = new Draws("logic");
const EXACT = { tolerance: TOLERANCE.exact, gradient: false } as const;

/** Few different values, so that many are equal. */
const few = (shape: readonly number[], dtype: DType): Value =>
  dtype === "bool" ? draws.bools(shape) : draws.integers(shape, -2, 3, dtype);

const SPECIAL = [0, -0, 1, -1, Infinity, -Infinity, NaN];

describe("comparisons", () => {
  test.each<[string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor]>([
    ["equal", tf.equal],
    ["notEqual", tf.notEqual],
    ["less", tf.less],
    ["lessEqual", tf.lessEqual],
    ["greater", tf.greater],
    ["greaterEqual", tf.greaterEqual],
  ])("tf.%s() of float32, int32 and bool, broadcast", async (name, fn) => {
    const of = (a: Value, b: Value): Case => caseOf(name, { a, b }, ({ a, b }) => fn(a, b), EXACT);
    const pairs = draws.list(broadcastable(5), 5);
    await expectAgreement([
      ...(["float32", "int32", "bool"] as const).flatMap((dtype) =>
        pairs.map(([a, b]) => of(few(a, dtype), few(b, dtype))),
      ),
      of(vector(SPECIAL.flatMap((x) => SPECIAL.map(() => x))), vector(SPECIAL.flatMap(() => SPECIAL))),
      of(draws.normal([0]), draws.normal([0])),
      of(draws.normal([3, 1]), draws.normal([3, 0])),
    ]);
  });
});

describe("logical functions", () => {
  test.each<[string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor]>([
    ["logicalAnd", tf.logicalAnd],
    ["logicalOr", tf.logicalOr],
    ["logicalXor", tf.logicalXor],
  ])("tf.%s() of bools, broadcast", async (name, fn) => {
    const pairs = draws.list(broadcastable(4), 8).map(([a, b]) => [draws.bools(a), draws.bools(b)] as const);
    const table = [vector([0, 0, 1, 1], "bool"), vector([0, 1, 0, 1], "bool")] as const;
    await expectAgreement([table, ...pairs].map(([a, b]) => caseOf(name, { a, b }, ({ a, b }) => fn(a, b), EXACT)));
  });

  test("tf.logicalNot() of bools", async () => {
    const values = draws.list(shapes(0, 4), 5).map((shape) => draws.bools(shape));
    await expectAgreement(values.map((x) => caseOf("logicalNot", { x }, ({ x }) => tf.logicalNot(x), EXACT)));
  });
});

describe("tf.where()", () => {
  test("takes each element from one side, in every dtype, broadcast", async () => {
    const cases = draws.list(broadcastable(4), 8).flatMap(([a, b], i) =>
      (["float32", "int32", "bool"] as const).map((dtype) => {
        const values = { condition: draws.bools(i % 2 ? a : b), a: few(a, dtype), b: few(b, dtype) };
        return caseOf("where", values, ({ condition, a, b }) => tf.where(condition, a, b), EXACT);
      }),
    );
    await expectAgreement(cases);
  });

  test("gives each side the gradient of what was taken from it, NaN on the other side or not", async () => {
    const condition = given([2, 3], [1, 0, 1, 0, 0, 1], "bool");
    const options = { tolerance: TOLERANCE.exact, gradient: TOLERANCE.reduction } as const;
    await expectAgreement([
      ...draws
        .list(shapes(0, 4), 6)
        .map((shape) =>
          caseOf(
            "where",
            { condition: draws.bools(shape), a: draws.normal(shape), b: draws.normal(shape) },
            ({ condition, a, b }) => tf.where(condition, a, b),
            options,
          ),
        ),
      ...draws.list(broadcastable(3), 6).map(([a, b]) => {
        const values = { condition: draws.bools(a), a: draws.normal(a), b: draws.normal(b) };
        return caseOf("where, broadcast", values, ({ condition, a, b }) => tf.where(condition, a, b), options);
      }),
      caseOf(
        "where, a root of negative numbers on the other side",
        { condition, x: given([2, 3], [4, -1, 9, -4, 0, 2]) },
        ({ condition, x }) => tf.where(condition, tf.sqrt(x), tf.neg(x)),
        { by: [], tolerance: TOLERANCE.elementwise },
      ),
    ]);
  });

  // tfjs' own kernel takes the row's first element for all of it; tf.where() never calls it so.
  test("chooses whole rows with a condition of one axis, as its kernel allows", async () => {
    const [t, e] = [draws.normal([3, 4]), draws.normal([3, 4])];
    const select = (inputs: Readonly<Record<string, tf.Tensor>>) =>
      tf.engine().runKernel<tf.Tensor>(tf.Select, { ...inputs });
    await using program = await compile((_state, inputs) => ({ outputs: { y: select(inputs) } }), {
      inputs: { condition: spec([3], "bool"), t, e },
    });
    const { y } = await program.run({ condition: [1, 0, 1], t: t.data, e: e.data });
    expect([...y]).toEqual([...t.data.slice(0, 4), ...e.data.slice(4, 8), ...t.data.slice(8)]);
  });
});

describe("tf.clipByValue()", () => {
  test("of float32 and int32", async () => {
    const bounds = [
      [-1, 1],
      [-0.5, 3],
      [-Infinity, 0.25],
    ] as const;
    await expectAgreement([
      ...bounds.map(([low, high]) => {
        const x = draws.normal([3, 7]);
        const options = { tolerance: TOLERANCE.exact, gradient: TOLERANCE.exact } as const;
        return caseOf(`clip to ${low}..${high}`, { x }, ({ x }) => tf.clipByValue(x, low, high), options);
      }),
      // On the bounds the gradient passes.
      caseOf("clip at its bounds", { x: vector([-2, -1, -0.5, 1, 1.5]) }, ({ x }) => tf.clipByValue(x, -1, 1)),
      caseOf("clip to one number", { x: draws.normal([3, 7]) }, ({ x }) => tf.clipByValue(x, 2, 2), EXACT),
      caseOf("clip", { x: draws.integers([3, 7], -9, 10) }, ({ x }) => tf.clipByValue(x, -3, 4), EXACT),
    ]);
  });
});
