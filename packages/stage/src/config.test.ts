import { z } from "zod";
import { configSchema, parseConfig } from "./config.js";
import { fieldsOf, kindOf } from "./schema.js";

const QUIRKS = { sound: { a: "x" }, reference: { a: "y" } };
const config = z.strictObject({
  solver: z.enum(["ddim", "dpm"]).default("dpm"),
  steps: z.int().default(3),
  schedule: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("constant") }),
      z.strictObject({ kind: z.literal("cosine"), warmup: z.number().max(1).default(0) }),
    ])
    .prefault({ kind: "cosine" }),
  quirks: z
    .union([z.enum(["sound", "reference"]), z.strictObject({ a: z.enum(["x", "y"]) })])
    .prefault("sound")
    .meta({ presets: QUIRKS }),
});
const stage = { name: "s", config };

describe("parseConfig() says of", () => {
  test.each([
    ["a wrong word", { solver: "euler" }, 'solver: found "euler", expected one of: ddim, dpm'],
    ["a word that is nearly one", { solver: "ddmi" }, 'found "ddmi", expected one of: ddim, dpm; did you mean ddim?'],
    ["a word that is no form", { schedule: "linear" }, 'schedule: found "linear", expected one of: constant, cosine'],
    [
      "a kind that there is not",
      { schedule: { kind: "wsd" } },
      'schedule.kind: found "wsd", expected one of: constant',
    ],
    [
      "a field of another form",
      { schedule: { kind: "constant", warmup: 1 } },
      '"warmup" is a field of cosine, found kind',
    ],
    ["a field of a form", { schedule: { kind: "cosine", warmup: 2 } }, "schedule.warmup: Too big"],
    ["a word of a union", { quirks: "foo" }, 'quirks: found "foo", expected one of: sound, reference'],
    ["a word within a union", { quirks: { a: "z" } }, 'quirks.a: found "z", expected one of: x, y'],
    ["a field that is nearly one", { stpes: 3 }, 'config: there is no field "stpes", did you mean "steps"?'],
    [
      "a field that there is not",
      { lr: 3 },
      'there is no field "lr", expected one of: solver, steps, schedule, quirks',
    ],
    ["a field that is nothing", { steps: null }, "steps: found null, expected number"],
    ["a number that is none", { steps: "many" }, 'steps: found "many", expected number'],
  ])("%s what it could be", (_, input, message) => {
    expect(() => parseConfig(stage, input)).toThrow(message);
  });

  test("a field that is missing what it is", () => {
    const schema = z.strictObject({ from: z.strictObject({ path: z.string().describe("The folder") }) });
    expect(() => parseConfig({ name: "s", config: schema }, { from: {} })).toThrow(
      /: from\.path: it is missing, expected string: The folder$/,
    );
  });

  test("a config with several forms that says none which there are", () => {
    const forms = z.discriminatedUnion("source", [
      z.strictObject({ source: z.literal("train") }),
      z.strictObject({ source: z.literal("import") }),
    ]);
    expect(() => parseConfig({ name: "vae", config: forms }, {})).toThrow(
      "source: found nothing, expected one of: train, import",
    );
  });
});

test("fieldsOf() gives a field that differs between forms the kinds of all of them", () => {
  const forms = z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("a"), size: z.int() }),
    z.strictObject({ kind: z.literal("b"), size: z.string() }),
    z.strictObject({ kind: z.literal("c") }),
  ]);
  const fields = new Map(fieldsOf(configSchema({ config: forms })));
  expect([kindOf(fields.get("kind")!.schema), kindOf(fields.get("size")!.schema)]).toEqual(["a|b|c", "integer|text"]);
  expect(fields.get("size")!.of).toEqual(["a", "b"]);
});
