import * as tf from "@tensorflow/tfjs-core";
import type { Graph, Node } from "../ir/graph.js";
import { groupNorm, rmsNorm } from "../ops/norm.js";
import { trace } from "../trace/trace.js";
import { fuseNorms } from "./fuse-norms.js";
import {
  add,
  constant,
  expectSameMeaning,
  expectUntouched,
  graphOf,
  input,
  matmul,
  mul,
  operations,
  reduce,
  reshape,
  scalar,
  sub,
  unary,
} from "./testing.js";

type Function = (inputs: Record<string, tf.Tensor>) => tf.Tensor;

/** What is traced of a function over inputs of these shapes. */
const traced = (shapes: Readonly<Record<string, readonly number[]>>, fn: Function): Graph => {
  const fields = Object.entries(shapes).map(([name, shape]) => ({ name, dtype: "float32", shape }) as const);
  return trace("test", (_, inputs) => ({ outputs: { y: fn(inputs as Record<string, tf.Tensor>) } }), [], fields);
};

describe("fuseNorms()", () => {
  test.each([
    [[4, 6], [6]],
    [[2, 3, 5], [5]],
    [[3, 1], [1]],
  ])("makes one operation of rmsNorm() of %j", (x, w) => {
    const graph = traced({ x, w }, ({ x, w }) => rmsNorm(x!, w as tf.Tensor1D, 0.01));
    const fused = fuseNorms(graph);
    expect(operations(fused).filter((name) => name !== "reshape")).toEqual(["rmsNorm"]);
    expectSameMeaning(graph, fused, 1e-7); // eps is a float32 in the graph
  });

  test.each([
    [[2, 3, 4, 6], 3],
    [[1, 2, 1, 4], 4],
    [[3, 1, 1, 4], 1],
    [[1, 2, 2, 2], 1],
  ])("makes one operation of groupNorm() of %j in %i groups", (x, groups) => {
    const shapes = { x, scale: [x[3]!], shift: [x[3]!] };
    const graph = traced(shapes, ({ x, scale, shift }) =>
      groupNorm(x as tf.Tensor4D, scale as tf.Tensor1D, shift as tf.Tensor1D, groups, 0.01),
    );
    const fused = fuseNorms(graph);
    expect(operations(fused)).toEqual(["groupNorm"]);
    expectSameMeaning(graph, fused, 1e-6); // shares are float32 there
  });

  test("leaves both as they are where gradients need the parts", () => {
    const rows = traced({ x: [4, 6], w: [6] }, ({ x, w }) => {
      const { value, grads } = tf.valueAndGrads((x, w) => tf.sum(tf.square(rmsNorm(x, w as tf.Tensor1D, 0.01))))([
        x!,
        w!,
      ]);
      return tf.add(tf.mul(grads[0]!, grads[1]!), value);
    });
    expectUntouched(rows, fuseNorms);
    const images = traced({ x: [2, 3, 4, 6], s: [6] }, ({ x, s }) => {
      const norm = (x: tf.Tensor, s: tf.Tensor) =>
        groupNorm(x as tf.Tensor4D, s as tf.Tensor1D, s as tf.Tensor1D, 2, 0.01);
      const { value, grads } = tf.valueAndGrads((x, s) => tf.sum(tf.square(norm(x, s))))([x!, s!]);
      return tf.add(tf.mul(grads[0]!, grads[1]!), value);
    });
    expectUntouched(images, fuseNorms);
  });

  test("leaves sums over other parts of an image", () => {
    const [x, w] = [input("x", [2, 3, 4, 6]), input("w", [6])];
    const blocks = (width: number, share: number) =>
      Array.from({ length: 36 }, (_, i) => (Math.floor(i / 6 / width) === Math.floor((i % 6) / width) ? share : 0));
    const other = input("other", [2, 3, 4, 6]);
    const norm = (
      first: readonly number[],
      second = first,
      { axes = [1, 2], squared = true, of = x, shown = false } = {},
    ) => {
      const mean = (of: Node, matrix: readonly number[]) =>
        reshape(matmul(reshape(reduce("sum", of, axes, true), [2, 6]), constant(matrix, [6, 6])), [2, 1, 1, 6]);
      const centred = sub(x, mean(of, first));
      const variance = mean(unary("square", squared ? centred : x), second);
      const normed = mul(centred, mul(unary("rsqrt", add(variance, scalar(0.5))), w));
      return graphOf(add(normed, w), ...(shown ? [centred] : []));
    };
    const share = 1 / (3 * 4 * 2);
    const pairs = blocks(2, share);
    const fused = fuseNorms(norm(pairs));
    expect(operations(fused)).toEqual(["groupNorm"]);
    expect(fused.outputs[0]!.node.op).toMatchObject({ groups: 3, eps: 0.5 });
    expectSameMeaning(norm(pairs), fused, 1e-6); // the share is a float32
    expectUntouched(norm(pairs, blocks(3, 1 / (3 * 4 * 3))), fuseNorms);
    expectUntouched(norm(blocks(2, 2 * share)), fuseNorms);
    expectUntouched(norm(blocks(6, 0)), fuseNorms);
    expectUntouched(norm(pairs.with(35, 0)), fuseNorms);
    expectUntouched(norm(pairs.with(30, share)), fuseNorms);
    expectUntouched(norm(pairs, pairs, { squared: false }), fuseNorms);
    expectUntouched(norm(pairs, pairs, { of: other }), fuseNorms);
    expectUntouched(norm(pairs, pairs, { shown: true }), fuseNorms); // what was centred is wanted itself
  });

  test("leaves what is nearly such a norm", () => {
    const [x, other, w] = [input("x", [3, 4]), input("other", [3, 4]), input("w", [4])];
    const norm = (power: Node, by = w) => graphOf(mul(mul(x, unary("rsqrt", add(power, scalar(0.5)))), by));
    const mean = (of: Node, axis = 1) => reduce("mean", unary("square", of), [axis], true);
    expect(operations(fuseNorms(norm(mean(x))))).toEqual(["rmsNorm"]);
    expectUntouched(norm(mean(other)), fuseNorms);
    expectUntouched(norm(mean(x, 0)), fuseNorms);
    expectUntouched(norm(reduce("sum", unary("square", x), [1], true)), fuseNorms);
    expectUntouched(norm(reduce("mean", x, [1], true)), fuseNorms);
    expectUntouched(norm(mean(x), input("w", [3, 4])), fuseNorms);
    const normed = mul(x, unary("rsqrt", add(mean(x), scalar(0.5))));
    expectUntouched(graphOf(mul(normed, w), normed), fuseNorms); // what was not scaled is wanted itself
  });
});
