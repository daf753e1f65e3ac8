import type { Made, Store } from "@madformer/artifacts";
import { outputFolder, readOutput, recordChanges, type Pipeline } from "@madformer/stage";

/** A run that is compared: what its stages made, in the order in which they ran. */
export interface ComparedRun {
  readonly name: string;
  readonly made: ReadonlyMap<string, Made>;
}

/** What a pipeline shows, of the stages that have run. */
export async function runOfPipeline(name: string, { folder, stages }: Pipeline): Promise<ComparedRun> {
  const made = new Map<string, Made>();
  for (const stage of stages) {
    const one = await readOutput(outputFolder(folder, stage.name));
    if (one) made.set(stage.name, one);
  }
  return { name, made };
}

/**
 * What was made on the way to an artifact, as far as the store knows: its records name the manifests of inputs. A
 * stage function that ran twice on the way, as `features` does, has the name of the input that it is for the second
 * time.
 */
export async function runOfMade(name: string, last: Made, store: Store): Promise<ComparedRun> {
  const known = new Map<string, Made>();
  for (const key of await store.keys()) {
    const made = await store.peek(key);
    if (made === undefined || made === "damaged") continue;
    const other = known.get(made.record.manifest);
    // Of several that made the same bytes, the one that did so first.
    if (other === undefined || made.record.finishedAt < other.record.finishedAt) known.set(made.record.manifest, made);
  }
  const found = new Map<string, Made>();
  const visit = (made: Made, input: string | undefined): void => {
    if ([...found.values()].some(({ record }) => record.manifest === made.record.manifest)) return;
    for (const [name, { digest }] of Object.entries(made.record.inputs)) {
      const before = known.get(digest);
      if (before) visit(before, name);
    }
    const { stage } = made.record;
    const free = (word: string): string => (found.has(word) ? free(`${word}'`) : word);
    found.set(free(found.has(stage) && input !== undefined ? `${stage} (${input})` : stage), made);
  };
  visit(last, undefined);
  return { name, made: found };
}

/** A number or a word of each run; undefined where it has none. */
export interface Measure {
  readonly name: string;
  readonly kind: "count" | "score" | "seconds";
  readonly values: readonly (number | undefined)[];
}

/** Parameters, scores and times of some runs, those that at least one of them has. */
export function measuresOf(runs: readonly ComparedRun[]): Measure[] {
  const of = (name: string, kind: Measure["kind"], value: (run: ComparedRun) => number | undefined): Measure => ({
    ...{ name, kind },
    values: runs.map(value),
  });
  const fact = (uses: readonly string[], path: string) => (run: ComparedRun) => {
    const made = [...run.made.values()].reverse().find(({ record }) => uses.includes(record.stage));
    const value = made?.manifest.facts[path];
    return typeof value === "number" ? value : undefined;
  };
  const scores = names(runs, "score").flatMap((stage) => scoresOf(runs, stage));
  const stages = [...new Set(runs.flatMap(({ made }) => [...made.keys()]))];
  return [
    of("parameters", "count", fact(["export", "import", "train"], "parameters")),
    ...scores,
    of("network evaluations", "count", fact(["sample"], "nfe")),
    of("samples", "count", fact(["sample"], "images")),
    of("time of all stages", "seconds", ({ made }) => sum([...made.values()].map(({ record }) => record.seconds))),
    ...stages.map((stage) => of(`time of ${stage}`, "seconds", ({ made }) => made.get(stage)?.record.seconds)),
  ].filter(({ values }) => values.some((value) => value !== undefined));
}

function scoresOf(runs: readonly ComparedRun[], stage: string): Measure[] {
  const factsOf = ({ made }: ComparedRun) => made.get(stage)?.manifest.facts ?? {};
  const metrics = [...new Set(runs.flatMap((run) => wordOf(factsOf(run)["metric"]) ?? []))];
  // Distances in other features are other numbers: each metric has a line of its own.
  const rows = metrics.flatMap((metric) =>
    (["final", "mean"] as const).map((name): Measure => ({
      name: `${metric}${name === "mean" ? ", mean of the last checkpoints" : ""}${stage === "score" ? "" : ` of ${stage}`}`,
      kind: "score",
      values: runs.map((run) => (factsOf(run)["metric"] === metric ? numberOf(factsOf(run)[name]) : undefined)),
    })),
  );
  const floors = metrics.map((metric): Measure => ({
    name: `${metric} of held-out data${stage === "score" ? "" : ` of ${stage}`}`,
    kind: "score",
    values: runs.map((run) => {
      const floor = factsOf(run)["floor"];
      return factsOf(run)["metric"] === metric && typeof floor === "object" && floor !== null
        ? numberOf((floor as Record<string, unknown>)["distance"])
        : undefined;
    }),
  }));
  const told = runs.map((run) => factsOf(run)["measures"] ?? { precision: {}, recall: {} });
  const measures = new Set(told.flatMap((one) => Object.keys(one as object)));
  const others = [...measures].map((name): Measure => ({
    name: `${name}${stage === "score" ? "" : ` of ${stage}`}`,
    kind: "score",
    values: runs.map((run) => {
      const groups = factsOf(run)["groups"];
      const last: unknown = Array.isArray(groups) ? groups.at(-1) : undefined;
      return typeof last === "object" && last !== null ? numberOf((last as Record<string, unknown>)[name]) : undefined;
    }),
  }));
  return [...rows, ...floors, ...others];
}

const wordOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
const numberOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
const sum = (values: readonly number[]): number | undefined =>
  values.length === 0 ? undefined : values.reduce((total, value) => total + value, 0);
const names = (runs: readonly ComparedRun[], uses: string): string[] => [
  ...new Set(
    runs.flatMap(({ made }) => [...made].flatMap(([name, { record }]) => (record.stage === uses ? [name] : []))),
  ),
];

/** How a stage of a run is beside the same stage of the first run. */
export interface StageDifference {
  readonly stage: string;
  /**
   * `same` bytes; `cause`: other bytes from the same inputs, or it has what the first one lacks; `follows`: other
   * bytes, and so are its inputs; `missing`: it has not run here, or not there.
   */
  readonly state: "same" | "cause" | "follows" | "missing";
  /** Fields, packages, source files and inputs that differ, one a line. */
  readonly changes: readonly string[];
}

/**
 * What differs between two runs, by stage in their order.
 *
 * @param base The run that is compared with.
 */
export async function differencesOf(store: Store, base: ComparedRun, run: ComparedRun): Promise<StageDifference[]> {
  const stages = [...new Set([...base.made.keys(), ...run.made.keys()])];
  const found: StageDifference[] = [];
  for (const stage of stages) {
    const [before, now] = [base.made.get(stage), run.made.get(stage)];
    if (before === undefined || now === undefined) {
      const [has, lacks] = before === undefined ? [run.name, base.name] : [base.name, run.name];
      found.push({ stage, state: "missing", changes: [`${has} has it, ${lacks} has not`] });
      continue;
    }
    const changes = before.record.key === now.record.key ? [] : await recordChanges(store, before.record, now.record);
    const sameBytes = before.record.manifest === now.record.manifest;
    const sameInputs = JSON.stringify(before.record.inputs) === JSON.stringify(now.record.inputs);
    const state = sameBytes ? "same" : sameInputs || ownChanges(changes) ? "cause" : "follows";
    found.push({ stage, state, changes });
  }
  return found;
}

/** Whether anything but inputs is another. */
const ownChanges = (changes: readonly string[]): boolean =>
  changes.some((change) => !/^input \S+ is another/.test(change));

/** The stages at which runs part: where something of their own differs, not only what they were given. */
export function causesOf(differences: readonly StageDifference[]): StageDifference[] {
  return differences.filter(({ state }) => state === "cause" || state === "missing");
}
