import { columnKind, parseLosses } from "./losses.js";

const parse = (...lines: string[]) => parseLosses(lines.join("\n"), "x");

describe("parseLosses()", () => {
  test("reads numbers by column, inner objects under dotted names, and what is missing as NaN", () => {
    const { steps, columns } = parse(
      '{"step": 1, "loss": 2, "note": "text", "losses": {"ar": 0.5}}',
      "",
      '{"step": 4, "losses": {"ar": null}, "lr": 0.1}\r',
      '{"step": 9, "loss": 1}',
    );
    expect(steps).toEqual([1, 4, 9]);
    expect([...columns]).toEqual([
      ["loss", [2, NaN, 1]],
      ["losses.ar", [0.5, NaN, NaN]],
      ["lr", [NaN, 0.1, NaN]],
    ]);
  });

  test("of nothing is an empty table", () => expect(parse("", "").steps).toEqual([]));

  test.each([
    ["broken JSON", '{"step": 2,', /^Cannot read line 2 of x: found "\{\\"step\\": 2,", expected a JSON object$/],
    ["no object", "7", /line 2 of x: found "7"/],
    ["no step", '{"loss": 1}', /line 2 of x: it has no number "step"/],
    ["a step that is text", '{"step": "2"}', /line 2 of x: it has no number "step"/],
    ["a step twice", '{"step": 1}', /line 2 of x: step 1 comes after step 1, expected a later one/],
  ])("refuses %s, with the line", (_, line, message) => {
    expect(() => parse('{"step": 1}', line, '{"step": 3}')).toThrow(message);
  });

  test("refuses more columns than a table of losses has", () => {
    const wide = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`c${i}`, i]));
    expect(() => parse(JSON.stringify({ step: 1, ...wide }))).toThrow(
      "Cannot read x: it has more than 64 columns by line 1",
    );
  });
});

test.each([
  ["loss", "loss"],
  ["losses.diffusion", "loss"],
  ["kl", "loss"],
  ["lr", "learning rate"],
  ["learningRate", "learning rate"],
  ["gradNorm", "gradient norm"],
  ["accuracy.glasses", "accuracy"],
  ["images", "other"],
])("columnKind() of %s is %s", (column, kind) => expect(columnKind(column)).toBe(kind));
