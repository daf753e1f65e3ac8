/**
 * npm run test:engines [-- ENGINE...]
 *
 * Installs the engines that npm does not bring, unless they are there, and runs on each: the tests of operations and of
 * handles, those of its own, the golden set, and `smoke` from end to end, whose score is shown beside that of `onnx`.
 * An engine that cannot be had here is passed over with the reason.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { $ } from "zx";

const root = fileURLToPath(new URL("..", import.meta.url));
const asked = process.argv.slice(2);
const engines = asked.length > 0 ? asked : ["openvino", "tensorflow"];
const bin = path.join(root, "packages/cli/bin/madformer.mjs");
const jest = path.join(root, "node_modules/jest/bin/jest.js");

await $({ cwd: root, stdio: ["ignore", 2, 2] })`npx nx run-many -t build`;
const scores = new Map([["onnx", await scoreOf("onnx")]]);
let failed = false;
for (const engine of engines) {
  const before = await usable(engine);
  if (before !== undefined) {
    const install = await $({ cwd: root, nothrow: true, quiet: true })`node ${bin} engines install ${engine}`;
    const problem = install.exitCode === 0 ? await usable(engine) : install.stderr.trim().split("\n").at(-1);
    if (problem !== undefined) {
      console.log(`engine ${engine} is not checked: ${problem}`);
      continue;
    }
  }
  const env = { ...process.env, MADFORMER_TEST_ENGINES: engine };
  const tests = ["test/ops", "test/handles", `test/${engine}`];
  const operations = await run("packages/engine", env, tests);
  const golden = await run("packages/golden", { ...process.env, MADFORMER_ENGINE: engine }, [
    ...["forward", "training", "transformer", "sampling"],
  ]);
  failed ||= !operations || !golden;
  scores.set(engine, await scoreOf(engine));
}
console.log([...scores].map(([engine, score]) => `smoke on ${engine}: score ${score ?? "none"}`).join("\n"));
process.exit(failed || [...scores.values()].includes(undefined) ? 1 : 0);

/**
 * Why an engine cannot be used; undefined if it can.
 *
 * @param {string} name
 */
async function usable(name) {
  const { stdout } = await $({ cwd: root, quiet: true })`node ${bin} engines --json`;
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
 * @returns {Promise<number | undefined>}
 */
async function scoreOf(engine) {
  const store = mkdtempSync(path.join(tmpdir(), "madformer-engines-"));
  try {
    const env = { ...process.env, MADFORMER_STORE: store, MADFORMER_ENGINE: engine, NX_DAEMON: "false" };
    const { exitCode } = await $({
      cwd: root,
      env,
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
