/**
 * node tools/count-tests.mjs
 *
 * Adds up what Jest left in each project's jest-results.json, names the tests that were skipped, and ends with the line
 * `tests: P passed, F failed, S skipped`. Exits with 1 when a test failed or none ran.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * @typedef {object} JestResults What `jest --json` writes, as far as it matters here.
 * @property {number} numPassedTests
 * @property {number} numFailedTests
 * @property {number} numPendingTests
 * @property {number} numTodoTests
 * @property {number} numRuntimeErrorTestSuites
 * @property {{ assertionResults: { fullName: string, status: string }[] }[]} testResults
 */

/**
 * @param {JestResults[]} results
 * @returns {{ passed: number, failed: number, skipped: number, skippedNames: string[] }}
 */
export function countTests(results) {
  const sum = (/** @type {(result: JestResults) => number} */ of) => results.reduce((total, r) => total + of(r), 0);
  return {
    passed: sum((r) => r.numPassedTests),
    failed: sum((r) => r.numFailedTests + r.numRuntimeErrorTestSuites), // a file that does not load holds a failure
    skipped: sum((r) => r.numPendingTests + r.numTodoTests),
    skippedNames: results
      .flatMap((r) => r.testResults.flatMap((file) => file.assertionResults))
      .filter(({ status }) => status === "pending" || status === "todo")
      .map(({ fullName }) => fullName),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const projects = ["tools", ...readdirSync(`${root}packages`).map((name) => `packages/${name}`)];
  const files = projects.map((project) => `${root}${project}/jest-results.json`).filter((file) => existsSync(file));
  const counts = countTests(files.map((file) => JSON.parse(readFileSync(file, "utf8"))));
  for (const name of counts.skippedNames) console.log(`skipped: ${name}`); // the name says why
  console.log(`tests: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exit(counts.failed > 0 || counts.passed === 0 ? 1 : 0);
}
