import {
  geometryOf,
  madformerConfig,
  preset,
  ropeAngles,
  ropeBase,
  ropeTables,
  rotate,
  samplingMask,
  textFrequencies,
  textRope,
  tokenPositions,
  trainingMask,
  type WithText,
} from "@madformer/model";
import * as tf from "@tensorflow/tfjs-core";
import { expectClose, type GoldenTensor } from "../golden.js";
import { runOnce } from "../model.js";
import { configOf, META, tensorsOf, VARIANTS } from "./set.js";

const masks = tensorsOf("masks.safetensors");
const rope = tensorsOf("rope.safetensors");
const config = configOf("default");

test("tokenPositions() are the reference's rows and columns, without the text", () => {
  const { rows, columns } = tokenPositions(config);
  expect([...rows, ...columns]).toEqual([...(masks["position_ids"] as GoldenTensor).data]);
});

describe("masks with a text", () => {
  const names = Object.keys(masks).filter((name) => name !== "position_ids");
  const layerOf = (config: WithText, kind: string) => (kind === "ar" ? 0 : config.arLayers);

  test.each(names)("%s is what is seen", (name) => {
    const [, variant = "", kind = "", block] =
      /^(\w+?)(?:\.sample)?\.(ar|diffusion)(?:\.block(\d+))?$/.exec(name) ?? [];
    const config = configOf(variant);
    const layer = layerOf(config, kind);
    const { shape, data } =
      block === undefined ? trainingMask(config, layer) : samplingMask(config, layer, Number(block));
    expect(shape).toEqual(masks[name]?.shape);
    expect(data).toEqual(masks[name]?.data);
  });

  test("are absent where the reference samples without one: then everything is visible", () => {
    for (const variant of VARIANTS.filter((name) => !name.includes("clear_cond")))
      for (const kind of ["ar", "diffusion"])
        for (const block of [0, 1, 2]) {
          if (`${variant}.sample.${kind}.block${block}` in masks) continue;
          const config = configOf(variant);
          const { data } = samplingMask(config, layerOf(config, kind), block);
          expect([variant, kind, block, data.every((value) => value === 1)]).toEqual([variant, kind, block, true]);
        }
  });
});

describe("rotary embeddings of a model with text", () => {
  // Angles are up to the side of the token grid; one unit in the last place of an angle of 64 is 4e-6.
  const TOLERANCE = 4e-6;

  test("have the reference's bases", () => {
    const { grid, tokenSide } = geometryOf(config);
    expect(META.rope.model.max_lens).toEqual([grid * tokenSide, grid * tokenSide]);
    expect(META.rope.model.max_lens.map(ropeBase)).toEqual(META.rope.model.base);
    expect(config.text.ropeTheta).toBe(META.rope.model.text_base);
  });

  const tables = Object.keys(rope).flatMap((name) => /^(.*table)\.cos$/.exec(name)?.[1] ?? []);
  test.each(tables)("have the reference's %s", (name) => {
    const [length = 0, width = 0] = rope[`${name}.cos`]!.shape;
    const angles = ropeAngles(length, width, "inclusive");
    expectClose(angles.map(Math.cos), rope[`${name}.cos`]!.data, TOLERANCE, `${name}.cos`);
    expectClose(angles.map(Math.sin), rope[`${name}.sin`]!.data, TOLERANCE, `${name}.sin`);
  });

  const texts = Object.keys(rope).filter((name) => name.endsWith("inv_freq"));
  test.each(texts)("have the reference's %s", (name) => {
    const { data } = rope[name] as GoldenTensor;
    const theta = name.startsWith("text") ? config.text.ropeTheta : 10_000;
    expectClose(textFrequencies(theta, 2 * data.length), data, 2 ** -23, name); // a power in float32
  });

  test("of the full-size configuration have its head dimension and length", () => {
    const { D, grid, tokenSide } = geometryOf(preset("imagenet-256"));
    expect([D, grid * tokenSide]).toEqual([72, 16]);
  });

  test.each(["onnx", "cpu"] as const)(
    "rotate an image's queries and keys as the reference does (%s)",
    async (engine) => {
      const inputs = { q: rope["image.q"] as GoldenTensor, k: rope["image.k"] as GoldenTensor };
      const [B = 0, H = 0, L = 0, D = 0] = inputs.q.shape;
      const wide = madformerConfig({ ...config, width: H * D, heads: H });
      const outputs = await runOnce(
        {},
        {},
        inputs,
        (_, { q, k }) => {
          const { cos, sin, partners } = ropeTables(wide);
          const twice = { cos: tf.tile(cos, [2, 1]), sin: tf.tile(sin, [2, 1]), partners };
          const turned = (x: tf.Tensor) => rotate(tf.reshape<tf.Rank.R3>(x, [B * H, L, D]), twice);
          return { q: turned(q), k: turned(k) };
        },
        engine,
      );
      for (const name of ["q", "k"])
        // times values up to 5
        expectClose(outputs[name]!, rope[`image.${name}_rotated`]!.data, 5 * TOLERANCE, `image.${name}_rotated`);
    },
  );

  test.each(["onnx", "cpu"] as const)("rotate a text's queries and keys as the reference does (%s)", async (engine) => {
    const inputs = { q: rope["text.q"] as GoldenTensor, k: rope["text.k"] as GoldenTensor };
    const [B = 0, H = 0, L = 0, D = 0] = inputs.q.shape;
    const wide = madformerConfig({ ...config, width: H * D, heads: H, text: { ...config.text, tokens: L } });
    const outputs = await runOnce(
      {},
      {},
      inputs,
      (_, { q, k }) => {
        const tables = textRope(wide as WithText);
        const turned = (x: tf.Tensor) => rotate(tf.reshape<tf.Rank.R3>(x, [B * H, L, D]), tables);
        return { q: turned(q), k: turned(k) };
      },
      engine,
    );
    for (const name of ["q", "k"])
      expectClose(outputs[name]!, rope[`text.${name}_rotated`]!.data, 5 * TOLERANCE, `text.${name}_rotated`);
  });
});
