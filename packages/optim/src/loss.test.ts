import * as tf from "@tensorflow/tfjs-core";
import { weightedLoss } from "./loss.js";
import { draw, expectClose, runOnce, TOLERANCE } from "./testing.js";

const x = draw("x", 12);
const mean = (of: (x: number) => number): number => x.data.reduce((sum, x) => sum + of(x), 0) / x.data.length;

describe("weightedLoss()", () => {
  test("is the weighted sum of its terms, and has each without its weight", async () => {
    const outputs = await runOnce({ x }, ({ x }) =>
      weightedLoss({
        size: { weight: 1, value: () => tf.mean(tf.abs(x)) },
        square: { weight: 0.3, value: () => tf.mean(tf.square(x)) },
        cube: { weight: 2, value: () => tf.mean(tf.pow(x, 3)) },
      }),
    );
    const [size, square, cube] = [mean(Math.abs), mean((x) => x * x), mean((x) => x ** 3)];
    for (const [name, expected] of Object.entries({ size, square, cube, loss: size + 0.3 * square + 2 * cube }))
      expectClose(outputs[name as "loss"], [expected], TOLERANCE.elementwise, name);
    expect(Object.keys(outputs)).toEqual(["loss", "size", "square", "cube"]);
  });

  test("does not compute terms of weight 0", async () => {
    const never = (): tf.Scalar => {
      throw new Error("it was computed");
    };
    const outputs = await runOnce({ x }, ({ x }) =>
      weightedLoss({ no: { weight: 0, value: never }, size: { weight: 2, value: () => tf.mean(tf.abs(x)) } }),
    );
    expectClose(outputs.loss, [2 * mean(Math.abs)], TOLERANCE.elementwise);
    expect([...outputs.no]).toEqual([0]);
    const none = await runOnce({ x }, () => weightedLoss({ no: { weight: 0, value: never } }));
    expect([...none.loss, ...none.no]).toEqual([0, 0]);
  });
});
