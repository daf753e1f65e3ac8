import { isOp, sameNumbers, sizeOf, type Graph, type Node, type NodeOf } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { isBinary, operand, scalarOp } from "./nodes.js";
import { orderedNodes, replaceNodes } from "./rewrite.js";
import { isNormal } from "./scale.js";

/**
 * The gradient of softmax sums dP·P over every row of the attention weights P. Where P went into O = P·V, and dP =
 * dO·Vᵀ came back from there, the same sums are those of dO·O, which has as many columns as a head has channels, not as
 * many as there are keys:
 *
 *     Σⱼ dPᵢⱼ Pᵢⱼ  =  Σⱼ Σ_d dOᵢ_d Vⱼ_d Pᵢⱼ  =  Σ_d dOᵢ_d Oᵢ_d
 *
 * Source: Dao et al. 2022 (FlashAttention), arXiv:2205.14135, appendix B.2. It holds for any P; rounding differs.
 */
export function reuseAttentionOutput(graph: Graph): Graph {
  const products = new Map<string, NodeOf<"matmul">>();
  const keyOf = (a: Node, b: Node, transposeB: boolean): string => `${a.id},${b.id},${transposeB}`;
  if (!orderedNodes(graph).some((node) => isRowSum(node))) return graph;
  return replaceNodes(graph, (node, { scope }) => {
    if (isPlainProduct(node)) {
      const [a, b] = node.inputs as [Node, Node];
      products.set(keyOf(a, b, node.op.transposeB), node);
      return node;
    }
    if (!isRowSum(node)) return node;
    const [x, y] = operand(node).inputs as [Node, Node];
    for (const [dP, P] of [
      [x, y],
      [y, x],
    ] as const) {
      if (!isPlainProduct(dP) || !sameNumbers(dP.shape, P.shape)) continue;
      const [dO, V] = dP.inputs as [Node, Node];
      const O = products.get(keyOf(P, V, !dP.op.transposeB));
      if (!O || !sameNumbers(O.shape, dO.shape) || sizeOf(O.shape) >= sizeOf(P.shape)) continue;
      const scale = dP.op.alpha / O.op.alpha;
      if (!isNormal(scale)) continue;
      const product = makeNode({ kind: "binary", fn: "mul" }, [dO, O], scope);
      const sum = makeNode(node.op, [product], scope);
      return scale === 1
        ? sum
        : makeNode({ kind: "binary", fn: "mul" }, [sum, makeNode(scalarOp(scale, "float32"), [], scope)], scope);
    }
    return node;
  });
}

/** A sum over the last axis of a product of two tensors, one of them a matmul. */
function isRowSum(node: Node): node is NodeOf<"reduce"> {
  if (!isOp(node, "reduce") || node.op.fn !== "sum") return false;
  const x = operand(node);
  const last = x.shape.length - 1;
  return isBinary(x, "mul") && sameNumbers(node.op.axes, [last]) && x.inputs.some(isPlainProduct);
}

/** alpha · a × b or alpha · a × bᵀ */
function isPlainProduct(node: Node): node is NodeOf<"matmul"> {
  return isOp(node, "matmul") && node.inputs.length === 2 && !node.op.transposeA;
}
