import { sameNumbers, sizeOf, type Node } from "../ir/graph.js";
import { hasChannelsFirst } from "../ir/channels-first.js";
import type { OnnxBuilder } from "./builder.js";

/**
 * Lowers an operation on values that have their channels first (`hasChannelsFirst`): on those, instead of on what
 * transposing them gives.
 *
 * @param lower Lowers the operation, given the names of its operands.
 * @returns The name of the result with its channels last, as everybody else expects it; nothing if the operation is none of
 *   these.
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
    // Means over pixels: the features at the end of a network.
    if (op.kind !== "reduce" || op.keepDims || !sameNumbers(op.axes, [1, 2])) return undefined;
    const [x] = node.inputs as [Node];
    if (!hasChannelsFirst(x) || op.fn !== "mean") return undefined;
    const first = onnx.channelsFirst(inputs[0] ?? "", x.shape);
    return onnx.op("ReduceMean", [first, onnx.ints([2, 3])], { keepdims: 0 }, out);
  }
  switch (op.kind) {
    case "unary":
    case "binary": {
      const operands = node.inputs.map((input, i): string => {
        const name = inputs[i] ?? "";
        if (hasChannelsFirst(input)) return onnx.channelsFirst(name, input.shape);
        return sizeOf(input.shape) === 1 ? onnx.reshape(name, []) : onnx.reshape(name, [sizeOf(input.shape), 1, 1]);
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
