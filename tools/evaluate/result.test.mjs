import { Evaluation, markdownOf, quoted } from "./result.mjs";

const DIGEST = "ab".repeat(32);
const made = { key: DIGEST, manifest: "cd".repeat(32) };
/** @type {Evaluation} */
const RESULT = {
  format: 1,
  pipeline: "smoke",
  base: { ref: "origin/main", commit: "1".repeat(40) },
  head: { commit: "2".repeat(40), changed: true },
  ...{ metric: "FD (faces-net)", samples: 32, referenceImages: 96 },
  ...{ score: 13.05, baseScore: 21.244, repeats: [21, 22, 20.5, 21.75], noise: 2.243 },
  ...{ verdict: "better", incomparable: null },
  others: [{ name: "recall", score: 0.25, base: 0.125 }],
  stages: [
    { name: "train", base: made, head: made, computed: false, changes: [] },
    {
      name: "sample",
      base: made,
      head: { ...made, manifest: DIGEST },
      computed: true,
      changes: ["config.steps: 2, now 8"],
    },
    { name: "score", base: null, head: made, computed: true, changes: ["it is new"] },
  ],
};

test("the table says score, base, difference, noise, samples, what changed and from what it was made", () => {
  expect(Evaluation.parse(RESULT)).toEqual(RESULT);
  const text = markdownOf(RESULT);
  expect(text).toContain("### `smoke`: better");
  expect(text).toContain("| `FD (faces-net)` | 13.05 | 21.24 | −8.194 | ±2.243 | 32 |");
  expect(text).toContain("| `recall` | 0.2500 | 0.1250 | +0.1250 | | |");
  expect(text).toContain("Base `111111111111`, head `222222222222` with changes that are not committed.");
  expect(text).toContain("- `sample`\n  - `config.steps: 2, now 8`");
  expect(text).not.toContain("- `train`\n");
  expect(text).toContain("| `train` | `cdcdcdcdcdcd` | `cdcdcdcdcdcd` | the same, known |");
  expect(text).toContain("| `sample` | `cdcdcdcdcdcd` | `abababababab` | another, computed |");
  expect(text).toContain("| `score` | none | `cdcdcdcdcdcd` | another, computed |");
});

test("scores of different kinds have no verdict, but a reason", () => {
  const text = markdownOf({ ...RESULT, verdict: null, incomparable: "there are 64 samples, and were 32" });
  expect(text).toContain("### `smoke`: not comparable");
  expect(text).toContain("The scores cannot be compared: `there are 64 samples, and were 32`");
});

test("text from a stranger is shown as it is: no mention, link, picture, row or heading comes of it", () => {
  expect(quoted("@everyone [a](https://b.example) <img src=x>")).toBe("`@everyone [a](https://b.example) <img src=x>`");
  expect(quoted("`` a ` @b")).toBe("``` `` a ` @b ```");
  expect(quoted("a | b\n### c\u202e\u2028d")).toBe("`a ¦ b ### c  d`");
});

test("a result that is not one is refused: other fields, names, digests, sizes", () => {
  for (const wrong of [
    { ...RESULT, more: 1 },
    { ...RESULT, pipeline: "a`b" },
    { ...RESULT, score: NaN },
    { ...RESULT, metric: "x".repeat(501) },
    { ...RESULT, base: { ref: "main", commit: "abc" } },
    { ...RESULT, stages: [{ ...RESULT.stages[0], name: "../x" }] },
    { ...RESULT, verdict: "great" },
  ])
    expect(Evaluation.safeParse(wrong).success).toBe(false);
});
