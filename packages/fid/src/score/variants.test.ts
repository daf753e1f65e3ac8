import type { GroupScore } from "./scores.js";
import { spreadOf, stepsScores, stepsTable } from "./variants.js";

const score = (name: string, distance: number, more: Partial<GroupScore> = {}): GroupScore => ({
  ...{ name, distance, samples: 8, numbers: { kid: distance / 10 } },
  ...more,
});

describe("spreadOf()", () => {
  test("is mean and standard deviation over the sets, of each number that all of them have", () => {
    const repeats = [score("repeat-1", 3, { numbers: { kid: 0.5, recall: 1 } }), score("repeat-2", 8)];
    const found = spreadOf(score("final", 4), repeats, ["kid", "recall", "sfid"])!;
    expect(found).toMatchObject({ sets: 3, samples: 8, mean: { distance: 5 } });
    expect(found.std["distance"]).toBeCloseTo(Math.sqrt((1 + 4 + 9) / 2), 12);
    expect(found.mean["kid"]).toBeCloseTo((0.4 + 0.5 + 0.8) / 3, 12);
    expect(Object.keys(found.std)).toEqual(["distance", "kid"]);
  });

  test("is nothing of one set, and refuses sets of different sizes", () => {
    expect(spreadOf(score("final", 4), [], [])).toBeUndefined();
    expect(() => spreadOf(score("final", 4), [score("repeat-1", 3, { samples: 9 })], [])).toThrow(
      'Cannot compare sets of seeds: 9 samples in group "repeat-1", expected 8 as in "final"',
    );
  });
});

describe("stepsScores() and stepsTable()", () => {
  const others = [score("steps-8", 3, { steps: 8, nfe: 32 }), score("steps-1", 12.3456, { steps: 1, nfe: 4 })];
  const final = score("final", 4, { steps: 4, nfe: 16, step: 100 });

  test("put the checkpoint's own steps among the others, fewest evaluations first", () => {
    const found = stepsScores(final, others);
    expect(found.map(({ steps, nfe, distance }) => [steps, nfe, distance])).toEqual([
      [1, 4, 12.3456],
      [4, 16, 4],
      [8, 32, 3],
    ]);
    expect(stepsScores(final, [])).toEqual([]);
  });

  test("make a table with a column for each measure", () => {
    const measures = {
      recall: { label: "Recall", best: "higher", meaning: "" },
      kid: { label: "KID", best: "lower", meaning: "" },
    } as const;
    expect(stepsTable("FD", stepsScores(final, others), measures).split("\n").slice(0, 4)).toEqual([
      "| steps | network evaluations | FD | Recall | KID | samples |",
      "| ---: | ---: | ---: | ---: | ---: | ---: |",
      "| 1 | 4 | 12.35 |  | 1.235 | 8 |",
      "| 4 | 16 | 4 |  | 0.4 | 8 |",
    ]);
  });
});
