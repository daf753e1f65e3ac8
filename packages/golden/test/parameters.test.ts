import {
  configFromReference,
  fileShape,
  madformerSpecs,
  parameterCount,
  type ReferenceSettings,
} from "@madformer/model";
import { goldenJson, goldenTensors, META } from "./golden.js";
import { configOf } from "./model.js";

test("madformerSpecs() has the order of the reference's optimizer", () => {
  // Positions in this list are the keys of the optimizer's state in a checkpoint.
  const { model_config, opt } = goldenJson("ckpt_tiny.json") as {
    model_config: ReferenceSettings;
    opt: { parameter_names_in_order: string[] };
  };
  const specs = madformerSpecs(configFromReference(model_config));
  expect(Object.keys(specs)).toEqual(opt.parameter_names_in_order);
});

test("madformerSpecs() has every parameter of the reference's model, in its shape", () => {
  const specs = madformerSpecs(configOf("default"));
  const expected = Object.entries(goldenTensors("model.safetensors")).map(([key, { shape }]) => [key, shape] as const);
  const ours = Object.entries(specs).map(([key, spec]) => [key, [...fileShape(spec)]] as const);
  expect(Object.fromEntries(ours)).toEqual(Object.fromEntries(expected));
  expect(parameterCount(specs)).toBe((META as { parameters: number }).parameters);
});
