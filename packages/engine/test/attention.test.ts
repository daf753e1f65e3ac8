import { attention, compile } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { isOp, operationsOf, type Graph } from "../src/ir/graph.js";
import { trace } from "../src/trace/trace.js";
import { fieldsOf } from "../src/signature.js";
import { caseOf, expectAgreement, expectDerivatives } from "./oracle.js";
import { TOLERANCE } from "./tolerance.js";
import { Draws } from "./values.js";

const draws = new Draws("attention");
const PRODUCT = { tolerance: TOLERANCE.product, gradient: TOLERANCE.product };
const operands = (N: number, Q: number, K: number, D: number, E: number) => ({
  q: draws.normal([N, Q, D]),
  k: draws.normal([N, K, D]),
  v: draws.normal([N, K, E]),
});

const cases = [
  caseOf("attention", operands(3, 4, 5, 2, 6), ({ q, k, v }) => attention(q, k, v, 0.7), PRODUCT),
  caseOf(
    "attention of one head, query and key",
    operands(1, 1, 1, 1, 1),
    ({ q, k, v }) => attention(q, k, v, 2),
    PRODUCT,
  ),
  caseOf(
    "attention to two ranges of keys",
    { ...operands(2, 3, 4, 5, 5), more: draws.normal([2, 2, 5]) },
    ({ q, k, v, more }) => attention(q, tf.concat([k, more], 1), tf.concat([v, more], 1), 0.4),
    PRODUCT,
  ),
  ...[
    [1, 1, 5],
    [4, 5],
    [3, 4, 5],
  ].map((shape) =>
    caseOf(
      "attention with a mask",
      { ...operands(3, 4, 5, 2, 6), mask: draws.normal(shape) },
      ({ q, k, v, mask }) => attention(q, k, v, 0.7, mask.clone()),
      { ...PRODUCT, by: ["q", "k", "v"] },
    ),
  ),
];

/** As it is where tfjs computes by itself: what traced programs are compared with. */
describe("attention()", () => {
  test("is what tfjs composes, forward and backward, on every engine", () => expectAgreement(cases));

  test("has the gradients that central differences have", () => expectDerivatives(cases));

  test("is one operation of a graph, and three for its gradients", () => {
    const spec = { dtype: "float32", shape: [2, 3, 4] } as const;
    const fn = (_state: unknown, inputs: object) => {
      const { q, k, v } = inputs as Record<"q" | "k" | "v", tf.Tensor3D>;
      const loss = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor): tf.Scalar =>
        tf.sum(attention(q as tf.Tensor3D, k as tf.Tensor3D, v as tf.Tensor3D, 0.5));
      const [dq, dk, dv] = tf.grads(loss)([q, k, v]) as [tf.Tensor, tf.Tensor, tf.Tensor];
      return { outputs: { y: attention(q, k, v, 0.5), dq, dk, dv } };
    };
    const graph: Graph = trace("attention", fn, [], fieldsOf({ q: spec, k: spec, v: spec }, "inputs"));
    const nodes = operationsOf(graph);
    expect(nodes.filter((node) => isOp(node, "attention"))).toHaveLength(2);
    expect(nodes.flatMap((node) => (isOp(node, "attentionGrad") ? [node.op.of] : []))).toEqual(["q", "k", "v"]);
    expect(nodes.some(({ op }) => op.kind === "softmax" || op.kind === "matmul")).toBe(false);
  });

  test("of more scores than are kept is the same, part by part", async () => {
    const [N, T, D] = [2, 1536, 4]; // 4.7 million scores; 4.2 are kept
    const [q, k, v, dy] = [1, 2, 3, 4].map(() => draws.normal([N, T, D]));
    const inputs = { q: q!, k: k!, v: v!, dy: dy! };
    await using program = await compile(
      (_state, { q, k, v, dy }) => {
        const composed = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor): tf.Tensor =>
          tf.matMul(tf.softmax(tf.mul(tf.matMul(q, k, false, true), 0.5)), v);
        const whole = tf.valueAndGrads(composed)([q, k, v], dy);
        const parts = tf.valueAndGrads((...[q, k, v]: tf.Tensor[]) =>
          attention(q as tf.Tensor3D, k as tf.Tensor3D, v as tf.Tensor3D, 0.5),
        )([q, k, v], dy);
        const errors = [whole.value, ...whole.grads].map((expected, i) =>
          tf.max(tf.abs(tf.sub(expected, [parts.value, ...parts.grads][i]!))),
        );
        return { outputs: { errors: tf.stack(errors), size: tf.max(tf.abs(whole.value)) } };
      },
      { inputs },
      { name: "attention", session: { threads: 1 } },
    );
    const barriers = operationsOf(program.graph!).filter(({ op }) => op.kind === "barrier");
    expect(barriers.length).toBeGreaterThan(0);
    const { errors, size } = await program.run(
      Object.fromEntries(Object.entries(inputs).map(([name, { data }]) => [name, data])) as never,
    );
    expect(size[0]).toBeGreaterThan(0.01);
    for (const error of errors) expect(error).toBeLessThan(2e-6); // sums of 1536 terms of up to 0.05
  });
});
