/**
 * npm run test:engines [-- ENGINE...] [--node VERSION...]
 *
 * Installs the engines that npm does not bring, unless they are there, and runs on each: the tests of operations and of
 * handles, those of its own, the golden set, and `smoke` from end to end, whose score is shown beside that of `onnx`;
 * on `xla`, for whose state it is another matter, trainings that are killed, too.
 * An engine that cannot be had here is passed over with the reason. `xla` is checked where it is asked for by name.
 *
 * With --node, all of it but the golden set on those versions of Node, `--node 20 22 24`: each installs the engines
 * into a folder of its own, outside of the checkout.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { $ } from "zx";
import { envOf, installNode } from "./node-version.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const words = process.argv.slice(2);
const at = words.includes("--node") ? words.indexOf("--node") : words.length;
const asked = words.slice(0, at);
const versions = words.slice(at + 1);
const engines = asked.length > 0 ? asked : ["openvino", "tensorflow"];
/** What is installed for an engine whose installation has another name. @type {Record<string, string>} */
const INSTALLS = { xla: "xla-cpu" };
const bin = path.join(root, "packages/cli/bin/madformer.mjs");
const jest = path.join(root, "node_modules/jest/bin/jest.js");

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
  const golden =
    where !== "" ||
    (await run("packages/golden", { ...env, MADFORMER_ENGINE: engine }, [
      ...["forward", "training", "transformer", "sampling"],
    ]));
  // Killed at any moment, a training goes on to the same bits.
  const kill =
    where !== "" ||
    engine !== "xla" ||
    (await run("packages/train", { ...env, MADFORMER_ENGINE: engine }, ["test/kill"]));
  failed ||= !operations || !golden || !kill;
  scores.set(`${engine}${where}`, await scoreOf(engine, env));
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
