/**
 * npm run test:evaluate
 *
 * A history with a base and four changes, in a copy of this workspace: documentation, a better sampler, a worse one,
 * code of the training. Checks what the evaluation of each says, its exit code, and which stages it computed. Prints a
 * table; exits with 1 if a row is not as expected.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { $ } from "zx";
import { copyWorkspace } from "../pipelines/copy.mjs";

const copy = copyWorkspace(fileURLToPath(new URL("../..", import.meta.url)));
const pipeline = path.join(copy, "pipelines/smoke/pipeline.json");
const FROM_SAMPLE = ["sample", "features", "score"];

/**
 * @typedef {object} Change
 * @property {string} what For people.
 * @property {() => void} make Changes the base.
 * @property {readonly string[]} verdicts One of them is expected.
 * @property {number} exit
 * @property {readonly string[]} computed Stages that are computed.
 */

/** @type {readonly Change[]} */
const CHANGES = [
  {
    what: "documentation",
    make: () => appendFileSync(path.join(copy, "README.md"), "\nReworded.\n"),
    ...{ verdicts: ["no difference beyond noise"], exit: 0, computed: [] },
  },
  {
    what: "more sampler steps",
    make: () => configure("sample", { steps: 8 }),
    ...{ verdicts: ["better"], exit: 0, computed: FROM_SAMPLE },
  },
  {
    what: "a worse sampler",
    make: () => configure("sample", { steps: 1 }),
    ...{ verdicts: ["worse"], exit: 1, computed: FROM_SAMPLE },
  },
  {
    what: "training code: other random numbers",
    make: () => edit("packages/train/src/batch.ts", '"noise"', '"other noise"'),
    ...{ verdicts: ["no difference beyond noise", "worse within noise"], exit: 0 },
    computed: ["train", "export", ...FROM_SAMPLE],
  },
];

// Here they are links, which .gitignore does not mean.
appendFileSync(path.join(copy, ".git/info/exclude"), "node_modules\n");
configure("sample", { solver: "ddim", steps: 2 });
git("add", "-A");
git("commit", "-qm", "base");
let failed = 0;
console.log(`${"change".padEnd(38)} ${"verdict".padEnd(28)} exit  score    base     noise    computed`);
for (const { what, make, verdicts, exit, computed } of CHANGES) {
  make();
  const { exitCode, stdout, stderr } = await $({
    ...{ cwd: copy, nothrow: true, quiet: true },
  })`${process.execPath} tools/evaluate/evaluate.mjs --base HEAD --pipeline smoke --out evaluation`;
  if (exitCode !== 0 && exitCode !== 1) {
    console.log(`${what}: exit code ${exitCode}\n${stdout}\n${stderr}`);
    process.exit(1);
  }
  const result = JSON.parse(readFileSync(path.join(copy, "evaluation/evaluation.json"), "utf8"));
  const ran = result.stages.filter((/** @type {any} */ stage) => stage.computed && stage.changes.length > 0);
  const names = ran.map((/** @type {any} */ { name }) => name);
  const numbers = [result.score, result.baseScore, result.noise].map((value) => value.toFixed(3).padEnd(8)).join(" ");
  console.log(
    `${what.padEnd(38)} ${String(result.verdict).padEnd(28)} ${exitCode}     ${numbers} ${names.join(", ") || "nothing"}`,
  );
  const wrong = [
    ...(verdicts.includes(result.verdict)
      ? []
      : [`the verdict is "${result.verdict}", expected ${verdicts.join(" or ")}`]),
    ...(exitCode === exit ? [] : [`the exit code is ${exitCode}, expected ${exit}`]),
    ...(names.join() === computed.join() ? [] : [`expected to compute ${computed.join(", ") || "nothing"}`]),
  ];
  for (const problem of wrong) console.log(`  ${problem}`);
  failed += wrong.length;
  git("checkout", "-q", "--", ".");
}
console.log(failed > 0 ? `${failed} expectations failed` : "all as expected");
process.exit(failed > 0 ? 1 : 0);

/** @param {string} stage @param {Record<string, unknown>} fields */
function configure(stage, fields) {
  const stages = JSON.parse(readFileSync(pipeline, "utf8"));
  Object.assign(stages[stage].config, fields);
  writeFileSync(pipeline, JSON.stringify(stages, null, 2));
}

/** @param {string} file @param {string} before @param {string} after */
function edit(file, before, after) {
  const text = readFileSync(path.join(copy, file), "utf8");
  if (!text.includes(before)) throw new Error(`${file} does not hold ${before}`);
  writeFileSync(path.join(copy, file), text.replace(before, after));
}

/** @param {...string} args */
function git(...args) {
  const who = ["-c", "user.name=madformer", "-c", "user.email=madformer@example.org"];
  execFileSync("git", [...who, ...args], { cwd: copy, stdio: ["ignore", "ignore", "inherit"] });
}
