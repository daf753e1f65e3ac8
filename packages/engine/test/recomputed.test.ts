import { compile, recomputed, rmsNorm, silu } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { operationsOf, type Graph, type Node } from "../src/ir/graph.js";
import { caseOf, expectAgreement, expectDerivatives } from "./oracle.js";
import { TOLERANCE } from "./tolerance.js";
import { Draws } from "./values.js";

const draws = new Draws("recomputed");
const NETWORK = { tolerance: TOLERANCE.network, gradient: TOLERANCE.network };
const values = {
  x: draws.normal([3, 4]),
  y: draws.normal([2, 4]),
  w: draws.normal([3, 4, 4]),
  s: draws.normal([3, 4]),
};

interface Inputs {
  readonly x: tf.Tensor2D;
  readonly y: tf.Tensor2D;
}

/** Two results; w in both, s in one, and a constant that the part is given. */
function part({ x, y }: Inputs, w: tf.Tensor2D, s: tf.Tensor1D, table: tf.Tensor2D): Inputs {
  const normed = rmsNorm(tf.mul(x, table), s, 1e-5);
  return { x: tf.add(x, silu(tf.matMul(normed, w))), y: tf.tanh(tf.matMul(y, w, false, true)) };
}

const tableOf = (): tf.Tensor2D =>
  tf.tensor2d(
    Float32Array.from({ length: 12 }, (_, i) => 1 + i / 12),
    [3, 4],
  );

/** Three parts, one after the other, with weights of their own. */
function layers(again: boolean, { x, y, ...weights }: Inputs & { w: tf.Tensor3D; s: tf.Tensor2D }): tf.Tensor[] {
  const [ws, ss] = [tf.unstack(weights.w) as tf.Tensor2D[], tf.unstack(weights.s) as tf.Tensor1D[]];
  let at: Inputs = { x, y };
  for (let i = 0; i < 3; i++) {
    const [w, s] = [ws[i]!, ss[i]!];
    at = again
      ? recomputed(
          (inputs: Inputs, use, { table }) => part(inputs, use(w), use(s), table),
          { ...at },
          { table: tableOf() },
        )
      : part(at, w, s, tableOf());
  }
  return [at.x, at.y];
}

const onlyOne = caseOf(
  "one result of one input",
  { x: values.x, w: draws.normal([4, 4]) },
  ({ x, w }) => recomputed(({ x }: { x: tf.Tensor2D }, use) => ({ y: tf.sin(tf.matMul(x, use(w))) }), { x }, {}).y,
  NETWORK,
);
const several = caseOf("several results of several layers", values, (tensors) => layers(true, tensors), NETWORK);

/** Loss and gradients of the layers, compiled. */
async function run(again: boolean) {
  await using program = await compile(
    (_state, tensors) => {
      const loss = (x: tf.Tensor, y: tf.Tensor, w: tf.Tensor, s: tf.Tensor): tf.Scalar =>
        tf.addN<tf.Scalar>(layers(again, { x, y, w, s } as never).map((result) => tf.sum(tf.square(result))));
      const { x, y, w, s } = tensors as Record<string, tf.Tensor>;
      const { value, grads } = tf.valueAndGrads(loss)([x!, y!, w!, s!]);
      return { outputs: { value, ...Object.fromEntries(grads.map((gradient, i) => [`d${i}`, gradient])) } };
    },
    { inputs: values },
    { name: "layers", session: { threads: 1 } },
  );
  const inputs = Object.fromEntries(Object.entries(values).map(([name, { data }]) => [name, data]));
  return { outputs: await program.run(inputs as never), graph: program.graph as Graph };
}

describe("recomputed()", () => {
  test("is the part itself, with its gradients, on every engine", () => expectAgreement([onlyOne, several]));

  test("has the gradients that central differences have", () => expectDerivatives([onlyOne, several]));

  test("changes no bit of a loss and its gradients", async () => {
    const [kept, again] = [await run(false), await run(true)];
    expect(again.outputs).toEqual(kept.outputs);
  });

  test("computes each part again, after the gradients of the part behind it", async () => {
    const [kept, again] = [operationsOf((await run(false)).graph), operationsOf((await run(true)).graph)];
    const tanhs = (nodes: readonly Node[]): Node[] => nodes.filter(({ op }) => op.kind === "unary" && op.fn === "tanh");
    expect([tanhs(kept).length, tanhs(again).length]).toEqual([3, 6]);
    const second = tanhs(again).filter((node) => depends(node, ({ op }) => op.kind === "barrier"));
    expect(second).toHaveLength(3);
    // The last part is computed again first; the one before it waits for that, and so on.
    for (const node of second) {
      const others = second.filter((other) => other !== node);
      const before = others.filter((other) => depends(node, (found) => found === other));
      const after = others.filter((other) => depends(other, (found) => found === node));
      expect(before.length + after.length).toBe(2);
    }
  });

  test("gives zeros where a result does not depend on a weight", async () => {
    const unused = caseOf(
      "unused",
      { x: values.x, s: draws.normal([4]) },
      ({ x, s }) =>
        recomputed(
          ({ x }: { x: tf.Tensor2D }, use) => {
            use(s);
            return { y: tf.exp(x) };
          },
          { x },
          {},
        ).y,
      { ...NETWORK, by: ["x", "s"] },
    );
    await expectAgreement([unused]);
  });

  test("leaves what it was called with, and no tensor of its own", () => {
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const x = tf.ones<tf.Rank.R2>([2, 2]);
      const outer = (x: tf.Tensor): tf.Tensor =>
        recomputed(({ x }: { x: tf.Tensor }) => ({ y: tf.square(x) }), { x }, {}).y;
      expect(Array.from(tf.grad(outer)(x).dataSync())).toEqual([2, 2, 2, 2]);
      expect(Array.from(x.dataSync())).toEqual([1, 1, 1, 1]);
      // A gradient beside it is not disturbed.
      expect(
        tf
          .grad((x) => tf.mul(outer(x), x))(x)
          .dataSync()[0],
      ).toBe(3);
    });
    expect(tf.memory().numTensors).toBe(before);
  });
});

/** Whether a node is made of one that is looked for. */
function depends(node: Node, isIt: (node: Node) => boolean, seen = new Set<Node>()): boolean {
  if (seen.has(node)) return false;
  seen.add(node);
  return node.inputs.some((input) => isIt(input) || depends(input, isIt, seen));
}
