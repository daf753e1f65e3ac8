import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConfigError, nearest, readPipeline, type Pipeline } from "@madformer/stage";
import type { Io } from "./program.js";

/**
 * The workspace's root: the nearest folder upwards that has a `pipelines` folder and an `nx.json`.
 *
 * @throws {ConfigError} If there is none.
 */
export function workspaceRoot(from = process.cwd()): string {
  for (let folder = from; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "nx.json")) && existsSync(join(folder, "pipelines"))) return folder;
    if (folder === dirname(folder))
      throw new ConfigError(
        `Cannot find pipelines from ${JSON.stringify(from)}: no folder upwards has nx.json and pipelines/`,
      );
  }
}

/** Names of all pipelines. */
export async function pipelineNames(root: string): Promise<string[]> {
  const names = await readdir(join(root, "pipelines"));
  return names.filter((name) => existsSync(join(root, "pipelines", name, "pipeline.json"))).sort();
}

/**
 * The pipeline and the stage that words on the command line mean: `faces-64 sample`, or `faces-64-sample` as Nx names
 * it; `smoke` means no stage.
 *
 * @throws {ConfigError} If they mean none.
 */
export async function findStage(
  root: string,
  words: readonly string[],
): Promise<{ pipeline: string; stage: string | undefined }> {
  const [first = "", second] = words;
  const all = await pipelineNames(root);
  if (all.includes(first)) return { pipeline: first, stage: second };
  const pipeline = all.filter((name) => first.startsWith(`${name}-`)).sort((a, b) => b.length - a.length)[0];
  if (pipeline !== undefined && second === undefined) return { pipeline, stage: first.slice(pipeline.length + 1) };
  const near = nearest(first, all);
  throw new ConfigError(
    `Cannot find a pipeline in ${JSON.stringify(words.join(" "))}, expected one of: ${all.join(", ")}${near === undefined ? "" : `; did you mean ${near}?`}`,
  );
}

/**
 * Pipelines by the words of a command line; all of them by default, but for those that cannot be read.
 *
 * @throws {ConfigError} If there is no such pipeline or stage.
 */
export async function pipelinesOf(
  root: string,
  name: string | undefined,
  stage: string | undefined,
  io: Io,
): Promise<Pipeline[]> {
  const names = await pipelineNames(root);
  if (name !== undefined) {
    if (!names.includes(name))
      throw new ConfigError(`Cannot find the pipeline ${JSON.stringify(name)}, expected one of: ${names.join(", ")}`);
    const pipeline = readPipeline(join("pipelines", name));
    if (stage !== undefined && !pipeline.stages.some((other) => other.name === stage))
      throw new ConfigError(
        `Pipeline ${name} has no stage ${JSON.stringify(stage)}, expected one of: ${pipeline.stages.map((s) => s.name).join(", ")}`,
      );
    return [pipeline];
  }
  return names.flatMap((other) => readable(join("pipelines", other), io));
}

/**
 * The same, with the points of sweeps that have run as pipelines of the names `<sweep>/<point>`. The name of a sweep
 * means all its points, unless a pipeline is called so, too.
 *
 * @throws {ConfigError} If there is no such pipeline, sweep or stage.
 */
export async function shownPipelines(
  root: string,
  name: string | undefined,
  stage: string | undefined,
  io: Io,
): Promise<Pipeline[]> {
  const sweeps = await foldersOf(join(root, "sweeps/out"));
  const isSweep = name !== undefined && sweeps.includes(name) && !(await pipelineNames(root)).includes(name);
  if (name !== undefined && !isSweep) return await pipelinesOf(root, name, stage, io);
  const points: Pipeline[] = [];
  for (const sweep of isSweep ? [name] : sweeps)
    for (const point of await foldersOf(join(root, "sweeps/out", sweep, "pipelines")))
      for (const pipeline of readable(join("sweeps/out", sweep, "pipelines", point), io))
        points.push({ ...pipeline, name: `${sweep}/${point}` });
  if (!isSweep) return [...(await pipelinesOf(root, undefined, undefined, io)), ...points];
  const stages = [...new Set(points.flatMap((point) => point.stages.map((entry) => entry.name)))];
  if (stage !== undefined && !stages.includes(stage))
    throw new ConfigError(
      `Points of ${name} have no stage ${JSON.stringify(stage)}, expected one of: ${stages.join(", ")}`,
    );
  return points;
}

/** The pipeline of a folder; none if it cannot be read, which breaks it alone. */
function readable(folder: string, io: Io): Pipeline[] {
  try {
    return [readPipeline(folder)];
  } catch (error) {
    io.err(`Passed over: ${(error as Error).message}\n`);
    return [];
  }
}

/** Folders in a folder, which may not be there. */
async function foldersOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
}
