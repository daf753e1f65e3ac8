import { accuracyOf } from "./accuracy.js";
import type { FacesData } from "./data.js";

const IMAGES = 1200; // more than are read at a time

/** Image i shows its number; what it is follows from that. */
const data: FacesData = {
  labels: [
    { kind: "classes", name: "a", values: ["x", "y", "z"] },
    { kind: "number", name: "n", min: 0, max: 1 },
    { kind: "classes", name: "rare", values: ["p", "q"] },
  ],
  leftOut: {},
  // Class 1 in three of four images, else 0; a number; the last attribute of no image at all.
  targets: Float32Array.from({ length: IMAGES * 3 }, (_, i) => {
    const image = Math.floor(i / 3);
    return [image % 4 === 0 ? 0 : 1, ((image % 10) - 4.5) / 4.5, NaN][i % 3]!;
  }),
  sidePixels: 1,
  pixels: Uint8Array.from(
    { length: IMAGES * 3 },
    (_, i) => [Math.floor(i / 3) >> 8, Math.floor(i / 3) & 255, 0][i % 3]!,
  ),
  images: IMAGES,
};

/** Says class 1 always except for image 4, class 0; and the number, wrong by `error`. */
const extractorOf = (error: number) => ({
  run: async (images: Uint8Array) => ({
    features: new Float32Array(0),
    outputs: Float32Array.from(
      Array.from({ length: images.length / 3 }, (_, i) => {
        const image = images[3 * i]! * 256 + images[3 * i + 1]!;
        const a = image === 4 ? [3, 1, 2] : [1, 3, 2];
        return [...a, ((image % 10) - 4.5) / 4.5 + (image % 2 === 0 ? error : -error), 0, 0];
      }).flat(),
    ),
  }),
});

describe("accuracyOf()", () => {
  const all = Uint32Array.from({ length: IMAGES }, (_, i) => i);

  test("counts likeliest classes, beside the most frequent one, and explained variance", async () => {
    const { accuracy, majority, explained } = await accuracyOf(extractorOf(0.1), data, all);
    expect(accuracy).toEqual({ a: Math.round((10_000 * 901) / 1200) / 10_000 });
    expect(majority).toEqual({ a: 0.75 });
    // Of numbers evenly at -1, -7/9, ..., 1: variance 33 / 81.
    expect(explained).toEqual({ n: Math.round(1e4 * (1 - 0.01 / (33 / 81))) / 1e4 });
  });

  test("names the image of which the network says what is not finite", async () => {
    const broken = {
      run: async (images: Uint8Array) => {
        const made = await extractorOf(0).run(images);
        return { ...made, outputs: made.outputs.map((x, i) => (i === 6 + 3 ? Infinity : x)) }; // of the second image
      },
    };
    await expect(accuracyOf(broken, data, Uint32Array.of(4, 8, 10))).rejects.toThrow(
      "Cannot measure accuracy: what the network says of image 8 is not finite: 1 of 6 elements, the first is Infinity at index 3",
    );
  });

  test("looks at the given images alone", async () => {
    const { accuracy, majority, explained } = await accuracyOf(extractorOf(0), data, Uint32Array.of(4, 8, 10));
    expect(accuracy).toEqual({ a: 0.6667 });
    expect(majority).toEqual({ a: 0.6667 });
    expect(explained).toEqual({ n: 1 });
    expect((await accuracyOf(extractorOf(0), data, Uint32Array.of(3, 13))).explained).toEqual({ n: 0 }); // no variance
  });
});
