import type { Artifact } from "@madformer/artifacts";
import type { z } from "zod";
import type { Computing } from "./compute.js";
import type { StageFiles } from "./files.js";
import type { Outside } from "./outside.js";

/** What a stage reads. */
export interface InputSpec {
  /** One sentence for the help: what it is. */
  readonly summary: string;
  /** Whether the stage also runs without it. */
  readonly optional?: boolean;
  /** Stages that make it, the usual one first. What nobody made, a folder of files, is taken as well. */
  readonly stages?: readonly string[];
  /** How the name of a single file ends that a command takes in place of a folder, such as `.npz`. */
  readonly file?: string;
  /** Whether the stage takes what an interrupted run of those has left. */
  readonly unfinished?: boolean;
  /**
   * Whether the stage reads few of its files: those that are in the remote store alone are fetched one by one when it
   * asks for them, instead of all before it begins.
   */
  readonly few?: boolean;
}
export type InputSpecs = Readonly<Record<string, InputSpec>>;

/** The artifacts of a stage's inputs, by name. */
export type Inputs<I extends InputSpecs> = {
  readonly [K in keyof I]: I[K] extends { readonly optional: true } ? Artifact | undefined : Artifact;
};

/** Small values about what was made, for later stages and for people. Functions of the content: no times, no paths. */
export type Facts = Readonly<Record<string, z.core.util.JSONType>>;

/**
 * A stage: one function from a config and input artifacts to files and facts.
 *
 * It writes below `context.out` and tells `context.files` of each file that is whole: those become the artifact. What
 * it writes below `logs/` is kept beside it, and may hold times; the rest is dropped. The folder outlives a killed
 * process: the same config, inputs and program find it as it was left, so a stage resumes by asking `context.files`
 * what is finished.
 */
export interface Stage<C = unknown, I extends InputSpecs = InputSpecs> {
  readonly name: string;
  /** One sentence for the help. */
  readonly summary: string;
  /** Schema with a default and a description (with unit) for every field that can have one. */
  readonly config: z.ZodType<C>;
  readonly inputs: I;
  /**
   * Of a stage that compiles programs: `computing` of `@madformer/engine`. It then has the options `engine`,
   * `precision` and `threads`, which are part of its key, and all programs are compiled for what they say.
   */
  readonly computing?: Computing;
  /**
   * Fields of the config that decide how fast or how talkative a run is, and not what it makes: a folder takes others
   * when its command is given again. They are part of keys all the same, as the whole config is.
   */
  readonly free?: readonly string[];
  /**
   * Files that hold nothing by themselves: copies of an input's, what is known beforehand, logs of work that other
   * files keep. A command that failed when it had finished no others does not hold its folder.
   */
  readonly notes?: readonly string[];
  /**
   * What has no effect: fields, by their paths (`model.unet.heads`), and inputs, each with a clause that says beside
   * what. Whoever names one of them on a command line is told so; a pipeline may keep fields for the day when they have
   * one again.
   *
   * @param inputs Names of those that are given.
   */
  idle?(config: C, inputs: ReadonlySet<string>): Readonly<Record<string, string>>;
  /**
   * Files and folders that the stage reads besides its inputs, because its config names them: if they change, it runs
   * again.
   */
  outside?(config: C): readonly Outside[];
  /**
   * Whether a folder in which another config was run can become what this config makes, by going on from what is there.
   * Asked where inputs and files outside are the same; pipelines have a place for each config and do not ask.
   *
   * @param before That config, as this stage's schema made it then.
   * @returns True; or why not, as a clause; or undefined if there is nothing to say about it.
   */
  goesOn?(before: unknown, now: C): true | string | undefined;
  run(config: C, inputs: Inputs<I>, context: StageContext): Promise<Facts>;
}

/** What a running stage gets from its surroundings. */
export interface StageContext {
  /** Absolute path of the folder to write into. Exists, and so does `tmp` in it, for what is not finished. */
  readonly out: string;
  /** What is finished of it. */
  readonly files: StageFiles;
  /** Aborted on SIGINT and SIGTERM: save what is needed to go on, then throw `signal.reason`. */
  readonly signal: AbortSignal;
  readonly log: StageLog;
}

/** Where a stage says how it is doing: a bar on a terminal, plain lines elsewhere. */
export interface StageLog {
  /** One line for people. */
  info(message: string): void;
  /** Something that did not go as it should and did not stop the stage. */
  warn(message: string): void;
  /**
   * Where a long job stands.
   *
   * @param label What is counted, such as `images` or `steps`.
   * @param done How many are done, of `total`.
   * @param details Shown beside it, such as `{ loss: "0.123" }`.
   */
  progress(label: string, done: number, total: number, details?: Readonly<Record<string, string>>): void;
}

/** A stage with its types inferred. */
export function defineStage<C, const I extends InputSpecs>(stage: Stage<C, I>): Stage<C, I> {
  return stage;
}
