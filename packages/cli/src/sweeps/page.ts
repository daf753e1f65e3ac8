import { join, relative } from "node:path";
import { makeFolder, Store, writeText, type Artifact } from "@madformer/artifacts";
import {
  renderSweep,
  sampledSeeds,
  samplePictures,
  sweepSvg,
  type SweepMark,
  type SweepPage,
  type SweepPlot,
} from "@madformer/report";
import { duration, outputFolder } from "@madformer/stage";
import {
  computingSeconds,
  EXTENSIONS,
  FORMATS,
  formatTable,
  frontsOf,
  isComplete,
  labelOf,
  noteOf,
  numberAt,
  plotOf,
  plotSpecOf,
  pointFolder,
  spreadText,
  type Mark,
  type PointResult,
  type Table,
} from "@madformer/sweep";
import type { OpenSweep } from "./open.js";
import { count } from "./plan.js";
import { sweepTable, tableSpecOf } from "./table.js";

/** What plots of what it costs are called, by the number along x. */
const FRONT_FILES = { nfe: "pareto-nfe", layerRuns: "pareto-layers", seconds: "pareto-time" } as const;

/** Seeds that samples are shown of, and settings. */
const SHOWN = { seeds: 8, settings: 48 };

/**
 * Writes what a sweep says so far into its folder: its table in all forms, its plots as SVG, and a page with all of it.
 *
 * @returns The files, the page first.
 */
export async function writeSweep(open: OpenSweep): Promise<{ readonly files: string[]; readonly table: Table }> {
  const { table, results } = await sweepTable(open);
  const plots = plotsOf(open, results);
  const page = renderSweep(await pageOf(open, results, table, plots));
  const texts: [string, string][] = [
    ["index.html", page],
    ...plots.map((plot): [string, string] => [`${plot.id}.svg`, sweepSvg(plot)]),
    ...FORMATS.map((format): [string, string] => [`table.${EXTENSIONS[format]}`, formatTable(table, format)]),
  ];
  await makeFolder(".", open.folder);
  for (const [file, text] of texts) await writeText(join(open.folder, file), text);
  return { files: texts.map(([file]) => join(open.folder, file)), table };
}

/** The plot that the sweep asks for, and what evaluations and time buy; those of which anything has run. */
function plotsOf(open: OpenSweep, results: readonly PointResult[]): SweepPlot[] {
  const { sweep } = open;
  const { value, best } = tableSpecOf(open);
  const hasPlot =
    sweep.plot !== undefined || sweep.axes.some(({ values }) => values.every((v) => typeof v === "number"));
  const own = hasPlot ? plotOf(sweep, results, plotSpecOf(sweep, value)) : undefined;
  const marks = (of: readonly Mark[]): SweepMark[] => of.map((mark) => markOf(open, results, mark));
  const plots: SweepPlot[] = own
    ? [
        {
          ...{ id: "plot", title: `${own.y} against ${own.x}`, xLabel: own.x, yLabel: own.y },
          series: own.series.map(({ name, marks: of }) => ({ name, marks: marks(of) })),
        },
      ]
    : [];
  for (const front of frontsOf(results, value, best)) {
    const id = FRONT_FILES[front.x.split(".").at(-1) as keyof typeof FRONT_FILES];
    const title = `${value.place} against ${front.xLabel}`;
    const settings = [{ name: "Settings", marks: marks(front.marks) }];
    plots.push({ id, title, xLabel: front.xLabel, yLabel: value.place, series: settings, front: marks(front.front) });
  }
  return plots.filter(({ series }) => series.some((one) => one.marks.length > 0));
}

function markOf(open: OpenSweep, results: readonly PointResult[], { x, y, label, points }: Mark): SweepMark {
  const first = results.find(({ point, made }) => points.includes(point.name) && made.size > 0);
  return { x, y: y.mean, deviation: y.deviation, label, href: first && reportOf(open, first) };
}

/** The report of a point, from the page; its pipeline may have none. */
function reportOf({ folder }: OpenSweep, { point, made }: PointResult): string | undefined {
  const stage = point.stages.find(({ uses, name }) => uses === "report" && made.has(name));
  if (!stage) return undefined;
  const out = outputFolder(pointFolder(folder, point.name), stage.name);
  return relative(folder, join(out, "files/index.html")).replaceAll("\\", "/");
}

async function pageOf(
  open: OpenSweep,
  results: readonly PointResult[],
  table: Table,
  plots: readonly SweepPlot[],
): Promise<SweepPage> {
  const { sweep, runs, jobs } = open;
  const { value } = tableSpecOf(open);
  const complete = results.filter(isComplete).length;
  const axes = sweep.axes.map(({ place, values }) => `${place} (${count(values.length, "value")})`).join(", ");
  const first = results.flatMap(({ made }) => made.get(value.stage)?.manifest.facts["metric"] ?? [])[0];
  const metric = typeof first === "string" ? ` (${first})` : "";
  return {
    title: sweep.name,
    description: sweep.description,
    summary: `The pipeline ${sweep.pipeline} over ${axes || "seeds"}: ${complete} of ${count(runs.length, "point")} ${runs.length === 1 ? "has" : "have"} run.`,
    numbers: [
      ["Points", String(runs.length)],
      ["Stages, shared ones once", String(jobs.length)],
      ["Computing time", duration(computingSeconds(results))],
    ],
    value: `${value.place}${metric}`,
    table: {
      caption: `${value.place}${metric}, mean ± standard deviation over seeds; ${table.best} is better.`,
      columns: table.columns.map(({ label }) => label),
      rows: table.rows.map(({ label }, i) => ({
        label,
        cells: (table.cells[i] ?? []).map((cell) =>
          cell === undefined
            ? { text: "", note: "", best: false }
            : { text: cell.spread ? spreadText(cell.spread) : "", note: noteOf(cell), best: cell.best },
        ),
      })),
    },
    plots,
    points: results.map((result) => {
      const { point, made } = result;
      const number = numberAt(result, value);
      return {
        label: labelOf(point.setting) || sweep.pipeline,
        seed: labelOf(Object.fromEntries(sweep.seeds.map(({ place }) => [place, point.values[place] ?? null]))),
        value: number === undefined ? "not run" : spreadText({ mean: number, deviation: undefined, values: [number] }),
        seconds: [...made.values()].reduce((sum, { record }) => sum + record.seconds, 0),
        report: reportOf(open, result),
        digest: made.get(value.stage)?.record.manifest,
      };
    }),
    samples: await samplesOf(results),
    commands: `npm run build\nnpx madformer sweep run ${sweep.name}\nnpx madformer sweep table ${sweep.name} --format latex`,
  };
}

/** Samples of the first seed of each setting, as many as fit, of the sampling seeds that all of them have. */
async function samplesOf(results: readonly PointResult[]): Promise<SweepPage["samples"]> {
  const store = Store.at(".");
  const all = results.filter(({ point }) => point.seed === 0).slice(0, SHOWN.settings);
  const found = all.flatMap(({ point, made }): { label: string; sample: Artifact }[] => {
    const stage = point.stages.find(({ uses }) => uses === "sample")?.name ?? "";
    const one = made.get(stage);
    return one ? [{ label: labelOf(point.setting), sample: store.artifact(one) }] : [];
  });
  const [first, ...others] = found.map(({ sample }) => sampledSeeds(sample));
  const common = (first ?? []).filter((seed) => others.every((seeds) => seeds.includes(seed))).slice(0, SHOWN.seeds);
  const rows = [];
  for (const { label, sample } of common.length === 0 ? [] : found)
    rows.push({ label, pictures: await samplePictures(sample, common) });
  return { seeds: common, rows };
}
