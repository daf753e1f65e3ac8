import { madformerConfig, ModelConfigError, PRESETS } from "./config.js";
import { trainedConfig, trainedConfigText } from "./trained-config.js";

const model = madformerConfig(PRESETS.smoke);

describe("trainedConfig()", () => {
  test("reads what was written, and leaves out where it came from", () => {
    const told = { model, step: 7, training: { images: 3, steps: 7 } };
    const text = trainedConfigText(told, { from: { step: 2 } });
    expect(trainedConfig(JSON.parse(text))).toEqual(told);
    expect(Object.keys(JSON.parse(text) as object)).toEqual(["format", "model", "training", "step", "from"]);
    expect(trainedConfig(JSON.parse(trainedConfigText({ model, step: 0 })))).toEqual({ model, step: 0 });
  });

  test.each([
    ["another format", { format: 2, model, step: 1 }, /^format: /],
    ["no step", { format: 1, model }, /^step: /],
    ["a model that is none", { format: 1, model: { width: -1 }, step: 1 }, /^The model's config is not valid: width: /],
    ["a list", [], /^it: /],
  ])("refuses %s", (_, value, message) => {
    expect(() => trainedConfig(value)).toThrow(ModelConfigError);
    expect(() => trainedConfig(value)).toThrow(message);
  });
});
