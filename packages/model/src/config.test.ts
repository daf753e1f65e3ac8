import { ModelConfigError, geometryOf, madformerConfig, preset, PRESETS, type PresetName } from "./config.js";
import { madformerSpecs } from "./madformer.js";
import { parameterCount } from "./parameters.js";
import { QUIRKS } from "./quirks.js";

const problemsOf = (input: unknown): string => {
  try {
    madformerConfig(input as never);
  } catch (error) {
    expect(error).toBeInstanceOf(ModelConfigError);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).cause).toBeDefined();
    return (error as Error).message;
  }
  throw new Error("no error");
};

describe("madformerConfig()", () => {
  test("fills in the defaults, which are sound, and is frozen", () => {
    const config = madformerConfig({});
    expect(config).toMatchObject({ blocks: 16, blockSide: 32, width: 1152, heads: 18, normEps: 1e-5, qkNormEps: 1e-6 });
    expect(config.unet).toMatchObject({ channels: [512, 1024], layers: [2, 2], attention: [false, true] });
    expect(config.quirks).toEqual(QUIRKS.sound);
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.unet)).toBe(true);
    expect(Object.isFrozen(config.quirks)).toBe(true);
  });

  test("takes a complete config as it is", () => {
    const config = madformerConfig({ quirks: { ...QUIRKS.reference, ropePairs: "within-axis" } });
    expect(madformerConfig(config)).toEqual(config);
    expect(config.quirks).toEqual({ ...QUIRKS.reference, ropePairs: "within-axis" });
  });

  test.each([
    ["a field it does not know", { colour: 1 }, /colour/],
    ["a field of the U-Net it does not know", { unet: { depth: 1 } }, /unet: .*depth/],
    ["a field of another kind", { width: "wide" }, /width: .*number/],
    ["a size of zero", { heads: 0 }, /heads: /],
    ["half a block", { blockSide: 2.5 }, /blockSide: /],
    ["fewer than no layers", { arLayers: -1 }, /arLayers: /],
    ["no diffusion layers", { diffusionLayers: 0 }, /diffusionLayers: /],
    ["blocks that are not square", { blocks: 6 }, /blocks: blocks must be a square number/],
    ["heads that do not divide the width", { width: 100, heads: 18 }, /heads: heads must divide width/],
    ["heads without two pairs each", { width: 36, heads: 18 }, /heads: width \/ heads must be a multiple of 4/],
    ["blocks that cannot be halved", { blockSide: 7 }, /blockSide: blockSide must be divisible by 2/],
    [
      "a level without attention flag",
      { unet: { attention: [true] } },
      /unet: channels, layers and attention must have/,
    ],
    ["a level without layers", { unet: { layers: [1] } }, /unet: channels, layers and attention must have/],
    ["groups that do not divide the channels", { unet: { groups: 7 } }, /unet.groups: groups must divide/],
    ["more heads than channels", { unet: { heads: 2000 } }, /unet.heads: heads must not exceed/],
    ["a single tower without a clean one", { clearClean: true, singleTower: true }, /singleTower: .* no meaning/],
    ["a quirk that is missing", { quirks: { condition: "with-noised" } }, /quirks/],
    ["a set of quirks it does not know", { quirks: "odd" }, /quirks/],
  ])("names %s", (_, input, message) => {
    expect(problemsOf(input)).toMatch(message);
  });

  test("names all problems at once", () => {
    const message = problemsOf({ width: "wide", blockSide: -1, colour: 1 });
    expect(message).toMatch(/^The model's config is not valid: /);
    for (const part of ["width: ", "blockSide: ", "colour"]) expect(message).toContain(part);
  });

  test("takes more heads than a level without attention has channels", () => {
    const unet = { channels: [8, 16], layers: [1, 1], attention: [false, true], heads: 16 };
    expect(() => madformerConfig({ unet })).not.toThrow();
  });
});

describe("text", () => {
  const text = { classes: 3, vocabulary: 4, words: "numbers", zeroRow: null } as const;

  test("has the released code's numbers, if nothing else is said", () => {
    expect(madformerConfig({ text: {} }).text).toEqual({
      classes: 1000,
      tokens: 2,
      vocabulary: 128_256,
      words: "llama-3",
      zeroRow: 128_004,
      ropeTheta: 10_000,
      head: true,
      sampled: "as-trained",
    });
    expect(madformerConfig({}).text).toBeUndefined();
  });

  test.each([
    [{ ...text, vocabulary: 3 }, 'words "numbers" are for two tokens, and a vocabulary of one more'],
    [{ ...text, tokens: 3 }, 'words "numbers" are for two tokens'],
    [{ classes: 1001 }, 'words "llama-3" name 1000 classes'],
    [{ vocabulary: 10 }, "zeroRow must be a row of the vocabulary, or null"],
    [{ ...text, words: { begin: 0, classes: [1, 2] } }, "words must name every class"],
    [{ ...text, words: { begin: 4, classes: [1, 2, 3] } }, "words must name every class, by tokens of the vocabulary"],
  ])("refuses %j", (settings, problem) => expect(problemsOf({ text: settings })).toContain(problem));

  test("refuses the condition of the released code without classes, for which its branch has another", () => {
    expect(problemsOf({ text, quirks: "reference" })).toContain('has the quirks "imagenet" or "sound"');
    for (const quirks of ["imagenet", "sound"] as const)
      expect(madformerConfig({ text, quirks }).quirks).toEqual(QUIRKS[quirks]);
  });
});

describe("PRESETS", () => {
  test.each([
    ["ffhq-1024", 797, 1_300_243_844],
    ["imagenet-256", 1107, 2_140_720_324], // spec section 19
    ["faces-64", 157, 1_595_200],
    ["smoke", 161, 82_124],
  ] as [PresetName, number, number][])("%s has %d tensors and %d parameters", (name, tensors, parameters) => {
    const specs = madformerSpecs(preset(name));
    expect([Object.keys(specs).length, parameterCount(specs)]).toEqual([tensors, parameters]);
  });

  test("ffhq-1024 has the reference's parts, and its quirks", () => {
    const config = preset("ffhq-1024");
    const specs = madformerSpecs(config);
    const under = (prefix: string): number =>
      parameterCount(Object.fromEntries(Object.entries(specs).filter(([key]) => key.startsWith(prefix))));
    expect(under("boi_block")).toBe(294_912);
    expect(under("downsampler.")).toBe(64_820_480);
    expect(under("upsampler.")).toBe(144_739_460);
    expect(under("blocks.27.")).toBe(38_942_464);
    expect(config.quirks).toEqual(QUIRKS.reference);
  });

  test("are as large as they say", () => {
    const sizes = Object.fromEntries(
      (Object.keys(PRESETS) as PresetName[]).map((name) => {
        const { latentSide, M, D } = geometryOf(preset(name));
        return [name, [latentSide, M, D]];
      }),
    );
    expect(sizes).toEqual({
      "ffhq-1024": [128, 256, 64],
      "imagenet-256": [32, 64, 72],
      "faces-64": [8, 16, 32],
      smoke: [8, 4, 16],
    });
  });
});

test("geometryOf() derives every size", () => {
  expect(geometryOf(preset("ffhq-1024"))).toEqual({
    T: 16,
    grid: 4,
    P: 1024,
    tokenSide: 16,
    M: 256,
    latentSide: 128,
    layers: 28,
    D: 64,
  });
});
