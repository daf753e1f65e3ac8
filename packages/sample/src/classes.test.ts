import { madformerConfig, PRESETS } from "@madformer/model";
import { chosenClasses, overviewOf, sampleLabels } from "./classes.js";

const text = { classes: 4, vocabulary: 5, words: "numbers", zeroRow: null } as const;
const model = madformerConfig({ ...PRESETS.smoke, text });
const names = ["cat", "dog", "tench, Tinca tinca", "owl"];

describe("chosenClasses()", () => {
  test.each([
    ["all", [0, 1, 2, 3]],
    ["2,0", [2, 0]],
    ["1-3, 0,2", [1, 2, 3, 0]],
    ["owl,cat", [3, 0]],
    ["owl,0-1", [3, 0, 1]],
  ])("of %j are %j", (asked, expected) => expect(chosenClasses(asked, model, names)).toEqual(expected));

  test.each(["4", "0-4", "2-1", "wolf", "", "1,,2", "-1"])("refuse %j", (asked) => {
    expect(() => chosenClasses(asked, model, names)).toThrow(
      /^Cannot sample class ".*": expected numbers from 0 to 3,/,
    );
  });

  test("are none of a model without classes, of which none may be asked", () => {
    const plain = madformerConfig(PRESETS.smoke);
    expect(chosenClasses("all", plain, undefined)).toEqual([]);
    expect(() => chosenClasses("1", plain, undefined)).toThrow(
      'Cannot sample classes "1": the model has none, expected "all"',
    );
  });
});

describe("sampleLabels()", () => {
  test("has equally many images of each class, by turns, whatever else is sampled", () => {
    const seeds = Array.from({ length: 8 }, (_, seed) => seed);
    const { classes, labels } = sampleLabels([2, 0], seeds, names);
    expect(seeds.map((seed) => labels[seed])).toEqual([2, 0, 2, 0, 2, 0, 2, 0]);
    expect(classes).toEqual([
      { label: 2, name: "tench, Tinca tinca", images: 4 },
      { label: 0, name: "cat", images: 4 },
    ]);
    expect(sampleLabels([2, 0], [5, 6], undefined)).toEqual({
      classes: [
        { label: 2, images: 1 },
        { label: 0, images: 1 },
      ],
      labels: { 5: 0, 6: 2 },
    });
  });
});

describe("overviewOf()", () => {
  const seeds = Array.from({ length: 12 }, (_, seed) => seed);

  test("has a row for each class", () => {
    expect(overviewOf(seeds, [0, 1, 2], 9)).toEqual({ seeds: [0, 3, 6, 1, 4, 7, 2, 5, 8], columns: 3 });
    expect(overviewOf(seeds, [0, 1, 2], 100)).toMatchObject({ columns: 4 });
  });

  test("is a square of the first seeds without classes, with more than fit, and where one has too few", () => {
    expect(overviewOf(seeds, [], 9)).toEqual({ seeds: seeds.slice(0, 9), columns: 3 });
    expect(overviewOf(seeds, [0, 1, 2], 5)).toEqual({ seeds: seeds.slice(0, 5), columns: 3 });
    expect(overviewOf([0, 1, 3], [0, 1], 9)).toEqual({ seeds: [0, 1, 3], columns: 2 });
  });
});
