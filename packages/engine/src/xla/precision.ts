import { isOp, type Node, type OpKind } from "../ir/graph.js";
import { isInFloat32 } from "../ops/float32.js";
import type { ProductPrecision } from "./builder.js";

/**
 * What each operation's operands are when a program is compiled for `bf16`. Results are float32 in every case, and so
 * are sums on the way to them: what is rounded is what gets multiplied.
 *
 * It follows PyTorch's autocast, under which the reference trains (docs/reference.md, section 9): `linear`, `conv2d`
 * and attention take bfloat16, normalizations, softmax, losses and all of the optimizer float32. Departs from it: there
 * the results of products are bfloat16 too, and so is what is computed of them elementwise, up to the next float32.
 */
const OPERANDS: { readonly [K in OpKind]: "bfloat16" | "float32" } = {
  matmul: "bfloat16", // linear, and both products of attention
  conv2d: "bfloat16",
  conv2dInputGrad: "bfloat16",
  conv2dFilterGrad: "bfloat16",

  attention: "bfloat16", // its two products
  attentionGrad: "bfloat16",
  softmax: "float32", // of scores that are float32
  rmsNorm: "float32",
  groupNorm: "float32",
  reduce: "float32", // means of losses, norms of gradients
  unary: "float32", // activations; the optimizer's moments
  binary: "float32", // the residual stream; weights, moments, EMA
  segmentSum: "float32",
  cumsum: "float32",
  pool: "float32",
  poolGrad: "float32",
  resize: "float32", // its products are with tables of shares
  resizeGrad: "float32",

  // Nothing is added or multiplied.
  input: "float32",
  constant: "float32",
  compare: "float32",
  select: "float32",
  cast: "float32",
  arg: "float32",
  patches: "float32",
  concat: "float32",
  slice: "float32",
  pad: "float32",
  broadcast: "float32",
  tile: "float32",
  transpose: "float32",
  reshape: "float32",
  gather: "float32",
  barrier: "float32",
};

/** How the products of an operation are rounded in a program of this precision. */
export function productPrecision(node: Node, program: ProductPrecision): ProductPrecision {
  const mayRound = OPERANDS[node.op.kind] === "bfloat16" && !isInFloat32(node.scope) && !isThin(node);
  return mayRound ? program : "float32";
}

/**
 * Whether a product has a side of length one: it gains nothing from units that multiply matrices. The sums of a
 * normalization's gradient are such products, and what multiplies the raw timestep, which needs more digits than
 * bfloat16 has.
 */
function isThin(node: Node): boolean {
  if (!isOp(node, "matmul")) return false;
  const [a] = node.inputs;
  const inner = a?.shape.at(node.op.transposeA ? -2 : -1);
  return inner === 1 || node.shape.at(-1) === 1 || node.shape.at(-2) === 1;
}
