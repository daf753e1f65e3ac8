import { preset, type MadformerConfig } from "@madformer/model";
import { z } from "zod";
import { TrainConfig, TrainSettings, withModel } from "./config.js";

const problemsOf = (input: unknown): string[] =>
  TrainConfig.safeParse(input).error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`) ?? [];

describe("TrainConfig", () => {
  test("has the reference's optimizer and schedule by default", () => {
    expect(TrainConfig.parse({})).toMatchObject({
      learningRate: 3e-4,
      optimizer: { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.05, maxGradNorm: 1 },
      schedule: { kind: "wsd", warmup: 0.01 },
      ema: { kind: "constant", decay: 0.9999, warmup: false },
      loss: { lambdaHidden: 0.1, lambdaClean: 0 },
    });
  });

  test("has the same key whether it says that nothing is recomputed or does not", () => {
    const keyOf = (input: object): string => JSON.stringify(TrainConfig.parse(input));
    expect(keyOf({ recompute: "none" })).toBe(keyOf({}));
    expect(keyOf({})).not.toContain("recompute");
    expect(TrainConfig.parse({ recompute: "all" }).recompute).toBe("all");
    expect(problemsOf({ recompute: "some" })).toHaveLength(1);
    const schema = z.toJSONSchema(TrainSettings, { io: "input", unrepresentable: "any" });
    expect(schema.properties?.["recompute"]).toMatchObject({ enum: ["none", "layers", "all"] }); // of options and help
  });

  test.each([
    ["the name of a preset", "smoke", preset("smoke")],
    ["nothing", undefined, preset("faces-64")],
    ["settings on top of a preset", { preset: "smoke", width: 48 }, { ...preset("smoke"), width: 48 }],
    [
      "settings of its U-Net alone",
      { preset: "smoke", unet: { groups: 2 } },
      { ...preset("smoke"), unet: { ...preset("smoke").unet, groups: 2 } },
    ],
    ["settings alone", preset("ffhq-1024"), preset("ffhq-1024")],
    ["a preset without a U-Net of its own", { preset: "ffhq-1024" }, preset("ffhq-1024")],
  ] as const)("takes a model by %s", (_, model, expected: MadformerConfig) => {
    const parsed = TrainConfig.parse({ model });
    expect(parsed.model).toEqual(expected);
    expect(TrainConfig.parse(parsed)).toEqual(parsed); // it is complete
  });

  test.each([
    [{ model: "huge" }, 'model.preset: there is no preset "huge"; there are ffhq-1024, imagenet-256, faces-64, smoke'],
    [{ model: { preset: "toString" } }, 'model.preset: there is no preset "toString"; there are ffhq-1024'],
    [{ model: { preset: "smoke", wdth: 3 } }, 'model: Unrecognized key: "wdth"'],
    [{ model: 3 }, "model: Invalid input: expected object, received number"],
    [{ keepAt: [1] }, "keepAt.0: Too big"],
    [{ batch: 3 }, ': Unrecognized key: "batch"'],
    [{ ema: { kind: "power", sigmaRel: 0.1, gamma: 6 } }, "ema.gamma: sigmaRel and gamma say the same"],
    [{ ema: { kind: "power", sigmaRel: 0.29 } }, "ema.sigmaRel: Too big"],
  ])("refuses %j", (input, problem) => {
    const problems = problemsOf(input);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.startsWith(problem)).toBe(true);
  });
});

describe("TrainSettings", () => {
  test("take settings of a model without a preset for changes of the default, not of the largest model", () => {
    const unet = { ...preset("faces-64").unet, groups: 4 };
    expect(TrainSettings.parse({ model: { arLayers: 1, unet: { groups: 4 } } }).model).toEqual({
      ...preset("faces-64"),
      arLayers: 1,
      unet,
    });
    for (const name of ["ffhq-1024", "smoke"] as const)
      // All settings stand for themselves.
      expect(TrainSettings.parse({ model: preset(name) }).model).toEqual(preset(name));
    expect(TrainSettings.safeParse({ model: [] }).error?.issues[0]?.message).toContain("expected object");
  });

  test("leave the model open where none is named, and say in their schema what it then is", () => {
    expect(TrainSettings.parse({})).not.toHaveProperty("model");
    expect(TrainSettings.parse({ model: "smoke" }).model).toEqual(preset("smoke"));
    const schema = z.toJSONSchema(TrainSettings, { io: "input", unrepresentable: "any" });
    expect(schema.properties?.["model"]).toMatchObject({ default: "faces-64" }); // of options and help
  });

  test("become a config with the model that is named, that of a parent, or the default", () => {
    const [none, named] = [TrainSettings.parse({ seed: 3 }), TrainSettings.parse({ seed: 3, model: "smoke" })];
    expect(withModel(none, undefined)).toEqual(TrainConfig.parse({ seed: 3 }));
    expect(withModel(none, preset("imagenet-256")).model).toEqual(preset("imagenet-256"));
    expect(withModel(named, preset("imagenet-256"))).toEqual(TrainConfig.parse({ seed: 3, model: "smoke" }));
  });
});
