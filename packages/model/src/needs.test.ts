import { madformerConfig, PRESETS, type MadformerConfig } from "./config.js";
import { needs, type OutputName } from "./needs.js";

/** Four blocks, two autoregressive layers and three diffusion layers. */
const config = (settings: object = {}): MadformerConfig =>
  madformerConfig({ ...PRESETS.smoke, arLayers: 2, diffusionLayers: 3, ...settings });

describe("needs()", () => {
  test("leaves out the last clean block, which no other block sees, and nothing else for the prediction of the noise", () => {
    expect(needs(config(), ["noisePred"])).toEqual({
      cleanTower: false,
      autoregressive: true,
      diffusion: true,
      cleanBlocks: 3,
      cleanLayers: 5,
      text: false,
      textLayers: 0,
      embeddedBlocks: 3,
      shrunkBlocks: 3,
    });
  });

  test("takes all clean blocks for the clean tower's own output", () => {
    expect(needs(config(), ["cleanTower"])).toMatchObject({ cleanTower: true, cleanBlocks: 4, shrunkBlocks: 4 });
    expect(needs(config({ clearClean: true }), ["noisePred", "cleanTower"])).toMatchObject({
      cleanTower: false,
      cleanBlocks: 0,
      cleanLayers: 0,
      embeddedBlocks: 3, // shifted, in the noised tower
    });
  });

  test("needs no diffusion layer for the condition, and the states of all clean blocks if they are its skip connections", () => {
    expect(needs(config({ quirks: "reference" }), ["condition"])).toMatchObject({ diffusion: false, shrunkBlocks: 4 });
    expect(needs(config({ quirks: "sound" }), ["condition"])).toMatchObject({ diffusion: false, shrunkBlocks: 3 });
  });

  test.each([
    [{ denoisingMlp: true }, 2],
    [{ denoisingMlp: true, arLayers: 0 }, 0],
    [{ denoisingMlp: true, clearCond: true }, 0],
    [{ clearCond: true }, 5],
    [{ blocks: 1 }, 0],
  ])("ends clean tokens where somebody sees them last: %j", (settings, cleanLayers) => {
    expect(needs(config(settings), ["noisePred"]).cleanLayers).toBe(cleanLayers);
  });

  test("takes a text through the layers in which an image sees it, and its own output through all", () => {
    const text = { classes: 3, vocabulary: 4, words: "numbers", zeroRow: null };
    const of = (settings: object, wanted: OutputName[]) => {
      const found = needs(config({ text, ...settings }), wanted);
      return [found.textLayers, found.text];
    };
    expect(of({}, ["noisePred"])).toEqual([5, false]);
    expect(of({ denoisingMlp: true }, ["noisePred"])).toEqual([5, false]);
    expect(of({}, ["condition"])).toEqual([2, false]);
    expect(of({}, ["text"])).toEqual([0, true]);
    expect(of({}, ["noisePred", "text"])).toEqual([5, true]);
    expect(of({ text: undefined }, ["noisePred", "text"])).toEqual([0, false]);
  });

  test("without conditioning the autoregressive layers matter to the condition alone", () => {
    const of = (wanted: "noisePred" | "condition") => needs(config({ clearCond: true }), [wanted]).autoregressive;
    expect([of("noisePred"), of("condition")]).toEqual([false, true]);
  });
});
