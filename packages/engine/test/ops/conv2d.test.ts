import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { caseOf, expectAgreement, type Case } from "../oracle.js";
import { TOLERANCE } from "../tolerance.js";
import { Draws } from "../values.js";

const draws = new Draws("conv2d");
const PRODUCT = { tolerance: TOLERANCE.product, gradient: TOLERANCE.product };

type Pair = [number, number];
type Padding = "same" | "valid" | number | tf.backend_util.ExplicitPadding;

interface Convolution {
  readonly batch?: number;
  /** Rows and columns. */
  readonly image: Pair;
  /** Input and output channels. */
  readonly channels: Pair;
  readonly window: Pair;
  readonly strides?: Pair | number;
  readonly padding?: Padding;
  readonly dilations?: Pair | number;
  readonly format?: "NHWC" | "NCHW";
}

function convolution(of: Convolution): Case {
  const { batch = 2, image, channels, window, strides = 1, padding = "same", dilations = 1, format = "NHWC" } = of;
  const x = format === "NHWC" ? ([batch, ...image, channels[0]] as const) : ([batch, channels[0], ...image] as const);
  return caseOf(
    `conv2d ${JSON.stringify({ strides, padding, dilations, format })}`,
    { x: draws.normal(x), w: draws.normal([...window, ...channels]) },
    ({ x, w }) => tf.conv2d(x, w, strides, padding, format, dilations),
    // tfjs has no gradients of dilated convolutions.
    [dilations].flat().every((dilation) => dilation === 1) ? PRODUCT : { ...PRODUCT, gradient: false },
  );
}

const PADDINGS: readonly Padding[] = ["same", "valid", 0, 1, 2, [[0, 0], [1, 2], [3, 0], [0, 0]]]; // prettier-ignore

/** Convolutions of every kind that have at least one window. */
const anyConvolution: fc.Arbitrary<Convolution> = fc
  .record({
    batch: fc.constantFrom(1, 3),
    image: fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
    channels: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
    window: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 })),
    strides: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })),
    padding: fc.constantFrom<Padding>("same", "valid", [
      [0, 0],
      [1, 0],
      [1, 2],
      [0, 0],
    ]),
    dilations: fc.constantFrom<Pair>([1, 1], [1, 1], [2, 1], [2, 3]),
  })
  .map((of) => (Math.max(...of.strides) > 1 ? { ...of, dilations: [1, 1] as Pair } : of)) // tfjs has one or the other
  .filter(({ image, window, padding, dilations }) => {
    const extra = typeof padding === "object" ? [1, 3] : [0, 0];
    return padding === "same" || [0, 1].every((i) => image[i]! + extra[i]! > (window[i]! - 1) * dilations[i]!);
  });

describe("tf.conv2d() and both gradients", () => {
  test.each(["same", "valid"] as const)('with padding "%s": odd and even windows, strides', async (padding) => {
    const windows: Pair[] = [[1, 1], [3, 3], [5, 5], [2, 2], [4, 4], [1, 7], [7, 1], [3, 2]]; // prettier-ignore
    const cases = windows.flatMap((window) =>
      [1, 2, 3].map((strides) => convolution({ image: [7, 8], channels: [3, 4], window, strides, padding })),
    );
    await expectAgreement(cases);
  });

  test("with numeric and with explicit padding", async () => {
    const cases = PADDINGS.flatMap((padding) =>
      [1, 2].map((strides) => convolution({ image: [7, 5], channels: [2, 3], window: [3, 3], strides, padding })),
    );
    await expectAgreement(cases);
  });

  test("with padding wider than the window reaches", async () => {
    const wide = [[0, 0], [3, 2], [2, 4], [0, 0]] satisfies Padding; // prettier-ignore
    const windows = [[1, 1], [2, 2], [3, 2], [2, 3]] as const; // prettier-ignore
    const cases = windows.flatMap(([h, w]) =>
      [1, 2].map((strides) => convolution({ image: [4, 5], channels: [2, 3], window: [h, w], strides, padding: wide })),
    );
    await expectAgreement(cases);
  });

  test("with one number as padding, where tfjs takes a window and its strides for square", async () => {
    const strides = convolution({ image: [7, 7], channels: [2, 3], window: [3, 3], strides: [1, 2], padding: 0 });
    await expectAgreement([strides]); // more columns than the image has, all zero
    const window = convolution({ image: [4, 5], channels: [2, 3], window: [3, 2], padding: 1 });
    await expect(expectAgreement([window])).rejects.toThrow(/tfjs gives 4 x 5 of 4 x 6 pixels/); // fewer
  });

  test("dilated", async () => {
    const paddings: readonly Padding[] = ["same", "valid", [[0, 0], [2, 1], [3, 0], [0, 0]]]; // prettier-ignore
    const cases = paddings.flatMap((padding) =>
      ([2, [1, 3], [3, 1]] as const).map((dilations) =>
        convolution({ image: [9, 8], channels: [2, 3], window: [3, 2], padding, dilations: dilations as Pair }),
      ),
    );
    await expectAgreement(cases);
  });

  test("one pixel wide: a product, if it visits every pixel", async () => {
    await expectAgreement([
      convolution({ image: [5, 4], channels: [7, 3], window: [1, 1] }),
      convolution({ image: [5, 4], channels: [1, 1], window: [1, 1], padding: "valid" }),
      convolution({ image: [5, 4], channels: [3, 5], window: [1, 1], strides: 2 }),
      convolution({ image: [5, 4], channels: [3, 5], window: [1, 1], padding: 1 }),
      convolution({ image: [1, 1], channels: [3, 5], window: [1, 1] }),
      convolution({ image: [1, 1], channels: [3, 5], window: [3, 3] }),
    ]);
  });

  test("in NCHW", async () => {
    const cases = (["same", "valid", 1] as const).flatMap((padding) =>
      ([[1, 1], [2, 1], [1, 2]] as const) // prettier-ignore
        .map(([strides, dilations]) =>
          convolution({ image: [6, 5], channels: [3, 4], window: [3, 3], padding, strides, dilations, format: "NCHW" }),
        ),
    );
    const padding = [[0, 0], [0, 0], [1, 2], [3, 0]] satisfies Padding; // prettier-ignore
    await expectAgreement([
      ...cases,
      convolution({ image: [6, 5], channels: [3, 4], window: [1, 1], format: "NCHW" }),
      convolution({ image: [6, 5], channels: [3, 4], window: [3, 3], format: "NCHW", padding }),
    ]);
  });

  test("plus a bias by channel, and a residual", async () => {
    const windows = [[1, 1], [3, 3]] as const; // prettier-ignore
    const cases = windows.flatMap(([h, w]) =>
      [1, 2].flatMap((strides) => {
        const values = { x: draws.normal([2, 6, 6, 3]), w: draws.normal([h, w, 3, 4]), bias: draws.normal([4]) };
        const conv = (x: tf.Tensor4D, w: tf.Tensor4D): tf.Tensor4D => tf.conv2d(x, w, strides, "same");
        return [
          caseOf("conv2d plus bias", values, ({ x, w, bias }) => tf.add(conv(x, w), bias), PRODUCT),
          caseOf(
            "bias plus conv2d",
            values,
            ({ x, w, bias }) => tf.add(tf.reshape(bias, [1, 1, 1, 4]), conv(x, w)),
            PRODUCT,
          ),
          caseOf(
            "conv2d plus itself",
            values,
            ({ x, w, bias }) => tf.add(tf.add(conv(x, w), bias), tf.relu(conv(x, w))),
            PRODUCT,
          ),
          caseOf("conv2d plus one number", values, ({ x, w, bias }) => tf.add(conv(x, w), tf.sum(bias)), PRODUCT),
        ];
      }),
    );
    await expectAgreement(cases);
  });

  test("of many random shapes", async () => {
    await expectAgreement(draws.list(anyConvolution, 60).map(convolution));
  });

  test("of one image without a batch axis", async () => {
    const values = { x: draws.normal([6, 5, 2]), w: draws.normal([3, 3, 2, 4]) };
    await expectAgreement([caseOf("conv2d", values, ({ x, w }) => tf.conv2d(x, w, 1, "same"), PRODUCT)]);
  });
});

describe("tf.conv2dTranspose() and both gradients", () => {
  test("is the gradient of tf.conv2d() for the image", async () => {
    const rows = [
      ["same", 1, [5, 6]],
      ["same", 2, [10, 12]],
      ["same", 2, [9, 11]],
      ["valid", 1, [7, 8]],
      ["valid", 2, [11, 13]],
      ["valid", 2, [12, 14]],
    ] as const;
    const cases = rows.map(([padding, strides, [height, width]]) =>
      caseOf(
        `conv2dTranspose ${padding} by ${strides}`,
        { x: draws.normal([2, 5, 6, 4]), w: draws.normal([3, 3, 2, 4]) },
        ({ x, w }) => tf.conv2dTranspose(x, w, [2, height, width, 2], strides, padding),
        PRODUCT,
      ),
    );
    await expectAgreement(cases);
  });
});

describe("tf.depthwiseConv2d() and both gradients", () => {
  interface Depthwise extends Omit<Convolution, "channels"> {
    readonly channels: number;
    readonly multiplier: number;
  }

  function depthwise({
    image,
    channels,
    multiplier,
    window,
    strides = 1,
    padding = "same",
    dilations = 1,
  }: Depthwise): Case {
    return caseOf(
      `depthwiseConv2d ${JSON.stringify({ strides, padding, dilations })}`,
      { x: draws.normal([2, ...image, channels]), w: draws.normal([...window, channels, multiplier]) },
      ({ x, w }) => tf.depthwiseConv2d(x, w, strides, padding, "NHWC", dilations),
      dilations === 1 ? PRODUCT : { ...PRODUCT, gradient: false },
    );
  }

  test("with every padding, stride and multiplier", async () => {
    const cases = (["same", "valid", 1] as const).flatMap((padding) =>
      [1, 2].flatMap((strides) =>
        [1, 2, 3].map((multiplier) =>
          depthwise({ image: [7, 6], channels: 3, multiplier, window: [3, 3], strides, padding }),
        ),
      ),
    );
    await expectAgreement([
      ...cases,
      depthwise({ image: [5, 5], channels: 1, multiplier: 1, window: [3, 3] }),
      depthwise({ image: [5, 5], channels: 4, multiplier: 1, window: [1, 1] }),
      depthwise({ image: [5, 5], channels: 4, multiplier: 2, window: [2, 3] }),
      depthwise({ image: [9, 9], channels: 2, multiplier: 2, window: [3, 3], dilations: 2 }),
    ]);
  });

  test("tf.separableConv2d() is one and a product", async () => {
    const values = {
      x: draws.normal([2, 6, 5, 3]),
      depth: draws.normal([3, 3, 3, 2]),
      point: draws.normal([1, 1, 6, 4]),
    };
    const separable = caseOf(
      "separableConv2d",
      values,
      ({ x, depth, point }) => tf.separableConv2d(x, depth, point, 1, "same"),
      {
        tolerance: TOLERANCE.network,
        gradient: TOLERANCE.network,
      },
    );
    await expectAgreement([separable]);
  });
});
