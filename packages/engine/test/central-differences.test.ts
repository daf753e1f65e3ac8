import * as tf from "@tensorflow/tfjs-core";
import { groupNorm, rmsNorm, silu } from "@madformer/engine";
import { caseOf, expectAgreement, expectDerivatives, type Case } from "./oracle.js";
import { TOLERANCE } from "./tolerance.js";
import { Draws, given, vector, type Value } from "./values.js";

const draws = new Draws("central differences");
const { product, reduction, network } = TOLERANCE;

/** Numbers that differ by at least 0.05 from each other: none of them changes places with another within a step. */
function distinct<const S extends readonly number[]>(shape: S): Value<S> {
  const order = draws.normal([shape.reduce((a, b) => a * b, 1)]).data;
  const ranks = [...order.keys()].sort((a, b) => order[a]! - order[b]!);
  const data = new Float32Array(order.length);
  ranks.forEach((at, rank) => (data[at] = (rank - order.length / 2) * 0.05 + 0.013));
  return { shape, dtype: "float32", data };
}

describe("gradients of elementwise functions are central differences", () => {
  const FUNCTIONS: Readonly<
    Record<string, { readonly fn: (x: tf.Tensor) => tf.Tensor; readonly at: readonly number[] }>
  > = {
    neg: { fn: tf.neg, at: [-1.5, 0.3] },
    abs: { fn: tf.abs, at: [-1.5, 0.3] },
    square: { fn: tf.square, at: [-1.5, 0, 0.3] },
    sqrt: { fn: tf.sqrt, at: [0.1, 0.5, 4] },
    rsqrt: { fn: tf.rsqrt, at: [0.1, 0.5, 4] },
    reciprocal: { fn: tf.reciprocal, at: [-1.5, 0.3, 5] },
    exp: { fn: tf.exp, at: [-3, 0, 1.5] },
    expm1: { fn: tf.expm1, at: [-3, 0, 1.5] },
    log: { fn: tf.log, at: [0.1, 1, 7] },
    log1p: { fn: tf.log1p, at: [-0.5, 0, 3] },
    sin: { fn: tf.sin, at: [-3, 0, 1.5] },
    cos: { fn: tf.cos, at: [-3, 0, 1.5] },
    tan: { fn: tf.tan, at: [-1, 0, 1.2] },
    asin: { fn: tf.asin, at: [-0.7, 0, 0.9] },
    acos: { fn: tf.acos, at: [-0.7, 0, 0.9] },
    atan: { fn: tf.atan, at: [-3, 0, 1.5] },
    sinh: { fn: tf.sinh, at: [-2, 0, 1.5] },
    cosh: { fn: tf.cosh, at: [-2, 0, 1.5] },
    tanh: { fn: tf.tanh, at: [-2, 0, 1.5] },
    asinh: { fn: tf.asinh, at: [-2, 0, 1.5] },
    acosh: { fn: tf.acosh, at: [1.2, 3] },
    atanh: { fn: tf.atanh, at: [-0.7, 0, 0.9] },
    erf: { fn: tf.erf, at: [-2, -0.3, 0, 1.5] },
    sigmoid: { fn: tf.sigmoid, at: [-3, 0, 1.5] },
    softplus: { fn: tf.softplus, at: [-3, 0, 1.5, 9] },
    logSigmoid: { fn: tf.logSigmoid, at: [-3, 0, 1.5] },
    relu: { fn: tf.relu, at: [-1, 0.5] },
    relu6: { fn: tf.relu6, at: [-1, 0.5, 7] },
    elu: { fn: tf.elu, at: [-3, -0.1, 0.5] },
    leakyRelu: { fn: (x) => tf.leakyRelu(x, 0.1), at: [-3, 0.5] },
    clipByValue: { fn: (x) => tf.clipByValue(x, -0.5, 1), at: [-1, -0.3, 0.9, 1.5] },
    step: { fn: (x) => tf.step(x), at: [-1, 1] },
    floor: { fn: tf.floor, at: [-1.5, 0.5] },
    "pow 2": { fn: (x) => tf.pow(x, 2), at: [-1.5, 0.5] },
    "pow 3": { fn: (x) => tf.pow(x, 3), at: [-1.5, 0.5] },
    "pow -1.5": { fn: (x) => tf.pow(x, -1.5), at: [0.5, 2] },
    "pow of 2": { fn: (x) => tf.pow(2, x), at: [-1.5, 0.5] },
    silu: { fn: silu, at: [-3, 0, 1.5] },
    "silu, composed": { fn: (x) => tf.mul(x, tf.sigmoid(x)), at: [-3, 0, 1.5] },
    gelu: { fn: (x) => tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2)))), at: [-3, 0, 1.5] },
  };

  test("of one argument", async () => {
    await expectDerivatives(
      Object.entries(FUNCTIONS).map(([name, { fn, at }]) => caseOf(name, { x: vector(at) }, ({ x }) => fn(x))),
    );
  });

  test("of two, which broadcast", async () => {
    const positive = { a: draws.uniform([2, 3, 4], 0.5, 2), b: draws.uniform([3, 1], 0.5, 2) };
    const two = (
      name: string,
      fn: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
      values: { a: Value; b: Value } = positive,
    ): Case => caseOf(name, values, ({ a, b }) => fn(a, b), { gradient: product });
    const same = { a: distinct([3, 4]), b: draws.normal([3, 4]) };
    await expectDerivatives([
      two("add", tf.add),
      two("sub", tf.sub),
      two("mul", tf.mul),
      two("div", tf.div),
      two("pow", tf.pow),
      two("mod", tf.mod),
      two("prelu", tf.prelu, { a: distinct([2, 3, 4]), b: draws.normal([4]) }),
      two("maximum", tf.maximum, same),
      two("minimum", tf.minimum, same),
      two("squaredDifference", (a, b) => tf.squaredDifference(a, b), same),
      two(
        "where",
        (a, b) => tf.where(tf.greater(tf.range(0, 12).reshape([3, 4]), 5), tf.mul(a, 2), tf.square(b)),
        same,
      ),
      two("where, broadcast", (a, b) => tf.where(tf.tensor1d([1, 0, 0, 1], "bool"), a, b)),
    ]);
  });
});

describe("gradients of reductions are central differences", () => {
  const AXES = [undefined, 0, 1, 2, [0, 2], [1, 2]];
  const over = (name: string, fn: (x: tf.Tensor, axis?: number | number[]) => tf.Tensor): Case[] =>
    AXES.map((axis) => caseOf(`${name} over ${String(axis)}`, { x: distinct([2, 3, 4]) }, ({ x }) => fn(x, axis)));

  test("sums, extremes and norms", async () => {
    await expectDerivatives([
      ...over("sum", tf.sum),
      ...over("mean", tf.mean),
      ...over("max", tf.max),
      ...over("min", tf.min),
      ...over("logSumExp", tf.logSumExp),
      ...over("variance", (x, axis) => tf.moments(x, axis).variance),
      ...over("sum of squares", (x, axis) => tf.sum(tf.square(x), axis)),
      ...over("euclidean norm", (x, axis) => tf.norm(x, "euclidean", axis)),
      ...over("norm of order 1", (x, axis) => tf.norm(x, 1, axis === undefined || Array.isArray(axis) ? 0 : axis)),
    ]);
  });

  test("softmax and logSoftmax", async () => {
    await expectDerivatives([
      caseOf("softmax", { x: draws.normal([2, 3, 5]) }, ({ x }) => tf.softmax(x)),
      caseOf("logSoftmax", { x: draws.normal([2, 3, 5]) }, ({ x }) => tf.logSoftmax(x)),
      caseOf("log(softmax)", { x: draws.normal([2, 5]) }, ({ x }) => tf.log(tf.softmax(x))),
    ]);
  });

  const MODES = [false, true].flatMap((exclusive) => [false, true].map((reverse) => [exclusive, reverse] as const));
  test("cumsum along the last axis", async () => {
    const modes = MODES.map(([exclusive, reverse]) =>
      caseOf(`cumsum ${exclusive}, ${reverse}`, { x: draws.normal([2, 3]) }, ({ x }) =>
        tf.cumsum(x, 1, exclusive, reverse),
      ),
    );
    await expectDerivatives(modes);
  });
});

describe("gradients of products and convolutions are central differences", () => {
  test("matMul, transposed in every way, and of a broadcast batch", async () => {
    const transposes = [false, true].flatMap((a) => [false, true].map((b) => [a, b] as const));
    await expectDerivatives([
      ...transposes.map(([transposeA, transposeB]) =>
        caseOf(
          `matMul ${transposeA}, ${transposeB}`,
          { a: draws.normal(transposeA ? [2, 4, 3] : [2, 3, 4]), b: draws.normal(transposeB ? [2, 5, 4] : [2, 4, 5]) },
          ({ a, b }) => tf.matMul(a, b, transposeA, transposeB),
          { gradient: product },
        ),
      ),
      caseOf(
        "matMul of a broadcast batch",
        { a: draws.normal([3, 2, 4]), b: draws.normal([1, 4, 5]) },
        ({ a, b }) => tf.matMul(a, tf.broadcastTo(b, [3, 4, 5])),
        { gradient: product },
      ),
    ]);
  });

  test("conv2d, its transpose, and depthwise", async () => {
    const values = { x: draws.normal([2, 5, 4, 2]), w: draws.normal([3, 2, 2, 3]) };
    const paddings = ["same", "valid", [[0, 0], [2, 1], [0, 3], [0, 0]]] as const; // prettier-ignore
    await expectDerivatives([
      ...paddings.flatMap((padding) =>
        [1, 2].map((strides) =>
          caseOf(
            `conv2d ${JSON.stringify(padding)} by ${strides}`,
            values,
            ({ x, w }) => tf.conv2d(x, w, strides, padding as "same"),
            { gradient: product },
          ),
        ),
      ),
      caseOf(
        "conv2dTranspose",
        { x: draws.normal([1, 3, 4, 2]), w: draws.normal([3, 2, 3, 2]) },
        ({ x, w }) => tf.conv2dTranspose(x, w, [1, 6, 8, 3], 2, "same"),
        { gradient: product },
      ),
      caseOf(
        "depthwiseConv2d",
        { x: draws.normal([1, 5, 4, 2]), w: draws.normal([3, 3, 2, 2]) },
        ({ x, w }) => tf.depthwiseConv2d(x, w, 1, "same"),
        { gradient: product },
      ),
    ]);
  });
});

describe("gradients of pools are central differences", () => {
  // The gradient of tfjs' cpu backend is not: it divides by the whole window where the pool did not count its padding.
  test.each(["max", "avg"] as const)("%s, padded in every way", async (fn) => {
    const pool = fn === "max" ? tf.maxPool : tf.avgPool;
    const explicit = [[0, 0], [1, 0], [0, 1], [0, 0]] as [[0, 0], [number, number], [number, number], [0, 0]]; // prettier-ignore
    const cases = (["same", "valid", 1, explicit] as const).flatMap((padding) =>
      ([[3, 1], [3, 2], [2, 1], [2, 2], [4, 3]] as const) // prettier-ignore
        .map(([window, strides]) =>
          caseOf(`${fn}Pool ${JSON.stringify({ window, strides, padding })}`, { x: distinct([2, 5, 4, 2]) }, ({ x }) =>
            pool(x, window, strides, padding),
          ),
        ),
    );
    await expectDerivatives(cases);
  });

  test("the difference that makes: without padding tfjs' cpu backend agrees, with padding it does not", async () => {
    const of = (padding: "same" | "valid"): Case =>
      caseOf("avgPool", { x: draws.normal([1, 4, 4, 1]) }, ({ x }) => tf.avgPool(x, 3, 1, padding), {
        tolerance: reduction,
      });
    await expectAgreement([of("valid")]);
    await expect(expectAgreement([of("same")])).rejects.toThrow(/compiled: dx/);
  });
});

describe("gradients of resizing are central differences", () => {
  // The gradient of tfjs' cpu backend is not: see ops/resize.test.ts.
  test.each(["nearest", "bilinear"] as const)("%s, in every mode", async (fn) => {
    const resize = fn === "nearest" ? tf.image.resizeNearestNeighbor : tf.image.resizeBilinear;
    const modes = [[false, false], [true, false], [false, true]] as const; // prettier-ignore
    const sizes = [[7, 3], [2, 8], [6, 10], [1, 1], [3, 5]] as const; // prettier-ignore
    await expectDerivatives(
      modes.flatMap(([alignCorners, halfPixel]) =>
        sizes.map((size) =>
          caseOf(
            `${fn} to ${size.join(" x ")}, corners aligned ${alignCorners}, half pixels ${halfPixel}`,
            { x: draws.normal([2, 3, 5, 2]) },
            ({ x }) => resize(x, [...size], alignCorners, halfPixel),
          ),
        ),
      ),
    );
  });
});

describe("gradients of moves are central differences", () => {
  test("all that tfjs differentiates", async () => {
    const x = draws.normal([2, 3, 4]);
    const indices = given([2, 3], [2, 0, 2, 1, 2, 0], "int32");
    const functions: Readonly<Record<string, (x: tf.Tensor) => tf.Tensor | tf.Tensor[]>> = {
      reshape: (x) => tf.reshape(x, [4, 6]),
      transpose: (x) => tf.transpose(x, [2, 0, 1]),
      slice: (x) => tf.slice(x, [0, 1, 1], [2, 2, 2]),
      reverse: (x) => tf.reverse(x, [0, 2]),
      pad: (x) => tf.pad(x, [[1, 0], [0, 2], [1, 1]], 3), // prettier-ignore
      tile: (x) => tf.tile(x, [2, 1, 3]),
      broadcastTo: (x) => tf.broadcastTo(tf.expandDims(x, 1), [2, 5, 3, 4]),
      split: (x) => tf.split(x, [1, 3], 2),
      unstack: (x) => tf.unstack(x, 1),
      concat: (x) => tf.concat([x, tf.square(x)], 1),
      stack: (x) => tf.stack([x, tf.square(x)], 1),
      squeeze: (x) => tf.squeeze(tf.slice(x, [0, 1, 0], [2, 1, 4])),
      "sum of a list": (x) => tf.addN([x, tf.square(x), tf.exp(x)]),
      "segment sum": (x) => tf.unsortedSegmentSum(tf.reshape(x, [6, 4]), tf.tensor1d([2, 0, 2, 1, 0, 0], "int32"), 4),
    };
    await expectDerivatives([
      ...Object.entries(functions).map(([name, fn]) => caseOf(name, { x }, ({ x }) => fn(x))),
      ...[0, 1, 2].map((axis) =>
        caseOf(`gather along ${axis}`, { x: draws.normal([3, 3, 3]), indices }, ({ x, indices }) =>
          tf.gather(x, indices, axis),
        ),
      ),
    ]);
  });
});

describe("gradients of layers are central differences", () => {
  const C = 6;
  const norms = { x: draws.normal([2, 3, C]), weight: draws.normal([C]), bias: draws.normal([C]) };
  const image = { x: draws.normal([2, 2, 3, C]), weight: draws.normal([C]), bias: draws.normal([C]) };

  test("this package's own, whose gradients are written out", async () => {
    await expectDerivatives([
      caseOf("rmsNorm", norms, ({ x, weight }) => rmsNorm(x, weight, 1e-5), { gradient: network, by: ["x", "weight"] }),
      caseOf("groupNorm", image, ({ x, weight, bias }) => groupNorm(x, weight, bias, 2, 1e-5), { gradient: network }),
      caseOf("silu", { x: draws.normal([3, 4]) }, ({ x }) => silu(x)),
    ]);
  });

  test("composed ones", async () => {
    const normalize = (x: tf.Tensor, axes: number[]): tf.Tensor => {
      const centered = tf.sub(x, tf.mean(x, axes, true));
      return tf.mul(centered, tf.rsqrt(tf.add(tf.mean(tf.square(centered), axes, true), 1e-5)));
    };
    await expectDerivatives([
      caseOf("layer norm", norms, ({ x, weight, bias }) => tf.add(tf.mul(normalize(x, [2]), weight), bias), {
        gradient: network,
      }),
      caseOf(
        "group norm",
        image,
        ({ x, weight, bias }) => {
          const grouped = normalize(tf.reshape(x, [2, 6, 2, C / 2]), [1, 3]);
          return tf.add(tf.mul(tf.reshape(grouped, [2, 2, 3, C]), weight), bias);
        },
        { gradient: network },
      ),
      caseOf(
        "attention",
        { q: draws.normal([2, 3, 4]), k: draws.normal([2, 5, 4]), v: draws.normal([2, 5, 4]) },
        ({ q, k, v }) => tf.matMul(tf.softmax(tf.mul(tf.matMul(q, k, false, true), 0.5)), v),
        { gradient: network },
      ),
      caseOf(
        "cross entropy",
        { logits: draws.normal([4, 5]), labels: draws.integers([4], 0, 5) },
        ({ logits, labels }) => tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), tf.oneHot(labels, 5)), -1))),
        { gradient: network },
      ),
    ]);
  });
});

// The engine traces tfjs' own gradient functions, and these are wrong in tfjs 4.22: nothing here depends on them.
describe("gradients that are wrong in tfjs, and so in a program", () => {
  test("cumsum along an axis that is not the last comes out transposed", async () => {
    const square = caseOf("cumsum", { x: draws.normal([3, 3]) }, ({ x }) => tf.cumsum(x, 0));
    await expectAgreement([square]);
    await expect(expectDerivatives([square])).rejects.toThrow(/gradients are not central differences/);
  });

  test("mirrorPad gives nothing to what it mirrored", async () => {
    const mirrored = caseOf("mirrorPad", { x: draws.normal([4, 3]) }, ({ x }) => tf.mirrorPad(x, [[1, 2], [0, 1]], "reflect")); // prettier-ignore
    await expectAgreement([mirrored]);
    await expect(expectDerivatives([mirrored])).rejects.toThrow(/gradients are not central differences/);
  });

  test("stridedSlice and depthToSpace have none, and say so", async () => {
    const x = draws.normal([1, 2, 2, 4]);
    const strided = caseOf("stridedSlice", { x }, ({ x }) =>
      tf.stridedSlice(x, [0, 0, 0, 0], [1, 2, 2, 4], [1, 1, 1, 2]),
    );
    await expect(expectDerivatives([strided])).rejects.toThrow(/gradient function not found for StridedSlice/);
    const depth = caseOf("depthToSpace", { x }, ({ x }) => tf.depthToSpace(x, 2));
    await expect(expectDerivatives([depth])).rejects.toThrow(/gradient function not found for DepthToSpace/);
  });
});
