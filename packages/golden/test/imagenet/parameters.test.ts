import {
  fileShape,
  initialize,
  madformerSpecs,
  parameterCount,
  preset,
  toStateDict,
  withBuffers,
  type FileTensor,
  type ReferenceSettings,
} from "@madformer/model";
import { configFromReference } from "@madformer/model";
import { expectClose, goldenJson } from "../golden.js";
import { configOf, FOLDER, META, tensorsOf, weightsOf } from "./set.js";

test("madformerSpecs() of a model with text has the order of the reference's optimizer", () => {
  const specs = madformerSpecs(configOf("default"));
  expect(Object.keys(specs)).toEqual(META.parameter_names_in_order);
  expect(parameterCount(specs)).toBe(META.parameters);
  const { model_config, opt } = goldenJson("ckpt_tiny.json", FOLDER) as {
    model_config: ReferenceSettings;
    opt: { parameter_names_in_order: string[] };
  };
  expect(Object.keys(madformerSpecs(configFromReference(model_config)))).toEqual(opt.parameter_names_in_order);
});

test("its parameters have the reference's shapes", () => {
  const config = configOf("default");
  const theirs = tensorsOf("model.safetensors");
  for (const [key, spec] of Object.entries(madformerSpecs(config)))
    expect([key, [...fileShape(spec)]]).toEqual([key, theirs[key]?.shape]);
});

test("withBuffers() makes the reference's state dict: its keys in their order, and its frequencies", () => {
  const config = configOf("default");
  const dict = new Map<string, FileTensor>(Object.entries(toStateDict(madformerSpecs(config), weightsOf(config))));
  const whole = withBuffers(config, dict, (frequencies) => frequencies);
  expect([...whole.keys()]).toEqual(META.state_dict_keys_in_order);
  const theirs = tensorsOf("model.safetensors");
  for (const [key, { shape, data }] of whole) {
    expect(shape).toEqual(theirs[key]?.shape);
    // A power in float32: one unit in the last place of 1.
    expectClose(data, theirs[key]!.data, key.endsWith("inv_freq") ? 2 ** -23 : 0, key);
  }
});

test("the row of the embedding that is 0 stays 0 in the reference, and begins so here", () => {
  const { zeroRow } = configOf("default").text;
  const width = configOf("default").width;
  for (const weights of [
    weightsOf(configOf("default")),
    initialize({ "embed_tokens.weight": madformerSpecs(configOf("default"))["embed_tokens.weight"]! }, 1),
  ]) {
    const row = (at: number) => weights["embed_tokens.weight"]!.subarray(at * width, (at + 1) * width);
    expect(row(zeroRow ?? NaN).every((value) => value === 0)).toBe(true);
    expect(row((zeroRow ?? NaN) - 1).some((value) => value !== 0)).toBe(true);
  }
});

test("the default configuration has the reference's 1107 tensors and 2,140,720,324 parameters", () => {
  const specs = madformerSpecs(preset("imagenet-256"));
  const keys = Object.keys(specs);
  expect([keys.length, parameterCount(specs)]).toEqual([1107, 2_140_720_324]);
  expect([keys[0], keys[181], keys[182], keys[183]]).toEqual([
    "boi_block",
    "embed_tokens.weight",
    "lm_head.weight",
    "blocks.0.self_attn.qkv_list.0.weight",
  ]);
  const layer = keys.filter((key) => key.startsWith("blocks.27."));
  expect(layer).toHaveLength(33);
  expect(layer).toEqual(keys.slice(183 + 27 * 33));
  expect(specs["blocks.27.self_attn.q_norm_list.2.weight"]?.shape).toEqual([72]);
  // With the 18 heads of the other branch only the norms of queries and keys are smaller.
  expect(parameterCount(madformerSpecs({ ...preset("imagenet-256"), heads: 18 }))).toBe(2_140_718_980);
});
