import { isOp, sameNumbers, type Node } from "../ir/graph.js";

/** Up to this many channels an image is resized with its channels first: products of three columns are slow. */
const FEW_CHANNELS = 4;

const known = new WeakMap<Node, boolean>();

/**
 * Whether a result has its channels first, (N,C,H,W), while it runs: it comes from a convolution with a constant
 * filter, or is an image resized, and has only met operations that treat all pixels and channels alike. ONNX Runtime
 * packs such filters when a program is loaded and convolves in blocks of channels; what stays between such convolutions
 * is neither transposed nor unpacked. *Measured* (2 cores, Inception, 10 images): 55 ms an image, and 76 where every
 * convolution was transposed to and fro and those of one pixel were products.
 */
export function hasChannelsFirst(node: Node): boolean {
  const answer = known.get(node);
  if (answer !== undefined) return answer;
  const result = node.shape.length === 4 && decide(node);
  known.set(node, result);
  return result;
}

function decide(node: Node): boolean {
  const [x, w] = node.inputs;
  switch (node.op.kind) {
    case "conv2d":
      return isOp(w!, "constant");
    case "resize":
      return node.op.fn === "bilinear" ? (node.shape[3] ?? 0) <= FEW_CHANNELS : hasChannelsFirst(x!);
    case "pool":
    case "groupNorm":
    case "unary":
      return hasChannelsFirst(x!);
    case "binary":
      return (
        node.dtype === "float32" &&
        node.inputs.some(hasChannelsFirst) &&
        node.inputs.every((input) => sameNumbers(input.shape, node.shape) || isPerChannel(input))
      );
    case "concat":
      return node.op.axis === 3 && node.inputs.every(hasChannelsFirst);
    default:
      return false;
  }
}

/** Whether an operand is one number, or one for each channel, or one for each channel of each image. */
export function isPerChannel({ shape }: Node): boolean {
  return shape.length === 4
    ? shape[1] === 1 && shape[2] === 1
    : shape.length < 4 && shape.slice(0, -1).every((size) => size === 1);
}
