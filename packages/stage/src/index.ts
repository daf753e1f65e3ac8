/**
 * Stages: functions from a config and input artifacts to an artifact, and how they run.
 *
 * Reading order: `stage.ts` (what a stage is), `files.ts` (what it has finished), `progress.ts` (what
 * it goes on from within one long piece of work), `run.ts` (made once, or found in the
 * store), `folder.ts` (without a pipeline), `pipeline.ts`, `main.ts`, `output.ts` and `status.ts` (in a pipeline),
 * `log.ts` (what people see meanwhile).
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
export {
  askedOf,
  computeOf,
  lookEngine,
  VARIABLES,
  type Compute,
  type ComputeWords,
  type Computing,
} from "./compute.js";
export { ConfigError, configSchema, parseConfig } from "./config.js";
export { discriminator, fieldAt, fieldsOf, formsOf, kindOf, wordOf, type Schema, type SchemaField } from "./schema.js";
export { meant, withField } from "./field.js";
export { assertMadeBy } from "./input.js";
export { nearest } from "./nearest.js";
export { runStage, stageKey, type BundleDigest, type RunOptions, type StageResult } from "./run.js";
export { StageFiles, type Note } from "./files.js";
export { dropProgress, findProgress, keepProgress, PROGRESS_FILE, type Progress, type Work } from "./progress.js";
export { lookOutside, outsideDigest, type Outside, type OutsideState } from "./outside.js";
export { differ, runInFolder, STATE_FILE, type FolderOptions } from "./folder.js";
export {
  checkPipeline,
  isName,
  readPipeline,
  upTo,
  type Pipeline,
  type PipelineStage,
  type StageDefaults,
} from "./pipeline.js";
export { entryDigest, outputFolder, putOutput, readChecked, readOutput } from "./output.js";
export { pipelineStatus, type StageStatus, type StatusOptions } from "./status.js";
export { StageRemote, rateMeter, type StageRemoteOptions } from "./remote.js";
export { restorePipeline, type Restored, type RestoreOptions } from "./restore.js";
export { verify, type Finding, type Verified, type VerifyOptions } from "./verify.js";
export { EXIT, guarded, digestOfBundle, stageMain } from "./main.js";
export { explain, recordChanges, type Explanation, type ExplainOptions } from "./explain.js";
export { tryDamage, type DamageResult, type DamageTrial } from "./try-damage.js";
export { duration, openLog, type LogOptions, type OpenLog } from "./log.js";
