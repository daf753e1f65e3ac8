import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/**
 * @typedef {object} StageSource Where a stage function lives.
 * @property {string} name Such as `sample`.
 * @property {string} packageName Such as `@madformer/sample`.
 * @property {string} packageDir Such as `packages/sample`.
 * @property {string} entry The source file that exports `stage`, from the root.
 * @property {string} bundle The file that it is bundled into, from the root.
 */

/**
 * All stage functions: `"madformer": { "stages": { "<name>": "<source file>" } }` in the package.json of each package.
 *
 * @param {string} root
 * @returns {Map<string, StageSource>}
 */
export function findStages(root) {
  /** @type {Map<string, StageSource>} */
  const found = new Map();
  for (const dir of readdirSync(path.join(root, "packages"))) {
    const manifest = path.join(root, "packages", dir, "package.json");
    if (!existsSync(manifest)) continue;
    /** @type {{ name: string, madformer?: { stages?: Record<string, string> } }} */
    const { name: packageName, madformer } = JSON.parse(readFileSync(manifest, "utf8"));
    for (const [name, source] of Object.entries(madformer?.stages ?? {})) {
      const other = found.get(name);
      if (other) throw new Error(`Stage "${name}" is in two packages: ${other.packageName} and ${packageName}`);
      const packageDir = `packages/${dir}`;
      found.set(name, {
        name,
        packageName,
        packageDir,
        entry: `${packageDir}/${source}`,
        bundle: `${packageDir}/bundle/${name}.mjs`,
      });
    }
  }
  return found;
}

/**
 * What a stage of a pipeline.json reads: input -> stage. An input with a condition counts only if the fields it names have
 * the values it says. The same as in packages/stage/src/pipeline.ts, which checks everything; Nx needs it before anything is
 * built.
 *
 * @typedef {Record<string, { uses?: string, needs?: string[] | Record<string, string | { stage: string, if: Record<string, unknown> }>, config?: Record<string, unknown> }>} PipelineFile
 * @param {PipelineFile} pipeline
 * @param {string} stage
 * @returns {string[]} Stages, each once.
 */
export function needsOf(pipeline, stage) {
  const { needs = [] } = pipeline[stage] ?? {};
  if (Array.isArray(needs)) return [...new Set(needs)];
  const applying = Object.values(needs).filter(
    (need) =>
      typeof need === "string" ||
      Object.entries(need.if).every(([place, value]) => {
        const [entry = "", field = ""] = place.split(".");
        return JSON.stringify(pipeline[entry]?.config?.[field]) === JSON.stringify(value);
      }),
  );
  return [...new Set(applying.map((need) => (typeof need === "string" ? need : need.stage)))];
}
