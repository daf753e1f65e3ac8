import "@tensorflow/tfjs"; // registers the gradients
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import type { ResizeCoordinates } from "./graph.js";
import { evaluateNode } from "./interpret.js";
import { resizeWeights } from "./resize.js";

const FUNCTIONS = ["nearest", "bilinear"] as const;
const COORDINATES = ["alignCorners", "halfPixel", "asymmetric"] as const;

// Up and down, by whole factors and not, to one pixel and from one pixel; [inputSize, outputSize].
const SIZES: readonly (readonly [number, number])[] = [
  [1, 1],
  [1, 4],
  [4, 1],
  [2, 4],
  [4, 2],
  [2, 5],
  [5, 2],
  [7, 3],
  [3, 7],
  [3, 3],
  [8, 5],
  [10, 11],
];
const CASES = FUNCTIONS.flatMap((fn) => COORDINATES.map((coordinates) => [fn, coordinates] as const));

type Image = readonly [batch: number, height: number, width: number, channels: number];

/** Numbers without order, the same in every run. */
function numbers(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1)));
}

function image(shape: Image) {
  return { dtype: "float32" as const, shape, data: numbers(shape[0] * shape[1] * shape[2] * shape[3]) };
}

function tfjsResize(fn: "nearest" | "bilinear", coordinates: ResizeCoordinates, size: [number, number]) {
  const resize = fn === "nearest" ? tf.image.resizeNearestNeighbor : tf.image.resizeBilinear;
  return (x: tf.Tensor): tf.Tensor4D =>
    resize(x as tf.Tensor4D, size, coordinates === "alignCorners", coordinates === "halfPixel");
}

/** The largest difference between two lists of numbers; infinite if one is longer or holds NaN. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  const worst = Math.max(0, ...Array.from(a, (value, i) => Math.abs(value - b[i]!)));
  return Number.isNaN(worst) ? Infinity : worst;
}

beforeAll(async () => {
  tf.env().set("IS_TEST", true); // no advice to install another backend
  await tf.setBackend("cpu");
});

describe("resizeWeights()", () => {
  test("mixes the two pixels around a half-pixel center and repeats the edges", () => {
    expect(resizeWeights("bilinear", "halfPixel", 2, 4)).toEqual([
      [{ index: 0, weight: 1 }],
      [
        { index: 0, weight: 0.75 },
        { index: 1, weight: 0.25 },
      ],
      [
        { index: 0, weight: 0.25 },
        { index: 1, weight: 0.75 },
      ],
      [{ index: 1, weight: 1 }],
    ]);
  });

  test("takes the nearest pixel from corners, and the one before from the left edge", () => {
    const indices = (coordinates: ResizeCoordinates) =>
      resizeWeights("nearest", coordinates, 2, 3).map((taps) => taps.map((tap) => tap.index));
    expect(indices("alignCorners")).toEqual([[0], [1], [1]]); // 0, 1/2, 1: the half goes up
    expect(indices("halfPixel")).toEqual([[0], [1], [1]]); // centers at 1/3, 1, 5/3 of pixels [0, 1), [1, 2)
    expect(indices("asymmetric")).toEqual([[0], [0], [1]]); // 0, 2/3, 4/3
  });

  test.each(CASES)("%s, %s: the weights of every output sum to one, inside the image, in order", (fn, coordinates) => {
    for (const [inputSize, outputSize] of SIZES) {
      const table = resizeWeights(fn, coordinates, inputSize, outputSize);
      expect(table).toHaveLength(outputSize);
      for (const taps of table) {
        expect(taps.reduce((sum, tap) => sum + tap.weight, 0)).toBeCloseTo(1, 12);
        const indices = taps.map((tap) => tap.index);
        expect(indices).toEqual([...new Set(indices)].sort((a, b) => a - b));
        expect(indices.every((index) => Number.isInteger(index) && index >= 0 && index < inputSize)).toBe(true);
        expect(indices.some((index) => Object.is(index, -0))).toBe(false);
      }
    }
  });
});

describe("resize", () => {
  test.each(CASES)("%s, %s: equals tfjs' cpu backend at every pair of sizes", (fn, coordinates) => {
    for (const [H, height] of SIZES)
      for (const [W, width] of SIZES) {
        const x = image([2, H, W, 3]);
        const size = [height, width] as [number, number];
        const y = evaluateNode({ kind: "resize", fn, coordinates, size }, [x]);
        const expected = tf.tidy(() => tfjsResize(fn, coordinates, size)(tf.tensor(x.data, [2, H, W, 3])).dataSync());
        expect({ H, W, size, error: distance(y.data, expected) < 1e-6 }).toEqual({ H, W, size, error: true });
      }
  });
});

describe("resizeGrad", () => {
  // What tfjs' cpu gradients can be held against. They know no half-pixel centers, and give wrong numbers for batches
  // (nearest), images that are not square (bilinear: height and width are swapped), and hang when one pixel is spread
  // over several with aligned corners (nearest).
  test.each(CASES.filter(([, coordinates]) => coordinates !== "halfPixel"))(
    "%s, %s: equals tfjs' gradient",
    (fn, coordinates) => {
      for (const [from, to] of SIZES) {
        if (fn === "nearest" && from === 1 && to > 1) continue;
        const dy = image([1, to, to, 3]);
        const dx = evaluateNode({ kind: "resizeGrad", fn, coordinates, size: [from, from] }, [dy]);
        const expected = tf.tidy(() => {
          const gradient = tf.grad(tfjsResize(fn, coordinates, [to, to]));
          return gradient(tf.zeros([1, from, from, 3]), tf.tensor(dy.data, [1, to, to, 3])).dataSync();
        });
        expect({ from, to, close: distance(dx.data, expected) < 1e-5 }).toEqual({ from, to, close: true });
      }
    },
  );

  test.each(CASES)("%s, %s: is the transpose of resize: <dy, resize(x)> = <resizeGrad(dy), x>", (fn, coordinates) => {
    const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);
    for (const [H, height] of SIZES)
      for (const [W, width] of SIZES) {
        const [x, dy] = [image([2, H, W, 3]), image([2, height, width, 3])];
        const y = evaluateNode({ kind: "resize", fn, coordinates, size: [height, width] }, [x]);
        const dx = evaluateNode({ kind: "resizeGrad", fn, coordinates, size: [H, W] }, [dy]);
        expect(dx.shape).toEqual(x.shape);
        expect(dot(dx.data, x.data)).toBeCloseTo(dot(dy.data, y.data), 4);
      }
  });
});
