import type { Artifact } from "@madformer/artifacts";
import { mainGroup, readFacts, ScoreFacts } from "./facts.js";

describe("mainGroup()", () => {
  test("is the one called final, wherever it stands", () => {
    expect(
      mainGroup([
        { name: "final", step: 1 },
        { name: "b", step: 9 },
      ])?.name,
    ).toBe("final");
  });

  test("is else that of the latest step, one without a step being the latest", () => {
    expect(
      mainGroup([
        { name: "a", step: 9 },
        { name: "b", step: 10 },
        { name: "c", step: 2 },
      ])?.name,
    ).toBe("b");
    expect(mainGroup([{ name: "a" }, { name: "b", step: 10 }])?.name).toBe("a");
    expect(mainGroup([])).toBeUndefined();
  });
});

test("readFacts() names the stage and the fact that does not fit", () => {
  const facts = { metric: "FID", groups: [{ name: "final", distance: "3" }] };
  const artifact = { manifest: { stage: "score", facts } } as unknown as Artifact;
  expect(() => readFacts(ScoreFacts, artifact)).toThrow(
    /^Cannot read the facts of score: "groups.0.distance" does not fit \(.*expected number/,
  );
});
