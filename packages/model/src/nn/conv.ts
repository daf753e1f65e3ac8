import * as tf from "@tensorflow/tfjs-core";
import type { ParameterSpecs, Scope } from "../parameters.js";

/** Parameters of `conv`: kernel HWIO and a bias. */
export function convSpecs(from: number, to: number, size: number): ParameterSpecs {
  const initializer = { kind: "fan-in", fanIn: from * size * size } as const;
  return { weight: { shape: [size, size, from, to], initializer }, bias: { shape: [to], initializer } };
}

/** Zeros around an image. */
export interface Padding {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/**
 * Cross-correlation with a square kernel, plus a bias by channel. Zeros around the image keep its size at stride 1.
 *
 * @param x (N, H, W, I) float32.
 * @param padding Zeros around; (size - 1) / 2 on each side unless given.
 * @returns (N, H', W', O) float32.
 */
export function conv(p: Scope, x: tf.Tensor4D, stride = 1, padding?: Padding): tf.Tensor4D {
  const kernel = p.get<tf.Tensor4D>("weight"); // (h, w, I, O)
  const around = (kernel.shape[0] - 1) / 2;
  const { top, bottom, left, right } = padding ?? { top: around, bottom: around, left: around, right: around };
  const y = tf.conv2d(x, kernel, stride, [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ]);
  return tf.add(y, p.get("bias"));
}
