import * as tf from "@tensorflow/tfjs-core";
import { compile } from "@madformer/engine";
import fc from "fast-check";
import { caseOf, expectAgreement, type Case } from "../oracle.js";
import { expectClose, TOLERANCE } from "../tolerance.js";
import { Draws } from "../values.js";

const draws = new Draws("matmul");
const PRODUCT = { tolerance: TOLERANCE.product, gradient: TOLERANCE.product };
const NO_GRADIENT = { tolerance: TOLERANCE.product, gradient: false } as const;

const TRANSPOSES = [false, true].flatMap((a) => [false, true].map((b) => [a, b] as const));
const size = fc.constantFrom(1, 2, 3, 5, 8, 17);
const sizes = fc.tuple(size, size, size);

/** op(a) x op(b) with M x K and K x N, after these batch axes. */
function product(
  batchA: readonly number[],
  batchB: readonly number[],
  [M, K, N]: readonly [number, number, number],
  gradient = true,
): Case[] {
  return TRANSPOSES.map(([transposeA, transposeB]) => {
    const a = draws.normal([...batchA, ...(transposeA ? [K, M] : [M, K])]);
    const b = draws.normal([...batchB, ...(transposeB ? [N, K] : [K, N])]);
    const name = `matMul${transposeA ? ", a transposed" : ""}${transposeB ? ", b transposed" : ""}`;
    return caseOf(
      name,
      { a, b },
      ({ a, b }) => tf.matMul(a, b, transposeA, transposeB),
      gradient ? PRODUCT : NO_GRADIENT,
    );
  });
}

describe("tf.matMul()", () => {
  test("of matrices, transposed in every way, with its gradients", async () => {
    await expectAgreement([
      ...draws.list(sizes, 6).flatMap((of) => product([], [], of)),
      ...product([], [], [1, 1, 1]),
      ...product([], [], [1, 64, 1]),
      ...product([], [], [31, 37, 41]),
    ]);
  });

  test("of batches of matrices, transposed in every way, with its gradients", async () => {
    const batches = [[1], [2], [5], [1, 1], [2, 3], [3, 1, 2]];
    await expectAgreement(batches.flatMap((batch) => draws.list(sizes, 2).flatMap((of) => product(batch, batch, of))));
  });

  test("of batches whose axes broadcast", async () => {
    const batches = [
      { a: [], b: [3] },
      { a: [3], b: [] },
      { a: [1], b: [4] },
      { a: [4], b: [1] },
      { a: [2, 3], b: [3] },
      { a: [2, 3], b: [1, 1] },
    ];
    await expectAgreement(batches.flatMap(({ a, b }) => product(a, b, [3, 5, 2], false)));
  });

  // tfjs' cpu backend goes through the batches of each operand in turn, whatever their axes.
  test("of batches whose axes broadcast one by one, where tfjs takes the wrong ones", async () => {
    const batches = [
      { a: [2, 1], b: [2, 3] },
      { a: [1, 3], b: [2, 1] },
      { a: [2, 1, 4], b: [3, 1] },
    ];
    for (const { a, b } of batches) {
      const values = { a: draws.normal([...a, 3, 5]), b: draws.normal([...b, 5, 2]) };
      const batch = tf.backend_util.assertAndGetBroadcastShape(a, b);
      await using program = await compile(
        (_state, { a, b }) => {
          const spread = [tf.broadcastTo(a, [...batch, 3, 5]), tf.broadcastTo(b, [...batch, 5, 2])] as const;
          return { outputs: { actual: tf.matMul(a, b), expected: tf.matMul(...spread) } };
        },
        { inputs: values },
      );
      const { actual, expected } = await program.run({ a: values.a.data, b: values.b.data });
      expectClose(actual, expected, TOLERANCE.product, `matMul of batches (${a.join()}) and (${b.join()})`);
    }
  });

  // tfjs' gradient does not add up what was broadcast, and then finds that its shape is wrong.
  test("has no gradient for an operand that was broadcast; one written with tf.broadcastTo() has", async () => {
    const [a, b] = [draws.normal([4, 2, 3]), draws.normal([1, 3, 5])];
    const broadcast = caseOf("matMul", { a, b }, ({ a, b }) => tf.matMul(a, b), PRODUCT);
    await expect(expectAgreement([broadcast])).rejects.toThrow(/gradient of input 'b' has shape '4,3,5'/);
    const written = caseOf("matMul", { a, b }, ({ a, b }) => tf.matMul(a, tf.broadcastTo(b, [4, 3, 5])), PRODUCT);
    await expectAgreement([written]);
  });

  test("of one batch against the rows of many", async () => {
    const cases = [
      { x: [2, 3, 4, 5], w: [5, 7] },
      { x: [6, 5], w: [5, 7] },
      { x: [1, 6, 5], w: [1, 5, 7] },
    ];
    await expectAgreement(
      cases.map(({ x, w }) =>
        caseOf(
          "rows x matrix",
          { x: draws.normal(x), w: draws.normal(w) },
          ({ x, w }) =>
            tf.reshape(tf.matMul(tf.reshape(x, [-1, 5]), tf.reshape(w, [5, 7])), [...x.shape.slice(0, -1), 7]),
          PRODUCT,
        ),
      ),
    );
  });

  test("scaled on either side, as attention does", async () => {
    const values = { q: draws.normal([2, 5, 3]), k: draws.normal([2, 7, 3]) };
    await expectAgreement([
      caseOf("q x k, scaled", values, ({ q, k }) => tf.mul(tf.matMul(q, k, false, true), 0.25), PRODUCT),
      caseOf("scaled q x k", values, ({ q, k }) => tf.matMul(tf.mul(q, 0.25), k, false, true), PRODUCT),
      caseOf("q x k / 4", values, ({ q, k }) => tf.div(tf.matMul(q, k, false, true), 4), PRODUCT),
    ]);
  });

  test("of transposed and of sliced operands", async () => {
    const values = { a: draws.normal([3, 4, 5]), b: draws.normal([3, 4, 5]) };
    await expectAgreement([
      caseOf("a x bᵀ by tf.transpose()", values, ({ a, b }) => tf.matMul(a, tf.transpose(b, [0, 2, 1])), PRODUCT),
      caseOf("aᵀ x b by tf.transpose()", values, ({ a, b }) => tf.matMul(tf.transpose(a, [0, 2, 1]), b), PRODUCT),
      caseOf(
        "a x b, both slices",
        values,
        ({ a, b }) => tf.matMul(tf.slice(a, [1, 0, 0], [2, 4, 4]), tf.slice(b, [1, 0, 0], [2, 4, 3])),
        PRODUCT,
      ),
      caseOf(
        "batch and rows exchanged",
        values,
        ({ a, b }) => tf.matMul(tf.transpose(a, [1, 0, 2]), tf.transpose(b, [1, 2, 0])),
        PRODUCT,
      ),
    ]);
  });

  test("plus a bias, or anything else that broadcasts to it", async () => {
    const batches = [[], [1], [3], [2, 2]];
    const addends = [
      [],
      [1],
      [5],
      [1, 5],
      [4, 1],
      [4, 5],
      [1, 4, 5],
      [3, 4, 5],
      [3, 1, 5],
      [3, 1, 1],
      [2, 2, 4, 5],
      [2, 1, 1, 5],
    ];
    const cases = batches.flatMap((batch) =>
      addends
        .filter((c) =>
          c.slice(0, -2).every((size, axis, list) => size === 1 || size === batch[axis + batch.length - list.length]),
        )
        .flatMap((shape) => {
          const values = {
            a: draws.normal([...batch, 4, 3]),
            b: draws.normal([...batch, 3, 5]),
            c: draws.normal(shape),
          };
          const plus = caseOf("matMul plus c", values, ({ a, b, c }) => tf.add(tf.matMul(a, b), c), PRODUCT);
          return [
            plus,
            caseOf("c plus matMul, scaled", values, ({ a, b, c }) => tf.add(c, tf.mul(tf.matMul(a, b), 0.5)), PRODUCT),
          ];
        }),
    );
    const rows = {
      x: draws.normal([2, 3, 4]),
      w: draws.normal([4, 5]),
      bias: draws.normal([5]),
      before: draws.normal([2, 3, 5]),
    };
    const linear = ({ x, w, bias }: Record<"x" | "w" | "bias", tf.Tensor>): tf.Tensor =>
      tf.reshape(tf.add(tf.matMul(tf.reshape(x, [6, 4]), w), bias), [2, 3, 5]);
    await expectAgreement([
      ...cases,
      caseOf("linear layer", rows, linear, { ...PRODUCT, by: ["x", "w", "bias"] }),
      caseOf("linear layer, residual", rows, (values) => tf.add(values.before, linear(values)), PRODUCT),
      caseOf(
        "a product that is used twice",
        rows,
        (values) => [linear(values), tf.add(values.before, linear(values))],
        PRODUCT,
      ),
    ]);
  });

  test("with no rows, and with no terms to add", async () => {
    await expectAgreement([
      caseOf("no rows", { a: draws.normal([0, 3]), b: draws.normal([3, 2]) }, ({ a, b }) => tf.matMul(a, b), PRODUCT),
      caseOf(
        "no batches",
        { a: draws.normal([0, 2, 3]), b: draws.normal([0, 3, 2]) },
        ({ a, b }) => tf.matMul(a, b),
        PRODUCT,
      ),
      caseOf(
        "no terms",
        { a: draws.normal([2, 0]), b: draws.normal([0, 3]) },
        ({ a, b }) => tf.matMul(a, b),
        NO_GRADIENT,
      ),
      caseOf(
        "no terms, in a batch",
        { a: draws.normal([2, 2, 0]), b: draws.normal([2, 0, 3]) },
        ({ a, b }) => tf.matMul(a, b),
        NO_GRADIENT,
      ),
    ]);
  });
});

describe("tf.dot() and tf.outerProduct()", () => {
  test("and their gradients", async () => {
    const [x, y, m] = [draws.normal([5]), draws.normal([5]), draws.normal([5, 3])];
    await expectAgreement([
      caseOf("dot", { x, y }, ({ x, y }) => tf.dot(x, y), PRODUCT),
      caseOf("dot", { x, m }, ({ x, m }) => tf.dot(x, m), PRODUCT),
      caseOf("dot", { m, w: draws.normal([3]) }, ({ m, w }) => tf.dot(m, w), PRODUCT),
      caseOf("outerProduct", { x, y }, ({ x, y }) => tf.outerProduct(x, y), PRODUCT),
    ]);
  });
});
