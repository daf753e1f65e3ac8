import { ConfigError, preset } from "./config.js";
import { configFromReference } from "./reference-config.js";

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
    });
    expect(quirks.condition).toBe("with-noised");
  });

  test("names what does not fit", () => {
    expect(() => configFromReference({ depth: 3, diff_depth: 4 })).toThrow(ConfigError);
    expect(() => configFromReference({ pre_downsample_block_size: 1000 })).toThrow(/blockSide/);
  });
});
