/**
 * npm run test:pipelines
 *
 * Runs the pipeline `smoke` in a copy of this workspace, changes one thing after another, and checks that exactly those
 * stages run again that depend on it. Prints a table; exits with 1 if a row is not as expected.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { $ } from "zx";

const root = fileURLToPath(new URL("../..", import.meta.url));
const copy = mkdtempSync(path.join(tmpdir(), "reruns-"));
process.on("exit", () => rmSync(copy, { recursive: true, force: true }));
for (const file of execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root, encoding: "utf8" })
  .trim()
  .split("\n")) {
  if (!existsSync(path.join(root, file))) continue; // deleted, not committed
  mkdirSync(path.dirname(path.join(copy, file)), { recursive: true });
  cpSync(path.join(root, file), path.join(copy, file));
}
for (const dir of ["", ...readdirSync(path.join(root, "packages")).map((name) => `packages/${name}/`)]) {
  const installed = path.join(root, dir, "node_modules"); // where two packages want two versions, npm nests one
  if (existsSync(installed)) symlinkSync(installed, path.join(copy, dir, "node_modules"));
}
execFileSync("git", ["init", "-q"], { cwd: copy }); // Nx reads .gitignore of a repository
delete process.env["MADFORMER_STORE"];

const folder = path.join(copy, "pipelines/smoke");
const stages = Object.keys(JSON.parse(readFileSync(path.join(folder, "pipeline.json"), "utf8"))).filter(
  (key) => key !== "description",
);

/** Stages that depend on the samples. */
const FROM_SAMPLE = ["sample", "features", "score", "report"];

/**
 * @typedef {object} Scenario
 * @property {string} change What is changed, for people.
 * @property {() => void} make Changes it.
 * @property {readonly string[]} expected Stages that are computed again.
 */

/** @type {readonly Scenario[]} */
const SCENARIOS = [
  { change: "nothing", make: () => {}, expected: [] },
  {
    change: "a comment in the sampler",
    make: () => edit("packages/sample/src/order.ts", /^/, "// Reworded.\n"),
    expected: [],
  },
  { change: "a sampling parameter (steps)", make: () => configure("sample", "steps", 3), expected: FROM_SAMPLE },
  {
    change: "sampling code (the gray of order.png)",
    make: () => edit("packages/sample/src/order.ts", "0xd8", "0xd0"),
    expected: FROM_SAMPLE,
  },
  {
    change: "code of the score alone",
    make: () => edit("packages/fid/src/stages/score.ts", 'name: "score",', 'name: ["score"].join(),'),
    expected: ["score"], // and equal scores are no reason for another report
  },
  {
    change: "a parameter of the score (neighbours)",
    make: () => configure("score", "neighbours", 2),
    expected: ["score", "report"],
  },
  {
    change: "feature code",
    make: () => edit("packages/fid/src/stages/features.ts", 'name: "features",', 'name: ["features"].join(),'),
    expected: ["features-data", "features"],
  },
  {
    change: "data code that makes equal bytes",
    make: () => edit("packages/data-prep/src/stages/shards.ts", 'name: "shards",', 'name: ["shards"].join(),'),
    expected: ["shards"],
  },
  {
    change: "another codec (one word)",
    make: () => configure("latents", "codec", "patch-pca"),
    expected: ["latents", "train", "export", ...FROM_SAMPLE],
  },
  { change: "the codec back again", make: () => configure("latents", "codec", "autoencoder-kl"), expected: [] },
  { change: "all outputs deleted", make: () => rmSync(path.join(folder, "out"), { recursive: true }), expected: [] },
  {
    change: "Nx forgot everything",
    make: () => rmSync(path.join(copy, ".nx"), { recursive: true, force: true }),
    expected: [],
  },
  {
    change: "an artifact damaged on disk (latents)",
    make: () => damage(objectOf("latents", "latents-00000.arrow")),
    expected: ["latents"],
  },
  {
    change: "an artifact lost (the losses of train)",
    make: () => rmSync(objectOf("train", "losses.jsonl")),
    expected: ["train"],
  },
  {
    change: "a log lost (it tells of a run and decides nothing)",
    make: () => rmSync(objectAt(record("train").logs["logs/log.jsonl"].sha256)),
    expected: [],
  },
];

let failed = 0;
const rows = [];
{
  // From nothing, and twice at the same time: they share the work, and both find everything.
  const began = Date.now();
  await Promise.all([run(), run()]);
  const attempts = stages.map((stage) => record(stage).attempts);
  const right = attempts.every((count) => count === 1);
  if (!right) failed++;
  rows.push(
    `| ${right ? "ok  " : "FAIL"} | two first runs at the same time | everything, once | ${((Date.now() - began) / 1000).toFixed(1)} s |`,
  );
  console.log(rows.at(-1));
}
for (const { change, make, expected } of SCENARIOS) {
  make();
  const began = new Date();
  await run();
  const again = stages.filter((stage) => new Date(record(stage).finishedAt) >= began);
  const right = again.join() === stages.filter((stage) => expected.includes(stage)).join();
  if (!right) failed++;
  const seconds = ((Date.now() - began.getTime()) / 1000).toFixed(1);
  rows.push(`| ${right ? "ok  " : "FAIL"} | ${change} | ${again.join(", ") || "nothing"} | ${seconds} s |`);
  console.log(rows.at(-1) + (right ? "" : ` expected: ${expected.join(", ") || "nothing"}`));
}
console.log(`\n${rows.join("\n")}`);
console.log(
  failed === 0
    ? "\nEvery change reran what depends on it, and nothing else."
    : `\n${failed} changes did not rerun what they should.`,
);
process.exitCode = failed === 0 ? 0 : 1;

/** Runs the pipeline, quietly unless it fails. */
async function run() {
  const { exitCode, stdall } = await $({
    cwd: copy,
    nothrow: true,
    quiet: true,
    env: { ...process.env, NX_DAEMON: "false" },
  })`node tools/pipelines/reproduce.mjs smoke`;
  if (exitCode === 0) return;
  console.error(stdall);
  process.exit(1);
}

/** @param {string} stage */
function record(stage) {
  return JSON.parse(readFileSync(path.join(folder, "out", stage, "record.json"), "utf8"));
}

/**
 * Replaces a piece of a file that is in it once.
 *
 * @param {string} file @param {string | RegExp} before @param {string} after
 */
function edit(file, before, after) {
  const target = path.join(copy, file);
  const text = readFileSync(target, "utf8");
  if (typeof before === "string" && text.split(before).length !== 2)
    throw new Error(`${file} does not hold ${before} once`);
  writeFileSync(target, text.replace(before, after));
}

/** @param {string} stage @param {string} field @param {unknown} value */
function configure(stage, field, value) {
  const file = path.join(folder, "pipeline.json");
  const pipeline = JSON.parse(readFileSync(file, "utf8"));
  pipeline[stage].config = { ...pipeline[stage].config, [field]: value };
  writeFileSync(file, JSON.stringify(pipeline, null, 2));
}

/**
 * Where a file of a stage lies in the store.
 *
 * @param {string} stage @param {string} file
 */
function objectOf(stage, file) {
  const { files } = JSON.parse(readFileSync(path.join(folder, "out", stage, "manifest.json"), "utf8"));
  return objectAt(files[file].sha256);
}

/** @param {string} sha256 */
function objectAt(sha256) {
  return path.join(copy, ".madformer/store/objects", sha256.slice(0, 2), sha256);
}

/**
 * Changes a bit in the middle of a file.
 *
 * @param {string} file
 */
function damage(file) {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  chmodSync(file, 0o644);
  writeFileSync(file, bytes);
}
