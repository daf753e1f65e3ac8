/**
 * node tools/pipelines/defaults.mjs
 *
 * Writes pipelines/defaults.json: what fields of stages have when nothing is said, as far as it is a text, a number,
 * yes or no, or null. Conditions of pipelines ("if") are decided by it before anything is built. The packages must be
 * built; a test of packages/cli compares the file with them.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { configSchema } from "@madformer/stage";
import { findStages } from "./stages.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** @type {Record<string, Record<string, unknown>>} */
const defaults = {};
for (const { name, entry } of findStages(root).values()) {
  const built = entry.replace("/src/", "/dist/").replace(/\.ts$/, ".js");
  const { stage } = await import(pathToFileURL(path.join(root, built)).href);
  const { properties = {} } = configSchema(/** @type {never} */ (stage));
  const fields = Object.entries(properties).flatMap(([field, schema]) =>
    isObject(schema) && "default" in schema ? [[field, schema["default"]]] : [],
  );
  defaults[name] = Object.fromEntries(fields.filter(([, value]) => value === null || typeof value !== "object"));
}
const sorted = Object.fromEntries(Object.entries(defaults).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(path.join(root, "pipelines/defaults.json"), `${JSON.stringify(sorted, null, 2)}\n`);

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isObject(value) {
  return typeof value === "object" && value !== null;
}
