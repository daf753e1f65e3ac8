import { appendFileSync, readFileSync } from "node:fs";

/** Names the file of failures: Nx has exit codes of its own, and tells them to nobody. The runner writes to it, too. */
export const FAILURES = "MADFORMER_FAILURES";

/** The runner's exit code where files of an input were in the remote store alone: the same command makes them. */
export const LOST = 75;

/** @typedef {{ stage: string, code: number }} Failure */

/** @param {string} stage What failed. @param {number} code Its exit code. */
export function tellFailure(stage, code) {
  const file = process.env[FAILURES];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ stage, code })}\n`);
}

/** @param {string} file @returns {Failure[]} */
export function readFailures(file) {
  try {
    const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line));
  } catch {
    return [];
  }
}
