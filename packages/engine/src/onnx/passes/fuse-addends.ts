import { isOp, sameNumbers, sizeOf, type Graph, type Node } from "../../ir/graph.js";
import { hasChannelsFirst } from "../channels-first.js";
import { firstOf, rewrite, type Rule } from "../../passes/rewrite.js";

/** A sum with a product or a convolution that nothing else uses becomes that operation's own addend: one pass less. */
export function fuseAddends(graph: Graph): Graph {
  return rewrite(graph, firstOf(addendOfProduct, biasOfConvolution, throughReshape));
}

/** The operands of an addition of float32 tensors, each in either place. */
function terms(node: Node): (readonly [Node, Node])[] {
  if (!isOp(node, "binary") || node.op.fn !== "add" || node.dtype !== "float32") return [];
  const [a, b] = node.inputs as [Node, Node];
  return [
    [a, b],
    [b, a],
  ];
}

const addendOfProduct: Rule = (node, { make, uses }) => {
  for (const [product, addend] of terms(node)) {
    if (!isOp(product, "matmul") || product.inputs.length > 2 || uses(product) > 1) continue;
    // Batched products have no addend of their own.
    if (product.shape.length > 2 || !sameNumbers(product.shape, node.shape)) continue;
    return make(product.op, ...product.inputs, addend);
  }
  return undefined;
};

const biasOfConvolution: Rule = (node, { make, uses }) => {
  for (const [convolution, bias] of terms(node)) {
    if (!isOp(convolution, "conv2d") || convolution.inputs.length > 2 || uses(convolution) > 1) continue;
    const channels = convolution.shape.at(-1) ?? 0;
    if (
      sizeOf(bias.shape) !== channels ||
      bias.shape.at(-1) !== channels ||
      !sameNumbers(convolution.shape, node.shape)
    )
      continue;
    const flat = bias.shape.length === 1 ? bias : make({ kind: "reshape", shape: [channels] }, bias);
    return make(convolution.op, ...convolution.inputs, flat);
  }
  return undefined;
};

/** reshape(product) + addend, where the addend can be reshaped back, or is one number per column. */
const throughReshape: Rule = (node, { make, uses }) => {
  for (const [reshaped, addend] of terms(node)) {
    if (!isOp(reshaped, "reshape") || uses(reshaped) > 1 || !sameNumbers(reshaped.shape, node.shape)) continue;
    const product = reshaped.inputs[0] as Node;
    if (!isOp(product, "matmul") || product.inputs.length > 2 || uses(product) > 1 || product.shape.length !== 2)
      continue;
    const columns = product.shape[1] ?? 0;
    const whole = sameNumbers(addend.shape, node.shape);
    if (whole && hasChannelsFirst(addend)) continue; // the sum stays among its like, and the product comes to it
    const row =
      sizeOf(addend.shape) === columns && addend.shape.at(-1) === columns && reshaped.shape.at(-1) === columns;
    if (!whole && !row) continue;
    const back = make({ kind: "reshape", shape: whole ? product.shape : [columns] }, addend);
    return make(reshaped.op, make(product.op, ...product.inputs, back));
  }
  return undefined;
};
