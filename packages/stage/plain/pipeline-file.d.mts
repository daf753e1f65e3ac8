import type { ComputeWords } from "./computing.mjs";

/** One stage of a pipeline. */
export interface PipelineEntry {
  readonly name: string;
  /** The stage function. */
  readonly uses: string;
  /** Input name -> stage of the pipeline that makes it; inputs whose condition does not hold are left out. */
  readonly needs: Readonly<Record<string, string>>;
  /** The fields of the stage's config that are not at their default. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What the pipeline says about engine, precision and threads of this stage. */
  readonly compute: ComputeWords;
}

/** A pipeline.json that was checked. */
export interface PipelineFile {
  readonly name: string;
  readonly description: string;
  /** In an order in which each comes after what it needs. */
  readonly stages: readonly PipelineEntry[];
}

/** What fields of stage functions have when nothing is said: of texts, numbers, yes or no, and null. */
export type StageDefaults = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export class PipelineError extends Error {}
export function isName(value: unknown): value is string;
export function readPipelineFile(folder: string): PipelineFile;
export function checkPipeline(value: unknown, file: string, name: string, defaults?: StageDefaults): PipelineFile;
export function upTo(stages: readonly PipelineEntry[], last: string): PipelineEntry[];
