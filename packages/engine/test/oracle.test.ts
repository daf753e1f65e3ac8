import * as tf from "@tensorflow/tfjs-core";
import { caseOf, expectAgreement, expectDerivatives, type Case } from "./oracle.js";
import { close, expectClose, TOLERANCE } from "./tolerance.js";
import { given, SEED } from "./values.js";

describe("close()", () => {
  test("is within an absolute and a relative part", () => {
    const tolerance = { absolute: 0.5, relative: 0.25 };
    expect(close(12.9, 10, tolerance)).toBe(true);
    expect(close(13.1, 10, tolerance)).toBe(false);
    expect(close(-13.1, -10, tolerance)).toBe(false);
    expect(close(0, -0, TOLERANCE.exact)).toBe(true);
  });

  test("takes NaN for NaN alone, and an infinity for itself", () => {
    const [at, values] = [TOLERANCE.network, [NaN, Infinity, -Infinity, 1]];
    const table = values.map((actual) => values.map((expected) => close(actual, expected, at)));
    expect(table).toEqual(values.map((_, i) => values.map((_, j) => i === j)));
  });
});

describe("expectClose()", () => {
  test("shows the worst element, and how far over it is", () => {
    expect(() => expectClose([1, 2, 3.5, 4.25], [1, 2, 3, 4], { absolute: 0.125, relative: 0 }, "y")).toThrow(
      "y: 2 of 4 elements differ; the worst is [2]: 3.5, expected 3, over |a - e| <= 0.125 + 0·|e| by 0.375",
    );
    expect(() => expectClose([1], [1, 2], TOLERANCE.network)).toThrow("1 elements, expected 2");
  });
});

describe("the oracle", () => {
  const x = given([2, 3], [1, 2, 3, 4, 5, 6]);
  /** A function that is another one wherever it is not run eagerly. */
  const unlike = (onCpu: (x: tf.Tensor) => tf.Tensor, elsewhere: (x: tf.Tensor) => tf.Tensor): Case =>
    caseOf("unlike", { x }, ({ x }) => (tf.getBackend() === "cpu" ? onCpu(x) : elsewhere(x)));

  test("sees another value, and names case, engine, result, element and seed", async () => {
    const one = unlike(tf.neg, (x) => tf.sub(tf.oneHot(tf.tensor1d([9, 1], "int32"), 3), x));
    await expect(expectAgreement([one])).rejects.toThrow(
      new RegExp(
        `seed ${SEED}.*\nunlike of x float32\\(2, 3\\), compiled: y0: 1 of 6 .* the worst is \\[1, 1\\]: -4, expected -5`,
      ),
    );
  });

  test("sees another gradient, shape or dtype", async () => {
    const custom = tf.customGrad((x) => ({ value: tf.neg(x as tf.Tensor), gradFunc: (dy) => dy }));
    await expect(expectAgreement([unlike(tf.neg, custom)])).rejects.toThrow(/compiled: dx: 6 of 6 elements differ/);
    const flat = unlike(tf.neg, (x) => tf.reshape(tf.neg(x), [3, 2]));
    await expect(expectAgreement([flat])).rejects.toThrow(
      /y0 is float32\(2, 3\), and float32\(3, 2\) in another engine/,
    );
    const cut = caseOf("cut", { x }, ({ x }) => (tf.getBackend() === "cpu" ? tf.cast(x, "int32") : tf.neg(x)), {
      gradient: false,
    });
    await expect(expectAgreement([cut])).rejects.toThrow(/y0 is int32\(2, 3\), and float32\(2, 3\) in another engine/);
  });

  test("sees a gradient that is not the derivative", async () => {
    const custom = tf.customGrad((x) => ({ value: tf.square(x as tf.Tensor), gradFunc: (dy) => dy }));
    await expect(expectDerivatives([caseOf("custom", { x }, ({ x }) => custom(x))])).rejects.toThrow(
      /custom .* dx: 6 of 6/,
    );
  });
});
