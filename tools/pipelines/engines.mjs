/**
 * node tools/pipelines/engines.mjs
 *
 * Prints what is installed in the folder of engines: an input of stages and tests for Nx, which knows no files that git
 * ignores. `installedRuntime` of packages/engine reads the same files for keys.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ENGINES_VARIABLE } from "../../packages/stage/plain/computing.mjs";

const told = process.env[ENGINES_VARIABLE];
const folder = told ? path.resolve(told) : fileURLToPath(new URL("../../.madformer/engines", import.meta.url));
for (const name of list(folder)) {
  const file = path.join(folder, name, "installed.json");
  try {
    console.log(name, JSON.stringify(JSON.parse(readFileSync(file, "utf8"))));
  } catch {
    // not installed, or not yet
  }
}

/** @param {string} folder */
function list(folder) {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
