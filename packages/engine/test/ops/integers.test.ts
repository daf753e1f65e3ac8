import * as tf from "@tensorflow/tfjs-core";
import { caseOf, expectAgreement, type Case } from "../oracle.js";
import { TOLERANCE } from "../tolerance.js";
import { broadcastable, Draws, shapes, vector, type Value } from "../values.js";

const draws = new Draws("integers");
const EXACT = { tolerance: TOLERANCE.exact, gradient: false } as const;

const integers = (shape: readonly number[]): Value => draws.integers(shape, -50, 50);
/** Not zero: what tfjs makes of a division by zero is no int32. */
const divisors = (shape: readonly number[]): Value => {
  const { data, ...type } = draws.integers(shape, -9, 9);
  return { ...type, data: data.map((x) => (x >= 0 ? x + 1 : x)) };
};
const SIGNS = [
  vector([7, -7, 7, -7, 6, -6, 6, -6, 0, 0, 1, -1], "int32"),
  vector([3, 3, -3, -3, 3, 3, -3, -3, 5, -5, 9, 9], "int32"),
] as const;

describe("int32", () => {
  test.each<[string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor]>([
    ["add", tf.add],
    ["sub", tf.sub],
    ["mul", tf.mul],
    ["maximum", tf.maximum],
    ["minimum", tf.minimum],
    ["squaredDifference", (a, b) => tf.squaredDifference(a, b)],
  ])("tf.%s(), broadcast", async (name, fn) => {
    const pairs = draws.list(broadcastable(4), 8).map(([a, b]) => [integers(a), integers(b)] as const);
    await expectAgreement([SIGNS, ...pairs].map(([a, b]) => caseOf(name, { a, b }, ({ a, b }) => fn(a, b), EXACT)));
  });

  test.each<[string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor]>([
    ["floorDiv", tf.floorDiv],
    ["mod", tf.mod],
    ["div", tf.div], // which tfjs takes for floorDiv
  ])("tf.%s() rounds towards minus infinity, whatever the signs", async (name, fn) => {
    const pairs = draws.list(broadcastable(4), 8).map(([a, b]) => [integers(a), divisors(b)] as const);
    await expectAgreement([SIGNS, ...pairs].map(([a, b]) => caseOf(name, { a, b }, ({ a, b }) => fn(a, b), EXACT)));
  });

  test("tf.pow() with exponents that are not negative", async () => {
    const values = { a: vector([-3, -1, 0, 2, 7, -2], "int32"), b: vector([3, 5, 0, 10, 2, 0], "int32") };
    await expectAgreement([caseOf("pow", values, ({ a, b }) => tf.pow(a, b), EXACT)]);
  });

  test.each<[string, (x: tf.Tensor) => tf.Tensor]>([
    ["neg", tf.neg],
    ["abs", tf.abs],
    ["sign", tf.sign],
    ["square", tf.square],
    ["relu", tf.relu],
    ["identity", tf.clone],
    ["addN", (x) => tf.addN([x, x, x])],
    ["clipByValue", (x) => tf.clipByValue(x, -9, 20)],
    ["step", (x) => tf.step(x)],
  ])("tf.%s()", async (name, fn) => {
    const values = [vector([0, 1, -1, 1000, -1000], "int32"), ...draws.list(shapes(0, 4), 4).map(integers)];
    await expectAgreement(values.map((x) => caseOf(name, { x }, ({ x }) => fn(x), EXACT)));
  });

  test("arithmetic is exact where float32 would not be", async () => {
    const values = { a: vector([16_777_217, -16_777_217, 2 ** 30 + 1], "int32"), b: vector([2, 2, -1], "int32") };
    const unlike = { openvino: "OpenVINO divides and compares int32 as float32" };
    await expectAgreement([
      caseOf("add", values, ({ a, b }) => tf.add(a, b), EXACT),
      caseOf("sub", values, ({ a, b }) => tf.sub(a, b), EXACT),
      caseOf("floorDiv", values, ({ a, b }) => tf.floorDiv(a, b), { ...EXACT, unlike }),
      caseOf("mod", values, ({ a, b }) => tf.mod(a, b), { ...EXACT, unlike }),
      caseOf("maximum", values, ({ a, b }) => tf.maximum(a, b), EXACT),
      caseOf("less", values, ({ a, b }) => tf.less(tf.add(a, b), tf.sub(a, b)), { ...EXACT, unlike }),
    ]);
  });
});

describe("mixed dtypes", () => {
  test("tfjs casts to the wider one before its kernels run", async () => {
    const values = { f: draws.normal([2, 3]), i: integers([2, 3]), b: draws.bools([2, 3]) };
    const functions: Readonly<Record<string, (x: Record<"f" | "i" | "b", tf.Tensor>) => tf.Tensor>> = {
      "float32 + int32": ({ f, i }) => tf.add(f, i),
      "int32 - bool": ({ i, b }) => tf.sub(i, b),
      "float32 · bool": ({ f, b }) => tf.mul(f, b),
      "float32 < int32": ({ f, i }) => tf.less(f, i),
      "float32 / int32": ({ f, i }) => tf.div(f, tf.add(i, 1000)),
      "max(int32, float32)": ({ i, f }) => tf.maximum(i, f),
    };
    const options = { tolerance: TOLERANCE.elementwise, gradient: false } as const;
    await expectAgreement(Object.entries(functions).map(([name, fn]) => caseOf(name, values, fn, options)));
  });
});

describe("tf.cast()", () => {
  const FLOATS = [0, -0, 0.4, -0.4, 0.5, 0.99, 1, -1, 1.5, -1.5, 2.5, -7.99, 123_456.7, 16_777_216];
  const DTYPES = ["float32", "int32", "bool"] as const;

  test("between all dtypes; float32 is cut to int32, what is not zero is true", async () => {
    const values = {
      float32: vector(FLOATS),
      int32: vector([0, 1, -1, 2, 1000, -(2 ** 31), 2 ** 24], "int32"),
      bool: vector([0, 1], "bool"),
    };
    await expectAgreement(
      DTYPES.flatMap((from) =>
        DTYPES.map((to): Case => caseOf(`cast to ${to}`, { x: values[from] }, ({ x }) => tf.cast(x, to), EXACT)),
      ),
    );
  });

  test("its gradient passes from float32 to float32", async () => {
    await expectAgreement([
      caseOf("cast", { x: draws.normal([2, 3]) }, ({ x }) => tf.mul(tf.cast(x, "float32"), 2), {
        gradient: TOLERANCE.exact,
      }),
    ]);
  });
});

describe("bool", () => {
  test("moves like any other tensor", async () => {
    const x = draws.bools([2, 3, 5]);
    const functions: Readonly<Record<string, (x: tf.Tensor) => tf.Tensor>> = {
      reshape: (x) => tf.reshape(x, [6, 5]),
      transpose: (x) => tf.transpose(x, [2, 0, 1]),
      slice: (x) => tf.slice(x, [0, 1, 2], [2, 2, 2]),
      stridedSlice: (x) => tf.stridedSlice(x, [0, 0, 0], [2, 3, 5], [1, 2, 2]),
      reverse: (x) => tf.reverse(x, [1, 2]),
      concat: (x) => tf.concat([x, x], 1),
      stack: (x) => tf.stack([x, x], 1),
      tile: (x) => tf.tile(x, [1, 2, 2]),
      pad: (x) => tf.pad(x, [[0, 0], [1, 1], [2, 0]]), // prettier-ignore
      expandDims: (x) => tf.expandDims(x, 1),
      broadcastTo: (x) => tf.broadcastTo(tf.slice(x, [0, 0, 0], [1, 3, 5]), [4, 3, 5]),
      gather: (x) => tf.gather(x, tf.tensor1d([2, 0, 0], "int32"), 1),
      zerosLike: (x) => tf.zerosLike(x),
      onesLike: (x) => tf.onesLike(x),
    };
    await expectAgreement(Object.entries(functions).map(([name, fn]) => caseOf(name, { x }, ({ x }) => fn(x), EXACT)));
  });

  test("tf.sum(), tf.mean() and others count what is true", async () => {
    const x = draws.bools([3, 4, 5]);
    const options = { tolerance: TOLERANCE.reduction, gradient: false } as const;
    await expectAgreement([
      caseOf("sum", { x }, ({ x }) => tf.sum(x, 1), EXACT),
      caseOf("prod", { x }, ({ x }) => tf.prod(x, 1), EXACT),
      caseOf("mean", { x }, ({ x }) => tf.mean(x, [0, 2]), options),
      caseOf("max", { x }, ({ x }) => tf.max(x, 1), EXACT),
      caseOf("min", { x }, ({ x }) => tf.min(x, 1), EXACT),
      caseOf("any", { x }, ({ x }) => tf.any(x, 0), EXACT),
      caseOf("all", { x }, ({ x }) => tf.all(x, 0), EXACT),
      caseOf("argMax", { x }, ({ x }) => tf.argMax(x, 1), EXACT),
      caseOf("cumsum", { x }, ({ x }) => tf.cumsum(x, 2), EXACT),
    ]);
  });
});
