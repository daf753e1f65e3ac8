import * as tf from "@tensorflow/tfjs-core";
import { compile, spec, TraceError } from "@madformer/engine";
import { TRACE_BACKEND } from "../src/trace/backend.js";
import { KERNELS, traceBackend } from "../src/trace/kernels.js";
import { OWN } from "../src/trace/own.js";
import { caseOf, expectAgreement } from "./oracle.js";
import { TOLERANCE } from "./tolerance.js";
import { Draws } from "./values.js";

tf.env().set("PROD", true); // else tfjs recommends another backend, in a banner

/** What networks need, forward and backward, by tfjs' names of the kernels. */
const NEEDED: Readonly<Record<string, string>> = {
  "any of them": `
    Add Sub Multiply RealDiv AddN Neg Square SquaredDifference Sqrt Rsqrt Reciprocal Pow Exp Log Abs Sign Step
    Maximum Minimum ClipByValue Sum Mean Max Min Prod Any All ArgMax ArgMin Select Cast Identity Fill ZerosLike OnesLike
    Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalNot LogicalOr IsNan IsFinite IsInf
    Reshape ExpandDims Transpose BroadcastTo Tile Concat Pack Unpack SplitV Slice StridedSlice PadV2 Reverse`,
  "a transformer": `
    BatchMatMul Softmax Sigmoid Tanh Erf Relu Softplus Sin Cos Expm1 Log1p GatherV2 UnsortedSegmentSum OneHot Cumsum
    Range LinSpace Floor FloorDiv Mod`,
  "a U-Net": `
    Conv2D Conv2DBackpropInput Conv2DBackpropFilter AvgPool AvgPoolGrad MaxPool MaxPoolGrad DepthToSpace
    ResizeNearestNeighbor ResizeNearestNeighborGrad ResizeBilinear ResizeBilinearGrad`,
  "an image autoencoder": "MirrorPad LeakyRelu Prelu Elu EluGrad Relu6 Round Ceil",
  "Inception v3": `
    Conv2D AvgPool MaxPool Relu Concat Mean ResizeBilinear BatchMatMul DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropInput DepthwiseConv2dNativeBackpropFilter`,
  AdamW: "Square Sqrt Multiply RealDiv Add Sub Sum AddN Pow Minimum Maximum Select IsFinite",
};

/** A program of one input, its function called with a matrix. */
const compileUnary = (fn: (x: tf.Tensor2D) => tf.Tensor | readonly tf.Tensor[]) =>
  compile(
    (_state, { x }) => ({ outputs: { y: [fn(x)].flat()[0] as tf.Tensor } }),
    { inputs: { x: spec([3, 4]) } },
    { engine: "onnx" },
  );

/** The error of a compilation that fails. */
async function errorOf(compilation: Promise<AsyncDisposable>): Promise<Error> {
  try {
    await using program = await compilation;
    throw new TypeError(`compiled, to ${typeof program}`);
  } catch (error) {
    return error as Error;
  }
}

describe("kernels", () => {
  test.each(Object.entries(NEEDED))("are all there for %s", (_network, names) => {
    const wanted = names.trim().split(/\s+/);
    expect(wanted.filter((name) => !(name in KERNELS))).toEqual([]);
  });

  test("are recorded or refused, whatever tfjs' cpu backend has", () => {
    traceBackend();
    const known = new Set(tf.getKernelsForBackend(TRACE_BACKEND).map(({ kernelName }) => kernelName));
    const names = tf.getKernelsForBackend("cpu").map(({ kernelName }) => kernelName);
    expect(names.length).toBeGreaterThan(100);
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  });

  test("have the names of tfjs' kernels, and those of our own functions have none of these", () => {
    const names = new Set(Object.values(tf as unknown as Record<string, unknown>));
    expect(Object.keys(KERNELS).filter((name) => !names.has(name))).toEqual(Object.keys(OWN));
  });
});

describe("an operation that cannot be compiled", () => {
  test.each<[kernel: string, fn: (x: tf.Tensor2D) => tf.Tensor | tf.Tensor[]]>([
    ["TopK", (x) => tf.topk(x, 2).values],
    ["Unique", (x) => tf.unique(x).values],
    ["Complex", (x) => tf.spectral.fft(tf.complex(x, x))],
    ["Cumprod", (x) => tf.cumprod(x)],
    ["Atan2", (x) => tf.atan2(x, x)],
    ["Einsum", (x) => tf.einsum("ij,kj->ik", x, x)],
    ["_FusedMatMul", (x) => tf.fused.matMul({ a: x, b: x, transposeB: true, activation: "relu" })],
    ["Multinomial", (x) => tf.multinomial(x, 2)],
    ["Selu", (x) => tf.selu(x)],
  ])("fails when the program is compiled, with its name, %s, and the place of the call", async (kernel, fn) => {
    const error = await errorOf(compileUnary(fn));
    expect(error).toBeInstanceOf(TraceError);
    expect(error.message).toContain(`"${kernel}"`);
    expect(error.message).toMatch(/called at \S*test\/kernels\.test\.ts:\d+:\d+$/);
  });

  test("has its place found however deep the call is", async () => {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 2;
    try {
      const error = await errorOf(compileUnary((x) => [1, 2].map(() => tf.selu(x))));
      expect(error.message).toMatch(/called at \S*test\/kernels\.test\.ts:\d+:\d+$/);
      expect(Error.stackTraceLimit).toBe(2);
    } finally {
      Error.stackTraceLimit = limit;
    }
  });

  test("fails inside of a gradient", async () => {
    const forward = await errorOf(compileUnary((x) => tf.grad((x) => tf.sum(tf.selu(x)))(x)));
    expect(forward.message).toMatch(/"Selu".*test\/kernels\.test\.ts:/);
    // The product is computed; its gradient needs another kernel.
    await (await compileUnary((x) => tf.prod(x, 1))).dispose();
    const backward = await errorOf(compileUnary((x) => tf.grad((x) => tf.prod(x, 1))(x)));
    expect(backward).toBeInstanceOf(TraceError);
    expect(backward.message).toMatch(/"Cumprod".*test\/kernels\.test\.ts:/);
  });

  test.each<[what: RegExp, fn: (x: tf.Tensor2D) => tf.Tensor]>([
    [/^GatherV2 with batchDims 1/, (x) => tf.gather(x, tf.zeros([3, 2], "int32"), 1, 1)],
    [/^DepthToSpace in NCHW/, (x) => tf.depthToSpace(tf.reshape(x, [1, 4, 1, 3]), 2, "NCHW")],
    [
      /^DepthwiseConv2dNative in NCHW/,
      (x) => tf.depthwiseConv2d(tf.reshape<tf.Rank.R4>(x, [1, 1, 3, 4]), tf.ones([1, 1, 1, 1]), 1, "same", "NCHW"),
    ],
    [/"Add" cannot be compiled: binary: operand 0 is bool/, (x) => tf.add(tf.cast(x, "bool"), tf.cast(x, "bool"))],
    [
      /^Programs hold float32, int32 and bool tensors, found "string"/,
      (x) => tf.add(x, tf.cast(tf.equal(tf.tensor(["a"]), "a"), "float32")),
    ],
  ])("says what of an operation is missing: %s", async (what, fn) => {
    const error = await errorOf(compileUnary(fn));
    expect(error).toBeInstanceOf(TraceError);
    expect(error.message).toMatch(what);
    expect(error.message).toMatch(/at \S*test\/kernels\.test\.ts:/);
  });
});

describe("a value that is not known yet", () => {
  test.each<[how: string, fn: (x: tf.Tensor2D) => unknown]>([
    ["dataSync()", (x) => tf.exp(x).dataSync()],
    ["arraySync()", (x) => tf.exp(x).arraySync()],
    ["print()", (x) => tf.print(tf.exp(x))],
    ["a condition", (x) => (tf.any(tf.cast(tf.exp(x), "bool")).dataSync()[0] ? x : tf.neg(x))],
  ])("cannot be read by %s; the error names the operation, its scope and the place", async (_how, fn) => {
    const error = await errorOf(compileUnary((x) => tf.tidy("layer", () => (fn(x), tf.neg(x)))));
    expect(error).toBeInstanceOf(TraceError);
    expect(error.message).toMatch(/the result of "(unary|reduce)" in scope "layer\/(exp|any)"/);
    expect(error.message).toMatch(/read at \S*test\/kernels\.test\.ts:\d+:\d+$/);
  });

  test("cannot be waited for: the function must not be asynchronous", async () => {
    const waiting = async (_state: unknown, { x }: { x: tf.Tensor }) => ({
      outputs: { y: tf.mul(x, (await x.data())[0]!) },
    });
    const error = await errorOf(compile(waiting as never, { inputs: { x: spec([3]) } }));
    expect(error).toBeInstanceOf(TraceError);
    expect(error.message).toBe('Program "waiting" is asynchronous: its function returns a promise, expected tensors');
  });

  test("is no hindrance where it is a constant", async () => {
    await using program = await compileUnary((x) => tf.mul(x, tf.range(0, 5).dataSync()[3] as number));
    const { y } = await program.run({ x: new Float32Array(12).fill(2) });
    expect([...y]).toEqual(Array(12).fill(6));
  });
});

describe("tracing", () => {
  const network = (x: tf.Tensor2D): tf.Tensor =>
    tf.grad((x) => tf.sum(tf.softmax(tf.matMul(x as tf.Tensor2D, tf.ones([4, 4])))))(tf.mul(x, tf.scalar(2)));
  const failing = (x: tf.Tensor2D): tf.Tensor => {
    tf.grad(() => {
      throw new RangeError("after some work");
    })(tf.exp(x));
    return x;
  };

  test("leaves no tensors behind, also when the function throws", async () => {
    await (await compileUnary(network)).dispose(); // tfjs keeps some numbers of its own from the first time on
    const before = tf.memory();
    await (await compileUnary(network)).dispose();
    expect((await errorOf(compileUnary(failing))).message).toBe("after some work");
    expect((await errorOf(compileUnary((x) => tf.topk(tf.exp(x), 2).values))).message).toMatch(/TopK/);
    expect(tf.memory()).toMatchObject({ numTensors: before.numTensors, numDataBuffers: before.numDataBuffers });
  });

  test("leaves tfjs' backend as it was, also when the function throws", async () => {
    await tf.setBackend("cpu");
    await (await compileUnary(network)).dispose();
    expect(tf.getBackend()).toBe("cpu");
    await errorOf(compileUnary(failing));
    expect(tf.getBackend()).toBe("cpu");
    expect([...tf.add([1, 2], [3, 4]).dataSync()]).toEqual([4, 6]);
  });

  test("runs the function once, and within the scope of the caller", async () => {
    let calls = 0;
    const [before, kept] = [tf.memory().numTensors, tf.tidy(() => tf.keep(tf.scalar(3)))];
    await using program = await compileUnary((x) => (calls++, tf.mul(x, 2)));
    await program.run({ x: new Float32Array(12) });
    await program.run({ x: new Float32Array(12) });
    expect(calls).toBe(1);
    kept.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("makes constants of tensors from outside, which stay as they were", async () => {
    const outside = {
      float32: tf.tensor2d([1, 2, 3, 4], [1, 4]),
      int32: tf.tensor1d([2, 0], "int32"),
      bool: tf.tensor1d([1, 0, 1, 1], "bool"),
    };
    const fn = (x: tf.Tensor2D): tf.Tensor =>
      tf.gather(tf.where(outside.bool, tf.add(x, outside.float32), 0), outside.int32);
    for (let i = 0; i < 2; i++) {
      await using program = await compileUnary(fn);
      const { y } = await program.run({ x: new Float32Array(12).map((_, i) => i) });
      expect([...y]).toEqual([9, 0, 13, 15, 1, 0, 5, 7]);
      expect([...tf.mul(outside.float32, 2).dataSync()]).toEqual([2, 4, 6, 8]);
    }
    expect([...outside.int32.dataSync()]).toEqual([2, 0]);
    expect([...outside.bool.dataSync()]).toEqual([1, 0, 1, 1]);
    tf.dispose(outside);
  });

  test("passes tfjs' own check for leaks in kernels", async () => {
    tf.env().set("IS_TEST", true);
    try {
      await (await compileUnary((x) => tf.softmax(tf.matMul(tf.mul(x, 2), tf.ones([4, 4]))))).dispose();
    } finally {
      tf.env().set("IS_TEST", false);
    }
  });

  test("follows custom gradients, and the second derivative", async () => {
    const x = new Draws("tracing").normal([3, 4]);
    const clipped = tf.customGrad((x) => ({
      value: tf.square(x as tf.Tensor),
      gradFunc: (dy) => tf.clipByValue(dy, -0.1, 0.1),
    }));
    const cube = (x: tf.Tensor): tf.Tensor => tf.mul(x, tf.square(x));
    await expectAgreement([
      caseOf("customGrad", { x }, ({ x }) => clipped(x)),
      caseOf("second derivative", { x }, ({ x }) => tf.grad((x) => tf.sum(tf.grad((x) => tf.sum(cube(x)))(x)))(x), {
        tolerance: TOLERANCE.reduction,
        gradient: false,
      }),
    ]);
  });
});
