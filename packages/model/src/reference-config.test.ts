import { ModelConfigError, madformerConfig, preset } from "./config.js";
import { QUIRKS, type Quirks } from "./quirks.js";
import { configFromReference, unlikeReference } from "./reference-config.js";

describe("configFromReference()", () => {
  test("of no settings is the full-size model", () => {
    expect(configFromReference({})).toEqual(preset("ffhq-1024"));
  });

  test("takes every setting, and none from another", () => {
    const settings = {
      hidden_size: 48,
      num_heads: 3,
      depth: 7,
      diff_depth: 3,
      ar_len: 9,
      pre_downsample_block_size: 64,
      latent_channels: 5,
      intermediate_size: 50,
      rms_norm_eps: 1e-3,
      qk_norm_eps: 1e-4,
      no_qk_norm: true,
      unet_block_out_channels: [6, 12, 18],
      unet_num_layers_per_block: [1, 2, 3],
      unet_transformer_layers_per_block: [1, 0, 2],
      unet_resnet_groups: 3,
      unet_num_heads: 2,
      unet_time_emb_dim: 10,
      clear_clean: true,
      clear_cond: true,
      denoising_mlp: true,
      prediction: "v" as const,
      results_dir: "ignored", // as a checkpoint's arguments have
    };
    const { quirks, ...config } = configFromReference(settings);
    expect(config).toEqual({
      latentChannels: 5,
      blocks: 9,
      blockSide: 8,
      width: 48,
      heads: 3,
      mlpWidth: 50,
      arLayers: 4,
      diffusionLayers: 3,
      // Anything but exactly one transformer layer is a plain level.
      unet: {
        channels: [6, 12, 18],
        layers: [1, 2, 3],
        attention: [true, false, false],
        groups: 3,
        heads: 2,
        timeChannels: 10,
      },
      normEps: 1e-3,
      qkNorm: false,
      qkNormEps: 1e-4,
      clearClean: true,
      clearCond: true,
      denoisingMlp: true,
      singleTower: false,
      prediction: "v",
    });
    expect(quirks.condition).toBe("with-noised");
  });

  test("takes switches that are written out", () => {
    expect(configFromReference({ single_tower: true, quirks: QUIRKS.sound })).toMatchObject({
      singleTower: true,
      quirks: QUIRKS.sound,
    });
    for (const written of [{ ropePairs: "within-axis" } as const, new Map([["ropePairs", "within-axis"]])])
      expect(configFromReference({ quirks: written }).quirks).toEqual({
        ...QUIRKS.reference,
        ropePairs: "within-axis",
      });
    expect(() => configFromReference({ quirks: new Map([["ropePairs", "diagonal"]]) })).toThrow(/quirks/);
  });

  test("names what does not fit", () => {
    expect(() => configFromReference({ depth: 3, diff_depth: 4 })).toThrow(ModelConfigError);
    expect(() => configFromReference({ pre_downsample_block_size: 1000 })).toThrow(/blockSide/);
  });
});

describe("unlikeReference()", () => {
  const unlike = (settings: object) => unlikeReference(madformerConfig({ quirks: "reference", ...settings }));

  test("finds nothing in models that the released code computes alike, whatever their sizes", () => {
    expect(unlikeReference(preset("ffhq-1024"))).toEqual([]);
    expect(unlike({ blocks: 4, width: 64, heads: 1, arLayers: 1, clearClean: true, denoisingMlp: true })).toEqual([]);
  });

  test.each(Object.entries(QUIRKS.sound))("names the switch %s alone, with both values", (name, value) => {
    const quirks = { ...QUIRKS.reference, [name]: value };
    const there = QUIRKS.reference[name as keyof Quirks];
    expect(unlike({ quirks })).toEqual([`${name} is "${value}", there "${there}"`]);
  });

  test("names all of them, a single tower, another prediction, and an epsilon that is no argument there", () => {
    expect(unlike({ quirks: "sound" })).toHaveLength(7);
    expect(unlike({ singleTower: true, prediction: "x", qkNormEps: 1e-5 })).toEqual([
      "singleTower is true, there false",
      'prediction is "x", there "epsilon"',
      "qkNormEps is 0.00001, there 0.000001",
    ]);
  });
});
