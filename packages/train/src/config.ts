import {
  LossConfig,
  MadformerConfig,
  preset,
  PRESETS,
  RECOMPUTE,
  SOLVER_NAMES,
  type PresetName,
} from "@madformer/model";
import { EmaConfig, OptimizerConfig, ScheduleConfig } from "@madformer/optim";
import { z } from "zod";

const PRESET_NAMES = Object.keys(PRESETS) as [PresetName, ...PresetName[]];

/** The model where nothing is said. */
const DEFAULT_MODEL: PresetName = "faces-64";

/**
 * A model by the name of a preset, or by its settings, or by both: settings on top of a preset's.
 *
 * @param otherwise The preset that settings without one go on top of; if not given, they must stand for themselves.
 */
const modelChoice = (otherwise?: PresetName) =>
  z
    .preprocess((value, context) => {
      const given = typeof value === "string" ? { preset: value } : value;
      if (typeof given !== "object" || given === null || Array.isArray(given)) return value;
      const { preset = otherwise, ...settings } = given as Record<string, unknown>;
      if (preset === undefined && !("preset" in given)) return value;
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
    .describe(
      `The model: a preset (${PRESET_NAMES.join(", ")}), settings on top of "preset", ` +
        `or settings alone, on top of ${DEFAULT_MODEL}; where nothing is said, that of the input "from", if there is one`,
    )
    .meta({ presets: Object.fromEntries(PRESET_NAMES.map((name) => [name, preset(name)])) }); // for the command line

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

const Share = z.number().gt(0).lt(1);

const Fields = z.strictObject({
  seed: z.int().nonnegative().default(0).describe("Of first weights, data order, noise, timesteps and flips"),
  batchImages: z.int().positive().default(32).describe("Images of one run of the network"),
  accumulate: z
    .int()
    .positive()
    .default(1)
    .describe("Runs whose gradients are averaged for one update: a batch has batchImages times as many images"),
  recompute: z
    .enum(RECOMPUTE)
    .optional()
    .overwrite((word) => (word === "none" ? undefined : word)) // which is the same run, and has the same key
    .describe(
      "What is computed a second time for the gradients instead of being kept, which takes time and saves memory: " +
        "none (if not given), layers = each layer of the transformer, all = these and each residual block of the U-Nets",
    ),
  steps: z
    .int()
    .positive()
    .default(1000)
    .describe("Updates of the whole run, those among them that are carried on from"),
  carry: z
    .enum(["all", "ema", "raw"])
    .default("all")
    .describe(
      'What is taken of the input "from": all = weights, average, optimizer\'s state and number of updates; or first weights ' +
        "alone, for a run that begins at step 1: the averaged ones (ema), or those of its last update (raw)",
    ),
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
  sampleImages: z.int().positive().default(16).describe("Images of a grid: those of the seeds from 0 on"),
  sampleSolver: z.enum(SOLVER_NAMES).default(SOLVER_NAMES[0]).describe("How noise becomes the images of a grid"),
  sampleSteps: z.int().positive().default(20).describe("Steps of the solver for a grid"),
});

/**
 * Everything that decides a training run but the data, and what it goes on from. Settings of a model without a preset
 * are all there are, or have `MadformerConfig`'s defaults: files that say which model was trained hold all.
 */
export const TrainConfig = z.strictObject({ model: modelChoice().prefault(DEFAULT_MODEL), ...Fields.shape }).readonly();
export type TrainConfig = z.infer<typeof TrainConfig>;

/**
 * The same as the stage has it: before it is known what it goes on from, whose model it takes if none is named; some
 * settings of a model are changes of the preset that help names, and not of the largest model, whose numbers
 * `MadformerConfig` has. Its JSON schema names the default all the same; of a schema that transforms, zod leaves out
 * "default" and writes "_prefault" as that.
 */
export const TrainSettings = z
  .strictObject({ model: modelChoice(DEFAULT_MODEL).optional().meta({ _prefault: DEFAULT_MODEL }), ...Fields.shape })
  .readonly();
export type TrainSettings = z.infer<typeof TrainSettings>;

/** Settings with a model. */
export function withModel(settings: TrainSettings, model: MadformerConfig | undefined): TrainConfig {
  return TrainConfig.parse({ ...settings, model: settings.model ?? model });
}
