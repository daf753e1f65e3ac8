/**
 * node tools/pipelines/stage.mjs [<pipeline> <stage>]
 *
 * Runs one stage of a pipeline, or of a pipeline's folder elsewhere (a sweep's point), with its bundle, which must be
 * fresh. Nx names both in the environment (`MADFORMER_PIPELINE`, `MADFORMER_STAGE`): no word of a file becomes part
 * of a command line.
 */
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { readPipelineFile } from "../../packages/stage/plain/pipeline-file.mjs";
import { RUNNER } from "./bundles.mjs";
import { tellFailure } from "./failures.mjs";
import { findStages } from "./stages.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
process.chdir(root);
const [pipeline = process.env["MADFORMER_PIPELINE"] ?? "", stage = process.env["MADFORMER_STAGE"] ?? ""] =
  process.argv.slice(2);
try {
  const folder = pipeline.includes("/") ? pipeline : `pipelines/${pipeline}`;
  const { stages } = readPipelineFile(folder);
  const entry = stages.find(({ name }) => name === stage);
  if (entry === undefined)
    throw new Error(
      `${folder} has no stage ${JSON.stringify(stage)}, expected one of: ${stages.map(({ name }) => name).join(", ")}`,
    );
  const functions = findStages(root);
  const source = functions.get(entry.uses);
  if (source === undefined)
    throw new Error(
      `${folder}/pipeline.json: stage "${stage}" uses "${entry.uses}", expected one of: ${[...functions.keys()].sort().join(", ")}`,
    );
  const { stageMain } = await import(pathToFileURL(path.join(root, RUNNER)).href);
  await stageMain([source.bundle, folder, stage]);
} catch (error) {
  console.error(`${stage}: ${/** @type {Error} */ (error).message}`);
  tellFailure(stage, 2);
  process.exitCode = 2;
}
