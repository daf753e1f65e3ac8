import type { Node } from "../ir/graph.js";
import { makeNode } from "../ir/infer.js";
import { reuseAttentionOutput } from "./reuse-attention-output.js";
import * as t from "./testing.js";

const [H, M, T, D] = [2, 3, 6, 4];

/** Attention weights P over T keys and their output O, and the sums over rows of dP·P. */
function attention({ transposeB = false, alpha = 1, channels = D, groups = H } = {}) {
  const P = makeNode({ kind: "softmax" }, [t.input("scores", [H, M, T])]);
  const V = t.input("v", transposeB ? [groups, channels, T] : [groups, T, channels]);
  const dO = t.input("dO", [H, M, channels]);
  const O = t.matmul(P, V, { transposeB });
  const dP = t.matmul(dO, V, { transposeB: !transposeB, alpha });
  return { P, V, O, dP, dO, sums: (product: Node, keepDims = true) => t.reduce("sum", product, [2], keepDims) };
}

/** What the pass makes of it sums over D columns, not over T. */
function reuses({ O, dP, P, sums }: ReturnType<typeof attention>, product = t.mul(dP, P), scaled = false): void {
  for (const keepDims of [true, false]) {
    const graph = t.graphOf(O, product, sums(product, keepDims));
    const from = ["softmax", "matmul", "matmul", "mul", "reduce.sum"];
    const result = t.expectRewritten(graph, reuseAttentionOutput, {
      from,
      to: [...from, "mul", ...(scaled ? ["mul"] : [])],
    });
    const total = result.outputs[2]!.node;
    const sum = scaled ? total.inputs[0]! : total;
    expect(sum.inputs[0]!.shape).toEqual([H, M, D]);
  }
}

describe("reuseAttentionOutput()", () => {
  test("sums dO·O where the gradient of softmax sums dP·P", () => {
    reuses(attention());
    reuses(attention({ transposeB: true }));
    const one = attention();
    reuses(one, t.mul(one.P, one.dP));
  });

  test("takes values that all heads share", () => {
    reuses(attention({ groups: 1 }));
  });

  test("keeps the factor of a scaled product", () => {
    reuses(attention({ alpha: 0.5 }), undefined, true);
  });

  test("does nothing where there is no output to reuse, or it is no smaller", () => {
    const { P, O, dP, dO, V, sums } = attention();
    t.expectUntouched(t.graphOf(sums(t.mul(dP, P))), reuseAttentionOutput);
    const other = t.matmul(makeNode({ kind: "softmax" }, [t.input("other", [H, M, T])]), V);
    t.expectUntouched(t.graphOf(other, sums(t.mul(dP, P))), reuseAttentionOutput);
    t.expectUntouched(t.graphOf(O, t.reduce("sum", t.mul(dP, P), [1])), reuseAttentionOutput);
    t.expectUntouched(t.graphOf(O, t.reduce("max", t.mul(dP, P), [2])), reuseAttentionOutput);
    t.expectUntouched(t.graphOf(O, sums(t.add(dP, P))), reuseAttentionOutput);
    const withAddend = makeNode(dP.op, [dO, V, t.input("c", [T])]);
    t.expectUntouched(t.graphOf(O, sums(t.mul(withAddend, P))), reuseAttentionOutput);
    const wide = attention({ channels: T });
    t.expectUntouched(t.graphOf(wide.O, wide.sums(t.mul(wide.dP, wide.P))), reuseAttentionOutput);
  });
});
