/**
 * npm run reproduce [-- <pipeline> [<stage>]]
 *
 * Runs a pipeline up to a stage (faces-64, report), whatever of it is not there yet, and says what was made, what was
 * reused and where to look. The same command again goes on where it was interrupted.
 */
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { $, chalk } from "zx";
import { needsOf } from "./stages.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
process.chdir(root);
const store = path.resolve(process.env["MADFORMER_STORE"] ?? ".madformer/store");
const pipelines = readdirSync("pipelines").filter((name) => existsSync(`pipelines/${name}/pipeline.json`));
const [pipeline = "faces-64", last = "report"] = process.argv.slice(2);
if (!pipelines.includes(pipeline)) stop(`there is no pipeline "${pipeline}", expected one of: ${pipelines.join(", ")}`);
const folder = `pipelines/${pipeline}`;
/** @type {import("./stages.mjs").PipelineFile} */
const { description: _, $schema: __, ...stages } = JSON.parse(readFileSync(`${folder}/pipeline.json`, "utf8"));
if (!(last in stages)) stop(`${pipeline} has no stage "${last}", expected one of: ${Object.keys(stages).join(", ")}`);

const started = new Date();
process.env["MADFORMER_RUN_STARTED"] ??= started.toISOString();
// One stage at a time: each uses all cores by itself.
for (let attempt = 1; ; attempt++) {
  const { exitCode } = await $({
    stdio: "inherit",
    nothrow: true,
  })`npx nx run ${pipeline}-${last}:${last} --parallel=1 --outputStyle=stream`;
  if (exitCode !== 0) process.exit(exitCode ?? 1);
  // Nx may have answered from its cache with a manifest whose objects are gone: then its state changes, and it runs again.
  const broken = needed(last).filter((stage) =>
    filesOf(stage).some(([name, object]) => name.startsWith("files/") && !existsSync(object)),
  );
  if (broken.length === 0) break;
  if (attempt === 2) stop(`files of ${broken.join(", ")} are missing from ${store}`);
  console.error(`Files of ${broken.join(", ")} are gone from the store: making them again`);
}
for (const stage of needed(last)) link(stage);
summary();

/** @param {string} message */
function stop(message) {
  console.error(`Cannot reproduce: ${message}`);
  process.exit(2);
}

/**
 * A stage and all that it needs, in an order in which they can run.
 *
 * @param {string} stage
 * @returns {string[]}
 */
function needed(stage) {
  return [...new Set([...needsOf(stages, stage).flatMap(needed), stage])];
}

/** @param {string} stage @param {string} file */
function read(stage, file) {
  return JSON.parse(readFileSync(`${folder}/out/${stage}/${file}`, "utf8"));
}

/**
 * What a stage wrote, as `out/<stage>/` shows it, and where it lies.
 *
 * @param {string} stage
 * @returns {[name: string, object: string][]}
 */
function filesOf(stage) {
  const files = Object.entries(read(stage, "manifest.json").files).map(([name, ref]) => [`files/${name}`, ref]);
  return [...files, ...Object.entries(read(stage, "record.json").logs)].map(([name, { sha256 }]) => [
    name,
    path.join(store, "objects", sha256.slice(0, 2), sha256),
  ]);
}

/**
 * `out/<stage>/files` and `logs`: a stage's files under their names, as the stage's own process leaves them. A manifest that Nx
 * brought back comes without them.
 *
 * @param {string} stage
 */
function link(stage) {
  const out = path.resolve(folder, "out", stage);
  const files = filesOf(stage);
  if (files.every(([name, object]) => sameFile(path.join(out, name), object))) return;
  for (const links of ["files", "logs"]) rmSync(path.join(out, links), { recursive: true, force: true });
  for (const [name, object] of files) {
    const file = path.join(out, name);
    mkdirSync(path.dirname(file), { recursive: true });
    try {
      linkSync(object, file);
    } catch {
      symlinkSync(path.relative(path.dirname(file), object), file); // the store is on another disk
    }
  }
}

/** @param {string} a @param {string} b */
function sameFile(a, b) {
  const [x, y] = [statSync(a, { throwIfNoEntry: false }), statSync(b, { throwIfNoEntry: false })];
  return x !== undefined && x.ino === y?.ino;
}

function summary() {
  const rows = needed(last).map((stage) => {
    const { seconds, peakMemoryBytes, finishedAt } = read(stage, "record.json");
    const made = new Date(finishedAt) >= started;
    return [stage, made ? "made" : "reused", `${seconds.toFixed(1)} s`, `${Math.round(peakMemoryBytes / 2 ** 20)} MiB`];
  });
  const head = ["stage", "", "time", "memory"];
  const widths = head.map((title, i) => Math.max(...[head, ...rows].map((row) => (row[i] ?? "").length), title.length));
  const line = (/** @type {string[]} */ row) =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ");
  console.log(`\n${chalk.bold(line(head))}`);
  for (const row of rows) console.log(row[1] === "reused" ? chalk.dim(line(row)) : line(row));
  const made = rows.filter((row) => row[1] === "made").length;
  console.log(
    `\n${made} made, ${rows.length - made} reused, in ${((Date.now() - started.getTime()) / 1000).toFixed(1)} s`,
  );
  if ("score" in stages && existsSync(`${folder}/out/score/manifest.json`)) {
    const { facts } = read("score", "manifest.json");
    if (facts.final !== undefined)
      console.log(`${facts.metric}: ${chalk.bold(Number(facts.final.distance ?? facts.final).toFixed(3))}`);
  }
  if (last === "report") console.log(`Report: ${chalk.bold(path.resolve(folder, "out/report/files/index.html"))}`);
}
