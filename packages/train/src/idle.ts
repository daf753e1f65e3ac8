import type { TrainSettings } from "./config.js";

/** Fields that have no effect beside others, and beside what: see `Stage.idle`. */
export function idle(settings: TrainSettings, inputs: ReadonlySet<string>): Readonly<Record<string, string>> {
  const { model, epochs, sampleEvery, schedule } = settings;
  const without: Record<string, string> = {};
  if (!inputs.has("from")) without["carry"] = 'without the input "from"';
  if (epochs !== undefined) without["steps"] = "with epochs, which replace it";
  if (sampleEvery === 0)
    for (const field of ["sampleImages", "sampleSolver", "sampleSteps"]) without[field] = "without sampleEvery";
  if (model && !model.text?.head) without["loss.lambdaText"] = "without a text that has a head";
  if (model?.text && !model.denoisingMlp) without["model.text.sampled"] = "without denoisingMlp";
  if (model?.clearClean) without["loss.lambdaClean"] = "with clearClean: there is no clean tower";
  if (model && !model.qkNorm) without["model.qkNormEps"] = "without qkNorm";
  if (model && !model.unet.attention.includes(true)) without["model.unet.heads"] = "where no level has attention";
  if (schedule.kind === "constant") without["model.quirks.warmupStart"] = 'with the schedule "constant"';
  return without;
}
