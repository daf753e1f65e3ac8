import {
  checkPipeline as check,
  PipelineError,
  readPipelineFile,
  type PipelineEntry,
  type PipelineFile,
  type StageDefaults,
} from "../plain/pipeline-file.mjs";
import { ConfigError } from "./config.js";

export { isName, upTo } from "../plain/pipeline-file.mjs";
export type { StageDefaults } from "../plain/pipeline-file.mjs";

/** One stage of a pipeline. */
export type PipelineStage = PipelineEntry;

/** An experiment: which stages run, on what, with which parameters. */
export interface Pipeline extends PipelineFile {
  readonly folder: string;
}

/**
 * Reads `<folder>/pipeline.json`. Its grammar stands in `plain/pipeline-file.mjs`.
 *
 * @throws {ConfigError} If it cannot be read, a name is none, a field is unknown, a need is no stage, or needs form a
 *   circle.
 */
export function readPipeline(folder: string): Pipeline {
  return usable(() => ({ folder, ...readPipelineFile(folder) }));
}

/**
 * The same of a value that such a file could hold.
 *
 * @param file What messages call it.
 * @param defaults What fields have that a config leaves out, for conditions.
 * @throws {ConfigError}
 */
export function checkPipeline(value: unknown, file: string, name: string, defaults: StageDefaults = {}): PipelineFile {
  return usable(() => check(value, file, name, defaults));
}

function usable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    throw new ConfigError(error.message, { cause: error });
  }
}
