/** Programs whose filters are constants keep the channels first between convolutions, and compute the same. */
import { compile, groupNorm, spec, type TensorSpec, type Values } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { lowerToOnnx } from "../src/onnx/lower.js";
import { Draws } from "./values.js";

const draws = new Draws("channels first");
const [N, H, W, C] = [2, 9, 11, 3];
const x = draws.normal([N, H, W, C]);

/** Weights: constants in one program, state in the other. */
const weights = {
  first: draws.normal([3, 3, C, 8]),
  point: draws.normal([1, 1, 8, 6]),
  down: draws.normal([3, 3, 8, 4]),
  alone: draws.normal([1, 1, C, 5]),
  bias: draws.normal([8]),
  scale: draws.normal([1, 1, 1, 10]),
  gain: draws.normal([10]),
};
type Weights = { readonly [Name in keyof typeof weights]: tf.Tensor };

const convolve = (x: tf.Tensor, w: tf.Tensor, strides = 1): tf.Tensor4D =>
  tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, strides, "same");

/** All that may happen between convolutions, and results that leave on the way. */
const network = (w: Weights, { x }: { x: tf.Tensor4D }) => {
  const resized = tf.mul(tf.image.resizeBilinear(x, [12, 10], false, true), 2); // few channels
  const first = tf.relu(tf.add(convolve(resized, w.first), w.bias));
  const pooled = tf.maxPool(first as tf.Tensor4D, 3, 2, "valid");
  const around = tf.avgPool(pooled, 3, 1, "same");
  const beside = tf.concat([convolve(around, w.point), convolve(pooled, w.down)], 3); // (N, 5, 4, 10)
  const scaled = tf.sub(tf.mul(beside, w.scale), beside);
  const corner = tf.slice(tf.concat([x, x, x, x], 3), 0, [N, 5, 4, 10]); // channels last
  return {
    outputs: {
      pooled,
      scaled,
      mean: tf.mean(scaled, [1, 2]),
      spread: tf.sum(tf.square(scaled), [1, 2]),
      rows: tf.mean(first, [1]),
      kept: tf.mean(scaled, [1, 2], true),
      perImage: tf.sub(scaled, tf.sum(scaled, [1, 2], true)),
      doubled: tf.image.resizeNearestNeighbor(scaled as tf.Tensor4D, [10, 8]),
      uneven: tf.image.resizeNearestNeighbor(scaled as tf.Tensor4D, [7, 6], false, true),
      corners: tf.image.resizeNearestNeighbor(scaled as tf.Tensor4D, [10, 8], true),
      normed: tf.avgPool(
        tf.relu(groupNorm(scaled as tf.Tensor4D, w.gain as tf.Tensor1D, w.gain as tf.Tensor1D, 2, 1e-3)),
        2,
        1,
        "valid",
      ),
      mixed: tf.relu(tf.add(corner, scaled)),
      below: tf.concat([beside, scaled as tf.Tensor4D], 1),
      alone: tf.relu(convolve(x, w.alone)),
    },
  };
};

const run = async (engine: "onnx" | "cpu", constants: boolean) => {
  const specs = Object.entries(weights).map(([name, { shape }]): [string, TensorSpec] => [name, spec(shape)]);
  const state = Object.fromEntries(specs) as Record<keyof Weights, TensorSpec>;
  const values = Object.fromEntries(Object.entries(weights).map(([name, { data }]) => [name, data]));
  const program = await compile(
    network,
    { state, inputs: { x: spec(x.shape) } },
    {
      engine,
      ...(constants ? { constants: values } : { initialState: values }),
    },
  );
  const outputs = (await program.run({ x: x.data })) as Values<Record<string, tf.Tensor>>;
  await program.dispose();
  return { outputs, graph: program.graph };
};

/** How often an ONNX operator is in the file of a graph. */
const count = (graph: Parameters<typeof lowerToOnnx>[0], opType: string): number =>
  lowerToOnnx(graph, "onnxruntime").graph.node.filter((node) => node.opType === opType).length;

describe("convolutions with constant filters", () => {
  test("compute what tfjs computes, with everything that stands between them", async () => {
    const { outputs: expected } = await run("cpu", true);
    const { outputs } = await run("onnx", true);
    expect(Object.keys(outputs)).toEqual(Object.keys(expected));
    for (const [name, values] of Object.entries(expected)) {
      const actual = outputs[name]!;
      expect(actual).toHaveLength(values.length);
      const largest = Math.max(...[...values].map(Math.abs));
      values.forEach((value, i) => expect(Math.abs(actual[i]! - value)).toBeLessThan(1e-5 * largest)); // sums of 72
    }
  });

  test("are transposed where the program needs it alone", async () => {
    const { graph } = await run("onnx", true);
    expect(count(graph!, "Conv")).toBe(3);
    // x and the corner on their way in; pooled, beside, scaled, what was made of it (five), mixed and the first map on
    // their
    // way out; five for the filters and one for the resize's columns, which are constants and folded.
    expect(count(graph!, "Transpose")).toBe(18);
    expect([count(graph!, "Resize"), count(graph!, "Gather")]).toEqual([1, 4]); // whole factors are one operation
    expect(count(graph!, "Gemm")).toBe(1); // the convolution of one pixel that stands alone
  });

  test("are as before where filters are state", async () => {
    const [{ outputs }, { outputs: expected }] = [await run("onnx", false), await run("cpu", true)];
    for (const [name, values] of Object.entries(expected)) {
      const largest = Math.max(...[...values].map(Math.abs));
      values.forEach((value, i) => expect(Math.abs(outputs[name]![i]! - value)).toBeLessThan(1e-5 * largest));
    }
  });
});
