/**
 * Nx plugin: each stage of `pipelines/<name>/pipeline.json` is a project `<name>-<stage>` with one target, `<stage>`. Its
 * only outputs are the manifest and the record of what was made; it runs again if the stage's part of pipeline.json, its
 * bundle, an input's manifest, or the state of its own objects in the store changes, and for nothing else.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { findStages, needsOf } from "./stages.mjs";

/** What runs a stage: part of no stage's program, so not of its task's hash either. */
const RUNNER = "packages/stage/bundle/runner.mjs";

export const name = "madformer-pipelines";

/** @type {import("nx/src/devkit-exports.js").CreateNodesV2} */
export const createNodesV2 = [
  "pipelines/*/pipeline.json",
  (files, _options, { workspaceRoot }) => {
    const stages = findStages(workspaceRoot);
    return files.map((file) => [file, { projects: projectsOf(file, workspaceRoot, stages) }]);
  },
];
export const createNodes = createNodesV2;

/**
 * @param {string} file
 * @param {string} root
 * @param {Map<string, import("./stages.mjs").StageSource>} stages
 */
function projectsOf(file, root, stages) {
  const folder = path.dirname(file).replaceAll("\\", "/");
  const pipeline = path.basename(folder);
  /** @type {Record<string, import("nx/src/devkit-exports.js").ProjectConfiguration>} */
  const projects = {};
  const entries = JSON.parse(readFileSync(path.join(root, file), "utf8"));
  for (const [stage, entry] of Object.entries(entries)) {
    if (typeof entry !== "object") continue; // "description"
    const { uses = stage } = entry;
    const source = stages.get(uses);
    if (source === undefined)
      throw new Error(
        `${file}: no package has a stage "${uses}", expected one of: ${[...stages.keys()].sort().join(", ")}`,
      );
    const earlier = needsOf(entries, stage);
    const out = `${folder}/out/${stage}`;
    projects[`${folder}/${stage}`] = {
      name: `${pipeline}-${stage}`,
      root: `${folder}/${stage}`,
      projectType: "application",
      tags: [`pipeline:${pipeline}`, `stage:${uses}`],
      targets: {
        [stage]: {
          command: `node --no-warnings ${RUNNER} ${source.bundle} ${folder} ${stage}`,
          cache: true,
          dependsOn: [
            ...earlier.map((need) => ({ projects: [`${pipeline}-${need}`], target: need })),
            { projects: [source.packageName, "@madformer/stage"], target: "bundle" },
          ],
          inputs: [
            { json: `{workspaceRoot}/${file}`, fields: [stage] },
            { dependentTasksOutputFiles: `**/{manifest.json,${uses}.mjs}` },
            { runtime: `node tools/pipelines/state.mjs ${folder} ${stage}` },
            { externalDependencies: [] },
          ],
          outputs: [`{workspaceRoot}/${out}/manifest.json`, `{workspaceRoot}/${out}/record.json`],
        },
      },
    };
  }
  return projects;
}
