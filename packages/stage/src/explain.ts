import { readFile } from "node:fs/promises";
import { readRecord, type Artifact, type Made, type StageRecord, type Store } from "@madformer/artifacts";
import { computeOf, type Compute } from "./compute.js";
import { parseConfig } from "./config.js";
import { differ } from "./folder.js";
import { lookOutside, outsideDigest } from "./outside.js";
import { outputFolder } from "./output.js";
import type { Pipeline, PipelineStage } from "./pipeline.js";
import type { StageRemote } from "./remote.js";
import { stageKey, type BundleDigest } from "./run.js";
import type { Stage } from "./stage.js";

/** What would happen to a stage if the pipeline ran now. */
export interface Explanation {
  readonly name: string;
  /**
   * - `known`: the store has what it makes.
   * - `remote`: the remote store has what it makes; its files would be fetched when something reads
   *   them.
   * - `damaged`: the store knows what it made, but some files are gone; they would be made again.
   * - `runs`: it would run.
   * - `waits`: a stage before it would run; whether this one does depends on what that makes.
   */
  readonly state: "known" | "remote" | "damaged" | "runs" | "waits";
  /** Why, one reason per line; empty if it is known. */
  readonly reasons: readonly string[];
}

export interface ExplainOptions {
  readonly store: Store;
  /** The stage function by its name. */
  readonly stage: (uses: string) => Promise<Stage<never>>;
  /** Its program, as it is now. */
  readonly program: (uses: string) => Promise<BundleDigest>;
  /** Asked for what this machine does not know. */
  readonly remote?: StageRemote | undefined;
}

/**
 * Says for a stage of a pipeline and all that it needs, or for all its stages, whether it would run, and why: which
 * part of its config, which source file of its program, which input is not what it was when it last ran.
 *
 * @param name Of the stage; undefined for all.
 * @returns In the order in which they would run.
 */
export async function explain(
  pipeline: Pipeline,
  name: string | undefined,
  options: ExplainOptions,
): Promise<Explanation[]> {
  const byName = new Map(pipeline.stages.map((stage) => [stage.name, stage]));
  const known = new Map<string, Made>();
  const found: Explanation[] = [];
  const visit = async (stage: PipelineStage): Promise<void> => {
    if (found.some((other) => other.name === stage.name)) return;
    for (const need of Object.values(stage.needs)) {
      const before = byName.get(need);
      if (before) await visit(before);
    }
    found.push(await explainOne(pipeline, stage, known, options));
  };
  for (const stage of pipeline.stages) if (name === undefined || stage.name === name) await visit(stage);
  return found;
}

async function explainOne(
  pipeline: Pipeline,
  entry: PipelineStage,
  known: Map<string, Made>,
  { store, ...options }: ExplainOptions,
): Promise<Explanation> {
  const { name } = entry;
  const stage = await options.stage(entry.uses);
  const program = await options.program(entry.uses);
  const where = `"${name}" of ${pipeline.folder}/pipeline.json`;
  const config = parseConfig(stage, entry.config, where);
  const compute = computeOf(stage, entry.compute, where);
  const last = await readRecord(outputFolder(pipeline.folder, name)).catch(() => undefined);
  const waiting = Object.values(entry.needs).filter((need) => !known.has(need));
  const own = last ? await changes(store, last, { program, config, compute }) : [];
  if (waiting.length > 0) {
    const wait = `waits for ${waiting.join(", ")}`;
    return { name, state: own.length > 0 ? "runs" : "waits", reasons: [wait, ...own] };
  }
  const inputs: Record<string, Artifact> = {};
  for (const [input, need] of Object.entries(entry.needs)) {
    const made = known.get(need);
    if (made) inputs[input] = store.artifact(made);
  }
  const outside = outsideDigest(await lookOutside(stage.outside?.(config) ?? []));
  const key = stageKey(stage, program, config, inputs, outside, compute);
  const made = await store.lookup(key);
  const missing = made ? await store.missing(made.manifest) : [];
  if (made && missing.length === 0) {
    known.set(name, made);
    return { name, state: "known", reasons: [] };
  }
  const there = await options.remote?.find(key);
  if (there) {
    known.set(name, there);
    return { name, state: "remote", reasons: [] };
  }
  if (made) {
    known.set(name, made);
    return {
      name,
      state: "damaged",
      reasons: [`${missing.length} files are missing or damaged, such as ${missing[0]}`],
    };
  }
  if (!last) return { name, state: "runs", reasons: ["it has not run before"] };
  const changed = Object.entries(inputs).flatMap(([input, { digest }]) =>
    last.inputs[input]?.digest === digest
      ? []
      : [`input ${input} is another: ${short(last.inputs[input]?.digest)}, now ${short(digest)}`],
  );
  const places = (stage.outside?.(config) ?? []).map(({ path }) => JSON.stringify(path));
  const elsewhere = last.outside === outside ? [] : [`what it reads outside is another: ${places.join(", ")}`];
  const reasons = [...own, ...changed, ...elsewhere];
  return {
    name,
    state: "runs",
    reasons: reasons.length > 0 ? reasons : ["the store forgot it"],
  };
}

const short = (digest = "none"): string => digest.slice(0, 12);

/**
 * What two runs of a stage differ in, one reason a line: fields of the config, engine, precision, threads, packages,
 * source files, inputs, what is outside.
 *
 * @param before In the same store as `now`, whose bundles name the source files.
 * @returns Nothing if they have the same key.
 */
export async function recordChanges(store: Store, before: StageRecord, now: StageRecord): Promise<string[]> {
  const program = { ...now.program, path: store.objectPath(now.program.sha256) };
  const inputs = [...new Set([...Object.keys(before.inputs), ...Object.keys(now.inputs)])].flatMap((name) => {
    const [old, fresh] = [before.inputs[name]?.digest, now.inputs[name]?.digest];
    return old === fresh ? [] : [`input ${name} is another: ${short(old)}, now ${short(fresh)}`];
  });
  const outside = before.outside === now.outside ? [] : ["what it reads outside is another"];
  const { config, compute } = now;
  return [...(await changes(store, before, { program, config, compute })), ...inputs, ...outside];
}

/** What of config, engine and program is not as it was. */
async function changes(
  store: Store,
  last: StageRecord,
  {
    program,
    config,
    compute,
  }: {
    readonly config: unknown;
    readonly program: BundleDigest;
    readonly compute: Compute | undefined;
  },
): Promise<string[]> {
  const plain = JSON.parse(JSON.stringify(config)) as unknown;
  const fields = differ({ config: last.config }, { config: plain });
  const engines = differ(last.compute ?? {}, compute ?? {});
  const own = [...fields, ...engines];
  if (last.program.sha256 === program.sha256) return own;
  const [before, now] = [new Set(last.program.externals), new Set(program.externals)];
  const packages = [
    ...[...now].filter((name) => !before.has(name)).map((name) => `package ${name} is new`),
    ...[...before].filter((name) => !now.has(name)).map((name) => `package ${name} is gone`),
  ];
  const files =
    program.path === undefined ? [] : await changedModules(store.objectPath(last.program.sha256), program.path);
  const code = [...packages, ...files.map((file) => `${file} is another`)];
  return [...own, ...(code.length > 0 ? code : ["its program is another"])];
}

/** Source files whose code differs between two bundles; none if the older one is not there any more. */
async function changedModules(before: string, now: string): Promise<string[]> {
  const text = await readFile(before, "utf8").catch(() => undefined);
  if (text === undefined) return [];
  const [old, fresh] = [modulesOf(text), modulesOf(await readFile(now, "utf8"))];
  return [...new Set([...old.keys(), ...fresh.keys()])].filter((file) => old.get(file) !== fresh.get(file)).sort();
}

/** esbuild names each module in a comment before its code. */
function modulesOf(bundle: string): Map<string, string> {
  const parts = bundle.split(/^\/\/ (packages\/[\w./-]+)$/m);
  const modules = new Map<string, string>();
  for (let i = 1; i < parts.length; i += 2)
    modules.set(parts[i] ?? "", (modules.get(parts[i] ?? "") ?? "") + (parts[i + 1] ?? ""));
  return modules;
}
