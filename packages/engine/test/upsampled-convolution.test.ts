/** A convolution of doubled pixels is four convolutions of the pixels, where its filter is a constant. */
import { compile, spec } from "@madformer/engine";
import * as tf from "@tensorflow/tfjs-core";
import { lowerToOnnx } from "../src/onnx/lower.js";
import { Draws } from "./values.js";

const draws = new Draws("upsampled convolution");
const [N, H, W, C, O] = [2, 3, 4, 5, 6];
const x = draws.normal([N, H, W, C]);
const filter = draws.normal([3, 3, C, O]);
const bias = draws.normal([O]);

type Body = (x: tf.Tensor4D, filter: tf.Tensor4D, bias: tf.Tensor1D) => tf.Tensor;

/** What a program makes of x on both engines, and how often an ONNX operator is in it. */
async function both(body: Body, constants = true) {
  const state = { filter: spec(filter.shape), bias: spec(bias.shape) };
  const values = { filter: filter.data, bias: bias.data };
  const run = async (engine: "onnx" | "cpu") => {
    await using program = await compile(
      ({ filter, bias }, { x }) => ({
        outputs: { y: body(x, filter, bias) },
      }),
      { state, inputs: { x: spec(x.shape) } },
      { engine, ...((constants ? { constants: values } : { initialState: values }) as object) },
    );
    const { y } = await program.run({ x: x.data });
    return { y: y as Float32Array, graph: program.graph };
  };
  const [{ y, graph }, { y: expected }] = [await run("onnx"), await run("cpu")];
  const largest = Math.max(...expected.map(Math.abs));
  expect(y).toHaveLength(expected.length);
  // Sums of 9 · 5 terms, four of them added up beforehand.
  expected.forEach((value, i) => expect(Math.abs(y[i]! - value)).toBeLessThan(1e-5 * largest));
  return (opType: string) => lowerToOnnx(graph!, "onnxruntime").graph.node.filter((n) => n.opType === opType).length;
}

const doubled = (x: tf.Tensor4D, halfPixel = false): tf.Tensor4D =>
  tf.image.resizeNearestNeighbor(x, [2 * x.shape[1], 2 * x.shape[2]], false, halfPixel);

describe("a convolution of doubled pixels with a constant filter", () => {
  test.each<[string, Body]>([
    ["alone", (x, w) => tf.conv2d(doubled(x), w, 1, "same")],
    ["with a bias", (x, w, b) => tf.add(tf.conv2d(doubled(x), w, 1, "same"), b)],
    ["with pixels' centers aligned", (x, w, b) => tf.add(tf.conv2d(doubled(x, true), w, 1, "same"), b)],
    [
      "with corners aligned",
      (x, w) => tf.conv2d(tf.image.resizeNearestNeighbor(x, [2 * H, 2 * W], true), w, 1, "same"),
    ],
    [
      "after what has its channels first",
      (x, w) =>
        tf.conv2d(
          doubled(tf.relu(tf.conv2d(x, tf.slice<tf.Rank.R4, tf.Tensor4D>(w, 0, [3, 3, C, C]), 1, "same"))),
          w,
          1,
          "same",
        ),
    ],
  ])("is four convolutions of two by two pixels: %s", async (_, body) => {
    const count = await both(body);
    expect([count("DepthToSpace"), count("Resize"), count("Gather")]).toEqual([1, 0, 0]);
  });

  test("is what it was where others use the doubled pixels too", async () => {
    const count = await both((x, w) => {
      const large = doubled(x);
      return tf.concat([tf.conv2d(large, w, 1, "same"), large], 3);
    });
    expect([count("DepthToSpace"), count("Gather")]).toEqual([1, 2]);
  });

  test.each<[string, Body]>([
    ["larger by three", (x, w) => tf.conv2d(tf.image.resizeNearestNeighbor(x, [3 * H, 3 * W]), w, 1, "same")],
    ["larger in one direction", (x, w) => tf.conv2d(tf.image.resizeNearestNeighbor(x, [2 * H, W]), w, 1, "same")],
    ["interpolated", (x, w) => tf.conv2d(tf.image.resizeBilinear(x, [2 * H, 2 * W]), w, 1, "same")],
    ["in steps of two", (x, w) => tf.conv2d(doubled(x), w, 2, "same")],
    ["without padding", (x, w) => tf.conv2d(doubled(x), w, 1, "valid")],
    ["in wider windows", (x, w) => tf.conv2d(doubled(x), w, 1, "same", "NHWC", 2)],
    [
      "of two by three pixels",
      (x, w) => tf.conv2d(doubled(x), tf.slice<tf.Rank.R4, tf.Tensor4D>(w, 0, [2, 3, C, O]), 1, "same"),
    ],
  ])("is one convolution where it is another: %s", async (_, body) => {
    const count = await both(body);
    expect([count("DepthToSpace"), count("Conv")]).toEqual([0, 1]);
  });

  test("is one convolution where the filter is state", async () => {
    const count = await both((x, w) => tf.conv2d(doubled(x), w, 1, "same"), false);
    expect(count("DepthToSpace")).toBe(0);
  });
});
