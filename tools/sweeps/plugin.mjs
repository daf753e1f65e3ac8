/**
 * Nx plugin: each sweep of `sweeps/<name>.json` is a project `sweep.<name>` with a target for each of its points, and
 * one for all of them. Names of pipelines have no dots, so no stage's project is called that.
 *
 * Nx does not cache them, as it does not cache stages: the store knows what each made.
 */
import path from "node:path";
import { readSweepFile } from "../../packages/sweep/plain/sweep-file.mjs";

export const name = "madformer-sweeps";

/** All points at once, in one process that shows how far they are. */
const ALL = "all";
const CLI = "@madformer/cli";

/** @type {import("nx/src/devkit-exports.js").CreateNodesV2} */
export const createNodesV2 = [
  "sweeps/*.json",
  (files, _options, { workspaceRoot }) =>
    [...files].sort().map((file) => {
      try {
        return [file, { projects: { [file.replace(/\.json$/, "")]: projectOf(file, workspaceRoot) } }];
      } catch (error) {
        // It breaks its own points, which Nx does not know then, and no other command.
        console.error(`Warning: the points of this sweep cannot run. ${/** @type {Error} */ (error).message}`);
        return [file, {}];
      }
    }),
];
export const createNodes = createNodesV2;

/**
 * @param {string} file
 * @param {string} root
 * @returns {import("nx/src/devkit-exports.js").ProjectConfiguration}
 */
function projectOf(file, root) {
  const { name: sweep, pipeline, points } = readSweepFile(path.join(root, file));
  const target = (/** @type {string} */ point) => ({
    executor: "nx:run-commands",
    // One command for all points: words of a file stay out of the shell.
    options: {
      command: "node --no-warnings tools/sweeps/sweep.mjs",
      env: { MADFORMER_SWEEP: sweep, MADFORMER_POINT: point },
    },
    cache: false,
    inputs: [
      `{workspaceRoot}/${file}`,
      `{workspaceRoot}/pipelines/${pipeline}/pipeline.json`,
      { externalDependencies: [] },
    ],
    dependsOn: [{ projects: [CLI], target: "build" }],
  });
  return {
    name: `sweep.${sweep}`,
    root: file.replace(/\.json$/, ""),
    projectType: "application",
    tags: [`pipeline:${pipeline}`, "sweep"],
    implicitDependencies: [CLI],
    targets: Object.fromEntries([[ALL, target("")], ...points.map((point) => [point.name, target(point.name)])]),
  };
}
