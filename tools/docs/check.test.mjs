import { anchorsOf, citedSections, findProblems, linksOf, sectionsOf } from "./check.mjs";

const reference = "# R\n\n## 1. Sizes\n\n## 9. Training step\n\n1. first\n2. second\n";

/** What is wrong with files given as text. @param {Record<string, string>} given */
const problemsOf = (given) => {
  const texts = new Map(Object.entries({ "docs/reference.md": reference, ...given }));
  return findProblems(texts, new Set([...texts.keys(), "docs"]));
};

describe("findProblems()", () => {
  test("names links to files and headings that do not exist", () => {
    const text =
      "[a](docs/lost.md) [b](docs/reference.md#10-more) [c](#here) [d](docs/reference.md#1-sizes) [e](docs/)\n## There";
    expect(problemsOf({ "A.md": text })).toEqual([
      "A.md links to docs/lost.md, which does not exist",
      'A.md links to docs/reference.md#10-more: docs/reference.md has no heading "10-more"',
      'A.md links to #here: A.md has no heading "here"',
    ]);
  });

  test("names functions that are not where a link says", () => {
    const files = { "a.ts": "export function here() {}\nthere();\n", "A.md": "[`here`](a.ts) [`there`](a.ts)" };
    expect(problemsOf(files)).toEqual(["A.md links to a.ts for `there`, which that file does not declare"]);
  });

  test("names sections and files that comments cite and nobody has", () => {
    const files = {
      "a.ts":
        "/** Source: spec section 9, steps 2 and\n * 3; spec\n * sections 1 and 8. See `a.ts`, `src/a.ts`. */\n// as `b.ts`",
    };
    expect(problemsOf(files)).toEqual([
      "a.ts cites spec section 9.3, which docs/reference.md does not have",
      "a.ts cites spec section 8, which docs/reference.md does not have",
      "a.ts names `src/a.ts`, which does not exist",
      "a.ts names `b.ts`, which does not exist",
    ]);
  });
});

test("findProblems() names comments that are wider than 120 columns, and no code", () => {
  const wide = "x".repeat(115);
  const lines = [
    `// ${wide}`,
    ` * ${wide}`,
    `  f(); // ${wide}`,
    `f("${wide} /* */");`,
    "f(); // prettier-ignore",
    `// ${wide}xxxx`,
  ];
  expect(problemsOf({ "a.ts": lines.join("\n") })).toEqual([
    "a.ts:3 is a comment of 125 columns, expected 120 at most",
    "a.ts:6 is a comment of 122 columns, expected 120 at most",
  ]);
});

test("linksOf() leaves out hosts and code", () => {
  const text = '[a](x.md)\n```md\n[b](y.md)\n```\n[`c [d]`](z.ts) <img src="i.png"> [e](https://example.org)';
  expect(linksOf(text).map(({ target }) => target)).toEqual(["x.md", "z.ts", "i.png"]);
});

test("anchorsOf() makes GitHub's anchors", () => {
  const text = "# A `b` (c, d)\n## The paper's way\n## Same\n## Same\n```sh\n# none\n```";
  expect([...anchorsOf(text)]).toEqual(["a-b-c-d", "the-papers-way", "same", "same-1"]);
});

test("sectionsOf() and citedSections() speak of the same numbers", () => {
  expect([...sectionsOf(reference)]).toEqual(["1", "9", "9.1", "9.2"]);
  expect(citedSections("Spec section 9, step 4; spec sections 5 to 7 and 16.4, spec section 5, steps 6 and 7")).toEqual(
    ["9", "9.4", "5", "7", "16.4", "5", "5.6", "5.7"],
  );
});
