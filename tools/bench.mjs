/**
 * npm run bench -- <package> [arguments of its bench]
 *
 * Runs packages/<package>/bench/main.ts from source. The packages it depends on are built first, and measured as built.
 * `model` is a suite: all networks of the reference, those of the score included. `pipeline` is a run with nothing to
 * do,
 * `engines` compares the engines that are installed, `remote` the remote store beside the plain SDK.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { $ } from "zx";

const root = fileURLToPath(new URL("..", import.meta.url));
const [name, ...args] = process.argv.slice(2);
const benches = readdirSync(`${root}packages`).filter((dir) => existsSync(`${root}packages/${dir}/bench/main.ts`));

/** Benches that are scripts. @type {Readonly<Record<string, string>>} */
const SCRIPTS = { pipeline: "tools/pipelines/bench.mjs", remote: "tools/pipelines/bench-remote.mjs" };
const script = SCRIPTS[name ?? ""];
if (script !== undefined) {
  const { exitCode } = await $({ cwd: root, stdio: "inherit", nothrow: true })`node --no-warnings ${script} ${args}`;
  process.exit(exitCode ?? 1);
}
if (name === undefined || !(benches.includes(name) || name === "engines")) {
  const found = name === undefined ? "no package was named" : `"${name}" has no bench/main.ts`;
  console.error(
    `Cannot run a benchmark: ${found}, expected one of: ${[...benches, "engines", ...Object.keys(SCRIPTS)].join(", ")}`,
  );
  console.error("Usage: npm run bench -- <package> [arguments of its bench]");
  process.exit(2);
}

/** Benches that are run together, with the same arguments. @type {Readonly<Record<string, readonly string[]>>} */
const SUITES = { model: ["model", "fid"] };

if (name === "engines") await bench("model", "engines.ts");
else for (const member of SUITES[name] ?? [name]) await bench(member);

/**
 * Runs the bench of one package; ends the process if it fails.
 *
 * @param {string} name
 * @param {string} [file]
 */
async function bench(name, file = "main.ts") {
  const { dependencies = {} } = JSON.parse(readFileSync(`${root}packages/${name}/package.json`, "utf8"));
  const workspace = Object.keys(dependencies).filter((dependency) => dependency.startsWith("@madformer/"));
  if (workspace.length) await $({ cwd: root, stdio: ["ignore", 2, 2] })`npx nx run-many -t build -p ${workspace}`;

  // The package's own tsconfig maps its name to its sources. --expose-gc lets a bench free memory between measurements.
  process.env.TSX_TSCONFIG_PATH = `${root}packages/${name}/tsconfig.json`;
  const run = $({ stdio: "inherit", nothrow: true });
  const { exitCode } =
    await run`node --expose-gc --no-warnings --import tsx ${root}packages/${name}/bench/${file} ${args}`;
  if (exitCode !== 0) process.exit(exitCode ?? 1);
}
