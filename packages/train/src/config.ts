import {
  LossConfig,
  MadformerConfig,
  OptimizerConfig,
  PRESETS,
  ScheduleConfig,
  type PresetName,
} from "@madformer/model";
import { z } from "zod";
import { EmaConfig } from "./ema.js";

const PRESET_NAMES = Object.keys(PRESETS) as [PresetName, ...PresetName[]];

/** A model by the name of a preset, or by its settings, or by both: settings on top of a preset's. */
const ModelChoice = z
  .preprocess((value, context) => {
    const given = typeof value === "string" ? { preset: value } : value;
    if (typeof given !== "object" || given === null || !("preset" in given)) return value;
    const { preset, ...settings } = given as Record<string, unknown>;
    if (!PRESET_NAMES.includes(preset as PresetName)) {
      const message = `there is no preset ${JSON.stringify(preset)}; there are ${PRESET_NAMES.join(", ")}`;
      context.addIssue({ code: "custom", path: ["preset"], message });
      return z.NEVER;
    }
    const base: z.input<typeof MadformerConfig> = PRESETS[preset as PresetName];
    const unet = settings["unet"];
    return {
      ...base,
      ...settings,
      ...(isObject(unet) || base.unet ? { unet: { ...base.unet, ...(isObject(unet) ? unet : {}) } } : {}),
    };
  }, MadformerConfig)
  .prefault("faces-64")
  .describe(`The model: a preset (${PRESET_NAMES.join(", ")}), settings, or settings on top of "preset"`);

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

const Share = z.number().gt(0).lt(1);

/** Everything that decides a training run but the data. */
export const TrainConfig = z
  .strictObject({
    model: ModelChoice,
    seed: z.int().nonnegative().default(0).describe("Of first weights, data order, noise, timesteps and flips"),
    batchImages: z.int().positive().default(32).describe("Images of one run of the network"),
    accumulate: z
      .int()
      .positive()
      .default(1)
      .describe("Runs whose gradients are averaged for one update: a batch has batchImages times as many images"),
    steps: z.int().positive().default(1000).describe("Updates of the whole run"),
    epochs: z.number().positive().optional().describe("Passes over the images; if given, it replaces steps"),
    learningRate: z.number().positive().default(3e-4).describe("Before the schedule's factor"),
    optimizer: OptimizerConfig.prefault({}).describe("AdamW, and clipping of the gradients by their norm"),
    schedule: ScheduleConfig.prefault({ kind: "wsd" }).describe("How the learning rate goes over the run"),
    loss: LossConfig.prefault({}).describe("Weights of the loss' terms"),
    ema: EmaConfig.prefault({ kind: "constant" }).describe("The average of the weights that is kept for sampling"),
    flip: z
      .boolean()
      .default(false)
      .describe("Mirror half of the latents left to right; only for codecs that encode a mirrored image so"),
    checkpointEvery: z
      .int()
      .positive()
      .default(1000)
      .describe("Steps between two checkpoints; the last step has one too"),
    keepLast: z.int().positive().default(2).describe("Checkpoints that are kept, of the newest"),
    keepAt: z
      .array(Share)
      .readonly()
      .default([])
      .describe("Shares of the run after which a checkpoint is made, and kept as well, such as 0.25"),
    logEvery: z.int().positive().default(10).describe("Steps between two lines of the log, which are means over them"),
    sampleEvery: z.int().nonnegative().default(0).describe("Steps between two grids of samples; 0 = none"),
    sampleImages: z.int().positive().default(16).describe("Images of a grid"),
    sampleSteps: z.int().positive().default(20).describe("Steps of the solver (DPM-Solver++) for a grid"),
  })
  .readonly();
export type TrainConfig = z.infer<typeof TrainConfig>;
