import {
  geometryOf,
  madformerConfig,
  preset,
  ropeAngles,
  ropeBase,
  ropeTables,
  rotate,
  samplingMask,
  tokenPositions,
  trainingMask,
} from "@madformer/model";
import * as tf from "@tensorflow/tfjs-core";
import { expectClose, goldenTensors, META, type GoldenTensor } from "./golden.js";
import { configOf, runOnce, VARIANTS } from "./model.js";

const masks = goldenTensors("masks.safetensors");
const rope = goldenTensors("rope.safetensors");
const config = configOf("default");

test("tokenPositions() are the reference's rows and columns", () => {
  const { rows, columns } = tokenPositions(config);
  expect([...rows, ...columns]).toEqual([...(masks["position_ids"] as GoldenTensor).data]);
});

describe("masks", () => {
  const names = Object.keys(masks).filter((name) => name !== "position_ids");

  test.each(names)("of %s are what visibleBlocks() says", (name) => {
    const [, variant = "", kind, block] = /^(\w+?)(?:\.sample)?\.(ar|diffusion)(?:\.block(\d+))?$/.exec(name) ?? [];
    const config = configOf(variant);
    const layer = kind === "ar" ? 0 : config.arLayers;
    if (kind === "ar" && config.arLayers === 0) return; // the reference has a mask for layers that are not there
    const { shape, data } =
      block === undefined ? trainingMask(config, layer) : samplingMask(config, layer, Number(block));
    expect(shape).toEqual(masks[name]?.shape);
    expect(data).toEqual(masks[name]?.data);
  });

  test("are there for every variant that has its own", () => {
    const found = new Set(names.map((name) => name.split(".")[0]));
    const own = VARIANTS.filter((name) => name !== "clear_cond"); // clear_cond has those of default
    expect([...found].sort()).toEqual(own.sort());
  });

  test("are absent where the reference samples without one: then everything is visible", () => {
    for (const variant of VARIANTS.filter((name) => name !== "clear_cond"))
      for (const kind of ["ar", "diffusion"]) {
        if (`${variant}.sample.${kind}.block1` in masks) continue;
        const config = configOf(variant);
        if (kind === "ar" && config.arLayers === 0) continue;
        const { data } = samplingMask(config, kind === "ar" ? 0 : config.arLayers, 1);
        expect(data.every((value) => value === 1)).toBe(true);
      }
  });
});

describe("rotary embeddings", () => {
  // Angles are up to the side of the token grid; one unit in the last place of an angle of 64 is 4e-6.
  const TOLERANCE = 4e-6;

  test("have the reference's bases", () => {
    expect(META.rope.max_lens.map(ropeBase)).toEqual(META.rope.base);
    const { grid, tokenSide } = geometryOf(config);
    expect(META.rope.max_lens).toEqual([grid * tokenSide, grid * tokenSide]);
  });

  test.each([
    ["table", META.rope.max_lens[0], META.rope.split_dims[0], META.rope.base[0]],
    ["head_dim64_len64.table", 64, META.rope.head_dim64_len64.split_dims[0], META.rope.head_dim64_len64.base[0]],
  ] as [string, number, number, number][])("have the reference's %s", (name, length, width, base) => {
    expect(ropeBase(length)).toBe(base);
    const angles = ropeAngles(length, width, "inclusive");
    expect([length, width]).toEqual(rope[`${name}.cos`]?.shape);
    expectClose(angles.map(Math.cos), rope[`${name}.cos`]!.data, TOLERANCE, `${name}.cos`);
    expectClose(angles.map(Math.sin), rope[`${name}.sin`]!.data, TOLERANCE, `${name}.sin`);
  });

  test("of the full-size configuration are those of the preset", () => {
    const { D, grid, tokenSide } = geometryOf(preset("ffhq-1024"));
    expect([D, grid * tokenSide]).toEqual([64, 64]);
  });

  test.each(["onnx", "cpu"] as const)("rotate queries and keys as the reference does (%s)", async (engine) => {
    const inputs = { q: rope["q"] as GoldenTensor, k: rope["k"] as GoldenTensor };
    const [B = 0, H = 0, L = 0, D = 0] = inputs.q.shape;
    // A model whose heads are those of the fixture: clean tokens, then noised ones, at the same positions.
    const wide = madformerConfig({ ...config, width: H * D, heads: H });
    const run = (_: unknown, { q, k }: Record<string, tf.Tensor>) => {
      const { cos, sin, partners } = ropeTables(wide);
      const tables = { cos: tf.tile(cos, [2, 1]), sin: tf.tile(sin, [2, 1]), partners };
      const turned = (x: tf.Tensor | undefined) =>
        rotate(tf.reshape<tf.Rank.R3>(x as tf.Tensor, [B * H, L, D]), tables);
      return { q: turned(q), k: turned(k) };
    };
    const outputs = await runOnce({}, {}, inputs, run, engine);
    for (const name of ["q", "k"])
      // Times values up to 5.
      expectClose(outputs[name] as Float32Array, rope[`${name}_rotated`]!.data, 5 * TOLERANCE, `${name}_rotated`);
  });
});
