import {
  checkPipeline,
  computeOf,
  ConfigError,
  configSchema,
  nearest,
  parseConfig,
  upTo,
  VARIABLES,
  withField,
  type Compute,
  type PipelineStage,
  type Schema,
  type Stage,
  type StageDefaults,
} from "@madformer/stage";
import { placeOf, textOf, type SweepPoint } from "../plain/sweep-file.mjs";
import type { Sweep } from "./sweep.js";

/** The pipeline that a sweep varies, as its file has it: what a field decides (`"if"`) is decided for each point. */
export interface Source {
  /** What messages call it. */
  readonly file: string;
  /** What it holds; was checked. */
  readonly value: Readonly<Record<string, unknown>>;
  /** What `defaults.json` beside the pipelines says: conditions may ask for fields that a config leaves out. */
  readonly defaults?: StageDefaults;
}

/** A stage of a point, with its complete config, and what it computes with if it computes. */
export interface PointStage extends PipelineStage {
  readonly complete: unknown;
  readonly computes: Compute | undefined;
}

/** A point as a pipeline of its own. */
export interface PointRun extends SweepPoint {
  /** Its pipeline.json. */
  readonly value: unknown;
  /** What runs, each after what it needs. */
  readonly stages: readonly PointStage[];
}

/** Words about a stage that stand beside its config. */
const ENGINE_WORDS = Object.keys(VARIABLES);

/** So many problems are named; a sweep can have thousands of one kind. */
const NAMED = 12;

/**
 * The points of a sweep as pipelines. Everything that could be refused later is looked at: fields, values and
 * combinations of them by the stages' schemas, inputs, and the stages that table and plot take their numbers from.
 *
 * @param load The stage function by its name.
 * @throws {ConfigError} Naming all that is wrong, each with the points that it is wrong with.
 */
export async function runsOf(
  sweep: Sweep,
  source: Source,
  load: (uses: string) => Promise<Stage<never>>,
): Promise<PointRun[]> {
  const problems = new Problems(sweep.points.length);
  const last = sweep.stage ?? (isObject(source.value["report"]) ? "report" : undefined);
  const base = checkPipeline(source.value, source.file, "base", source.defaults).stages;
  const uses = new Map(base.map((entry) => [entry.name, entry.uses]));
  if (sweep.stage !== undefined && !uses.has(sweep.stage))
    problems.add(`"stage" is ${JSON.stringify(sweep.stage)}, ${expected(sweep.stage, [...uses.keys()])}`);
  // A whole before its part.
  const fields = [...sweep.axes, ...sweep.seeds].sort((a, b) => a.path.length - b.path.length);
  const schemas = new Map<string, Schema>();
  for (const { place, stage } of fields) {
    const name = uses.get(stage);
    if (name === undefined) problems.add(`${place}: ${noStage(stage, uses)}`);
    else schemas.set(stage, configSchema(await load(name)));
  }
  for (const { place, stage } of valuesOf(sweep))
    if (!uses.has(stage)) problems.add(`${place}: ${noStage(stage, uses)}`);
  problems.throw(sweep);

  const parsed = new Map<string, Parsed>();
  const drafts = [];
  for (const point of sweep.points) {
    const value = withValues(source.value, point, fields, schemas);
    const { stages } = checkPipeline(value, source.file, point.name, source.defaults);
    const wanted = last === undefined ? [...stages] : upTo(stages, last);
    const names = new Set(wanted.map(({ name }) => name));
    for (const { place, stage } of [...fields, ...valuesOf(sweep)])
      if (!names.has(stage)) problems.add(`${place}: stage "${stage}" does not run for "${last}"`, point.name);
    const told = wanted.map((entry) => {
      const key = JSON.stringify([entry.uses, entry.config, entry.compute, Object.keys(entry.needs)]);
      const one = parsed.get(key) ?? { entry, config: undefined, computes: undefined, points: [] };
      one.points.push(point.name);
      parsed.set(key, one);
      return { entry, one };
    });
    drafts.push({ point, value, told });
  }
  for (const one of parsed.values()) {
    const stage = await load(one.entry.uses);
    try {
      one.config = parseConfig(stage, one.entry.config, `the config of "${one.entry.name}"`);
      one.computes = computeOf(stage, one.entry.compute, `"${one.entry.name}"`);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const point of one.points) problems.add(error.message, point);
      continue;
    }
    for (const what of inputProblems(stage, one.entry)) for (const point of one.points) problems.add(what, point);
    const idle = stage.idle?.(one.config as never, new Set(Object.keys(one.entry.needs))) ?? {};
    for (const { place, stage: name, path } of fields) {
      const why = name === one.entry.name && Object.hasOwn(idle, path.join(".")) ? idle[path.join(".")] : undefined;
      if (why === undefined) continue;
      for (const point of sweep.points)
        if (one.points.includes(point.name) && point.values[place] !== false)
          problems.add(`${place} has no effect ${why}; exclude it there`, point.name);
    }
  }
  problems.throw(sweep);
  return drafts.map(({ point, value, told }) => ({
    ...point,
    value,
    stages: told.map(({ entry, one }) => ({ ...entry, complete: one.config, computes: one.computes })),
  }));
}

/** A stage as some points have it. */
interface Parsed {
  readonly entry: PipelineStage;
  config: unknown;
  computes: Compute | undefined;
  readonly points: string[];
}

/** What of a point's value a person would write beside others: `steps 4, solver ddim`. */
export function labelOf(setting: SweepPoint["setting"]): string {
  return Object.entries(setting)
    .map(([place, value]) => `${placeOf(place)?.path.at(-1)} ${textOf(value)}`)
    .join(", ");
}

function valuesOf({ table, plot, axes }: Sweep) {
  const x = plot && !axes.some(({ place }) => place === plot.x) ? placeOf(plot.x) : undefined;
  return [table?.value, plot?.y, x].filter((place) => place !== undefined);
}

function withValues(
  value: Source["value"],
  point: SweepPoint,
  fields: readonly { readonly place: string; readonly stage: string; readonly path: readonly string[] }[],
  schemas: ReadonlyMap<string, Schema>,
): Record<string, unknown> {
  const copy = structuredClone(value) as Record<string, unknown>;
  for (const { place, stage, path } of fields) {
    const entry = copy[stage] as { config?: unknown; [word: string]: unknown };
    const [word = "", ...below] = path;
    if (ENGINE_WORDS.includes(word) && below.length === 0) entry[word] = point.values[place];
    else entry.config = withField(entry.config ?? {}, path, point.values[place], schemas.get(stage));
  }
  return copy;
}

function inputProblems(stage: Stage<never>, { name, needs }: PipelineStage): string[] {
  const strange = Object.keys(needs).filter((input) => !Object.hasOwn(stage.inputs, input));
  const missing = Object.entries(stage.inputs).filter(
    ([input, { optional }]) => !optional && !Object.hasOwn(needs, input),
  );
  return [
    ...strange.map((input) => `Stage "${name}" needs "${input}", ${expected(input, Object.keys(stage.inputs))}`),
    ...missing.map(([input, { summary }]) => `Stage "${name}" lacks the input "${input}" (${summary})`),
  ];
}

const noStage = (stage: string, uses: ReadonlyMap<string, string>): string =>
  `there is no stage "${stage}", ${expected(stage, [...uses.keys()])}`;

function expected(word: string, words: readonly string[]): string {
  const near = nearest(word, words);
  return `expected one of: ${words.join(", ")}${near === undefined ? "" : `; did you mean ${near}?`}`;
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null;

/** What is wrong, and with which points; nothing is said twice. */
class Problems {
  private readonly points = new Map<string, Set<string>>();

  constructor(private readonly all: number) {}

  add(problem: string, point?: string): void {
    const points = this.points.get(problem) ?? new Set();
    if (point !== undefined) points.add(point);
    this.points.set(problem, points);
  }

  /** @throws {ConfigError} If there is any. */
  throw({ name }: Sweep): void {
    if (this.points.size === 0) return;
    const told = [...this.points].slice(0, NAMED).map(([problem, points]) => {
      const [first] = points;
      if (first === undefined || points.size === this.all) return problem;
      return `${problem} (${points.size === 1 ? first : `${points.size} of ${this.all} points, such as ${first}`})`;
    });
    const more = this.points.size > NAMED ? `; and ${this.points.size - NAMED} more` : "";
    throw new ConfigError(`Cannot use the sweep "${name}": ${told.join("; ")}${more}`);
  }
}
