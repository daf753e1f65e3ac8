import { configSchema, defineStage } from "@madformer/stage";
import { z } from "zod";
import { fieldAt, flagOf, optionsOf, valueOf, withField, type Schema } from "./options.js";

const stage = defineStage({
  name: "x",
  summary: "x",
  config: z.strictObject({
    batchImages: z.int().default(8).describe("Images at a time"),
    rate: z.number().default(0.1),
    name: z.string().optional(),
    solver: z.enum(["ddim", "dpm"]).default("dpm"),
    npz: z.boolean().default(true),
    clip: z.boolean().default(false),
    optimizer: z.strictObject({ beta1: z.number().default(0.9) }).prefault({}),
    schedule: z
      .discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("wsd") }),
        z.strictObject({ kind: z.literal("cosine"), warmup: z.number() }),
      ])
      .prefault({ kind: "wsd" }),
    keepAt: z.array(z.number()).default([]),
  }),
  inputs: {},
  run: async () => ({}),
});
const schema = configSchema(stage) as Schema;

describe("optionsOf()", () => {
  test("makes an option of each field, with its kind, meaning and default", () => {
    const shown = optionsOf(schema).map(({ option }) => `${option.flags} # ${option.description}`);
    expect(shown).toEqual([
      "--batch-images <integer> # Images at a time (default: 8)",
      "--rate <number> #  (default: 0.1)",
      "--name <text> # ",
      "--solver <ddim|dpm> #  (default: dpm)",
      "--no-npz #  (default: yes)",
      "--clip # ",
      "--optimizer <json> #  (default: {})",
      "--optimizer.beta1 <number> #  (default: 0.9)",
      '--schedule <wsd|cosine|json> #  (default: {"kind":"wsd"})',
      "--keep-at <json> #  (default: [])",
    ]);
  });
});

test.each<[string, string | boolean, unknown]>([
  ["batchImages", "16", 16],
  ["rate", "1e-3", 0.001],
  ["rate", "fast", "fast"],
  ["rate", "", ""],
  ["name", "12", "12"],
  ["npz", false, false],
  ["schedule", "cosine", { kind: "cosine" }],
  ["schedule", '{"kind":"cosine","warmup":0.1}', { kind: "cosine", warmup: 0.1 }],
  ["schedule", "linear", "linear"],
  ["keepAt", "[0.25, 0.5]", [0.25, 0.5]],
])("valueOf() reads %s from %j", (field, text, value) => {
  expect(valueOf(text, fieldAt(schema, [field]))).toEqual(value);
});

test("flagOf() and withField() lead from a field to its option, and back into a config", () => {
  expect(flagOf(["optimizer", "weightDecay"])).toBe("optimizer.weight-decay");
  expect(withField({ a: 1, b: { c: 2 } }, ["b", "d"], 3)).toEqual({ a: 1, b: { c: 2, d: 3 } });
  expect(withField("smoke", ["width"], 64)).toEqual({ preset: "smoke", width: 64 });
  expect(withField(null, ["b"], 3)).toEqual({ b: 3 });
});
