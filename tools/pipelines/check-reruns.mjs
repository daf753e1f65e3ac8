/**
 * npm run test:pipelines
 *
 * Runs the pipeline `smoke` in a copy of this workspace, changes one thing after another, and checks that exactly those
 * stages run again that depend on it. Prints a table; exits with 1 if a row is not as expected.
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { $ } from "zx";
import { copyWorkspace } from "./copy.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const copy = copyWorkspace(root);
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
  {
    change: "another engine for one stage (one word)",
    make: () => say("features", "engine", "cpu"),
    expected: ["features", "score", "report"],
  },
  { change: "the engine back again", make: () => say("features", "engine", undefined), expected: [] },
  {
    change: "the same engine, named in the environment",
    make: () => Object.assign(process.env, { MADFORMER_ENGINE: "onnx" }),
    expected: [],
  },
  { change: "all outputs deleted", make: () => rmSync(path.join(folder, "out"), { recursive: true }), expected: [] },
  {
    change: "Nx forgot everything",
    make: () => rmSync(path.join(copy, ".nx"), { recursive: true, force: true }),
    expected: [],
  },
  {
    change: "Nx's cache and all outputs deleted",
    make: () => {
      rmSync(path.join(copy, ".nx/cache"), { recursive: true, force: true });
      rmSync(path.join(folder, "out"), { recursive: true });
    },
    expected: [],
  },
  {
    change: "Nx's database cut off in the middle",
    make: () => {
      const data = path.join(copy, ".nx/workspace-data");
      for (const name of readdirSync(data).filter((name) => name.endsWith(".db")))
        truncateSync(path.join(data, name), statSync(path.join(data, name)).size >> 1);
      rmSync(path.join(folder, "out/score"), { recursive: true });
    },
    expected: [],
  },
  {
    change: "a bundle damaged",
    make: () => damage(path.join(copy, "packages/sample/bundle/sample.mjs")),
    expected: [],
  },
  ...[1, 2, 3].map((time) => ({
    change: `an artifact damaged on disk (latents), time ${time}`,
    make: () => damage(objectOf("latents", "latents-00000.arrow")),
    expected: ["latents"],
  })),
  {
    change: "two checkpoints of equal size swapped",
    make: () =>
      swap(
        ...["step-0000040", "step-0000060"].map((step) => objectOf("train", `checkpoints/${step}/weights.safetensors`)),
      ),
    expected: ["train"],
  },
  {
    change: "the manifest of the score forged",
    make: () => edit("pipelines/smoke/out/score/manifest.json", /"distance": [\d.]+/, '"distance": 0.001'),
    expected: [],
  },
  {
    change: "a folder in the place of an artifact (the grid of sample)",
    make: () => {
      const object = objectOf("sample", "grid.png");
      rmSync(object);
      mkdirSync(path.join(object, "x"), { recursive: true });
    },
    expected: ["sample"],
  },
  {
    change: "an artifact lost (the losses of train)",
    make: () => rmSync(objectOf("train", "losses.jsonl")),
    expected: ["train"],
  },
  {
    change: "what the store knows of all keys lost",
    make: () => rmSync(path.join(copy, ".madformer/store/keys"), { recursive: true }),
    expected: [],
  },
  {
    change: "another data set outside (the first tar)",
    make: () => {
      const tar = path.join(copy, "outside.tar");
      cpSync(objectOf("dataset", "00000.tar"), tar);
      configure("dataset", "source", { kind: "webdataset", tars: tar });
    },
    expected: stages,
  },
  {
    change: "the tar outside replaced by the second one",
    make: () => cpSync(secondTar, path.join(copy, "outside.tar")),
    expected: stages,
  },
  {
    change: "a log lost (it tells of a run and decides nothing)",
    make: () => rmSync(objectAt(record("train").logs["logs/log.jsonl"].sha256)),
    expected: [],
  },
];

let failed = 0;
/** The second tar of the first data set, put aside. */
const secondTar = path.join(copy, "second.tar");
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
  cpSync(objectOf("dataset", "00001.tar"), secondTar);
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

/** A word beside a stage's config. @param {string} stage @param {string} word @param {unknown} value */
function say(stage, word, value) {
  const file = path.join(folder, "pipeline.json");
  const pipeline = JSON.parse(readFileSync(file, "utf8"));
  pipeline[stage][word] = value;
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

/** Two files change places. @param {...string} files Two. */
function swap(...files) {
  const [a = "", b = ""] = files;
  renameSync(a, `${a}.x`);
  renameSync(b, a);
  renameSync(`${a}.x`, b);
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
