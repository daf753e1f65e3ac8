import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Store } from "@madformer/artifacts";
import { ConfigError, readPipeline, type BundleDigest, type Stage, type StageDefaults } from "@madformer/stage";
import { jobsOf, readSweep, runsOf, type Job, type Knowing, type PointRun, type Sweep } from "@madformer/sweep";
import { bundlesOf } from "../bundles.js";
import { STAGES } from "../stages/table.js";
import { pipelineNames, workspaceRoot } from "../workspace.js";

/** The package whose bundle runs stages. */
const RUNNER_PACKAGE = "packages/stage";

/** A sweep that can run: its file, its pipeline and all its points were checked. */
export interface OpenSweep {
  readonly sweep: Sweep;
  readonly runs: readonly PointRun[];
  readonly jobs: readonly Job[];
  readonly defaults: StageDefaults;
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
  const value = readJson(file);
  const defaults = readJson("pipelines/defaults.json") as StageDefaults; // readPipeline has looked at it
  const runs = await runsOf(sweep, { file, value, defaults }, loadStage);
  return { sweep, runs, jobs: jobsOf(runs), defaults, folder: join("sweeps", "out", name) };
}

function readJson(file: string): Record<string, unknown> {
  if (!existsSync(file)) return {};
  return JSON.parse(readFileSync(file, "utf8").replace(/^\uFEFF/, "")) as Record<string, unknown>;
}

/** What the store and the stages' programs, brought up to date, say about jobs. */
export async function knowingOf(jobs: readonly Job[]): Promise<Knowing> {
  await bundle(RUNNER_PACKAGE);
  const { program, stage } = await bundlesOf(process.cwd(), [{ stages: jobs }]);
  const digests = new Map<string, Promise<BundleDigest>>();
  const once = (uses: string): Promise<BundleDigest> => {
    const digest = digests.get(uses) ?? program(uses);
    digests.set(uses, digest);
    return digest;
  };
  return { store: Store.at("."), load: stage, program: once };
}

export async function loadStage(uses: string): Promise<Stage<never>> {
  const entry = STAGES.find(({ name }) => name === uses);
  if (entry) return await entry.load();
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
