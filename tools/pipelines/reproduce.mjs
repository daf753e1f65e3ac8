/**
 * npm run reproduce [-- <pipeline> [<stage>]] [--engine NAME] [--precision NAME] [--threads N]
 *
 * Runs a pipeline up to a stage (faces-64, report), whatever of it is not there yet, and says what was made, what was
 * reused and where to look. The same command again goes on where it was interrupted.
 *
 * What is there already is looked at first, by this process alone; Nx starts if there is something to do.
 */
import { existsSync, lstatSync, mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { VARIABLES } from "../../packages/stage/plain/computing.mjs";
import { readPipelineFile, upTo } from "../../packages/stage/plain/pipeline-file.mjs";
import { freshBundles, makeBundles, RUNNER, RUNNER_PACKAGE } from "./bundles.mjs";
import { FAILURES, LOST, readFailures } from "./failures.mjs";
import { findPipelines, findStages } from "./stages.mjs";

const USAGE = `npm run reproduce [-- <pipeline> [<stage>]] [--engine NAME] [--precision NAME] [--threads N] [--whole] [--no-nx]

Runs a pipeline (default: faces-64) up to a stage (default: report), whatever of it is not there yet.
--engine     what runs the programs, in stages whose pipeline.json names no engine (or set MADFORMER_ENGINE)
--precision  how they round (or set MADFORMER_PRECISION)
--threads    threads of one operation (or set MADFORMER_THREADS); all three are part of what is computed
--whole      fetches all files that the remote store has, not only those of the last stage and those that are read
--no-nx      runs the stages one after another without Nx

Exit codes: 0 done, 1 failed, 2 wrong usage or pipeline, 130 interrupted by Ctrl-C.`;

const NX = "node_modules/.bin/nx";
const root = fileURLToPath(new URL("../..", import.meta.url));
process.chdir(root);
const started = new Date();
process.env["MADFORMER_RUN_STARTED"] ??= started.toISOString();
const words = process.argv.slice(2);
if (words.includes("--help") || words.includes("-h")) {
  console.log(USAGE);
  process.exit(0);
}
const { values: options, positionals } = parse(words);
const [pipeline = "faces-64", last = "report", ...rest] = positionals;
if (rest.length > 0) stop(`"${rest[0]}" is not understood\n\n${USAGE}`);
for (const [word, variable] of Object.entries(VARIABLES)) {
  const value = options[/** @type {keyof typeof VARIABLES} */ (word)];
  if (value !== undefined) process.env[variable] = value; // of this process, and of all that it starts
}
const pipelines = findPipelines(root);
if (!pipelines.includes(pipeline)) stop(`there is no pipeline "${pipeline}", expected one of: ${pipelines.join(", ")}`);
const folder = `pipelines/${pipeline}`;
const { stages } = read();
if (!stages.some(({ name }) => name === last))
  stop(`${pipeline} has no stage "${last}", expected one of: ${stages.map(({ name }) => name).join(", ")}`);
const wanted = upTo(stages, last);
console.log(`${pipeline}: ${wanted.length} ${wanted.length === 1 ? "stage" : "stages"}, up to ${last}`);

/** @type {NodeJS.Signals | undefined} What has stopped this process: whoever runs below it stops by itself. */
let stopped;
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.on(signal, () => (stopped = signal));

const whole = options.whole === true;
let status = await look();
// Each time that files turn out not to be in the remote store, the stage that made them runs.
for (let tries = wanted.length; status === undefined || status.some(({ current }) => !current); tries--) {
  if (hasRemote()) {
    await restore();
    status = await look();
    if (status?.every(({ current }) => current)) break;
  }
  if (tries === wanted.length) await checkEngine();
  const lost = (!options["no-nx"] && (await runWithNx(tries > 0))) || (await runAlone(tries > 0));
  status = await look();
  if (lost !== "lost") break;
}
if (status === undefined) fail("its bundles are not what the sources make, which have changed meanwhile");
summary(
  status.map((stage) => (stage.current ? stage : fail(`${stage.name} has run, but ${stage.why}`))),
  (await import("zx")).chalk,
);

/** @param {string[]} args */
function parse(args) {
  const text = /** @type {const} */ ({ type: "string" });
  const flag = /** @type {const} */ ({ type: "boolean" });
  const known = { engine: text, precision: text, threads: text, whole: flag, "no-nx": flag };
  try {
    return parseArgs({ args, options: known, allowPositionals: true });
  } catch (error) {
    return stop(`${/** @type {Error} */ (error).message}\n\n${USAGE}`);
  }
}

/**
 * Refuses an engine that there is not before the first stage runs: those that do not compute would run in vain. Loading
 * a stage takes a second, so nobody asks where nothing was said.
 */
async function checkEngine() {
  if (!Object.values(VARIABLES).some((name) => process.env[name])) return;
  const functions = findStages(root);
  for (const { name, uses, compute } of wanted) {
    const source = functions.get(uses);
    if (source === undefined) continue;
    await makeBundles(root, source.packageDir).catch((/** @type {Error} */ error) => fail(error.message));
    const { stage } = await import(pathToFileURL(path.resolve(source.bundle)).href);
    if (stage.computing === undefined) continue;
    try {
      stage.computing.choose(compute);
    } catch (error) {
      stop(`stage "${name}" of ${pipeline}: ${/** @type {Error} */ (error).message}`);
    }
  }
}

/** @returns {import("../../packages/stage/plain/pipeline-file.mjs").PipelineFile} */
function read() {
  try {
    return readPipelineFile(folder);
  } catch (error) {
    return stop(/** @type {Error} */ (error).message);
  }
}

/** @param {string} message @returns {never} */
function stop(message) {
  console.error(`Cannot reproduce: ${message}`);
  process.exit(2);
}

/** @param {string} message @param {number} [code] @returns {never} */
function fail(message, code = 1) {
  console.error(`Cannot reproduce ${pipeline}: ${message}`);
  process.exit(code);
}

/** Packages with the stage functions that are wanted, and the runner's. */
function packageDirs() {
  const functions = findStages(root);
  const dirs = wanted.map(({ name, uses }) => {
    const source = functions.get(uses);
    if (source) return source.packageDir;
    return stop(
      `stage "${name}" of ${pipeline} uses "${uses}", expected one of: ${[...functions.keys()].sort().join(", ")}`,
    );
  });
  return [...new Set([RUNNER_PACKAGE, ...dirs])];
}

/**
 * What the runner says of a stage: see packages/stage/src/status.ts. Its types would need a build.
 *
 * @typedef {{ finishedAt: string, peakMemoryBytes: number, seconds: number }} MadeRecord
 * @typedef {{ manifest: { facts: any }, record: MadeRecord }} Made
 * @typedef {{ name: string, current: true, made: Made } | { name: string, current: false, why: string }} StageStatus
 */

/**
 * What is there, by stage; nothing if bundles are not fresh.
 *
 * @returns {Promise<StageStatus[] | undefined>}
 */
async function look() {
  /** @type {Map<string, string>} */
  const programs = new Map();
  for (const dir of packageDirs()) {
    const fresh = freshBundles(root, dir);
    if (fresh === undefined) return undefined;
    for (const [name, sha256] of fresh) programs.set(name, sha256);
  }
  const runner = await import(`${pathToFileURL(path.join(root, RUNNER)).href}?${programs.get("runner")}`);
  const place = hasRemote() ? await runner.remotePlace(".").catch(() => undefined) : undefined;
  return await runner.pipelineStatus(runner.readPipeline(folder), last, {
    store: runner.Store.at("."),
    remote: place?.uri,
    whole,
    program: (/** @type {string} */ uses) => programs.get(uses),
  });
}

/** Whether a remote store may be named: the runner knows better. */
function hasRemote() {
  const named = process.env["MADFORMER_REMOTE"] ?? "";
  return named === "" ? existsSync("madformer.json") : named !== "off";
}

/**
 * Fetches what the remote store has, in this process: it asks and loads for all stages once. What is left has to run.
 * If nobody answers, the processes of stages need not ask again, and what was left in the remote store before is made
 * here, where it is needed.
 */
async function restore() {
  if (process.env["MADFORMER_REMOTE_TROUBLE"] === undefined) {
    const scratch = mkdtempSync(path.join(tmpdir(), "reproduce-"));
    process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
    process.env["MADFORMER_REMOTE_TROUBLE"] = path.join(scratch, "trouble");
  }
  const controller = new AbortController();
  const abort = () => controller.abort(new DOMException("stopped", "AbortError"));
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.once(signal, abort);
  /** @type {{ answers(): Promise<boolean>, [Symbol.asyncDispose](): Promise<void> } | undefined} */
  let remote;
  try {
    const programs = await makeBundles(root, RUNNER_PACKAGE);
    const runner = await import(`${pathToFileURL(path.join(root, RUNNER)).href}?${programs.get("runner")}`);
    const { signal } = controller;
    const store = runner.Store.at(".");
    remote = await runner.StageRemote.open(".", store, { signal, title: pipeline });
    if (!remote || (!(await remote.answers()) && !(await hasLent(runner)))) return;
    for (const dir of packageDirs()) await makeBundles(root, dir);
    const functions = findStages(root);
    const bundleOf = (/** @type {string} */ uses) => functions.get(uses)?.bundle ?? "";
    await runner.restorePipeline(runner.readPipeline(folder), last, {
      store,
      remote,
      signal,
      whole,
      program: (/** @type {string} */ uses) => runner.digestOfBundle(bundleOf(uses)),
      stage: async (/** @type {string} */ uses) =>
        (await import(pathToFileURL(path.resolve(bundleOf(uses))).href)).stage,
      onStage: (/** @type {string} */ name, /** @type {string} */ from) => console.error(`${name}: ${from}`),
    });
  } catch (error) {
    if (stopped) process.exit(128 + constants.signals[stopped]);
    // Whoever runs the stages finds the same, and says whose it is.
    console.error(`Warning: cannot look into the remote store: ${/** @type {Error} */ (error).message}`);
  } finally {
    await remote?.[Symbol.asyncDispose]();
  }
}

/** Whether files of any stage are in the remote store alone. @param {any} runner */
async function hasLent(runner) {
  for (const { name } of wanted)
    if ((await runner.readChecked(path.join(folder, "out", name)))?.remote !== undefined) return true;
  return false;
}

/**
 * Lets Nx run what has to run. A stage that fails ends this process, with the stage's own exit code.
 *
 * @param {boolean} again Whether to come back where files of the remote store could not be had.
 * @returns {Promise<"done" | "lost" | undefined>} Whether all ran; nothing if Nx fails by itself.
 */
async function runWithNx(again) {
  const scratch = mkdtempSync(path.join(tmpdir(), "reproduce-"));
  const failures = path.join(scratch, "failures");
  process.env[FAILURES] = failures;
  try {
    // Each stage uses all cores.
    const args = ["run", `${pipeline}-${last}:${last}`, "--parallel=1", "--outputStyle=stream"];
    for (const attempt of [1, 2]) {
      const code = await run(NX, args);
      if (code === 0) return "done";
      const [first] = readFailures(failures);
      if (stopped) process.exit(128 + constants.signals[stopped]);
      if (first?.code === LOST && again) return "lost";
      if (first) fail(`${first.stage} failed`, first.code);
      if (attempt === 1) {
        console.error(
          "Nx fails, but no stage did: trying again without what it remembers of the workspace (.nx/workspace-data)",
        );
        await run(NX, ["reset", "--onlyDaemon"], "ignore");
        const whole = lstatSync(".nx", { throwIfNoEntry: false })?.isDirectory() ?? false;
        rmSync(whole ? ".nx/workspace-data" : ".nx", { recursive: true, force: true });
      }
    }
    console.error("Nx fails again: running the stages without it");
    return undefined;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
    delete process.env[FAILURES];
  }
}

/**
 * Runs all stages in their order; those that are there say so.
 *
 * @param {boolean} again As above.
 * @returns {Promise<"done" | "lost">}
 */
async function runAlone(again) {
  for (const dir of packageDirs())
    await makeBundles(root, dir).catch((/** @type {Error} */ error) => fail(error.message));
  for (const { name } of wanted) {
    const code = await run("tools/pipelines/stage.mjs", [pipeline, name]);
    if (stopped) process.exit(128 + constants.signals[stopped]);
    if (code === LOST && again) return "lost";
    if (code !== 0) fail(`${name} failed`, code);
  }
  return "done";
}

/**
 * @param {string} script
 * @param {readonly string[]} args
 * @param {"inherit" | "ignore"} [stdio]
 * @returns {Promise<number>} Its exit code.
 */
async function run(script, args, stdio = "inherit") {
  const { $ } = await import("zx");
  const child = $({ stdio, nothrow: true })`${process.execPath} --no-warnings ${script} ${args}`;
  const forward = () => void child.kill("SIGTERM").catch(() => undefined);
  process.once("SIGTERM", forward);
  const { exitCode } = await child.finally(() => process.off("SIGTERM", forward));
  return exitCode ?? 1;
}

/**
 * @param {readonly Extract<StageStatus, { current: true }>[]} status
 * @param {typeof import("zx").chalk} chalk
 */
function summary(status, chalk) {
  const rows = status.map(({ name, made: { record } }) => {
    const made = new Date(record.finishedAt) >= started;
    const memory = `${Math.round(record.peakMemoryBytes / 2 ** 20)} MiB`;
    return [name, made ? "made" : "reused", `${record.seconds.toFixed(1)} s`, memory];
  });
  const head = ["stage", "", "time", "memory"];
  const widths = head.map((title, i) => Math.max(...[head, ...rows].map((row) => (row[i] ?? "").length), title.length));
  const line = (/** @type {string[]} */ row) =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ");
  console.log(`\n${chalk.bold(line(head))}`);
  for (const row of rows) console.log(row[1] === "reused" ? chalk.dim(line(row)) : line(row));
  const made = rows.filter((row) => row[1] === "made").length;
  const seconds = ((Date.now() - started.getTime()) / 1000).toFixed(1);
  console.log(`\n${made} made, ${rows.length - made} reused, in ${seconds} s`);
  const entry = stages.find(({ name }) => name === last);
  // Of several, the one that the report is about.
  const score = entry?.uses === "report" ? entry.needs["score"] : "score";
  const facts = status.find(({ name }) => name === score)?.made.manifest.facts;
  if (facts?.final) {
    console.log(`${facts.metric}: ${chalk.bold(Number(facts.final.distance ?? facts.final).toFixed(3))}`);
    if (facts.last > 1)
      console.log(`mean of the last ${facts.last} checkpoints: ${chalk.bold(Number(facts.mean).toFixed(3))}`);
  }
  if (entry?.uses === "report")
    console.log(`Report: ${chalk.bold(path.resolve(folder, `out/${last}/files/index.html`))}`);
}
