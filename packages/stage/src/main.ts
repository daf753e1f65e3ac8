import { appendFile, readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  DataError,
  registerRoot,
  remotePlace,
  sha256,
  Store,
  type Artifact,
  type Made,
  type ObjectRef,
} from "@madformer/artifacts";
import { computeOf } from "./compute.js";
import { ConfigError, parseConfig } from "./config.js";
import { assertMadeBy } from "./input.js";
import { bringInputs, inputLost, InputLost, Lent } from "./lent.js";
import { entryDigest, lentOutput, outputFolder, putOutput, readOutput } from "./output.js";
import { readPipeline, type Pipeline, type PipelineStage } from "./pipeline.js";
import { StageRemote } from "./remote.js";
import { runStage, type BundleDigest, type StageResult } from "./run.js";
import type { Inputs, InputSpecs, Stage } from "./stage.js";
import { stageStatus } from "./status.js";

/** `lost`: what it reads could not be had; given again, the command makes it. */
export const EXIT = { done: 0, failed: 1, usage: 2, lost: 75, interrupted: 130, terminated: 143 } as const;

/** Names a file that gets a line `{"stage", "code"}` of each stage that fails: Nx has exit codes of its own. */
const FAILURES = "MADFORMER_FAILURES";

/**
 * The main function of the runner, in the workspace's root: runs the stage that a bundle exports on what the pipeline's
 * other stages made, and puts its output into `<pipeline folder>/out/<stage>`. A stage whose output is current is not
 * loaded.
 *
 * The bundle's digest stands for all code that the stage can run. This code is not part of it: it gives a stage its
 * folder and takes what lies there, and no word of it changes what a stage makes.
 *
 * @param argv `<bundle> <pipeline folder> <stage>`
 */
export async function stageMain(argv: readonly string[]): Promise<void> {
  const [bundle, folder, name, ...rest] = argv;
  if (bundle === undefined || folder === undefined || name === undefined || rest.length > 0) {
    process.stderr.write("Usage: <runner> <bundle of a stage> <pipeline folder> <stage>\n");
    process.exitCode = EXIT.usage;
    return;
  }
  process.exitCode = await guarded(name, (signal) => runEntry(bundle, folder, name, signal));
  const failures = process.env[FAILURES];
  if (process.exitCode !== EXIT.done && failures !== undefined)
    await appendFile(failures, `${JSON.stringify({ stage: name, code: process.exitCode })}\n`);
}

async function runEntry(bundle: string, folder: string, name: string, signal: AbortSignal): Promise<void> {
  const pipeline = readPipeline(folder);
  const entry = pipeline.stages.find((other) => other.name === name);
  if (entry === undefined)
    throw new ConfigError(
      `Pipeline ${folder} has no stage "${name}", expected one of: ${pipeline.stages.map((s) => s.name).join(", ")}`,
    );
  const store = Store.at(".");
  const program = await digestOfBundle(bundle);
  const before = new Map<string, Made>();
  for (const need of Object.values(entry.needs)) {
    const made = await outputOf(folder, need, store);
    if (made) before.set(need, made);
  }
  const place = await remotePlace(".").catch(() => undefined); // what is wrong with it is said below
  const status = await stageStatus(folder, entry, before, {
    store,
    program: () => program.sha256,
    remote: place?.uri,
  });
  if (status.current) return void process.stderr.write(`${name}: up to date\n`);

  const { stage } = (await import(pathToFileURL(bundle).href)) as { readonly stage: Stage<never> };
  const where = `"${name}" of ${join(folder, "pipeline.json")}`;
  const config = parseConfig(stage, entry.config, where);
  const { compute } = entry;
  computeOf(stage, compute, where); // refuses what there is not
  const shown = await readOutput(outputFolder(folder, name));
  await using remote = await StageRemote.open(".", store, { signal, title: name });
  const lent = new Lent(pipeline, store, remote);
  const inputs = inputsOf(stage, entry, folder, before, store, lent);
  const prepare = (): Promise<void> => bringInputs(entry, stage.inputs, before, lent);
  const options = { program, store, signal, compute, title: name, shown, remote, prepare };
  const made = await runStage(stage, config, inputs, options).catch((error: unknown) => {
    throw lent.lost.size > 0 && !(error instanceof InputLost) ? inputLost(name, lent.lost, error) : error;
  });
  if (made.reused) process.stderr.write(`${name}: ${foundAt(made, remote)}\n`);
  await show(pipeline, entry, made, program, store);
}

/** Where something was that nobody had to make. */
export function foundAt(made: StageResult, remote: StageRemote | undefined): string {
  if (made.elsewhere === true) return `known to ${remote?.name ?? "the remote store"}`;
  return made.fetched === true ? `fetched from ${remote?.name ?? "the remote store"}` : "found in the store";
}

/** Shows what a stage made as its output. */
export async function show(
  { name: pipeline, folder }: Pipeline,
  entry: PipelineStage,
  made: StageResult,
  program: BundleDigest,
  store: Store,
  remote?: StageRemote,
): Promise<void> {
  const { record, asked, engine, outside } = made;
  const elsewhere = made.elsewhere === true && remote ? { remote: remote.name } : {};
  const checked = {
    key: record.key,
    entry: entryDigest(entry),
    program: program.sha256,
    asked,
    engine,
    outside,
    ...elsewhere,
  };
  // Before it is shown: nobody removes it.
  await registerRoot(store, workspaceOf(folder), { [`${pipeline}/${entry.name}`]: record.key });
  await putOutput(folder, entry.name, made, checked, store);
}

/** The workspace that shows a pipeline's outputs, below its `pipelines`: this one, or a sweep's folder. */
function workspaceOf(folder: string): string {
  const above = dirname(resolve(folder));
  return basename(above) === "pipelines" ? dirname(above) : ".";
}

/** The digest of a bundle, and the packages its first line names. */
export async function digestOfBundle(bundle: string): Promise<BundleDigest> {
  const bytes = await readFile(bundle);
  const first = bytes.subarray(0, Math.max(0, bytes.indexOf(10))).toString("utf8");
  const externals = /^\/\/ externals: (.*)$/.exec(first)?.[1]?.split(" ").filter(Boolean) ?? [];
  return { sha256: sha256(bytes), externals, path: bundle };
}

/**
 * What a stage has made, as its folder says and the store confirms, or that it is in the remote store; undefined if it
 * has to run first.
 */
async function outputOf(folder: string, name: string, store: Store): Promise<Made | undefined> {
  const made = await readOutput(outputFolder(folder, name));
  const known = made && (await store.lookup(made.record.key));
  if (known === undefined) return await lentOutput(outputFolder(folder, name));
  return known.record.manifest === made?.record.manifest ? known : undefined;
}

/**
 * Artifacts by input name.
 *
 * @param lent Gets files that are not here when they are read.
 */
export function inputsOf<I extends InputSpecs>(
  stage: { readonly name: string; readonly inputs: I },
  entry: PipelineStage,
  folder: string,
  before: ReadonlyMap<string, Made>,
  store: Store,
  lent?: Lent,
): Inputs<I> {
  for (const input of Object.keys(entry.needs))
    if (!Object.hasOwn(stage.inputs, input))
      throw new ConfigError(
        `Stage "${entry.name}" of ${folder} needs "${input}", expected inputs of "${stage.name}": ${Object.keys(stage.inputs).join(", ")}`,
      );
  const inputs: Record<string, Artifact | undefined> = {};
  for (const [input, spec] of Object.entries(stage.inputs)) {
    const { optional = false, summary } = spec;
    const need = Object.hasOwn(entry.needs, input) ? entry.needs[input] : undefined;
    if (need === undefined && !optional)
      throw new ConfigError(`Stage "${entry.name}" of ${folder} lacks the input "${input}" (${summary})`);
    const made = need === undefined ? undefined : before.get(need);
    if (need !== undefined && made === undefined)
      throw new DataError(
        `Stage "${entry.name}" of ${folder} needs "${need}", which has not run, or whose output the store does not know: run ${need} first`,
      );
    if (made) assertMadeBy(`The input "${input}" of stage "${entry.name}" of ${folder}`, spec, made.manifest.stage);
    const fetch = made && lent && ((ref: ObjectRef) => lent.bringOne(need!, made, ref));
    inputs[input] = made && store.artifact(made, fetch);
  }
  return inputs as Inputs<I>;
}

/**
 * Runs what a process is for: SIGINT and SIGTERM abort its signal (a second one ends it at once), errors become one
 * sentence.
 *
 * @returns The exit code.
 */
export async function guarded(
  title: string,
  run: (signal: AbortSignal) => Promise<void>,
  stream: NodeJS.WritableStream = process.stderr,
): Promise<number> {
  const controller = new AbortController();
  let code: number = EXIT.failed;
  const stop = (signal: NodeJS.Signals): void => {
    code = signal === "SIGINT" ? EXIT.interrupted : EXIT.terminated;
    if (controller.signal.aborted) process.exit(code);
    stream.write(`${title}: stopping; again to stop at once\n`);
    controller.abort(new DOMException("stopped", "AbortError"));
  };
  const lost = (): void =>
    void stream.write(`${title}: ended before it was done, waiting for something that never came\n`);
  process.on("SIGINT", stop).on("SIGTERM", stop).once("exit", lost);
  try {
    await run(controller.signal);
    return EXIT.done;
  } catch (error) {
    if (controller.signal.aborted) {
      stream.write(`${title}: stopped; the same command goes on from here\n`);
      return code;
    }
    stream.write(`${title}: ${describe(error)}\n`);
    return error instanceof ConfigError ? EXIT.usage : error instanceof InputLost ? EXIT.lost : EXIT.failed;
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop).off("exit", lost);
  }
}

/** An error in one sentence, or with its stack where `MADFORMER_DEBUG` is set. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  if (process.env["MADFORMER_DEBUG"] !== undefined) return error.stack ?? error.message;
  return code === "ENOSPC"
    ? `the disk is full (${error.message}); nothing half-written counts, make room and run it again`
    : error.message;
}
