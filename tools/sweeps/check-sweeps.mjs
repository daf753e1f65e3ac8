/**
 * npm run test:sweeps
 *
 * Runs the sweep smoke-steps in a copy of this workspace as people do: plan, interrupted by Ctrl-C, run again, with a
 * point that fails, its tables and page, a comparison, garbage collection. About two minutes on two idle cores.
 * Prints what it checks; exits with 1 if something is not as expected.
 */
import { spawn } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { copyWorkspace } from "../pipelines/copy.mjs";

const SWEEP = "smoke-steps";
const root = fileURLToPath(new URL("../..", import.meta.url));
const copy = copyWorkspace(root);
for (const name of readdirSync(path.join(root, "packages"))) {
  const built = path.join(root, "packages", name, "dist"); // what is up to date is not built again
  if (existsSync(built)) cpSync(built, path.join(copy, "packages", name, "dist"), { recursive: true });
}
const out = path.join(copy, "sweeps/out", SWEEP);
let failed = 0;

const plan = await sweep(["plan", SWEEP]);
check(
  "plan says what would run, and that no time is known",
  /48 would run, 0 are reused\. How long it takes is not known/,
  plan,
);

const stopped = await sweep(["run", SWEEP], /train: \d+\/\d+ steps|train: working/);
check("Ctrl-C ends it with 130, and says how to go on", /stopped; the same command goes on from here/, stopped, 130);

const whole = await sweep([SWEEP]);
check("the same command goes on: what was done is reused", /(\d+) made, [1-9]\d* reused\nPage: .*index\.html/, whole);
check("what several points share ran once", /48 of 48 stages, 10 of 10 points/, whole);
check("it prints its table", /\| solver ddim \| {2}\| \d+\.\d+ ± \d+\.\d+ \|/, whole);
for (const name of [
  "index.html",
  "plot.svg",
  "pareto-nfe.svg",
  "pareto-layers.svg",
  "pareto-time.svg",
  "table.md",
  "table.csv",
  "table.tex",
])
  expect(`it writes ${name}`, existsSync(path.join(out, name)));
const page = readFileSync(path.join(out, "index.html"), "utf8");
const links = [...page.matchAll(/href="([^"#]+)"/g)]
  .map(([, link = ""]) => link)
  .filter((link) => !link.startsWith("data:"));
expect(
  "all links of its page lead somewhere",
  links.length > 0 && links.every((link) => existsSync(path.join(out, link))),
);

const again = await sweep(["run", SWEEP, "--parallel", "2"]);
check("run again it computes nothing", /Nothing to do\.[^]*0 made, 48 reused/, again);
await madformer(["gc", "--older-than", "0"]);
check("collecting garbage keeps what its points show", /0 would run, 48 are reused/, await sweep(["plan", SWEEP]));

const [first = "", second = ""] = readdirSync(path.join(out, "pipelines")).filter((name) =>
  name.endsWith("seeds-0-15"),
);
const compared = await madformer(["compare", `${SWEEP}/${first}`, `${SWEEP}/${second}`, "--out", "comparison"]);
check(
  "compare says since which stage two points differ",
  /differs from .* since sample\n\* sample\n {4}config\./,
  compared,
);

const comparison = readFileSync(path.join(copy, "comparison/index.html"), "utf8");
expect("its page has their samples side by side", /<th scope="col">seed 0<\/th>.*<img class="tile-/s.test(comparison));

// A point that fails: there is no checkpoint of step 7.
const broken = { pipeline: "smoke", stage: "score", axes: { "sample.checkpoints": ["7", "final"] } };
writeFileSync(path.join(copy, "sweeps/broken.json"), JSON.stringify(broken));
const alone = await sweep(["run", "broken", "--point", "checkpoints-final"]);
check("one point runs alone", / 1 of 1 point, in /, alone);
expect("and no other is touched", !existsSync(path.join(copy, "sweeps/out/broken/pipelines/checkpoints-7")));
const some = await sweep(["run", "broken"]);
check(
  "a point that fails is named with why, the others go on",
  /broken: checkpoints-7 failed at sample: Cannot sample/,
  some,
  1,
);
check("and their numbers are in the table", /\| checkpoints final \| \d+\.\d+ \|/, some, 1);
check("and the one that failed is not", /\| checkpoints 7 \| \(not run\) \|/, some, 1);
rmSync(path.join(copy, "sweeps/broken.json"));

console.log(failed > 0 ? `${failed} expectations failed` : "all as expected");
process.exit(failed > 0 ? 1 : 0);

/**
 * @param {string} what
 * @param {RegExp} pattern
 * @param {{ code: number | null, said: string }} run
 * @param {number} [code]
 */
function check(what, pattern, run, code = 0) {
  expect(what, pattern.test(run.said) && run.code === code, `exit code ${run.code}\n${run.said.slice(-4000)}`);
}

/** @param {string} what @param {boolean} holds @param {string} [instead] */
function expect(what, holds, instead = "") {
  console.log(`${holds ? "ok  " : "FAIL"} ${what}${holds ? "" : `\n${instead}`}`);
  if (!holds) failed++;
}

/** @param {readonly string[]} args @param {RegExp} [until] Interrupts it when this was said. */
function sweep(args, until) {
  return start(["tools/sweeps/sweep.mjs", ...args], until);
}

/** @param {readonly string[]} args */
function madformer(args) {
  return start(["packages/cli/bin/madformer.mjs", ...args]);
}

/**
 * @param {readonly string[]} args
 * @param {RegExp} [until]
 * @returns {Promise<{ code: number | null, said: string }>}
 */
function start(args, until) {
  const child = spawn(process.execPath, ["--no-warnings", ...args], { cwd: copy, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  let stopped = false;
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (/** @type {Buffer} */ chunk) => {
      said += chunk.toString();
      if (until === undefined || stopped || !until.test(said)) return;
      stopped = true;
      child.kill("SIGINT");
    });
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, said })));
}
