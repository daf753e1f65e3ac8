/** Every field of every stage's config can be set by an option. */
import { configSchema, fieldAt, fieldsOf, withField, type Schema } from "@madformer/stage";
import { flagOf, optionsOf } from "../src/stages/options.js";
import { STAGES } from "../src/stages/table.js";

/** Paths of all fields that a JSON schema names anywhere, in whichever form. */
function pathsIn(schema: Schema, path: readonly string[] = []): string[] {
  const { properties = {}, oneOf = [], anyOf = [], allOf = [] } = schema;
  const here = Object.entries(properties).flatMap(([name, field]) => [
    [...path, name].join(" "),
    ...pathsIn(field, [...path, name]),
  ]);
  return [...here, ...[...oneOf, ...anyOf, ...allOf].flatMap((form) => pathsIn(form, path))];
}

describe.each(STAGES.map(({ name, load }) => [name, load] as const))("%s", (_, load) => {
  test("has an option for every field, and no two of one name", async () => {
    const stage = await load();
    const schema = configSchema(stage);
    const options = optionsOf(schema);
    expect(new Set(options.map(({ path }) => path.join(" ")))).toEqual(new Set(pathsIn(schema)));
    const flags = options.map(({ option }) => option.long);
    expect(flags.length).toBe(new Set(flags).size);
    expect(flags.length).toBeGreaterThan(0);
  });

  test("says what every option means, and leads from it to its field", async () => {
    const schema = configSchema(await load());
    for (const { path, option } of optionsOf(schema)) {
      expect([option.long, option.description]).toEqual([option.long, expect.stringMatching(/\w{3}/)]);
      expect(option.long?.replace(/^--(no-)?/, "")).toBe(flagOf(path));
      expect([path, Object.keys(fieldAt(schema, path)).length > 0]).toEqual([path, true]);
      const set = withField({}, path, "here", schema);
      expect(path.reduce<unknown>((value, part) => (value as Record<string, unknown>)[part], set)).toBe("here");
    }
  });
});

test.each(STAGES.map(({ name, load }) => [name, load] as const))("free fields of %s are fields", async (_, load) => {
  const stage = await load();
  const names = fieldsOf(configSchema(stage)).map(([name]) => name);
  expect(names).toEqual(expect.arrayContaining([...(stage.free ?? [])]));
});

test("settings of a model go on top of the preset that help shows", async () => {
  const train = await STAGES.find(({ name }) => name === "train")?.load();
  const schema = configSchema(train as never);
  const [byDefault, smoke] = [{}, { model: "smoke" }].map((config) => {
    const set = withField(config, ["model", "arLayers"], 7, schema) as { model: Record<string, unknown> };
    return set.model;
  });
  expect(byDefault).toMatchObject({ width: 96, arLayers: 7, unet: { channels: [64] } });
  expect(smoke).toMatchObject({ width: 32, arLayers: 7, unet: { channels: [8, 16] } });
  const width = (named: Record<string, string>) =>
    optionsOf(schema, named).find(({ path }) => path.join() === "model,width")?.option.description;
  expect([width({}), width({ model: "smoke" })]).toEqual([
    expect.stringContaining("(default: 96)"),
    expect.stringContaining("(default: 32)"),
  ]);
});
