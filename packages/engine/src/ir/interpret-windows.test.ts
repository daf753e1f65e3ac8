import "@tensorflow/tfjs"; // registers the gradients
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { sizeOf, type Op, type Shape, type Window2D } from "./graph.js";
import { windowOutput } from "./infer.js";
import { evaluateNode } from "./interpret.js";

interface Image {
  readonly dtype: "float32";
  readonly shape: Shape;
  readonly data: Float32Array;
}

/** Whole numbers from -8 to 8 without order: sums of their products are exact, so that results are compared exactly. */
function image(shape: Shape, seed: number): Image {
  const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) =>
    Math.round(8 * Math.sin(12.9898 * (i + 1) + seed)),
  );
  return { dtype: "float32", shape, data };
}

function evaluate(op: Op, ...inputs: Image[]): Image {
  return evaluateNode(op, inputs) as Image;
}

type Shape4 = [number, number, number, number];
const tensor = (x: Image): tf.Tensor4D => tf.tensor<tf.Rank.R4>(x.data, [...x.shape] as Shape4);

/** What a tfjs function gives, freed. */
function tfjs(compute: () => tf.Tensor): { shape: Shape; data: number[] } {
  return tf.tidy(() => {
    const y = compute();
    return { shape: y.shape, data: Array.from(y.dataSync()) };
  });
}

const plain = ({ shape, data }: Image) => ({ shape, data: Array.from(data, (value) => value + 0) }); // no -0
const dot = (a: Image, b: Image): number => a.data.reduce((sum, value, i) => sum + value * b.data[i]!, 0);

const upTo = (max: number) => fc.integer({ min: 1, max });
const pair = (max: number) => fc.tuple(upTo(max), upTo(max));

/**
 * Strides or dilations (tfjs takes no two at once), any padding smaller than the window, an image that holds a window.
 */
const windows = fc
  .record({ size: pair(3), strides: pair(3), dilations: pair(2), dilated: fc.boolean(), room: pair(5) })
  .chain(({ size, strides, dilations, dilated, room }) =>
    fc.tuple(fc.nat(size[0] - 1), fc.nat(size[0] - 1), fc.nat(size[1] - 1), fc.nat(size[1] - 1)).map((pads) => {
      const window: Window2D = {
        size,
        strides: dilated ? [1, 1] : strides,
        dilations: dilated ? dilations : [1, 1],
        pads,
      };
      const along = (axis: 0 | 1) => (size[axis] - 1) * window.dilations[axis] + room[axis];
      return { window, H: along(0), W: along(1) };
    }),
  );

const padOf = ({ pads: [top, bottom, left, right] }: Window2D): tf.backend_util.ExplicitPadding => [
  [0, 0],
  [top, bottom],
  [left, right],
  [0, 0],
];

const tfjsConv = (window: Window2D) => (x: tf.Tensor, w: tf.Tensor) =>
  tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, [...window.strides], padOf(window), "NHWC", [...window.dilations]);

const OPTIONS = { numRuns: 60, seed: 20_250_101 };

beforeAll(async () => {
  tf.env().set("IS_TEST", true); // no advice to install another backend
  await tf.setBackend("cpu");
});

describe("matmul", () => {
  // tfjs' own kernel mixes up batches where both operands are broadcast, (2, 1) with (1, 3): there it is broadcast
  // before.
  test("equals tfjs', batches broadcast", () => {
    const batches = fc.constantFrom<[Shape, Shape]>(
      [[], []],
      [[3], [3]],
      [[3], [1]],
      [
        [2, 1],
        [1, 3],
      ],
      [
        [2, 3],
        [2, 3],
      ],
    );
    fc.assert(
      fc.property(batches, upTo(4), upTo(4), upTo(4), fc.boolean(), fc.boolean(), ([left, right], M, K, N, tA, tB) => {
        const a = image([...left, ...(tA ? [K, M] : [M, K])], 1);
        const b = image([...right, ...(tB ? [N, K] : [K, N])], 2);
        const y = evaluate({ kind: "matmul", transposeA: tA, transposeB: tB, alpha: 0.5 }, a, b);
        const batch = y.shape.slice(0, -2);
        const whole = (x: Image) => tf.broadcastTo(tensor(x), [...batch, ...x.shape.slice(-2)]);
        const expected = tfjs(() => tf.mul(tf.matMul(whole(a), whole(b), tA, tB), 0.5));
        expect(plain(y)).toEqual(expected);
      }),
      OPTIONS,
    );
  });
});

describe("conv2d", () => {
  test("equals tfjs' for any strides, dilations and paddings", () => {
    fc.assert(
      fc.property(windows, upTo(2), upTo(3), upTo(3), ({ window, H, W }, N, C, O) => {
        const [x, w] = [image([N, H, W, C], 1), image([...window.size, C, O], 2)];
        const y = evaluate({ kind: "conv2d", window, groups: 1 }, x, w);
        expect(plain(y)).toEqual(tfjs(() => tfjsConv(window)(tensor(x), tensor(w))));
      }),
      OPTIONS,
    );
  });

  test("is patches times filter", () => {
    fc.assert(
      fc.property(windows, upTo(3), upTo(3), ({ window, H, W }, C, O) => {
        const [x, w] = [image([2, H, W, C], 1), image([...window.size, C, O], 2)];
        const rows = evaluate({ kind: "patches", window }, x);
        const filter = { ...w, shape: [sizeOf(w.shape) / O, O] };
        const y = evaluate({ kind: "matmul", transposeA: false, transposeB: false, alpha: 1 }, rows, filter);
        expect(plain(y).data).toEqual(plain(evaluate({ kind: "conv2d", window, groups: 1 }, x, w)).data);
      }),
      OPTIONS,
    );
  });

  test("with one group per channel equals tfjs' depthwise convolution", () => {
    fc.assert(
      fc.property(windows, upTo(3), upTo(2), ({ window, H, W }, C, multiplier) => {
        // tfjs' depthwise kernel takes one stride for both axes, and the same padding on both sides.
        const [s, [p, , q]] = [window.strides[0], window.pads];
        const even: Window2D = { ...window, strides: [s, s], pads: [p, p, q, q] };
        const x = image([2, H, W, C], 1);
        const w = image([...window.size, 1, C * multiplier], 2);
        const expected = tfjs(() => {
          const filter = tf.reshape<tf.Rank.R4>(tensor(w), [...window.size, C, multiplier]);
          return tf.depthwiseConv2d(tensor(x), filter, s, padOf(even), "NHWC", [...window.dilations]);
        });
        expect(plain(evaluate({ kind: "conv2d", window: even, groups: C }, x, w))).toEqual(expected);
      }),
      OPTIONS,
    );
  });

  test("with groups is one convolution per group, side by side", () => {
    fc.assert(
      fc.property(windows, upTo(3), upTo(2), upTo(2), ({ window, H, W }, groups, I, perGroup) => {
        const [x, w] = [image([2, H, W, groups * I], 1), image([...window.size, I, groups * perGroup], 2)];
        const part = (whole: Image, group: number, width: number): Image => {
          const steps = whole.shape.map(() => 1);
          const starts = [0, 0, 0, group * width];
          return evaluate({ kind: "slice", starts, sizes: [...whole.shape.slice(0, 3), width], steps }, whole);
        };
        const parts = Array.from({ length: groups }, (_, group) =>
          evaluate({ kind: "conv2d", window, groups: 1 }, part(x, group, I), part(w, group, perGroup)),
        );
        const expected = evaluate({ kind: "concat", axis: 3 }, ...parts);
        expect(plain(evaluate({ kind: "conv2d", window, groups }, x, w))).toEqual(plain(expected));
      }),
      OPTIONS,
    );
  });
});

describe("conv2dInputGrad, conv2dFilterGrad", () => {
  test("equal tfjs' gradients", () => {
    fc.assert(
      fc.property(windows, upTo(2), upTo(3), upTo(3), ({ window: { dilations: _, ...rest }, H, W }, N, C, O) => {
        const window: Window2D = { ...rest, dilations: [1, 1] }; // tfjs has no gradient of a dilated convolution
        const [x, w] = [image([N, H, W, C], 1), image([...window.size, C, O], 2)];
        const dy = image([N, ...windowOutput(window, H, W), O], 3);
        const gradient = (which: 0 | 1) =>
          tfjs(() => tf.grads(tfjsConv(window))([tensor(x), tensor(w)], tensor(dy))[which]!);
        const dx = evaluate({ kind: "conv2dInputGrad", window, groups: 1, shape: x.shape }, dy, w);
        const dw = evaluate({ kind: "conv2dFilterGrad", window, groups: 1, shape: w.shape }, x, dy);
        expect(plain(dx)).toEqual(gradient(0));
        expect(plain(dw)).toEqual(gradient(1));
      }),
      OPTIONS,
    );
  });

  test("are the transposes of conv2d, dilated and in groups too", () => {
    fc.assert(
      fc.property(windows, upTo(3), upTo(2), upTo(2), ({ window, H, W }, groups, I, perGroup) => {
        const [x, w] = [image([2, H, W, groups * I], 1), image([...window.size, I, groups * perGroup], 2)];
        const dy = image([2, ...windowOutput(window, H, W), groups * perGroup], 3);
        const value = dot(dy, evaluate({ kind: "conv2d", window, groups }, x, w));
        expect(dot(x, evaluate({ kind: "conv2dInputGrad", window, groups, shape: x.shape }, dy, w))).toBe(value);
        expect(dot(w, evaluate({ kind: "conv2dFilterGrad", window, groups, shape: w.shape }, x, dy))).toBe(value);
      }),
      OPTIONS,
    );
  });
});

describe("pool", () => {
  test.each(["max", "avg"] as const)("%s equals tfjs'", (fn) => {
    const pool = fn === "max" ? tf.maxPool : tf.avgPool;
    fc.assert(
      fc.property(windows, upTo(3), ({ window: { dilations: _, ...rest }, H, W }, C) => {
        const window: Window2D = { ...rest, dilations: [1, 1] };
        const x = image([2, H, W, C], 1);
        const expected = tfjs(() => pool(tensor(x), [...window.size], [...window.strides], padOf(window)));
        const y = evaluate({ kind: "pool", fn, window }, x);
        expect(y.shape).toEqual(expected.shape);
        y.data.forEach((value, i) => expect(value).toBeCloseTo(expected.data[i]!, 5));
      }),
      OPTIONS,
    );
  });

  test("avg, dilated, is the mean of each patch's channels where nothing is padded", () => {
    fc.assert(
      fc.property(windows, upTo(3), ({ window: { pads: _, ...rest }, H, W }, C) => {
        const window: Window2D = { ...rest, pads: [0, 0, 0, 0] };
        const x = image([2, H, W, C], 1);
        const y = evaluate({ kind: "pool", fn: "avg", window }, x);
        const rows = evaluate({ kind: "patches", window }, x);
        const shape = [rows.shape[0]!, window.size[0] * window.size[1], C];
        const mean = evaluate({ kind: "reduce", fn: "mean", axes: [1], keepDims: false }, { ...rows, shape });
        y.data.forEach((value, i) => expect(value).toBeCloseTo(mean.data[i]!, 5));
      }),
      OPTIONS,
    );
  });
});

describe("poolGrad", () => {
  test("max equals tfjs', ties too", () => {
    fc.assert(
      fc.property(windows, upTo(3), ({ window: { dilations: _, ...rest }, H, W }, C) => {
        const window: Window2D = { ...rest, dilations: [1, 1] };
        const x = image([2, H, W, C], 1);
        const dy = image([2, ...windowOutput(window, H, W), C], 3);
        const expected = tfjs(() => {
          const gradient = tf.grad((x) =>
            tf.maxPool(x as tf.Tensor4D, [...window.size], [...window.strides], padOf(window)),
          );
          return gradient(tensor(x), tensor(dy));
        });
        expect(plain(evaluate({ kind: "poolGrad", fn: "max", window }, dy, x))).toEqual(expected);
      }),
      OPTIONS,
    );
  });

  // Not held against tfjs: its avgPoolGrad divides by the whole window where the pool divides by what is inside.
  test("avg is the transpose of the pool", () => {
    fc.assert(
      fc.property(windows, upTo(3), ({ window, H, W }, C) => {
        const x = image([2, H, W, C], 1);
        const dy = image([2, ...windowOutput(window, H, W), C], 3);
        const value = dot(dy, evaluate({ kind: "pool", fn: "avg", window }, x));
        expect(dot(x, evaluate({ kind: "poolGrad", fn: "avg", window }, dy, x))).toBeCloseTo(value, 2);
      }),
      OPTIONS,
    );
  });
});
