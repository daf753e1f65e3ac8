import * as tf from "@tensorflow/tfjs-core";
import { caseOf, expectAgreement, type Case } from "../oracle.js";
import { TOLERANCE } from "../tolerance.js";
import { Draws } from "../values.js";

const draws = new Draws("resize");
const { exact, reduction } = TOLERANCE;

type Pair = readonly [number, number];

/** From and to: larger, smaller, the same, by whole factors and by others, from and to one pixel. */
const SIZES: readonly { readonly from: Pair; readonly to: Pair }[] = [
  { from: [2, 3], to: [4, 6] },
  { from: [4, 6], to: [2, 3] },
  { from: [3, 5], to: [7, 4] },
  { from: [5, 5], to: [5, 5] },
  { from: [7, 3], to: [3, 8] },
  { from: [1, 1], to: [3, 4] },
  { from: [4, 5], to: [1, 1] },
  { from: [1, 4], to: [5, 1] },
  { from: [8, 8], to: [16, 16] },
  { from: [4, 4], to: [7, 3] },
  { from: [6, 6], to: [4, 5] },
  { from: [13, 11], to: [29, 7] },
];

const MODES = [
  { name: "asymmetric", alignCorners: false, halfPixel: false },
  { name: "corners aligned", alignCorners: true, halfPixel: false },
  { name: "half-pixel centers", alignCorners: false, halfPixel: true },
] as const;

function resizes(fn: "nearest" | "bilinear", { name, alignCorners, halfPixel }: (typeof MODES)[number]): Case[] {
  const resize = fn === "nearest" ? tf.image.resizeNearestNeighbor : tf.image.resizeBilinear;
  // In the gradient of the bilinear map tfjs' cpu backend exchanges height and width, and ignores half-pixel centers:
  // see central-differences.test.ts.
  const right = ([height, width]: Pair): boolean => fn === "nearest" || (height === width && !halfPixel);
  return SIZES.map(({ from, to }) =>
    caseOf(
      `${fn}, ${name}, to ${to.join(" x ")}`,
      { x: draws.normal([2, ...from, 3]) },
      ({ x }) => resize(x, [...to], alignCorners, halfPixel),
      { tolerance: fn === "nearest" ? exact : reduction, gradient: right(from) ? reduction : false },
    ),
  );
}

describe.each(["nearest", "bilinear"] as const)("resizing by %s pixels", (fn) => {
  test.each(MODES)("$name: values and gradients", (mode) => expectAgreement(resizes(fn, mode)));
});

describe("resizing", () => {
  test("in every way at once, between the same sizes", async () => {
    const cases = (["nearest", "bilinear"] as const).flatMap((fn) => MODES.flatMap((mode) => resizes(fn, mode)));
    await expectAgreement(cases.filter(({ name }) => /to (4 x 6|7 x 3|16 x 16)$/.test(name)));
  });

  test("takes an image of int32, and one without a batch axis", async () => {
    const x = draws.integers([4, 5, 2], 0, 256);
    const options = { tolerance: reduction, gradient: false } as const;
    await expectAgreement([
      caseOf("bilinear", { x }, ({ x }) => tf.image.resizeBilinear(x, [7, 3]), options),
      caseOf("nearest", { x }, ({ x }) => tf.image.resizeNearestNeighbor(x, [7, 3]), options),
    ]);
  });

  test("doubles by tf.upSampling's way, and by repeating rows and columns, alike", async () => {
    const x = draws.normal([2, 3, 4, 5]);
    await expectAgreement([
      caseOf("nearest, doubled", { x }, ({ x }) => tf.image.resizeNearestNeighbor(x, [6, 8]), { tolerance: exact }),
      caseOf(
        "repeated",
        { x },
        ({ x }) => tf.reshape(tf.tile(tf.reshape(x, [2, 3, 1, 4, 5]), [1, 1, 2, 1, 2]), [2, 6, 8, 5]),
        { tolerance: exact, gradient: false },
      ),
    ]);
  });
});
