import type { OnnxBuilder } from "./builder.js";
import type { Lowering } from "./lower.js";

/** A constant of equal numbers, shared between its users. */
const filled = (onnx: OnnxBuilder, value: number, size: number): string =>
  onnx.table(`filled:${value}:${size}`, [size], () => new Float32Array(size).fill(value));

export const lowerRmsNorm: Lowering<"rmsNorm"> = (onnx, { op }, [x = "", weight = ""], out) => {
  if (onnx.target === "onnxruntime")
    return onnx.op("SimplifiedLayerNormalization", [x, weight], { axis: -1, epsilon: { float: op.eps } }, out);
  const power = onnx.op("ReduceMean", [onnx.op("Mul", [x, x]), onnx.ints([-1])], { keepdims: 1 });
  const root = onnx.op("Sqrt", [onnx.op("Add", [power, onnx.scalar(op.eps)])]);
  return onnx.op("Mul", [onnx.op("Div", [x, root]), weight], {}, out);
};

/**
 * Groups as the channels of an instance normalization, which takes the variance from centred values, in one node; scale
 * and shift as a batch normalization whose mean is 0 and whose variance is 1, in one pass over memory. Both want
 * channels first; so do the convolutions around.
 */
export const lowerGroupNorm: Lowering<"groupNorm"> = (onnx, { op, shape }, [x = "", scale = "", shift = ""], out) => {
  const [N, H, W, C] = shape as readonly [number, number, number, number];
  const { groups, eps } = op;
  const image = onnx.channelsFirst(x, shape);
  const cut = onnx.reshape(image, [N, groups, (C / groups) * H * W]);
  const unit = [filled(onnx, 1, groups), filled(onnx, 0, groups)];
  const normed = onnx.op("InstanceNormalization", [cut, ...unit], { epsilon: { float: eps } });
  const whole = onnx.reshape(normed, [N, C, H, W]);
  const stats = [filled(onnx, 0, C), filled(onnx, 1, C)];
  const y = onnx.op("BatchNormalization", [whole, scale, shift, ...stats], { epsilon: { float: 0 } });
  return onnx.channelsLast(y, shape, out.output);
};
