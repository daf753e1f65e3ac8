/**
 * npm run test:engines [-- ENGINE...] [--node VERSION...]
 *
 * Installs the engines that npm does not bring, unless they are there, and runs on each: the tests of operations and of
 * handles, those of its own, the golden set, and `smoke` from end to end, whose score is shown beside that of `onnx`.
 * Its trainings are run again, killed as soon as each has a checkpoint, and must come to the same bits; on `xla`, for
 * whose state it is another matter, the tests of killed trainings run, too. An engine that cannot be had here is passed
 * over with the reason. Of `xla`, whose plugin for CPUs compiles for minutes, operations, handles and the golden set's
 * forward passes alone are run, unless it is asked for by name.
 *
 * With --node, all of it but the golden set on those versions of Node, `--node 20 22 24`: each installs the engines
 * into a folder of its own, outside of the checkout.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { $ } from "zx";
import { envOf, installNode } from "./node-version.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const words = process.argv.slice(2);
const at = words.includes("--node") ? words.indexOf("--node") : words.length;
const asked = words.slice(0, at);
const versions = words.slice(at + 1);
const engines = asked.length > 0 ? asked : ["openvino", "tensorflow", "xla"];
/** What is installed for an engine whose installation has another name. @type {Record<string, string>} */
const INSTALLS = { xla: "xla-cpu" };
const bin = path.join(root, "packages/cli/bin/madformer.mjs");
const jest = path.join(root, "node_modules/jest/bin/jest.js");

/** Stages that train. */
const TRAININGS = ["vae", "train"];
/** What the last file of a checkpoint is called: MADFormer's, and the autoencoder's. */
const CHECKPOINT = /(state|checkpoint)\.safetensors/;
/** How often a running stage is looked at. */
const LOOK_MS = 20;

await $({ cwd: root, stdio: ["ignore", 2, 2] })`npx nx run-many -t build`;
/** @type {Map<string, number | undefined>} */
const scores = new Map();
let failed = false;
if (versions.length === 0) {
  scores.set("onnx", await scoreOf("onnx", process.env));
  for (const engine of engines) await check(engine, process.env, "");
}
for (const version of versions) {
  const folder = mkdtempSync(path.join(tmpdir(), "madformer-engines-"));
  try {
    const env = { ...envOf(await installNode(version)), MADFORMER_ENGINES: folder };
    const { stdout } = await $({ env, quiet: true })`node --version`;
    for (const engine of engines) await check(engine, env, ` with Node ${stdout.trim()}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
console.log([...scores].map(([where, score]) => `smoke on ${where}: score ${score ?? "none"}`).join("\n"));
process.exit(failed || [...scores.values()].includes(undefined) ? 1 : 0);

/**
 * Installs an engine and runs everything on it.
 *
 * @param {string} engine
 * @param {NodeJS.ProcessEnv} env
 * @param {string} where What is added to its name.
 */
async function check(engine, env, where) {
  if ((await problemOf(engine, env)) !== undefined) {
    const name = INSTALLS[engine] ?? engine;
    const install = await $({ cwd: root, env, nothrow: true, quiet: true })`node ${bin} engines install ${name}`;
    const problem = install.exitCode === 0 ? await problemOf(engine, env) : install.stderr.trim().split("\n").at(-1);
    if (problem !== undefined) {
      console.log(`engine ${engine} is not checked${where}: ${problem}`);
      return;
    }
  }
  const tests = ["test/ops", "test/handles", `test/${engine}`];
  const operations = await run("packages/engine", { ...env, MADFORMER_TEST_ENGINES: engine }, tests);
  const isShort = engine === "xla" && !asked.includes("xla");
  const sets = isShort ? ["test/forward"] : ["forward", "training", "transformer", "sampling"];
  const golden = where !== "" || (await run("packages/golden", { ...env, MADFORMER_ENGINE: engine }, sets));
  failed ||= !operations || !golden;
  if (isShort) return;
  // Killed at any moment, a training goes on to the same bits.
  const kill =
    where !== "" ||
    engine !== "xla" ||
    (await run("packages/train", { ...env, MADFORMER_ENGINE: engine }, ["test/kill"]));
  scores.set(`${engine}${where}`, await scoreOf(engine, env));
  const problem = await interrupted(engine, env, manifestsOf(TRAININGS));
  console.log(`trainings of smoke on ${engine}${where}: ${problem ?? "killed and gone on with, to the same bits"}`);
  failed ||= !kill || problem !== undefined;
}

/**
 * Why an engine cannot be used; undefined if it can.
 *
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 */
async function problemOf(name, env) {
  const { stdout } = await $({ cwd: root, env, quiet: true })`node ${bin} engines --json`;
  const list = /** @type {{ engines: { name: string, problem?: string }[] }} */ (JSON.parse(stdout)).engines;
  return list.find((engine) => engine.name === name)?.problem;
}

/**
 * Test files whose paths match; says whether they pass.
 *
 * @param {string} folder
 * @param {NodeJS.ProcessEnv} env
 * @param {readonly string[]} files
 */
async function run(folder, env, files) {
  const cwd = path.join(root, folder);
  const { exitCode } = await $({
    cwd,
    env,
    stdio: "inherit",
    nothrow: true,
  })`node --experimental-vm-modules --no-warnings ${jest} ${files}`;
  return exitCode === 0;
}

/**
 * The score of `smoke` on an engine, computed in a store of its own.
 *
 * @param {string} engine
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number | undefined>}
 */
async function scoreOf(engine, env) {
  const store = mkdtempSync(path.join(tmpdir(), "madformer-engines-"));
  try {
    const { exitCode } = await $({
      cwd: root,
      env: { ...env, MADFORMER_STORE: store, MADFORMER_ENGINE: engine, NX_DAEMON: "false" },
      stdio: ["ignore", 2, 2],
      nothrow: true,
    })`npm run reproduce -- smoke`;
    const file = path.join(root, "pipelines/smoke/out/score/manifest.json");
    if (exitCode !== 0 || !existsSync(file)) return undefined;
    const { facts } = /** @type {{ facts: Record<string, unknown> }} */ (JSON.parse(readFileSync(file, "utf8")));
    return /** @type {number | undefined} */ (facts["final"]);
  } finally {
    rmSync(store, { recursive: true, force: true });
  }
}

/**
 * Runs the trainings of `smoke` in a store of its own, and kills each as soon as it has finished a checkpoint.
 *
 * @param {string} engine
 * @param {NodeJS.ProcessEnv} env
 * @param {Record<string, string>} expected Their manifests as a run makes them that nothing interrupts.
 * @returns {Promise<string | undefined>} What is wrong.
 */
async function interrupted(engine, env, expected) {
  const store = mkdtempSync(path.join(tmpdir(), "madformer-engines-"));
  /** @type {Set<string>} */
  const killed = new Set();
  try {
    for (;;) {
      const child = spawn("node", ["--no-warnings", "tools/pipelines/reproduce.mjs", "smoke", "train", "--no-nx"], {
        cwd: root,
        env: { ...env, MADFORMER_STORE: store, MADFORMER_ENGINE: engine, NX_DAEMON: "false" },
        detached: true, // a group of its own, to be killed together
        stdio: ["ignore", 2, 2],
      });
      const ended = once(child, "close").then(() => true);
      /** @type {string | undefined} */
      let now;
      while (now === undefined && !(await Promise.race([ended, sleep(LOOK_MS, false)])))
        now = attemptsWithCheckpoint(store).find((attempt) => !killed.has(attempt));
      if (now !== undefined) {
        killed.add(now);
        process.kill(-Number(child.pid), "SIGKILL");
        await ended;
      } else if (child.exitCode !== 0) return `a run ended with ${child.exitCode}`;
      else break;
    }
    if (killed.size !== TRAININGS.length) return `${killed.size} were killed, expected ${TRAININGS.length}`;
    const made = manifestsOf(TRAININGS);
    const others = TRAININGS.filter((stage) => made[stage] !== expected[stage] || made[stage] === undefined);
    return others.length > 0 ? `${others.join(" and ")} came out otherwise after a kill` : undefined;
  } finally {
    rmSync(store, { recursive: true, force: true });
  }
}

/**
 * Work folders of a store in which an attempt has finished a checkpoint.
 *
 * @param {string} store
 * @returns {string[]}
 */
function attemptsWithCheckpoint(store) {
  const work = path.join(store, "work");
  const names = existsSync(work) ? readdirSync(work) : [];
  return names.filter((name) => {
    const list = path.join(work, name, "out/logs/finished.jsonl");
    try {
      return CHECKPOINT.test(readFileSync(list, "utf8"));
    } catch {
      return false; // no attempt, or one that has just ended
    }
  });
}

/**
 * What `smoke` shows of some stages.
 *
 * @param {readonly string[]} stages
 * @returns {Record<string, string>}
 */
function manifestsOf(stages) {
  const files = stages.map((stage) => [stage, path.join(root, "pipelines/smoke/out", stage, "manifest.json")]);
  return Object.fromEntries(
    files.flatMap(([stage = "", file = ""]) => (existsSync(file) ? [[stage, readFileSync(file, "utf8")]] : [])),
  );
}
