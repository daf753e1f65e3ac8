/**
 * node tools/pipelines/state.mjs <pipeline folder> <stage>
 *
 * Prints one line that changes if the stage must run although its program, config and inputs are the same: objects that
 * its manifest names are gone from the store or were touched, or files outside that its config names have changed. Nx
 * makes it part of the task's hash. It looks at sizes and times alone; the stage itself hashes what was touched.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";

const [folder = "", stage = ""] = process.argv.slice(2);
const store = path.resolve(process.env["MADFORMER_STORE"] ?? ".madformer/store");
/** Time of change of every object: see OBJECT_TIME in packages/artifacts/src/store/store.ts. */
const OBJECT_TIME = Date.parse("2000-01-01T00:00:00Z");

const broken = brokenObjects();
console.log(broken === "" ? "whole" : `broken ${broken}`, outsideState());

/** A digest of which objects are not as they were left, or "". */
function brokenObjects() {
  const manifest = readJson(path.join(folder, "out", stage, "manifest.json"));
  const names = Object.values(manifest?.files ?? {})
    .filter(({ sha256, bytes }) => {
      const status = statSync(path.join(store, "objects", sha256.slice(0, 2), sha256), { throwIfNoEntry: false });
      return status === undefined || status.size !== bytes || status.mtimeMs !== OBJECT_TIME;
    })
    .map(({ sha256 }) => sha256);
  return names.length === 0 ? "" : digest(names.sort().join());
}

/** A digest of the files that `config.source.path` names, or "". */
function outsideState() {
  const source = readJson(path.join(folder, "pipeline.json"))?.[stage]?.config?.source?.path;
  if (typeof source !== "string") return "";
  const root = path.resolve(source);
  const status = statSync(root, { throwIfNoEntry: false });
  if (status === undefined) return "missing";
  if (!status.isDirectory()) return digest(`${status.size} ${status.mtimeMs}`);
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).sort();
  return digest(
    files
      .map((file) => {
        const found = statSync(path.join(root, file), { throwIfNoEntry: false });
        return found?.isFile() ? `${file} ${found.size} ${found.mtimeMs}` : "";
      })
      .join("\n"),
  );
}

/** @param {string} file */
function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

/** @param {string} text */
function digest(text) {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
