import { configSchema, defineStage, fieldAt, withField } from "@madformer/stage";
import { z } from "zod";
import { flagOf, optionsOf, valueOf, type FieldOption } from "./options.js";

const Deep = z.strictObject({ layers: z.int().default(100) });
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
    model: z
      .union([z.enum(["small", "large"]), z.strictObject({ width: z.int().default(1000), deep: Deep.prefault({}) })])
      .prefault("small")
      .meta({ presets: { small: { width: 8, deep: { layers: 2 } }, large: { width: 64, deep: { layers: 9 } } } }),
  }),
  inputs: {},
  run: async () => ({}),
});
const schema = configSchema(stage);

/** What help says of options. */
const shown = (options: readonly FieldOption[]): string[] =>
  options.filter(({ option }) => !option.hidden).map(({ option }) => `${option.flags} # ${option.description}`);

describe("optionsOf()", () => {
  test("makes an option of each field, with its kind, meaning and default", () => {
    expect(shown(optionsOf(schema))).toEqual([
      "--batch-images <integer> # Images at a time (default: 8)",
      "--rate <number> #  (default: 0.1)",
      "--name <text> # ",
      "--solver <ddim|dpm> #  (default: dpm)",
      "--no-npz #  (default: yes)",
      "--clip # ",
      "--optimizer <json> #  (default: {})",
      "--optimizer.beta1 <number> #  (default: 0.9)",
      '--schedule <wsd|cosine|json> #  (default: {"kind":"wsd"})',
      "--schedule.kind <wsd|cosine> # Which of these it is (default: wsd)",
      "--schedule.warmup <number> # cosine: ",
      "--keep-at <json> #  (default: [])",
      "--model <small|large|json> #  (default: small)",
      "--model.width <integer> #  (default: 8)",
      '--model.deep <json> #  (default: {"layers":2})',
      "--model.deep.layers <integer> #  (default: 2)",
    ]);
  });

  test("shows the values of the preset that is named", () => {
    expect(shown(optionsOf(schema, { model: "large" })).slice(-3)).toEqual([
      "--model.width <integer> #  (default: 64)",
      '--model.deep <json> #  (default: {"layers":9})',
      "--model.deep.layers <integer> #  (default: 9)",
    ]);
  });

  test("makes options of the fields of a config with several forms", () => {
    const forms = z.discriminatedUnion("source", [
      z.strictObject({ source: z.literal("train").describe("from images"), steps: z.int().default(3), seed: z.int() }),
      z.strictObject({ source: z.literal("import"), from: z.string(), seed: z.int() }),
    ]);
    expect(shown(optionsOf(configSchema({ ...stage, config: forms })))).toEqual([
      "--source <train|import> # train: from images; import: import",
      "--steps <integer> # train:  (default: 3)",
      "--seed <integer> # ",
      "--from <text> # import: ",
    ]);
  });

  test("makes two options of a field that is yes or no, so that either can be said", () => {
    const options = optionsOf(schema).map(({ option }) => `${option.long} ${option.hidden}`);
    expect(options).toEqual(expect.arrayContaining(["--npz true", "--no-npz false", "--clip false", "--no-clip true"]));
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
  expect(withField(null, ["b"], 3)).toEqual({ b: 3 });
});

describe("withField()", () => {
  const set = (config: unknown, path: string[], value: unknown) => withField(config, path, value, schema);
  const small = { width: 8, deep: { layers: 2 } };

  test("puts a field on top of the preset that is named, or of the one by default", () => {
    expect(set({}, ["model", "width"], 9)).toEqual({ model: { ...small, width: 9 } });
    expect(set({}, ["model", "deep", "layers"], 3)).toEqual({ model: { ...small, deep: { layers: 3 } } });
    expect(set({ model: "large" }, ["model", "width"], 9)).toEqual({ model: { width: 9, deep: { layers: 9 } } });
    expect(set({ model: { preset: "large" } }, ["model", "deep", "layers"], 3)).toEqual({
      model: { preset: "large", deep: { layers: 3 } },
    });
  });

  test("puts JSON on top of the preset by default, unless it names one", () => {
    expect(set({}, ["model"], { width: 9 })).toEqual({ model: { ...small, width: 9 } });
    expect(set({}, ["model"], { deep: { layers: 3 } })).toEqual({ model: { width: 8, deep: { layers: 3 } } });
    expect(set({}, ["model"], { preset: "large", width: 9 })).toEqual({ model: { preset: "large", width: 9 } });
  });

  test("leaves a word that is no preset to the schema, and takes a field's default for the form it has", () => {
    expect(set({ model: "huge" }, ["model", "width"], 9)).toEqual({ model: { preset: "huge", width: 9 } });
    expect(set({}, ["schedule", "warmup"], 0.1)).toEqual({ schedule: { kind: "wsd", warmup: 0.1 } });
  });
});
