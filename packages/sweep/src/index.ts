/**
 * Sweeps: many points of one pipeline, what they share, and what their numbers say.
 *
 * Reading order: `../plain/sweep-file.mjs` (the file and the points it means), `points.ts` (points as pipelines,
 * checked), `jobs.ts` (what they share), `plan.ts`, `run.ts`, `results.ts`, `table.ts`, `format.ts`, `plot.ts`;
 * `compare.ts` for runs of any pipelines.
 */
export { readSweep, type Sweep } from "./sweep.js";
export { labelOf, runsOf, type PointRun, type PointStage, type Source } from "./points.js";
export { jobsOf, titleOf, type Job, type Owner } from "./jobs.js";
export { type Knowing } from "./known.js";
export { isRun, planOf, stagesOf, type PlannedJob, type PlannedStage } from "./plan.js";
export { pointFolder, runJobs, type JobEnd, type SweepRun, type SweepRunOptions } from "./run.js";
export { isComplete, numberAt, resultsOf, type PointResult } from "./results.js";
export { type Spread } from "./spread.js";
export { tableOf, type Cell, type Heading, type Table } from "./table.js";
export { EXTENSIONS, FORMATS, formatTable, noteOf, spreadText, type Format } from "./format.js";
export { computingSeconds, frontsOf, plotOf, plotSpecOf, type Front, type Mark, type Plot } from "./plot.js";
export {
  causesOf,
  differencesOf,
  measuresOf,
  runOfMade,
  runOfPipeline,
  type ComparedRun,
  type Measure,
  type StageDifference,
} from "./compare.js";
