import {
  compile,
  spec,
  type EngineName,
  type PrecisionName,
  type SessionOptions,
  type TensorData,
} from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";

/**
 * A step of gradient descent on the squared distance of softmax(x · w) from y, with the steps counted.
 *
 * @param w First weights, (64, 64).
 */
export const regressionOn = (
  engine: EngineName,
  precision: PrecisionName,
  w: TensorData,
  session: SessionOptions = {},
) =>
  compile(
    ({ w, steps }, { x, y }) => {
      const loss = (w: tf.Tensor2D) => tf.mean<tf.Scalar>(tf.squaredDifference(tf.softmax(tf.matMul(x, w)), y));
      const { value, grad } = tf.valueAndGrad(loss)(w);
      return {
        state: { w: tf.sub(w, tf.mul(0.1, grad)), steps: tf.add(steps, tf.scalar(1, "int32")) },
        outputs: { loss: value },
      };
    },
    {
      state: { w: spec([64, 64]), steps: spec([], "int32") },
      inputs: { x: spec([128, 64]), y: spec([128, 64]) },
    },
    { engine, precision, name: "regression", initialState: { w }, session },
  );
