/**
 * npm run test:evaluate
 *
 * A history with a base and four changes, in a copy of this workspace: documentation, a better sampler, a worse one,
 * code of the training. Checks what the evaluation of each says, its exit code, and which stages it computed. Prints a
 * table; exits with 1 if a row is not as expected.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { $ } from "zx";
import { copyWorkspace } from "../pipelines/copy.mjs";
import { KEYS, startSeaweed } from "../pipelines/seaweed.mjs";

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

appendFileSync(path.join(copy, ".git/info/exclude"), "node_modules\n"); // links here, which .gitignore does not mean
configure("sample", { solver: "ddim", steps: 2 });
git("add", "-A");
git("commit", "-qm", "base");

const scratch = mkdtempSync(path.join(tmpdir(), "evaluations-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
const remote = await startSeaweed(path.join(scratch, "seaweed"));
if (typeof remote === "string") console.log(`without a remote store: ${remote}`);
else
  Object.assign(process.env, KEYS, {
    ...{ AWS_ENDPOINT_URL: remote.endpoint, AWS_EC2_METADATA_DISABLED: "true" },
    MADFORMER_REMOTE: `s3://${remote.bucket}/team`,
  });
const base = await run("tools/pipelines/reproduce.mjs", ["smoke", "score", "--no-nx"], "base");
if (/warning: .*(not pushed|nothing is pushed|`npx madformer push`)/.test(base.output)) {
  console.log(`not all of the base came into the remote store:\n${base.output}`);
  process.exit(1);
}

let failed = 0;
console.log(`${"change".padEnd(38)} ${"verdict".padEnd(28)} exit  score    base     noise    computed`);
for (const [i, { what, make, verdicts, exit, computed }] of CHANGES.entries()) {
  make();
  rmSync(path.join(copy, "pipelines/smoke/out"), { recursive: true, force: true });
  const words = ["--base", "HEAD", "--pipeline", "smoke", "--out", "evaluation"];
  const { exitCode, output } = await run(
    "tools/evaluate/evaluate.mjs",
    words,
    typeof remote === "string" ? "base" : `${i}`,
  );
  const result = JSON.parse(readFileSync(path.join(copy, "evaluation/evaluation.json"), "utf8"));
  const ran = result.stages.filter((/** @type {any} */ stage) => stage.computed);
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
  if (wrong.length > 0) console.log(output);
  failed += wrong.length;
  git("checkout", "-q", "--", ".");
}
console.log(failed > 0 ? `${failed} expectations failed` : "all as expected");
if (typeof remote !== "string") await remote.stop();
process.exit(failed > 0 ? 1 : 0);

/**
 * Runs a script of the copy; ends this process if it fails.
 *
 * @param {string} script
 * @param {readonly string[]} args
 * @param {string} store Which one it has.
 * @returns {Promise<{ exitCode: number, output: string }>} Exit code 0, or 1 for the verdict "worse".
 */
async function run(script, args, store) {
  const { exitCode, stdout, stderr } = await $({
    ...{ cwd: copy, nothrow: true, quiet: true },
    env: { ...process.env, MADFORMER_STORE: path.join(scratch, "stores", store) },
  })`${process.execPath} ${script} ${args}`;
  const output = `${stdout}\n${stderr}`;
  if (exitCode === 0 || (exitCode === 1 && script.endsWith("evaluate.mjs"))) return { exitCode, output };
  console.log(`${script}: exit code ${exitCode}\n${output}`);
  process.exit(1);
}

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
