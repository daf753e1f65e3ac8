import * as tf from "@tensorflow/tfjs-core";
import { lossGradients } from "./gradients.js";
import { draw, expectClose, runOnce, TOLERANCE } from "./testing.js";

const [a, b, unused] = [draw("a", 5), draw("b", 5), draw("unused", 2)];

describe("lossGradients()", () => {
  test("has the gradients of the loss alone, null where it depends on nothing, and all that was made beside it", async () => {
    const outputs = await runOnce({ a, b, unused }, (params) => {
      const { losses, gradients } = lossGradients(params, ({ a, b }) => {
        const product = tf.mul(a!, b!);
        return { loss: tf.sum<tf.Scalar>(tf.square(product)), product, size: tf.sum(tf.abs(a!)) };
      });
      expect(gradients["unused"]).toBeNull();
      return { ...losses, da: gradients["a"] as tf.Tensor, db: gradients["b"] as tf.Tensor };
    });
    const product = a.data.map((x, i) => x * b.data[i]!);
    const expected = {
      product,
      loss: [product.reduce((sum, x) => sum + x * x, 0)],
      size: [a.data.reduce((sum, x) => sum + Math.abs(x), 0)],
      da: product.map((x, i) => 2 * x * b.data[i]!),
      db: product.map((x, i) => 2 * x * a.data[i]!),
    };
    for (const name of Object.keys(expected) as (keyof typeof expected)[])
      expectClose(outputs[name], expected[name], TOLERANCE.sums, name);
  });

  test("may give the loss under a second name", async () => {
    const outputs = await runOnce({ a }, (params) => {
      const { losses, gradients } = lossGradients(params, ({ a }) => {
        const loss = tf.sum<tf.Scalar>(tf.square(a!));
        return { loss, only: loss };
      });
      return { ...losses, da: gradients["a"] as tf.Tensor };
    });
    expect(outputs.only).toEqual(outputs.loss);
    expectClose(
      outputs.da,
      a.data.map((x) => 2 * x),
      TOLERANCE.elementwise,
    );
  });
});
