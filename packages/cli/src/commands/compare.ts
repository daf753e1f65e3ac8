import { existsSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { DataError, makeFolder, openFolder, Store, writeText, type Artifact } from "@madformer/artifacts";
import { renderSweep, sampledSeeds, samplePictures, type SweepPage } from "@madformer/report";
import { ConfigError, duration, readPipeline } from "@madformer/stage";
import {
  causesOf,
  differencesOf,
  measuresOf,
  runOfMade,
  runOfPipeline,
  spreadText,
  type ComparedRun,
  type Measure,
  type StageDifference,
} from "@madformer/sweep";
import { Command } from "commander";
import type { Io } from "../program.js";
import { pipelineNames, workspaceRoot } from "../workspace.js";

const MAX_RUNS = 16;
/** Seeds that samples are shown of. */
const SHOWN_SEEDS = 16;

interface Options {
  readonly json?: boolean;
  readonly out?: string;
}

/** `madformer compare`: two runs or more, side by side. */
export function compareCommand(io: Io): Command {
  return new Command("compare")
    .summary("compare runs: parameters, scores, times, samples, and since which stage they differ")
    .description(
      "Compare two runs or more: their parameters, scores and times, and what differs from the first, since which stage: which field of\n" +
        "a config, which source file, which input. A run is a pipeline, a point of a sweep, a pipeline's folder, or a manifest, whose\n" +
        "way through the store is followed back.",
    )
    .argument("<run...>", "such as faces-64, smoke-steps/<point>, runs/score/manifest.json")
    .option("--out <folder>", "also write a page with their samples side by side")
    .option("--json", "print JSON for programs")
    .option("--debug", "show where an error comes from (or set MADFORMER_DEBUG)")
    .helpOption("-h, --help", "print this help")
    .addHelpText(
      "after",
      "\nExamples:\n  madformer compare smoke faces-64\n  madformer compare pipelines/smoke/out/score/manifest.json runs/score --out comparison",
    )
    .action(async (words: readonly string[], options: Options) => {
      if (words.length < 2 || words.length > MAX_RUNS)
        throw new ConfigError(
          `Cannot compare ${words.length} run${words.length === 1 ? "" : "s"}, expected 2 to ${MAX_RUNS}`,
        );
      const from = process.cwd();
      const root = workspaceRoot();
      process.chdir(root);
      const store = Store.at(".");
      const runs: ComparedRun[] = [];
      for (const word of words) runs.push(await runOf(word, from, store));
      const [base, ...others] = runs as [ComparedRun, ...ComparedRun[]];
      const differences = new Map<string, StageDifference[]>();
      for (const [i, run] of others.entries())
        differences.set(words[i + 1] ?? "", await differencesOf(store, base, run));
      const measures = measuresOf(runs);
      const told = { runs: words, measures, differences: Object.fromEntries(differences) };
      if (options.json === true) io.out(`${JSON.stringify(told, null, 2)}\n`);
      else io.out(textOf(runs, measures, differences));
      if (options.out === undefined) return;
      const out = resolve(from, options.out);
      await makeFolder(out, ".");
      await writeText(
        join(out, "index.html"),
        renderSweep(await pageOf(runs, measures, differences, store, options.out)),
      );
      io.err(`Page: ${join(out, "index.html")}\n`);
    });
}

/**
 * @param word A pipeline, a sweep's point, or a path from where the command was given.
 * @throws {ConfigError} If it is none, or nothing of it has run.
 */
async function runOf(word: string, from: string, store: Store): Promise<ComparedRun> {
  const names = await pipelineNames(".");
  const path = resolve(from, word);
  const folders = [
    ...(names.includes(word) ? [join("pipelines", word)] : []),
    ...(/^[\w-]+\/[\w-]+$/.test(word) ? [join("sweeps/out", dirname(word), "pipelines", basename(word))] : []),
    ...(basename(path) === "pipeline.json" ? [dirname(path)] : [path]),
  ];
  const folder = folders.find((one) => existsSync(join(one, "pipeline.json")));
  if (folder !== undefined) {
    const run = await runOfPipeline(word, readPipeline(relative(".", folder) || "."));
    if (run.made.size === 0) throw new ConfigError(`Cannot compare ${JSON.stringify(word)}: nothing of it has run`);
    return run;
  }
  const at = basename(path) === "manifest.json" ? dirname(path) : path;
  if (!existsSync(join(at, "manifest.json")))
    throw new ConfigError(
      `Cannot compare ${JSON.stringify(word)}: it is no pipeline and no manifest, expected one of: ${names.join(", ")}; <sweep>/<point>; or a manifest.json`,
    );
  const { manifest, record } = await openFolder(at, store);
  if (record === undefined)
    throw new DataError(
      `Cannot compare ${JSON.stringify(word)}: there is no record.json beside it, which says how it was made`,
    );
  return await runOfMade(word, { manifest, record }, store);
}

function textOf(
  runs: readonly ComparedRun[],
  measures: readonly Measure[],
  differences: ReadonlyMap<string, readonly StageDifference[]>,
): string {
  const rows = [
    ["", ...runs.map(({ name }) => name)],
    ...measures.map((measure) => [measure.name, ...measure.values.map((value) => shown(value, measure.kind))]),
  ];
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  const table = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
  const told = [...differences].flatMap(([name, stages]) => [
    "",
    ...differenceLines(runs[0]?.name ?? "", name, stages),
  ]);
  return `${[...table, ...told].join("\n")}\n`;
}

/** Where a run parts from the first, and what follows from that. */
function differenceLines(base: string, name: string, stages: readonly StageDifference[]): string[] {
  const causes = causesOf(stages);
  const [first] = causes;
  if (!first) return [`${name} and ${base} are the same`];
  const follows = stages.filter(({ state }) => state === "follows").map(({ stage }) => stage);
  const same = stages.filter(({ state }) => state === "same").map(({ stage }) => stage);
  return [
    `${name} differs from ${base} since ${first.stage}`,
    ...causes.flatMap(({ stage, changes }) => [`* ${stage}`, ...changes.map((change) => `    ${change}`)]),
    ...(follows.length > 0 ? [`? ${follows.join(", ")}: other inputs alone`] : []),
    ...(same.length > 0 ? [`= ${same.join(", ")}`] : []),
  ];
}

function shown(value: number | undefined, kind: Measure["kind"]): string {
  if (value === undefined) return "";
  if (kind === "seconds") return duration(value);
  return kind === "count"
    ? value.toLocaleString("en-US")
    : spreadText({ mean: value, deviation: undefined, values: [value] });
}

async function pageOf(
  runs: readonly ComparedRun[],
  measures: readonly Measure[],
  differences: ReadonlyMap<string, readonly StageDifference[]>,
  store: Store,
  out: string,
): Promise<SweepPage> {
  const words = runs.map(({ name }) => name);
  const samples = runs.flatMap(({ name, made }): { label: string; sample: Artifact }[] => {
    const one = [...made.values()].reverse().find(({ record }) => record.stage === "sample");
    return one ? [{ label: name, sample: store.artifact(one) }] : [];
  });
  const [first, ...others] = samples.map(({ sample }) => sampledSeeds(sample));
  const seeds = (first ?? []).filter((seed) => others.every((each) => each.includes(seed))).slice(0, SHOWN_SEEDS);
  const rows = [];
  for (const { label, sample } of seeds.length === 0 ? [] : samples)
    rows.push({ label, pictures: await samplePictures(sample, seeds) });
  return {
    ...{ kind: "comparison", title: words.join(", "), description: "", summary: `${runs.length} runs, side by side.` },
    ...{ numbers: [], plots: [], points: [], value: "", samples: { seeds, rows } },
    table: {
      caption: "Parameters, scores and times",
      columns: words,
      rows: measures.map(({ name, kind, values }) => ({
        label: name,
        cells: values.map((value) => ({ text: shown(value, kind), note: "", best: false })),
      })),
    },
    changes: [...differences].map(([name, stages]) => {
      const [title = "", ...lines] = differenceLines(words[0] ?? "", name, stages);
      return { title, lines };
    }),
    commands: `npx madformer compare ${words.map((word) => (/^[\w./-]+$/.test(word) ? word : JSON.stringify(word))).join(" ")} --out ${JSON.stringify(out)}`,
  };
}
