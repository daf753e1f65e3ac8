import { isOp, type Graph, type Node } from "../../ir/graph.js";
import { evaluateNode } from "../../ir/interpret.js";
import { rewrite, type Rule } from "../../passes/rewrite.js";

/**
 * Constants that products transpose are transposed beforehand. OpenVINO packs a product's constant once for all
 * products that have it, whichever way round they take it: 2026.4 multiplies by the wrong one where a constant is used
 * both ways.
 */
export function turnConstants(graph: Graph): Graph {
  const turned = new Map<Node, Node>();
  const rule: Rule = (node, { make }) => {
    if (!isOp(node, "matmul")) return undefined;
    const { transposeA, transposeB } = node.op;
    const [a, b, ...addend] = node.inputs as [Node, Node, ...Node[]];
    const turn = (x: Node): Node => {
      let found = turned.get(x);
      if (!found && isOp(x, "constant")) {
        const axes = x.shape.map((_, axis) => axis);
        const permutation = [...axes.slice(0, -2), axes.length - 1, axes.length - 2];
        const { data } = evaluateNode({ kind: "transpose", permutation }, [x.op]);
        const shape = permutation.map((axis) => x.shape[axis] ?? 1);
        turned.set(x, (found = make({ kind: "constant", dtype: x.dtype, shape, data })));
      }
      return found ?? x;
    };
    if (transposeA && isOp(a, "constant")) return make({ ...node.op, transposeA: false }, turn(a), b, ...addend);
    if (transposeB && isOp(b, "constant")) return make({ ...node.op, transposeB: false }, a, turn(b), ...addend);
    return undefined;
  };
  return rewrite(graph, rule);
}
