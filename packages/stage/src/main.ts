import { link, mkdir, readFile, rm, symlink } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  DataError,
  MANIFEST_FILE,
  manifestText,
  readManifest,
  readRecord,
  RECORD_FILE,
  sha256,
  Store,
  writeText,
  type Artifact,
  type Made,
} from "@madformer/artifacts";
import { ConfigError, parseConfig } from "./config.js";
import { readPipeline, type PipelineStage } from "./pipeline.js";
import { runStage, type Program } from "./run.js";
import type { Inputs, InputSpecs, Stage } from "./stage.js";

export const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130, terminated: 143 } as const;

/**
 * The main function of the runner: `node <runner> <bundle> <pipeline folder> <stage>`, in the workspace's root. Runs the stage
 * that the bundle exports on what the pipeline's other stages made, and puts its manifest and record into
 * `<pipeline folder>/out/<stage>`.
 *
 * The bundle's digest stands for all code that the stage can run. This code is not part of it: it gives a stage its folder and
 * takes what lies there, and no word of it changes what a stage makes.
 */
export async function stageMain(argv: readonly string[]): Promise<void> {
  const [bundle, folder, name, ...rest] = argv;
  if (bundle === undefined || folder === undefined || name === undefined || rest.length > 0) {
    process.stderr.write("Usage: node runner.mjs <bundle of a stage> <pipeline folder> <stage>\n");
    process.exitCode = EXIT.usage;
    return;
  }
  process.exitCode = await guarded(name, async (signal) => {
    const { stage } = (await import(pathToFileURL(bundle).href)) as { readonly stage: Stage<never> };
    const pipeline = await readPipeline(folder);
    const entry = pipeline.stages.find((other) => other.name === name);
    if (entry === undefined)
      throw new ConfigError(
        `Pipeline ${folder} has no stage "${name}", expected one of: ${pipeline.stages.map((s) => s.name).join(", ")}`,
      );
    const store = Store.at(".");
    const config = parseConfig(stage, entry.config, `"${name}" of ${join(folder, "pipeline.json")}`);
    const inputs = await inputsOf(stage, entry, folder, store);
    const program = await programOf(bundle);
    const made = await runStage(stage, config, inputs, { program, store, signal, title: name });
    if (made.reused) process.stderr.write(`${name}: found in the store\n`);
    await putOutput(outputFolder(folder, name), made, store);
  });
}

/** Where a pipeline keeps what tells of a stage's output. */
export function outputFolder(pipeline: string, stage: string): string {
  return join(pipeline, "out", stage);
}

/** A bundle as a program: its digest, and the packages its first line names. */
export async function programOf(bundle: string): Promise<Program> {
  const bytes = await readFile(bundle);
  const first = bytes.subarray(0, Math.max(0, bytes.indexOf(10))).toString("utf8");
  const externals = /^\/\/ externals: (.*)$/.exec(first)?.[1]?.split(" ").filter(Boolean) ?? [];
  return { sha256: sha256(bytes), externals, path: bundle };
}

/** What other stages of a pipeline made, by input name, as their `out` folders say. */
async function inputsOf<I extends InputSpecs>(
  stage: { readonly name: string; readonly inputs: I },
  entry: PipelineStage,
  folder: string,
  store: Store,
): Promise<Inputs<I>> {
  const inputs: Record<string, Artifact | undefined> = {};
  for (const input of Object.keys(entry.needs))
    if (!Object.hasOwn(stage.inputs, input))
      throw new ConfigError(
        `Stage "${entry.name}" of ${folder} needs "${input}", expected inputs of "${stage.name}": ${Object.keys(stage.inputs).join(", ")}`,
      );
  for (const [input, { optional = false, summary }] of Object.entries(stage.inputs)) {
    const from = entry.needs[input];
    if (from === undefined) {
      if (!optional)
        throw new ConfigError(`Stage "${entry.name}" of ${folder} lacks the input "${input}" (${summary})`);
      inputs[input] = undefined;
      continue;
    }
    const out = outputFolder(folder, from);
    const manifest = await readManifest(out);
    if (manifest === undefined)
      throw new DataError(
        `Stage "${entry.name}" of ${folder} needs "${from}", which has not run: there is no ${join(out, MANIFEST_FILE)}`,
      );
    inputs[input] = store.artifact({ manifest, record: await readRecord(out) });
  }
  return inputs as Inputs<I>;
}

/** Writes manifest and record of a stage, and lets its files be seen under their names. */
export async function putOutput(out: string, made: Made, store: Store): Promise<void> {
  await mkdir(out, { recursive: true });
  await linkFiles(out, made, store);
  await writeText(join(out, RECORD_FILE), `${JSON.stringify(made.record, null, 2)}\n`);
  await writeText(join(out, MANIFEST_FILE), manifestText(made.manifest));
}

/**
 * `<out>/files` and `<out>/logs`: what a stage wrote, under its names. They are second names of the store's objects, not
 * symbolic links: programs that follow those, as browsers do, see a name without an ending. Objects are read-only, and one
 * that is written to all the same is found out.
 */
export async function linkFiles(out: string, { manifest, record }: Made, store: Store): Promise<void> {
  for (const folder of ["files", "logs"]) await rm(join(out, folder), { recursive: true, force: true });
  const files = Object.entries(manifest.files).map(([file, ref]) => [join("files", file), ref] as const);
  for (const [file, { sha256: digest }] of [...files, ...Object.entries(record.logs)]) {
    const path = join(out, file);
    await mkdir(dirname(path), { recursive: true });
    const object = store.objectPath(digest);
    await link(object, path).catch(() => symlink(relative(resolve(dirname(path)), object), path)); // the store may be another disk
  }
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
    return error instanceof ConfigError ? EXIT.usage : EXIT.failed;
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
