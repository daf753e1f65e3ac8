/** Layers whose gradients are written out, against what tfjs composes for the formula itself. */
import { groupNorm, rmsNorm, silu } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { onBackend } from "../src/trace/trace.js";
import { expectClose, TOLERANCE } from "./tolerance.js";

/** Values of all sizes; the row of zeros is where `eps` matters. */
const values = (shape: number[], seed: number): tf.Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  const row = shape.at(-1) ?? 1;
  return tf.tensor(
    Float32Array.from({ length: size }, (_, i) => (i < row ? 0 : Math.sin(7.3 * i + seed) * (1 + (i % 3)))),
    shape,
  );
};

type Layer = (...xs: tf.Tensor[]) => tf.Tensor;

function expectSame(layer: Layer, formula: Layer, shapes: number[][]): void {
  onBackend("cpu", () =>
    tf.tidy(() => {
      const inputs = shapes.map((shape, i) => values(shape, i));
      const dy = values(layer(...inputs).shape, 9);
      const [actual, expected] = [tf.valueAndGrads(layer)(inputs, dy), tf.valueAndGrads(formula)(inputs, dy)];
      expect(actual.value.shape).toEqual(expected.value.shape);
      expectClose(actual.value.dataSync(), expected.value.dataSync(), TOLERANCE.network, "value");
      actual.grads.forEach((grad, i) => {
        expect(grad.shape).toEqual(shapes[i]);
        expectClose(grad.dataSync(), (expected.grads[i] as tf.Tensor).dataSync(), TOLERANCE.network, `gradient ${i}`);
      });
    }),
  );
}

describe("rmsNorm()", () => {
  const formula: Layer = (x, w) => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-2))), w);
  test.each([[[[5, 8], [8]]], [[[2, 3, 4], [4]]], [[[2, 1, 3, 1], [1]]]])(
    "is its formula, forward and backward: %j",
    (shapes) => {
      expectSame((x, w) => rmsNorm(x, w as tf.Tensor1D, 1e-2), formula, shapes);
    },
  );
  test("names both shapes when they differ", () => {
    expect(() => rmsNorm(tf.ones([2, 3]), tf.ones([4]), 1e-5)).toThrow(
      new RangeError("rmsNorm: x is (2, 3), weight is (4): the last axes differ"),
    );
  });
});

describe("groupNorm()", () => {
  const formula =
    (groups: number): Layer =>
    (x, scale, shift) => {
      const [N = 1, H = 1, W = 1, C = 1] = x.shape;
      const grouped = tf.reshape(x, [N, H * W, groups, C / groups]);
      const { mean, variance } = tf.moments(grouped, [1, 3], true);
      const normed = tf.mul(tf.sub(grouped, mean), tf.rsqrt(tf.add(variance, 1e-2)));
      return tf.add(tf.mul(tf.reshape(normed, [N, H, W, C]), scale), shift);
    };
  test.each([
    [[2, 3, 4, 6], 3],
    [[1, 2, 2, 4], 1],
    [[2, 2, 1, 4], 4],
    [[3, 1, 1, 4], 2],
  ])("is its formula, forward and backward: %j in %i groups", (shape, groups) => {
    const C = shape[3] as number;
    expectSame(
      (x, scale, shift) => groupNorm(x as tf.Tensor4D, scale as tf.Tensor1D, shift as tf.Tensor1D, groups, 1e-2),
      formula(groups),
      [shape, [C], [C]],
    );
  });
  test("says what does not fit", () => {
    const [x, c6, c5] = [tf.ones<tf.Rank.R4>([1, 2, 2, 6]), tf.ones<tf.Rank.R1>([6]), tf.ones<tf.Rank.R1>([5])];
    expect(() => groupNorm(x, c6, c6, 4, 1e-5)).toThrow(new RangeError("groupNorm: 4 groups do not divide 6 channels"));
    expect(() => groupNorm(x, c6, c5, 3, 1e-5)).toThrow(
      new RangeError("groupNorm: x has 6 channels, scale has 6, shift has 5"),
    );
  });
});

describe("silu()", () => {
  test.each([[[[7]]], [[[2, 3]]], [[[]]]])("is its formula, forward and backward: %j", (shapes) => {
    expectSame(
      (x) => silu(x),
      (x) => tf.mul(x, tf.sigmoid(x)),
      shapes,
    );
  });
});
