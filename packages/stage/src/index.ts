/**
 * Stages: functions from a config and input artifacts to an artifact, and how they run.
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
