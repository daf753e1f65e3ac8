/**
 * npm run test:node [-- 22 24]
 *
 * Runs the quick part of the suite, the tests beside the sources and those of the command, on other versions of Node
 * than the one that runs this. Their binaries come from npm, into a temporary folder. The packages are taken as built.
 */
import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { $ } from "zx";
import { envOf, installNode } from "./node-version.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const JEST = join(ROOT, "node_modules/jest/bin/jest.js");
/** What is newer than the oldest version that package.json allows, and maintained. */
const VERSIONS = ["22", "24"];

const versions = process.argv.slice(2).length > 0 ? process.argv.slice(2) : VERSIONS;
const wrong = versions.find((version) => !/^\d+(\.\d+){0,2}$/.test(version));
if (wrong !== undefined) {
  console.error(`Cannot test on Node ${JSON.stringify(wrong)}: expected a version, such as ${VERSIONS.join(" or ")}`);
  process.exit(2);
}
if (!existsSync(join(ROOT, "packages/artifacts/dist"))) {
  console.error("Cannot test: the packages are not built; run npm run build first");
  process.exit(2);
}

let failed = 0;
for (const version of versions) {
  const node = await installNode(version);
  const { stdout } = await $`${node} --version`;
  const begun = performance.now();
  const counts = { passed: 0, failed: 0 };
  for (const name of readdirSync(join(ROOT, "packages"))) {
    if (!existsSync(join(ROOT, "packages", name, "src"))) continue;
    const { passed, failed } = await test(node, name);
    console.log(`Node ${stdout.trim()}, ${name}: ${passed} tests passed, ${failed} failed`);
    counts.passed += passed;
    counts.failed += failed;
  }
  const seconds = Math.round((performance.now() - begun) / 1000);
  console.log(`Node ${stdout.trim()}: ${counts.passed} tests passed, ${counts.failed} failed, in ${seconds} s`);
  failed += counts.failed;
}
process.exit(failed > 0 ? 1 : 0);

/**
 * Runs the quick tests of a package, and shows what Jest says only if one fails.
 *
 * @param {string} node
 * @param {string} name
 * @returns {Promise<{ passed: number, failed: number }>}
 */
async function test(node, name) {
  const results = join(dirname(node), `${name}.json`);
  const paths = (name === "cli" ? ["src", "test"] : ["src"]).map((part) => `packages/${name}/${part}/`);
  const { exitCode, stderr } = await $({
    ...{ cwd: join(ROOT, "packages", name), nothrow: true, quiet: true },
    env: envOf(node),
    timeout: "15m", // many times what the slowest needs, in case a test never ends
  })`${node} --experimental-vm-modules --no-warnings ${JEST} --json --outputFile=${results} --passWithNoTests --testPathPatterns ${paths}`;
  const {
    numPassedTests: passed = 0,
    numFailedTests = 0,
    numRuntimeErrorTestSuites = 0,
  } = existsSync(results) ? JSON.parse(await readFile(results, "utf8")) : {};
  const failed = numFailedTests + numRuntimeErrorTestSuites;
  if (exitCode === 0) return { passed, failed };
  console.error(existsSync(results) ? stderr : `${name} did not end\n${stderr}`);
  return { passed, failed: Math.max(failed, 1) };
}
