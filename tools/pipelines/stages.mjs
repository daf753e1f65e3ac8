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
 * Names of the folders below `pipelines/` that hold a pipeline.json, whatever is in it.
 *
 * @param {string} root
 * @returns {string[]}
 */
export function findPipelines(root) {
  const names = readdirSync(path.join(root, "pipelines"));
  return names.filter((name) => existsSync(path.join(root, "pipelines", name, "pipeline.json"))).sort();
}
