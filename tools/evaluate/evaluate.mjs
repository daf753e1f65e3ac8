/**
 * npm run evaluate -- --base <ref> [--pipeline faces-64] [--score score] [--repeats 4] [--out evaluation]
 *
 * Scores the work tree and the commit it is compared with, and says whether the difference is more than chance. Stages
 * that both have in common run once, and those that the store or the remote knows do not run at all. Writes
 * `evaluation.json` and `evaluation.md`.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { $, chalk } from "zx";
import { readPipelineFile, upTo } from "../../packages/stage/plain/pipeline-file.mjs";
import { makeBundles, RUNNER, RUNNER_PACKAGE } from "../pipelines/bundles.mjs";
import { shareModules } from "../pipelines/copy.mjs";
import { findPipelines } from "../pipelines/stages.mjs";
import { highestSeed, repeatedStages, sampledChain } from "./repeats.mjs";
import { Evaluation, markdownOf } from "./result.mjs";
import { MAX_REPEATS, MIN_REPEATS, noiseOf, verdictOf } from "./verdict.mjs";

const USAGE = `npm run evaluate -- --base <ref> [options]

Scores the work tree and a commit before it, and says whether the difference is more than chance.

--base <ref>       the commit that is compared with, such as origin/main
--pipeline <name>  which pipeline (default: faces-64)
--score <stage>    its stage that scores samples (default: score)
--repeats <n>      other sets of sampling seeds, by which noise is measured, ${MIN_REPEATS} to ${MAX_REPEATS} (default: 4)
--out <folder>     where evaluation.json and evaluation.md go (default: evaluation)

Exit codes: 0 better, no difference beyond noise, worse within noise, or not comparable; 1 worse; 2 wrong usage; 3 a stage
failed; 130 interrupted by Ctrl-C.`;
const EXIT = { fine: 0, worse: 1, usage: 2, failed: 3 };

// An error of this program must not be taken for the verdict "worse".
process.on("uncaughtException", (error) => {
  console.error(`Cannot evaluate: ${process.env["MADFORMER_DEBUG"] ? error.stack : error.message}`);
  process.exit(EXIT.failed);
});

const root = fileURLToPath(new URL("../..", import.meta.url));
const options = readOptions();
/**
 * What is looked at, of one side. @typedef {{ folder: string, stages:
 * import("../../packages/stage/plain/pipeline-file.mjs").PipelineEntry[] }} Side
 */

/** @type {NodeJS.Signals | undefined} */
let stopped;
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.on(signal, () => (stopped = signal));
process.env["MADFORMER_STORE"] = path.resolve(root, process.env["MADFORMER_STORE"] ?? ".madformer/store");
const started = new Date();

const base = { ref: options.base, commit: commitOf(options.base) };
const head = { commit: commitOf("HEAD"), changed: git("status", "--porcelain").trim() !== "" };
const tree = checkOut(base.commit);
const baseSide = await run(tree, "base");
const { runner, store } = await openStore();
const baseScore = outputOf(baseSide, options.score);
const repeats = await measureNoise(baseSide);
const headSide = await run(root, "head");
const score = outputOf(headSide, options.score);

const incomparable = differenceOfKind(baseScore, score);
const noise = noiseOf([baseScore.manifest.facts.mean, ...repeats]);
const result = Evaluation.parse({
  format: 1,
  pipeline: options.pipeline,
  base,
  head,
  metric: score.manifest.facts.metric,
  samples: score.manifest.facts.groups.at(-1).samples,
  referenceImages: score.manifest.facts.referenceImages ?? null,
  score: score.manifest.facts.mean,
  baseScore: baseScore.manifest.facts.mean,
  repeats,
  noise,
  verdict: incomparable === null ? verdictOf(score.manifest.facts.mean, baseScore.manifest.facts.mean, noise) : null,
  incomparable,
  others: others(),
  stages: await stagesOf(),
});
mkdirSync(options.out, { recursive: true });
writeFileSync(path.join(options.out, "evaluation.json"), `${JSON.stringify(result, null, 2)}\n`);
const markdown = markdownOf(result);
writeFileSync(path.join(options.out, "evaluation.md"), markdown);
console.log(`\n${markdown}`);
console.log(
  `${chalk.bold(result.verdict ?? "not comparable")}; ${path.relative(process.cwd(), options.out) || "."}/evaluation.md`,
);
process.exit(result.verdict === "worse" ? EXIT.worse : EXIT.fine);

/** @param {string} message @param {number} code @returns {never} */
function stop(message, code) {
  console.error(`Cannot evaluate: ${message}`);
  process.exit(code);
}

function readOptions() {
  /** @type {Record<string, string | boolean | undefined>} */
  let values;
  try {
    const text = /** @type {const} */ ({ type: "string" });
    ({ values } = parseArgs({
      options: {
        base: text,
        pipeline: text,
        score: text,
        repeats: text,
        out: text,
        help: { type: "boolean", short: "h" },
      },
    }));
  } catch (error) {
    return stop(`${/** @type {Error} */ (error).message}\n\n${USAGE}`, EXIT.usage);
  }
  if (values["help"] === true) {
    console.log(USAGE);
    process.exit(0);
  }
  const {
    base,
    pipeline = "faces-64",
    score = "score",
    repeats = "4",
    out = "evaluation",
  } = /** @type {Record<string, string | undefined>} */ (values);
  if (base === undefined) return stop(`--base is missing, the commit to compare with\n\n${USAGE}`, EXIT.usage);
  const count = Number(repeats);
  if (!Number.isInteger(count) || count < MIN_REPEATS || count > MAX_REPEATS)
    return stop(`--repeats is ${JSON.stringify(repeats)}, expected ${MIN_REPEATS} to ${MAX_REPEATS}`, EXIT.usage);
  const pipelines = findPipelines(root);
  if (!pipelines.includes(pipeline))
    return stop(
      `there is no pipeline ${JSON.stringify(pipeline)}, expected one of: ${pipelines.join(", ")}`,
      EXIT.usage,
    );
  return { base, pipeline, score, repeats: count, out: path.resolve(out) };
}

/** @param {...string} args @returns {string} */
function git(...args) {
  return execFileSync("git", args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 2 ** 28,
  });
}

/** @param {string} ref @returns {string} */
function commitOf(ref) {
  try {
    return git("rev-parse", "--verify", "--quiet", "--end-of-options", `${ref}^{commit}`).trim();
  } catch {
    return stop(`there is no commit ${JSON.stringify(ref)} here; fetch it first`, EXIT.usage);
  }
}

/**
 * A commit in a folder of its own, which is removed when this process ends. What npm installed is shared, unless the
 * commit has another lock file.
 *
 * @param {string} commit
 * @returns {string}
 */
function checkOut(commit) {
  const folder = mkdtempSync(path.join(tmpdir(), "evaluate-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const archive = execFileSync("git", ["archive", "--format=tar", commit], { cwd: root, maxBuffer: 2 ** 30 });
  execFileSync("tar", ["-x", "-C", folder], { input: archive });
  const lock = (/** @type {string} */ at) => readFileSync(path.join(at, "package-lock.json"), "utf8");
  if (lock(folder) !== lock(root)) {
    console.log("installing what the base's lock file names");
    execFileSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
    return folder;
  }
  shareModules(root, folder);
  return folder;
}

/**
 * Runs a side's pipeline up to its score, whatever of it is not known.
 *
 * @param {string} folder
 * @param {"base" | "head"} name
 * @returns {Promise<Side>}
 */
async function run(folder, name) {
  console.log(chalk.bold(`\n${name}: ${options.pipeline} up to ${options.score}`));
  await reproduce(folder, options.score);
  const { stages } = readPipelineFile(path.join(folder, "pipelines", options.pipeline));
  return { folder, stages: upTo(stages, options.score) };
}

/** @param {string} folder @param {string} stage */
async function reproduce(folder, stage) {
  const child = $({
    cwd: folder,
    stdio: "inherit",
    nothrow: true,
  })`${process.execPath} --no-warnings tools/pipelines/reproduce.mjs ${[options.pipeline, stage, "--no-nx"]}`;
  const { exitCode } = await child;
  if (stopped) process.exit(128 + constants.signals[stopped]);
  if (exitCode !== 0) stop(`${options.pipeline} up to ${stage} failed`, EXIT.failed);
}

/** The runner of the head, which reads manifests and records. */
async function openStore() {
  await makeBundles(root, RUNNER_PACKAGE);
  const runner = await import(pathToFileURL(path.join(root, RUNNER)).href);
  return { runner, store: new runner.Store(process.env["MADFORMER_STORE"]) };
}

/**
 * @param {Side} side
 * @param {string} stage
 * @returns {{ manifest: any, record: any, digests: { key: string, manifest: string } }}
 */
function outputOf({ folder }, stage) {
  const read = (/** @type {string} */ file) =>
    JSON.parse(readFileSync(path.join(folder, "pipelines", options.pipeline, "out", stage, file), "utf8"));
  const record = read("record.json");
  return { manifest: read("manifest.json"), record, digests: { key: record.key, manifest: record.manifest } };
}

/**
 * Scores of the base with other seeds. Its pipeline gets stages for them; their keys are like all others, so they run
 * once.
 *
 * @param {Side} side
 * @returns {Promise<number[]>}
 */
async function measureNoise(side) {
  const { sample, chain } = sampledChain(side.stages, options.score);
  const { images, seeds } = outputOf(side, sample).manifest.facts;
  const { stages, scores } = repeatedStages(
    side.stages,
    chain,
    { count: images, highest: highestSeed(seeds) },
    options.repeats,
  );
  const file = path.join(side.folder, "pipelines", options.pipeline, "pipeline.json");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...stages }, null, 2));
  const found = [];
  for (const [i, stage] of scores.entries()) {
    console.log(chalk.bold(`\nnoise of the base: ${i + 1} of ${scores.length}`));
    await reproduce(side.folder, stage);
    found.push(outputOf(side, stage).manifest.facts.mean);
  }
  return found;
}

/**
 * Why two scores are of different kinds; null if they are of one.
 *
 * @param {ReturnType<typeof outputOf>} base
 * @param {ReturnType<typeof outputOf>} head
 * @returns {string | null}
 */
function differenceOfKind(base, head) {
  const [before, now] = [base.manifest.facts, head.manifest.facts];
  if (before.metric !== now.metric) return `the metric is ${now.metric}, and was ${before.metric}`;
  const samples = (/** @type {any} */ facts) => facts.groups.at(-1).samples;
  if (samples(before) !== samples(now)) return `there are ${samples(now)} samples, and were ${samples(before)}`;
  if (before.last !== now.last) return `the mean is over ${now.last} checkpoints, and was over ${before.last}`;
  const reference = (/** @type {typeof base} */ { record }) => record.inputs.reference?.digest;
  if (reference(base) !== reference(head)) return "the features of the reference images are others";
  return null;
}

/** Other measures of the last checkpoint, such as precision and recall, where both sides have them. */
function others() {
  const [before, now] = [baseScore, score].map(({ manifest }) => manifest.facts.groups.at(-1));
  return Object.keys(score.manifest.facts.measures ?? { precision: {}, recall: {} }).flatMap((name) =>
    typeof before[name] === "number" && typeof now[name] === "number"
      ? [{ name, score: now[name], base: before[name] }]
      : [],
  );
}

/** All stages of both sides, in the head's order, with what changed. */
async function stagesOf() {
  const [ofBase, ofHead] = [baseSide, headSide].map(
    (side) => new Map(side.stages.map(({ name }) => [name, outputOf(side, name)])),
  );
  const names = [...new Set([...(ofHead?.keys() ?? []), ...(ofBase?.keys() ?? [])])];
  return await Promise.all(
    names.map(async (name) => {
      const [before, now] = [ofBase?.get(name), ofHead?.get(name)];
      /** @type {string[]} */
      const changes =
        before && now
          ? before.digests.key === now.digests.key
            ? []
            : await runner.recordChanges(store, before.record, now.record)
          : [now ? "it is new" : "it is gone"];
      return {
        name,
        base: before?.digests ?? null,
        head: now?.digests ?? null,
        computed: now !== undefined && new Date(now.record.finishedAt) >= started,
        changes: changes.slice(0, 50).map((change) => change.slice(0, 500)),
      };
    }),
  );
}
