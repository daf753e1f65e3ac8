import { sameNumbers, sizeOf, type Node } from "../ir/graph.js";
import { hasChannelsFirst, isPerChannel } from "./channels-first.js";
import type { OnnxBuilder } from "./builder.js";
import { REDUCE } from "./reduce.js";

/**
 * Lowers an operation on values that have their channels first (`hasChannelsFirst`): on those, instead of on what
 * transposing them gives.
 *
 * @param lower Lowers the operation, given the names of its operands.
 * @returns The name of the result with its channels last, as everybody else expects it; nothing if the operation is
 *   none of these.
 */
export function lowerChannelsFirst(
  onnx: OnnxBuilder,
  node: Node,
  inputs: readonly string[],
  out: { readonly output?: string },
  lower: (inputs: readonly string[]) => string,
): string | undefined {
  const { op, shape } = node;
  if (!hasChannelsFirst(node)) {
    // Sums and means over pixels: of a normalization, and the features at the end of a network.
    if (op.kind !== "reduce" || !sameNumbers(op.axes, [1, 2])) return undefined;
    const [x] = node.inputs as [Node];
    if (!hasChannelsFirst(x)) return undefined;
    const first = onnx.channelsFirst(inputs[0] ?? "", x.shape);
    const axes = [first, onnx.ints([2, 3])];
    if (!op.keepDims) return onnx.op(REDUCE[op.fn], axes, { keepdims: 0 }, out);
    return onnx.reshape(onnx.op(REDUCE[op.fn], axes, { keepdims: 0 }), shape, out.output);
  }
  switch (op.kind) {
    case "unary":
    case "binary": {
      const operands = node.inputs.map((input, i): string => {
        const name = inputs[i] ?? "";
        if (!isPerChannel(input) || hasChannelsFirst(input)) return onnx.channelsFirst(name, input.shape);
        if (sizeOf(input.shape) === 1) return onnx.reshape(name, []);
        const [N = 1] = input.shape.length === 4 ? input.shape : [];
        return onnx.reshape(name, [N, sizeOf(input.shape) / N, 1, 1]);
      });
      return onnx.channelsLast(lower(operands), shape, out.output);
    }
    case "concat": {
      const operands = node.inputs.map((input, i) => onnx.channelsFirst(inputs[i] ?? "", input.shape));
      return onnx.channelsLast(onnx.op("Concat", operands, { axis: 1 }), shape, out.output);
    }
    default:
      return undefined; // convolutions and pools have their channels first in any case
  }
}
