/**
 * Nx plugin: each stage of `pipelines/<name>/pipeline.json` is a project `<name>-<stage>` with one target, `<stage>`.
 * It depends on the stages that it needs and on the package of its function: `nx graph` draws that, and `nx affected`
 * follows it. The pipeline's file is an input of its stages: when it changes, they are affected.
 *
 * Nx orders the stages and runs them; it does not cache them. The store knows what each made by its key, and is looked
 * at each time, with every byte it answers for; what a cache of Nx brings back nobody has looked at.
 */
import path from "node:path";
import { ENGINES_VARIABLE, PLUGIN_VARIABLE, VARIABLES } from "../../packages/stage/plain/computing.mjs";
import { readPipelineFile } from "../../packages/stage/plain/pipeline-file.mjs";
import { findStages } from "./stages.mjs";

export const name = "madformer-pipelines";

/** The package whose program runs all stages. */
const RUNNER = "@madformer/stage";

/** @type {import("nx/src/devkit-exports.js").CreateNodesV2} */
export const createNodesV2 = [
  "pipelines/*/pipeline.json",
  (files, _options, { workspaceRoot }) => {
    const stages = findStages(workspaceRoot);
    /** @type {Set<string>} */
    const taken = new Set();
    return [...files].sort().map((file) => {
      try {
        return [file, { projects: projectsOf(file, workspaceRoot, stages, taken) }];
      } catch (error) {
        // It breaks its own stages, which Nx does not know then, and no other command.
        console.error(`Warning: the stages of this pipeline cannot run. ${/** @type {Error} */ (error).message}`);
        return [file, {}];
      }
    });
  },
];
export const createNodes = createNodesV2;

/**
 * @param {string} file
 * @param {string} root
 * @param {Map<string, import("./stages.mjs").StageSource>} stages
 * @param {Set<string>} taken Names of projects; those of this pipeline are added.
 */
function projectsOf(file, root, stages, taken) {
  const folder = path.dirname(file).replaceAll("\\", "/");
  const { name: pipeline, stages: entries } = readPipelineFile(path.join(root, folder));
  /** @type {Record<string, import("nx/src/devkit-exports.js").ProjectConfiguration>} */
  const projects = {};
  for (const { name: stage, uses, needs } of entries) {
    const source = stages.get(uses);
    if (source === undefined)
      throw new Error(
        `${file}: no package has a stage "${uses}", expected one of: ${[...stages.keys()].sort().join(", ")}`,
      );
    const name = `${pipeline}-${stage}`;
    const needed = [...new Set(Object.values(needs))];
    const before = needed.map((need) => `${pipeline}-${need}`);
    if (taken.has(name)) throw new Error(`${file}: another pipeline has a project "${name}", too; rename one of them`);
    projects[`${folder}/${stage}`] = {
      name,
      root: `${folder}/${stage}`,
      projectType: "application",
      tags: [`pipeline:${pipeline}`, `stage:${uses}`],
      implicitDependencies: [...before, source.packageName, RUNNER],
      targets: {
        [stage]: {
          executor: "nx:run-commands",
          // One command for all stages: words of a file stay out of the shell.
          options: {
            command: "node --no-warnings tools/pipelines/stage.mjs",
            env: { MADFORMER_PIPELINE: pipeline, MADFORMER_STAGE: stage },
          },
          cache: false,
          // Nx hashes what it does not cache; by default it would ask for files of the project, which has none.
          inputs: [
            `{workspaceRoot}/${file}`,
            "{workspaceRoot}/pipelines/defaults.json",
            ...[...Object.values(VARIABLES), ENGINES_VARIABLE, PLUGIN_VARIABLE].map((env) => ({ env })),
            { runtime: "node tools/pipelines/engines.mjs" },
            { externalDependencies: [] },
          ],
          dependsOn: [
            ...needed.map((need) => ({ projects: [`${pipeline}-${need}`], target: need })),
            { projects: [source.packageName, RUNNER], target: "bundle" },
          ],
        },
      },
    };
  }
  for (const { name = "" } of Object.values(projects)) taken.add(name);
  return projects;
}
