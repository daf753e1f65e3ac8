import type * as tf from "@tensorflow/tfjs-core";
import { preset } from "./config.js";
import { madformerSpecs } from "./madformer.js";
import {
  fileShape,
  fromStateDict,
  parameterCount,
  Scope,
  toStateDict,
  under,
  type ParameterSpecs,
} from "./parameters.js";
import { ShapeError } from "./shape.js";
import { randomWeights, tiny } from "./testing.js";

const initializer = { kind: "constant", value: 0 } as const;
const SPECS: ParameterSpecs = {
  "conv.weight": { shape: [3, 2, 4, 5], initializer }, // h, w, in, out: all different
  "linear.weight": { shape: [2, 3], initializer },
  "norm.weight": { shape: [4], initializer },
};
const numbers = (size: number): Float32Array => Float32Array.from({ length: size }, (_, i) => i);
const file = () => ({
  "conv.weight": { shape: [5, 4, 3, 2], data: numbers(120) },
  "linear.weight": { shape: [2, 3], data: numbers(6) },
  "norm.weight": { shape: [4], data: numbers(4) },
});

describe("fromStateDict()", () => {
  test("lays kernels out by height, width, input and output, and leaves the rest", () => {
    const weights = fromStateDict(SPECS, file());
    const kernel = weights["conv.weight"]!;
    for (const [h, w, i, o] of [
      [0, 0, 0, 1],
      [2, 1, 3, 4],
      [1, 0, 2, 3],
    ] as const)
      expect(kernel[((h * 2 + w) * 4 + i) * 5 + o]).toBe(((o * 4 + i) * 3 + h) * 2 + w);
    expect(weights["linear.weight"]).toEqual(numbers(6));
  });

  test("has the order of the specs and does not copy what it does not change", () => {
    const { "norm.weight": norm, ...rest } = file();
    const weights = fromStateDict(SPECS, { "norm.weight": norm, ...rest });
    expect(Object.keys(weights)).toEqual(Object.keys(SPECS));
    expect(weights["norm.weight"]).toBe(norm.data);
  });

  test("takes 1x1 kernels for linear layers", () => {
    const weights = fromStateDict(SPECS, { ...file(), "linear.weight": { shape: [2, 3, 1, 1], data: numbers(6) } });
    expect(weights["linear.weight"]).toEqual(numbers(6));
    // But not others, nor a linear layer's weights for a kernel.
    for (const shape of [
      [2, 3, 1, 2],
      [2, 3, 3, 3],
    ])
      expect(() =>
        fromStateDict(SPECS, {
          ...file(),
          "linear.weight": { shape, data: numbers(shape.reduce((a, b) => a * b)) },
        }),
      ).toThrow(ShapeError);
  });

  test("names what is missing, unknown or of another shape, all at once", () => {
    const { "norm.weight": _, ...tensors } = file();
    const given = {
      ...tensors,
      "linear.weight": { shape: [3, 2], data: numbers(6) },
      extra: { shape: [1], data: numbers(1) },
    };
    expect(() => fromStateDict(SPECS, given)).toThrow(
      new ShapeError(
        'The weights do not fit the network: "extra" is not a parameter of this network; ' +
          '"linear.weight" has shape (3, 2), expected (2, 3); "norm.weight" is missing, expected shape (4)',
      ),
    );
  });

  test("names an array that is shorter than its shape", () => {
    expect(() => fromStateDict(SPECS, { ...file(), "norm.weight": { shape: [4], data: numbers(3) } })).toThrow(
      /"norm.weight" has 3 elements/,
    );
  });

  test("names the first five of many problems", () => {
    const many = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`x${i}`, { shape: [1], data: numbers(1) }]));
    expect(() => fromStateDict({}, many)).toThrow(/"x4" is not a parameter of this network; and 4 more$/);
  });
});

describe("toStateDict()", () => {
  test("is the inverse of fromStateDict()", () => {
    const specs = madformerSpecs(tiny());
    const weights = randomWeights(specs);
    const dict = toStateDict(specs, weights);
    expect(dict["downsampler.conv_in.weight"]?.shape).toEqual([4, 3, 3, 3]);
    for (const [key, spec] of Object.entries(specs)) expect(dict[key]?.shape).toEqual(fileShape(spec));
    expect(fromStateDict(specs, dict)).toEqual(weights);
    expect(toStateDict(specs, fromStateDict(specs, dict))).toEqual(dict);
  });

  test("names a key that is missing", () => {
    expect(() => toStateDict(SPECS, { "conv.weight": numbers(120) })).toThrow(
      new ShapeError('The values have no "linear.weight"'),
    );
  });
});

describe("madformerSpecs()", () => {
  /** Shapes as in files, by key. */
  const shapes = Object.fromEntries(
    Object.entries(madformerSpecs(preset("ffhq-1024"))).map(([key, spec]) => [key, fileShape(spec)]),
  );

  test("has the reference's keys in its order", () => {
    const both = (...keys: string[]) => keys.flatMap((key) => [`${key}.weight`, `${key}.bias`]);
    const resnet = (key: string, shortcut: boolean) =>
      both(
        ...["norm1", "conv1", "time_emb_proj", "norm2", "conv2", ...(shortcut ? ["conv_shortcut"] : [])].map(
          (part) => `${key}.${part}`,
        ),
      );
    const attention = (key: string) =>
      both(...["group_norm", "to_q", "to_k", "to_v", "to_out.0"].map((part) => `${key}.${part}`));
    const time = (way: string) => [1, 2].map((i) => `${way}.time_embedding.linear_${i}.weight`);
    const [down, up] = ["downsampler", "upsampler"];
    const towers = (key: string, parts: string[]) => [0, 1].flatMap((t) => parts.map((part) => `${key}.${t}.${part}`));
    const expected = [
      "boi_block",
      ...both(`${down}.conv_in`),
      ...[0, 1].flatMap((j) => resnet(`${down}.down_blocks.0.resnets.${j}`, false)),
      ...both(`${down}.down_blocks.0.downsamplers.0.conv`),
      ...[0, 1].flatMap((j) => attention(`${down}.down_blocks.1.attentions.${j}`)),
      ...[0, 1].flatMap((j) => resnet(`${down}.down_blocks.1.resnets.${j}`, j === 0)),
      ...both(`${down}.conv_out`),
      ...time(down),
      ...[0, 1, 2].flatMap((j) => attention(`${up}.up_blocks.0.attentions.${j}`)),
      ...[0, 1, 2].flatMap((j) => resnet(`${up}.up_blocks.0.resnets.${j}`, true)),
      ...both(`${up}.up_blocks.0.upsamplers.0.conv`),
      ...[0, 1, 2].flatMap((j) => resnet(`${up}.up_blocks.1.resnets.${j}`, true)),
      ...both(`${up}.conv_in`),
      ...time(up),
      ...both(`${up}.conv_out`),
      ...Array.from({ length: 28 }, (_, i) => `blocks.${i}`).flatMap((block) => [
        ...towers(`${block}.self_attn.qkv_list`, ["weight", "bias"]),
        ...towers(`${block}.self_attn.q_norm_list`, ["weight"]),
        ...towers(`${block}.self_attn.k_norm_list`, ["weight"]),
        ...towers(`${block}.self_attn.proj_list`, ["weight", "bias"]),
        ...towers(`${block}.mlp_list`, ["gate_proj.weight", "up_proj.weight", "down_proj.weight"]),
        ...towers(`${block}.input_layernorm_list`, ["weight"]),
        ...towers(`${block}.post_attention_layernorm_list`, ["weight"]),
      ]),
    ];
    expect(Object.keys(shapes)).toEqual(expected);
  });

  test.each([
    ["boi_block", [1, 256, 1152]],
    ["downsampler.conv_in.weight", [512, 4, 3, 3]],
    ["downsampler.down_blocks.0.resnets.0.time_emb_proj.weight", [512, 128]],
    ["downsampler.down_blocks.1.resnets.0.conv_shortcut.weight", [1024, 512, 1, 1]],
    ["downsampler.down_blocks.1.attentions.1.to_out.0.weight", [1024, 1024]],
    ["downsampler.conv_out.weight", [1152, 1024, 3, 3]],
    ["downsampler.time_embedding.linear_1.weight", [128, 1]],
    ["upsampler.up_blocks.0.resnets.1.conv1.weight", [1024, 2048, 3, 3]],
    ["upsampler.up_blocks.0.resnets.2.norm1.weight", [1536]],
    ["upsampler.up_blocks.1.resnets.0.conv1.weight", [512, 1536, 3, 3]],
    ["upsampler.up_blocks.1.resnets.2.conv_shortcut.weight", [512, 1024, 1, 1]],
    ["upsampler.conv_in.weight", [1024, 1152, 3, 3]],
    ["upsampler.conv_out.bias", [4]],
    ["blocks.13.self_attn.qkv_list.1.weight", [3456, 1152]],
    ["blocks.0.self_attn.k_norm_list.0.weight", [64]],
    ["blocks.27.mlp_list.0.down_proj.weight", [1152, 4096]],
  ])("has the reference's shape of %s", (key, shape) => expect(shapes[key]).toEqual(shape));

  test("has one tower with singleTower, and no norms of queries and keys without qkNorm", () => {
    const keys = (overrides: object): string[] => Object.keys(madformerSpecs(tiny(overrides)));
    expect(keys({ singleTower: true }).filter((key) => /_list\.1\./.test(key))).toEqual([]);
    expect(keys({ singleTower: true })).toEqual(keys({}).filter((key) => !/_list\.1\./.test(key)));
    expect(keys({ qkNorm: false })).toEqual(keys({}).filter((key) => !/[qk]_norm/.test(key)));
  });
});

test("parameterCount() counts elements", () => {
  expect(parameterCount(SPECS)).toBe(120 + 6 + 4);
  expect(parameterCount(under("scalar", { x: { shape: [], initializer } }))).toBe(1);
});

test("Scope finds parameters below its prefix and names one that is not there", () => {
  const scope = new Scope({ "a.b.c": { shape: [] as number[] } as tf.Tensor }).in("a").in("b");
  expect(scope.has("c")).toBe(true);
  expect(scope.has("b.c")).toBe(false);
  expect(scope.get("c").shape).toEqual([]);
  expect(() => scope.get("d")).toThrow(new RangeError('The parameters have no "a.b.d"'));
});
