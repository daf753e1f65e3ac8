/**
 * Stages: functions from a config and input artifacts to an artifact, and how they run.
 *
 * Reading order: `stage.ts` (what a stage is), `run.ts` (made once, or found in the store), `folder.ts` (without a
 * pipeline), `pipeline.ts` and `main.ts` (in a pipeline), `log.ts` (what people see meanwhile).
 */
export {
  defineStage,
  type Facts,
  type Inputs,
  type InputSpec,
  type InputSpecs,
  type Stage,
  type StageContext,
  type StageLog,
} from "./stage.js";
export { ConfigError, configSchema, parseConfig } from "./config.js";
export { runStage, stageKey, type Program, type RunOptions } from "./run.js";
export { differ, runInFolder, type FolderOptions } from "./folder.js";
export { readPipeline, type Pipeline, type PipelineStage } from "./pipeline.js";
export { EXIT, guarded, linkFiles, outputFolder, programOf, putOutput, stageMain } from "./main.js";
export { explain, type Explanation, type ExplainOptions } from "./explain.js";
export { duration, openLog, type LogOptions, type OpenLog } from "./log.js";
