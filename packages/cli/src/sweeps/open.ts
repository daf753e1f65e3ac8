import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Store } from "@madformer/artifacts";
import { ConfigError, digestOfBundle, readPipeline, type BundleDigest, type Stage } from "@madformer/stage";
import { jobsOf, readSweep, runsOf, type Job, type Knowing, type PointRun, type Sweep } from "@madformer/sweep";
import { bundleOf, STAGES, type StageEntry } from "../stages/table.js";
import { pipelineNames, workspaceRoot } from "../workspace.js";

/** The package whose bundle runs stages. */
const RUNNER_PACKAGE = "packages/stage";

/** A sweep that can run: its file, its pipeline and all its points were checked. */
export interface OpenSweep {
  readonly sweep: Sweep;
  readonly runs: readonly PointRun[];
  readonly jobs: readonly Job[];
  /** Its folder of outputs, from the workspace's root, which is the current folder. */
  readonly folder: string;
}

/** @throws {ConfigError} Naming all that is wrong with it. */
export async function openSweep(name: string): Promise<OpenSweep> {
  process.chdir(workspaceRoot());
  const sweep = await readSweep(".", name);
  const names = await pipelineNames(".");
  if (!names.includes(sweep.pipeline))
    throw new ConfigError(
      `Cannot use the sweep "${name}": there is no pipeline "${sweep.pipeline}", expected one of: ${names.join(", ")}`,
    );
  const folder = join("pipelines", sweep.pipeline);
  readPipeline(folder);
  const file = join(folder, "pipeline.json");
  const value = JSON.parse(readFileSync(file, "utf8").replace(/^\uFEFF/, "")) as Record<string, unknown>;
  const runs = await runsOf(sweep, { file, value }, loadStage);
  return { sweep, runs, jobs: jobsOf(runs), folder: join("sweeps", "out", name) };
}

/** What the store and the stages' programs, brought up to date, say about jobs. */
export async function knowingOf(jobs: readonly Job[]): Promise<Knowing> {
  const wanted = [...new Set(jobs.map(({ uses }) => uses))].map(entryOf);
  for (const dir of new Set([RUNNER_PACKAGE, ...wanted.map(({ folder }) => folder)])) await bundle(dir);
  const programs = new Map<string, BundleDigest>();
  for (const entry of wanted) programs.set(entry.name, await digestOfBundle(bundleOf(entry)));
  return { store: Store.at("."), load: loadStage, program: async (uses) => programs.get(uses) as BundleDigest };
}

export async function loadStage(uses: string): Promise<Stage<never>> {
  return await entryOf(uses).load();
}

function entryOf(uses: string): StageEntry {
  const entry = STAGES.find(({ name }) => name === uses);
  if (entry) return entry;
  throw new ConfigError(
    `There is no stage function "${uses}", expected one of: ${STAGES.map(({ name }) => name).join(", ")}`,
  );
}

async function bundle(packageDir: string): Promise<void> {
  try {
    await promisify(execFile)(process.execPath, ["--no-warnings", "tools/pipelines/bundle.mjs", packageDir]);
  } catch (cause) {
    const { stderr = "" } = cause as { stderr?: string };
    throw new Error(`Cannot bundle ${packageDir}: ${stderr.trim().split("\n").slice(-3).join(" ")}`, { cause });
  }
}
