import type { Made } from "@madformer/artifacts";
import { placeOf, type ValuePlace } from "../plain/sweep-file.mjs";
import { frontsOf } from "./plot.js";
import type { PointResult } from "./results.js";
import { sweepOf } from "./testing.js";

const SWEEP = sweepOf({ axes: { "train.model.heads": [1, 2], "sample.steps": [1, 4] } });
const SCORE = placeOf("score.mean") as ValuePlace;

/** Points as if they had run: with two heads a step costs half the layers, and four steps are better than one. */
function resultsOf(more: (heads: number, steps: number) => object): PointResult[] {
  return SWEEP.points.map((point) => {
    const [heads, steps] = [point.values["train.model.heads"] as number, point.values["sample.steps"] as number];
    const made = (facts: object, seconds: number) => ({ manifest: { facts }, record: { seconds } }) as unknown as Made;
    return {
      point: { ...point, value: {}, stages: [{ name: "sample", uses: "sample" }] as never },
      made: new Map([
        ["sample", made({ nfe: steps, images: 10, ...more(heads, steps) }, 20 * steps)],
        ["score", made({ mean: 10 / steps + heads }, 1)],
      ]),
    };
  });
}

describe("frontsOf()", () => {
  test("draws what nothing is better than, by evaluations, layers and seconds of an image", () => {
    const fronts = frontsOf(
      resultsOf((heads, steps) => ({ layerRuns: (8 * steps) / heads })),
      SCORE,
      "lower",
    );
    const told = fronts.map(({ x, front }) => [x, front.map((mark) => [mark.x, mark.label])]);
    expect(told).toEqual([
      [
        "sample.nfe",
        [
          [1, "heads 1, steps 1"],
          [4, "heads 1, steps 4"],
        ],
      ],
      [
        "sample.layerRuns",
        [
          [4, "heads 2, steps 1"],
          [8, "heads 1, steps 1"],
          [16, "heads 2, steps 4"],
          [32, "heads 1, steps 4"],
        ],
      ],
      [
        "sample.seconds",
        [
          [2, "heads 1, steps 1"],
          [8, "heads 1, steps 4"],
        ],
      ],
    ]);
  });

  test("leaves out what samples do not count", () => {
    const fronts = frontsOf(
      resultsOf(() => ({})),
      SCORE,
      "lower",
    );
    expect(fronts.map(({ x }) => x)).toEqual(["sample.nfe", "sample.seconds"]);
  });
});
