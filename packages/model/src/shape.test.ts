import type * as tf from "@tensorflow/tfjs-core";
import { dims, ShapeError } from "./shape.js";

describe("dims()", () => {
  const x = { shape: [2, 3, 4] } as tf.Tensor;

  test("gives sizes by name", () => {
    expect(dims(x, ["N", 3, "C"], "x")).toEqual({ N: 2, C: 4 });
  });

  test.each([[["N", 2, "C"]], [["N", 3]], [["N", 3, "C", "D"]]] as const)(
    "names both shapes when it is not %j",
    (axes) => {
      const attempt = (): unknown => dims(x, axes, "layer: x");
      expect(attempt).toThrow(new ShapeError(`layer: x has shape (2, 3, 4), expected (${axes.join(", ")})`));
      expect(attempt).toThrow(RangeError);
    },
  );
});
