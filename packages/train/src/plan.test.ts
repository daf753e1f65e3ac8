import { planOf, stepName } from "./plan.js";
import { tinyConfig } from "./testing.js";

const where = (does: (step: number) => boolean, steps = 10): number[] =>
  Array.from({ length: steps + 1 }, (_, step) => step).filter(does);

describe("planOf()", () => {
  test("logs, samples and saves at multiples, and logs and saves at the end", () => {
    const plan = planOf(tinyConfig({ steps: 10, logEvery: 3, sampleEvery: 4, checkpointEvery: 4, keepAt: [0.25] }), 7);
    expect(plan).toMatchObject({ steps: 10, stepImages: 2 });
    expect(where(plan.logs)).toEqual([0, 3, 6, 9, 10]);
    expect(where(plan.samples)).toEqual([4, 8]);
    expect(where(plan.saves)).toEqual([3, 4, 8, 10]); // 2.5 is rounded to 3
  });

  test("keeps none of the steps that were made before", () => {
    const config = tinyConfig({ steps: 10, checkpointEvery: 2, keepLast: 5, keepAt: [0.3, 0.7] });
    const plan = planOf(config, 7, 5);
    expect(plan).toMatchObject({ steps: 10, before: 5 });
    expect([6, 7, 10].map((step) => plan.kept(step))).toEqual([[6], [6, 7], [6, 7, 8, 10]]);
  });

  test("makes no samples if not asked to", () => {
    expect(where(planOf(tinyConfig({ sampleEvery: 0 }), 7).samples)).toEqual([]);
  });

  test("has as many steps as the epochs need", () => {
    const plan = planOf(tinyConfig({ steps: 1, epochs: 2.5, batchImages: 2, accumulate: 3 }), 7);
    expect(plan).toMatchObject({ steps: 3, stepImages: 6 }); // 17.5 images
  });

  test("keeps the newest checkpoints and the marked ones", () => {
    const plan = planOf(tinyConfig({ steps: 10, checkpointEvery: 2, keepLast: 2, keepAt: [0.01, 0.3] }), 7);
    expect([1, 2, 3, 4, 5, 7, 10].map((step) => plan.kept(step))).toEqual([
      [1],
      [1, 2],
      [1, 2, 3],
      [1, 3, 4],
      [1, 3, 4],
      [1, 3, 4, 6],
      [1, 3, 8, 10],
    ]);
  });
});

test("stepName() sorts as steps do", () => {
  expect([400, 1_234_567].map(stepName)).toEqual(["step-0000400", "step-1234567"]);
});
